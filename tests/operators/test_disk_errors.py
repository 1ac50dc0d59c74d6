"""Disks that are full or may not be written: the destination's, and the one of the worker's temporary files.

Nothing is pretended: ``/dev/full`` is a disk without room.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.api.resources import resource_named
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockUnavailableError
from airflow_provider_cloudlock.lake.schemas import SCHEMAS, Layout
from airflow_provider_cloudlock.lake.spool import Spool
from airflow_provider_cloudlock.lake.store import scratch
from tests.integration.stores import forkserver
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, FOLDER, OBJECT, Lake, connection, operator
from tests.support import Tenant, day_of_records

TEN = day_of_records(DAY, 10)


def fill_up(descriptor: int) -> None:
    """Let what is written to an open file meet a full disk."""
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, descriptor)
    os.close(full)


def full_destination() -> None:
    """Fill the destination's disk as soon as a file is begun there."""

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "fcntl.flock" and stat.S_ISREG(os.fstat(arguments[0]).st_mode):
            fill_up(arguments[0])

    sys.addaudithook(hear)


def no_bytes_at_all() -> None:
    """Let every file be empty, the log's too."""
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def extract_in_trouble(trouble: Callable[[], None], tenant: str, destination: str, told: Connection) -> None:
    """Run the operator in a process of its own; tell how it ended."""
    os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = tenant
    task = operator(destination)
    trouble()
    try:
        task.execute({})
    except (CloudlockUnavailableError, AirflowFailException) as error:
        told.send((type(error).__name__, str(error)))


@pytest.fixture
def in_trouble(lake: Lake) -> Callable[..., tuple[str, str]]:
    """Extract with trouble, and return the error."""

    def run(trouble: Callable[[], None], tenant: Tenant) -> tuple[str, str]:
        hearing, telling = forkserver().Pipe(duplex=False)
        there = (trouble, connection(tenant), lake.destination, telling)
        process = forkserver().Process(target=extract_in_trouble, args=there)
        process.start()
        telling.close()
        try:
            assert hearing.poll(60)
            kind, message = hearing.recv()
            return kind, message
        finally:
            process.kill()
            process.join()

    return run


@pytest.mark.slow
@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
def test_a_full_destination(
    extract: Extract, in_trouble: Callable[..., tuple[str, str]], lake: Lake, before: bool
) -> None:
    with Tenant(TEN) as tenant:
        if before:
            extract(tenant)
            tenant.dismiss(TEN[0]["id"])
        there = lake.snapshot()
        kind, message = in_trouble(full_destination, tenant)
    assert kind == "CloudlockUnavailableError"
    assert f"{OBJECT} could not be written: the disk is full (No space left on device)" in message
    assert lake.snapshot() == there


@pytest.mark.slow
def test_a_temporary_folder_that_takes_nothing_is_found_before_the_first_request(
    in_trouble: Callable[..., tuple[str, str]], lake: Lake
) -> None:
    with Tenant(TEN) as tenant:
        kind, message = in_trouble(no_bytes_at_all, tenant)
        assert tenant.seen == []
    assert kind == "AirflowFailException"
    assert "temporary folder" in message
    assert "File too large" in message
    assert lake.files == []


def test_a_destination_that_is_no_folder(extract: Extract, lake: Lake) -> None:
    lake.write(FOLDER)
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=r"Not a directory.*correct the destination") as failure:
            extract(tenant)
        assert f"{lake.destination}/threats/{OBJECT}" in str(failure.value)
        assert isinstance(failure.value.__cause__, CloudlockConfigError)
    assert lake.files == [FOLDER]


# --- the worker's temporary files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing", "file"])
def test_an_unusable_temporary_folder_is_found_before_the_first_request(
    extract: Extract, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=f"temporary folder {tmp_path / name} cannot be .*TMPDIR"):
            extract(tenant)
        assert tenant.seen == []
    assert lake.files == []


def test_no_temporary_folder_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(CloudlockConfigError, match=r"temporary folder cannot be written.*TMPDIR"), scratch():
        pass


@pytest.mark.parametrize(
    "write",
    [lambda path: path.write_bytes(b"text"), lambda path: pq.write_table(pa.table({"a": range(100_000)}), path)],
    ids=["by Python", "by Arrow"],
)
def test_a_full_temporary_folder(write: Callable[[Path], Any]) -> None:
    def work() -> None:
        with scratch() as folder:
            folders.append(folder)
            (folder / "full").symlink_to("/dev/full")
            write(folder / "full")

    folders: list[Path] = []
    with pytest.raises(CloudlockUnavailableError, match=r"temporary folder .*the disk is full \(No space"):
        work()
    assert not folders[0].exists()


def test_a_spool_on_a_full_disk() -> None:
    before = _without_a_name()
    spool = _spool()
    spool.add_rows(_rows(10_000))
    (descriptor,) = _without_a_name() - before
    fill_up(descriptor)
    with pytest.raises(CloudlockUnavailableError, match=r"temporary folder .*the disk is full \(No space"):
        spool.add_rows(_rows(10_000))


def test_a_spool_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    spool = _spool()
    with pytest.raises(CloudlockConfigError, match=f"temporary folder {tmp_path / 'missing'} cannot be written"):
        spool.add_rows(_rows(10_000))


def _without_a_name() -> set[int]:
    """Return the descriptors of files that nobody else can open."""
    links = Path("/proc/self/fd").iterdir()
    return {int(link.name) for link in links if os.path.realpath(link).endswith("(deleted)")}


def _spool() -> Spool:
    threats = resource_named("threats")
    return Spool(Layout(SCHEMAS["threats"], threats.key, threats.time_fields), rows_in_memory=1)


def _rows(count: int) -> pa.Table:
    columns: dict[str, Any] = {
        "id": [str(n) for n in range(count)],
        "created_at": [datetime(2026, 1, 2, tzinfo=UTC)] * count,
    }
    schema = SCHEMAS["threats"]
    return pa.table([pa.array(columns.get(field.name, [None] * count), field.type) for field in schema], schema=schema)
