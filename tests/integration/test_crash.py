"""The operator's process is killed at any moment: readers see complete objects only, and the next run completes."""

from __future__ import annotations

import hashlib
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
from tests.operators.lake import (
    DAY,
    NEXT,
    OBJECT,
    QUARANTINE,
    RECEIPT,
    Lake,
    connection,
    hour,
    object_of,
    operator,
    receipt_of,
)
from tests.support import Habits, Tenant, day_of_records, ids, record

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
UNKEPT = record(1, hour(15)) | {"id": None}
NO_DEATH: dict[str, int] = {}

#: Ids that the object of the day holds before and after the run that is killed.
OLD, NEW = ids(TWO_DAYS[:12]), ids(TWO_DAYS[:24])


class Worker:
    """Client of ``tests.integration.worker``."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        assert process.stdin
        assert process.stdout
        self._orders, self._answers = process.stdin, process.stdout
        #: Folder of its temporary files.
        self.scratch = scratch
        #: The process that runs the operator.
        self.pid = 0
        #: What the last run did to the lake and why it failed, unless it was killed.
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
        """Run the operator in a process, and check its exit status, which is negative for a signal."""
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
    """Start a process that has imported everything, and forks."""
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
def published(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Publish half of the day's records, and put one in quarantine."""
    lake = Lake(tmp_path_factory.mktemp("published") / "lake")
    with Tenant([*TWO_DAYS[:12], UNKEPT]) as tenant:
        worker.extract(tenant, lake, max_quarantined=1)
    assert lake.files == [QUARANTINE, RECEIPT, OBJECT]
    assert lake.ids() == OLD
    return lake


@pytest.fixture(scope="module")
def steps(worker: Worker, published: Lake, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the steps that replace what is published by the whole day."""
    lake = copied(published, tmp_path_factory.mktemp("steps"))
    with Tenant(TWO_DAYS) as tenant:
        worker.extract(tenant, lake)
    assert lake.files == [RECEIPT, OBJECT]
    assert worker.steps.count("open") == worker.steps.count("os.rename") == 2
    assert "os.remove" in worker.steps
    return worker.steps


def copied(lake: Lake, folder: Path) -> Lake:
    """Copy a lake."""
    copytree(lake.folder, folder / "lake")
    return Lake(folder / "lake")


def assert_whole(lake: Lake) -> None:
    """Assert that object and receipt are complete, those of before or those of the new run."""
    assert lake.objects == [OBJECT]
    assert lake.ids() in (OLD, NEW)
    assert lake.receipt()["rows"] in (len(OLD), len(NEW))
    assert lake.receipt()["rows"] == len(OLD) or lake.ids() == NEW


def assert_completed(worker: Worker, tenant: Tenant, lake: Lake) -> None:
    """Run the operator again, and assert that it leaves the day and nothing else."""
    worker.extract(tenant, lake)
    assert lake.files == [RECEIPT, OBJECT]
    assert lake.ids() == NEW
    assert lake.receipt()["rows"] == len(NEW)
    assert lake.receipt()["sha256"] == hashlib.sha256(lake.path(OBJECT).read_bytes()).hexdigest()


# --- killed while a day is published ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "every"), [(signal.SIGKILL, 1), (signal.SIGTERM, 4)], ids=["SIGKILL", "SIGTERM"])
def test_killed_before_any_step_leaves_whole_objects(
    worker: Worker, published: Lake, steps: list[str], tmp_path: Path, kind: int, every: int
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        for step in range(1, len(steps) + 1, every):
            lake = copied(published, tmp_path / str(step))
            worker.extract(tenant, lake, {"signal": kind, "step": step}, status=-kind)
            assert_whole(lake)
            assert_completed(worker, tenant, lake)


def test_killed_in_the_middle_of_a_file_leaves_whole_objects(
    worker: Worker, published: Lake, steps: list[str], tmp_path: Path
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        for step in (n for n, name in enumerate(steps, 1) if name == "open"):
            lake = copied(published, tmp_path / str(step))
            death = {"signal": signal.SIGXFSZ, "step": step, "bytes": 300}
            worker.extract(tenant, lake, death, status=-signal.SIGXFSZ)
            assert [path.stat().st_size for path in lake.folder.rglob(".*.tmp")] == [300]
            assert_whole(lake)
            assert_completed(worker, tenant, lake)


def test_full_disk_leaves_whole_objects(worker: Worker, published: Lake, steps: list[str], tmp_path: Path) -> None:
    clear(worker.scratch)
    with Tenant(TWO_DAYS) as tenant:
        for step in (n for n, name in enumerate(steps, 1) if name == "open"):
            lake = copied(published, tmp_path / str(step))
            worker.extract(tenant, lake, {"signal": 0, "step": step, "bytes": 300}, status=1)
            assert "File too large" in str(worker.error)
            assert list(lake.folder.rglob(".*.tmp")) == []
            assert list(worker.scratch.iterdir()) == []
            assert_whole(lake)
            assert_completed(worker, tenant, lake)


def test_keyboard_interrupt_leaves_whole_objects(
    worker: Worker, published: Lake, steps: list[str], tmp_path: Path
) -> None:
    clear(worker.scratch)
    with Tenant(TWO_DAYS) as tenant:
        for step in (n for n, name in enumerate(steps, 1) if name in ("open", "os.rename")):
            lake = copied(published, tmp_path / str(step))
            worker.extract(tenant, lake, {"signal": signal.SIGINT, "step": step}, status=1)
            assert "KeyboardInterrupt" in str(worker.error)
            assert list(lake.folder.rglob(".*.tmp")) == []
            assert list(worker.scratch.iterdir()) == []
            assert_whole(lake)
            assert_completed(worker, tenant, lake)


def clear(scratch: Path) -> None:
    """Remove temporary files of killed processes."""
    for folder in scratch.iterdir():
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()


# --- killed while the API is read -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM], ids=["SIGKILL", "SIGTERM"])
def test_killed_at_any_request_changes_nothing(worker: Worker, published: Lake, tmp_path: Path, kind: int) -> None:
    def kill(tenant: Tenant) -> None:
        while not worker.pid:
            time.sleep(0.001)
        os.kill(worker.pid, kind)

    before = {name: published.path(name).read_bytes() for name in published.files}
    habits = Habits(cap=20)
    with Tenant(TWO_DAYS, habits) as tenant:
        worker.extract(tenant, copied(published, tmp_path), window=(DAY, AFTER))
        requests = len(tenant.seen)
    assert requests > 3
    for number in range(1, requests + 1):
        lake = copied(published, tmp_path / str(number))
        with Tenant(TWO_DAYS, habits, before={number: kill}) as tenant:
            worker.extract(tenant, lake, window=(DAY, AFTER), status=-kind)
        # Both days are read before one is published.
        assert {name: lake.path(name).read_bytes() for name in lake.files} == before
        with Tenant(TWO_DAYS, habits) as tenant:
            worker.extract(tenant, lake, window=(DAY, AFTER))
        assert lake.files == sorted([OBJECT, RECEIPT, object_of(NEXT), receipt_of(NEXT)])
        assert lake.ids() == ids(TWO_DAYS)


# --- concurrent attempts ----------------------------------------------------------------------------------------------


@contextmanager
def suspended(worker: Worker, tenant: Tenant, lake: Lake, step: int, status: int = 0) -> Iterator[None]:
    """Suspend one attempt before a step, and let it finish after the body."""
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


def test_attempt_suspended_before_its_receipt_does_no_harm(
    worker: Worker, published: Lake, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = copied(published, tmp_path)
    receipt_is_next = steps.index("os.remove") + 2  # the object is published, and no lock is held
    with Tenant(TWO_DAYS) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        with suspended(worker, tenant, lake, receipt_is_next):
            operator(lake.destination).execute({})
            assert lake.files == [RECEIPT, OBJECT]
    assert_whole(lake)
    assert lake.files == [RECEIPT, OBJECT]


def test_attempt_suspended_while_it_publishes_holds_the_lock(
    worker: Worker, published: Lake, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = copied(published, tmp_path)
    monkeypatch.setattr(local, "_LOCK_TIMEOUT", 0.2)
    with Tenant(TWO_DAYS) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        with suspended(worker, tenant, lake, steps.index("os.rename") + 1):
            with pytest.raises(CloudlockUnavailableError, match="has held the lock of the folder"):
                operator(lake.destination).execute({})
            assert lake.ids() == OLD
            assert len(list(lake.folder.rglob(".*.tmp"))) == 1
    assert_whole(lake)
    assert lake.files == [RECEIPT, OBJECT]


# --- concurrent readers -----------------------------------------------------------------------------------------------


@contextmanager
def watching(lake: Lake) -> Iterator[set[tuple[str, ...]]]:
    """Read the object of the day continuously, as its users might, and collect the results."""
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


def test_reader_sees_the_old_or_the_new_object(worker: Worker, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
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
