"""The operator's process dies at any moment: readers see whole objects only, and the next run puts all in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from shutil import copytree
from threading import Event, Thread
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from airflow_provider_cloudlock.lake import local
from tests.operators.lake import DAY, NEXT, OBJECT, RECEIPT, Lake, connection, hour, operator, stem
from tests.support import Habits, Tenant, day_of_records, ids, record

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
SECOND = f"created_date={NEXT}/{stem(hour(24), hour(48))}"
NO_DEATH: dict[str, int] = {}

#: What an object may hold, by its name.
WHOLE = {
    f"created_date={start:%Y-%m-%d}/{stem(start, end)}.parquet": ids(Tenant(TWO_DAYS).window(start, end))
    for start, end in [(hour(0), hour(24)), (hour(24), hour(48)), (hour(0), hour(12)), (hour(12), hour(24))]
}


class Worker:
    """The other end of ``tests.integration.worker``."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        assert process.stdin
        assert process.stdout
        self._orders, self._answers = process.stdin, process.stdout
        #: Where its temporary files are.
        self.scratch = scratch
        #: The process that runs the operator.
        self.pid = 0
        #: What the last one did to the lake, and why it failed, if it lived to tell.
        self.steps: list[str] = []
        self.error: str | None = None

    def extract(
        self,
        tenant: Tenant,
        lake: Lake,
        death: dict[str, int] = NO_DEATH,
        *,
        status: int = 0,
        window: tuple[str, str] = (DAY, NEXT),
        **options: Any,
    ) -> None:
        """Run the operator in a process that ends with this status, negative for a signal."""
        options |= {"created_after": window[0], "created_before": window[1]}
        order = {"connection": connection(tenant), "destination": lake.destination, "options": options, "death": death}
        print(json.dumps(order), file=self._orders, flush=True)
        self.pid = json.loads(self._answers.readline())["pid"]
        end = json.loads(self._answers.readline())
        self.pid = 0
        self.steps, self.error = end["steps"], end["error"]
        assert end["status"] == status, end


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """A process that has imported everything, and forks."""
    scratch = tmp_path_factory.mktemp("scratch")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.integration.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"TMPDIR": str(scratch)},
    ) as process:
        yield Worker(process, scratch)


@pytest.fixture(scope="module")
def halves(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with the two halves of a day, one of them with something in quarantine."""
    lake = Lake(tmp_path_factory.mktemp("halves") / "lake" / "threats")
    with Tenant([*TWO_DAYS, record(1, hour(15)) | {"id": None}]) as tenant:
        for start, end in ((0, 12), (12, 24)):
            window = hour(start).isoformat(), hour(end).isoformat()
            worker.extract(tenant, lake, window=window, max_quarantined=1)
    assert len(lake.files) == 5
    return lake


@pytest.fixture(scope="module")
def steps(worker: Worker, halves: Lake, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What it takes to replace the halves by the day."""
    lake = copied(halves, tmp_path_factory.mktemp("steps"))
    with Tenant(TWO_DAYS) as tenant:
        worker.extract(tenant, lake)
    assert lake.files == [RECEIPT, OBJECT]
    assert {"open", "os.rename", "os.remove"} <= set(worker.steps)
    return worker.steps


def copied(lake: Lake, folder: Path) -> Lake:
    """Copy a lake."""
    copytree(lake.folder, folder / "lake" / "threats")
    return Lake(folder / "lake" / "threats")


def assert_whole(lake: Lake) -> None:
    """Every object and receipt is whole, and no record of the day is out of sight."""
    held = {name: lake.ids(name) for name in lake.objects}
    assert held == {name: WHOLE[name] for name in held}
    assert {key for keys in held.values() for key in keys} >= set(WHOLE[OBJECT])
    for name in lake.files:
        if name.startswith("_receipts/") and name.endswith(".json"):
            assert lake.receipt(name)["rows"] == len(WHOLE[f"{name[10:-5]}.parquet"])


def assert_mended(worker: Worker, tenant: Tenant, lake: Lake) -> None:
    """The next run leaves the day, and nothing else."""
    worker.extract(tenant, lake)
    assert lake.files == [RECEIPT, OBJECT]
    assert lake.ids() == WHOLE[OBJECT]
    assert lake.receipt()["rows"] == 24


# --- deaths around the publication ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "every"), [(signal.SIGKILL, 1), (signal.SIGTERM, 4)], ids=["SIGKILL", "SIGTERM"])
def test_killed_before_any_step(
    worker: Worker, halves: Lake, steps: list[str], tmp_path: Path, kind: int, every: int
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        for step in range(1, len(steps) + 1, every):
            lake = copied(halves, tmp_path / str(step))
            worker.extract(tenant, lake, {"signal": kind, "step": step}, status=-kind)
            assert_whole(lake)
            assert_mended(worker, tenant, lake)


def test_killed_in_the_middle_of_a_file(worker: Worker, halves: Lake, steps: list[str], tmp_path: Path) -> None:
    with Tenant(TWO_DAYS) as tenant:
        for step in (n for n, name in enumerate(steps, 1) if name == "open"):
            lake = copied(halves, tmp_path / str(step))
            death = {"signal": signal.SIGXFSZ, "step": step, "bytes": 300}
            worker.extract(tenant, lake, death, status=-signal.SIGXFSZ)
            assert [path.stat().st_size for path in lake.folder.rglob(".*.tmp")] == [300]
            assert_whole(lake)
            assert_mended(worker, tenant, lake)


def test_a_full_disk(worker: Worker, halves: Lake, steps: list[str], tmp_path: Path) -> None:
    clear(worker.scratch)
    with Tenant(TWO_DAYS) as tenant:
        for step in (n for n, name in enumerate(steps, 1) if name == "open"):
            lake = copied(halves, tmp_path / str(step))
            worker.extract(tenant, lake, {"signal": 0, "step": step, "bytes": 300}, status=1)
            assert "File too large" in str(worker.error)
            assert list(lake.folder.rglob(".*.tmp")) == []
            assert list(worker.scratch.iterdir()) == []
            assert_whole(lake)
            assert_mended(worker, tenant, lake)


def test_interrupted_by_hand(worker: Worker, halves: Lake, steps: list[str], tmp_path: Path) -> None:
    clear(worker.scratch)
    with Tenant(TWO_DAYS) as tenant:
        for step in (n for n, name in enumerate(steps, 1) if name in ("open", "os.rename")):
            lake = copied(halves, tmp_path / str(step))
            worker.extract(tenant, lake, {"signal": signal.SIGINT, "step": step}, status=1)
            assert "KeyboardInterrupt" in str(worker.error)
            assert list(lake.folder.rglob(".*.tmp")) == []
            assert list(worker.scratch.iterdir()) == []
            assert_whole(lake)
            assert_mended(worker, tenant, lake)


def clear(scratch: Path) -> None:
    """Remove what those who were killed left behind."""
    for folder in scratch.iterdir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


# --- deaths while the API is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_killed_at_any_request(worker: Worker, halves: Lake, tmp_path: Path, kind: int) -> None:
    def dies(tenant: Tenant) -> None:
        while not worker.pid:
            time.sleep(0.001)
        os.kill(worker.pid, kind)

    habits = Habits(cap=20)
    with Tenant(TWO_DAYS, habits) as tenant:
        worker.extract(tenant, copied(halves, tmp_path), window=(DAY, AFTER))
        requests = len(tenant.seen)
    for number in range(1, requests + 1):
        lake = copied(halves, tmp_path / str(number))
        with Tenant(TWO_DAYS, habits, before={number: dies}) as tenant:
            worker.extract(tenant, lake, window=(DAY, AFTER), status=-kind)
        assert_whole(lake)
        # While the first day is read nothing changes; while the second is, the first is published.
        assert number > requests // 2 or lake.objects == halves.objects
        with Tenant(TWO_DAYS, habits) as tenant:
            worker.extract(tenant, lake, window=(DAY, AFTER))
        assert lake.files == sorted([OBJECT, RECEIPT, f"{SECOND}.parquet", f"_receipts/{SECOND}.json"])
        assert lake.ids() == [*WHOLE[OBJECT], *WHOLE[f"{SECOND}.parquet"]]


# --- two attempts at once ---------------------------------------------------------------------------------------------


@contextmanager
def held_up(worker: Worker, tenant: Tenant, lake: Lake, step: int, status: int = 0) -> Iterator[None]:
    """Hold up one attempt before a step, and let it go on to its end after what is done meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        attempt = pool.submit(worker.extract, tenant, lake, {"signal": signal.SIGSTOP, "step": step}, status=status)
        while not worker.pid or Path(f"/proc/{worker.pid}/stat").read_text().split()[2] != "T":
            assert not attempt.done(), attempt.result()
            time.sleep(0.001)
        try:
            yield
        finally:
            os.kill(worker.pid, signal.SIGCONT)
        attempt.result()


def test_an_attempt_that_was_held_up_takes_no_harm_and_does_none(
    worker: Worker, halves: Lake, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = copied(halves, tmp_path)
    receipt_is_next = steps.index("os.remove") + 2  # the object is there, and nothing locked
    with Tenant(TWO_DAYS) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        with held_up(worker, tenant, lake, receipt_is_next):
            operator(lake.destination).execute({})
            assert lake.files == [RECEIPT, OBJECT]
    assert_whole(lake)
    assert lake.files == [RECEIPT, OBJECT]


def test_an_attempt_that_hangs_while_it_publishes(
    worker: Worker, halves: Lake, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = copied(halves, tmp_path)
    monkeypatch.setattr(local, "_PATIENCE", 0.2)
    with Tenant(TWO_DAYS) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        with held_up(worker, tenant, lake, steps.index("os.rename") + 1):
            with pytest.raises(CloudlockUnavailableError, match="has kept the folder locked"):
                operator(lake.destination).execute({})
            assert lake.objects == halves.objects
            assert len(list(lake.folder.rglob(".*.tmp"))) == 1
    assert_whole(lake)
    assert lake.files == [RECEIPT, OBJECT]


# --- readers meanwhile ------------------------------------------------------------------------------------------------


@contextmanager
def watching(lake: Lake) -> Iterator[set[tuple[str, ...]]]:
    """Read the day's object all the time, as its users might, and collect what they see."""
    seen: set[tuple[str, ...]] = set()
    over = Event()

    def look() -> None:
        while not over.is_set():
            try:
                seen.add(tuple(pq.ParquetFile(lake.path(OBJECT)).read(["id"])["id"].to_pylist()))
            except FileNotFoundError:
                seen.add(())
            except (pa.ArrowException, OSError) as error:
                seen.add((repr(error),))

    reader = Thread(target=look)
    reader.start()
    try:
        yield seen
    finally:
        over.set()
        reader.join()


def test_a_reader_sees_the_old_or_the_new_object(worker: Worker, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake" / "threats")
    few, many = day_of_records(DAY, 500), day_of_records(DAY, 1500)
    with Tenant(few) as old, Tenant(many) as new:
        worker.extract(old, lake)
        with watching(lake) as seen:
            for _ in range(3):
                for tenant in (new, old):
                    death = {"signal": signal.SIGKILL, "step": 2}
                    worker.extract(tenant, lake, death, on_vanished="drop", status=-signal.SIGKILL)
                    worker.extract(tenant, lake, on_vanished="drop")
    assert seen == {tuple(ids(few)), tuple(ids(many))}
    assert lake.files == [RECEIPT, OBJECT]
