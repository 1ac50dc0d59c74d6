"""Disks that are full or not writable: that of the destination, and that of the worker's temporary files.

``/dev/full`` stands for a full disk: writes to it fail with ENOSPC.
"""

from __future__ import annotations

import os
import resource
import stat
import sys
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockUnavailableError
from airflow_provider_cloudlock.lake.store import scratch
from tests.integration.stores import forkserver
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, FOLDER, OBJECT, Lake, connection, operator
from tests.support import Tenant, day_of_records

TEN = day_of_records(DAY, 10)


def fill_up(descriptor: int) -> None:
    """Make writes to an open file fail with a full disk."""
    full = os.open("/dev/full", os.O_RDWR)
    os.dup2(full, descriptor)
    os.close(full)


def full_destination() -> None:
    """Fill the destination's disk as soon as a file is opened for writing there."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "fcntl.flock" and stat.S_ISREG(os.fstat(arguments[0]).st_mode):
            fill_up(arguments[0])

    sys.addaudithook(audit)


def no_bytes_at_all() -> None:
    """Limit the size of every file to zero bytes, that of the log too."""
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def extract_with_fault(fault: Callable[[], None], tenant: str, destination: str, outcome: Connection) -> None:
    """Run the operator in a process of its own, and send its error."""
    os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = tenant
    task = operator(destination)
    fault()
    try:
        task.execute({})
    except (CloudlockUnavailableError, AirflowFailException) as error:
        outcome.send((type(error).__name__, str(error)))


@pytest.fixture
def error_of(lake: Lake) -> Callable[..., tuple[str, str]]:
    """Extract with a fault of the disk, and return kind and message of the error."""

    def run(fault: Callable[[], None], tenant: Tenant) -> tuple[str, str]:
        receiving, sending = forkserver().Pipe(duplex=False)
        arguments = (fault, connection(tenant), lake.destination, sending)
        process = forkserver().Process(target=extract_with_fault, args=arguments)
        process.start()
        sending.close()
        try:
            assert receiving.poll(60)
            kind, message = receiving.recv()
            return kind, message
        finally:
            process.kill()
            process.join()

    return run


@pytest.mark.slow
@pytest.mark.parametrize("is_published", [False, True], ids=["first", "replaced"])
def test_destination_full_disk_leaves_files_unchanged(
    extract: Extract, error_of: Callable[..., tuple[str, str]], lake: Lake, is_published: bool
) -> None:
    with Tenant(TEN) as tenant:
        if is_published:
            extract(tenant)
            tenant.dismiss(TEN[0]["id"])
        before = lake.snapshot()
        kind, message = error_of(full_destination, tenant)
    assert kind == "CloudlockUnavailableError"
    assert f"{lake.destination}/{OBJECT} could not be written: the disk is full (No space left on device)" in message
    assert lake.snapshot() == before


def test_destination_file_in_place_of_day_folder_is_refused(extract: Extract, lake: Lake) -> None:
    lake.write(FOLDER)
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=r"Not a directory.*correct the destination") as failure:
            extract(tenant)
        assert f"{lake.destination}/{OBJECT}" in str(failure.value)
        assert isinstance(failure.value.__cause__, CloudlockConfigError)
        assert tenant.seen == []
    assert lake.files == [FOLDER]


# --- the worker's temporary files -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_temporary_folder_without_space_sends_no_request(error_of: Callable[..., tuple[str, str]], lake: Lake) -> None:
    with Tenant(TEN) as tenant:
        kind, message = error_of(no_bytes_at_all, tenant)
        assert tenant.seen == []
    assert kind == "AirflowFailException"
    assert "temporary folder" in message
    assert "File too large" in message
    assert lake.files == []


@pytest.mark.parametrize("name", ["missing", "file"])
def test_temporary_folder_unusable_sends_no_request(
    extract: Extract, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / name))
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=f"temporary folder {tmp_path / name} cannot be .*TMPDIR"):
            extract(tenant)
        assert tenant.seen == []
    assert lake.files == []


def test_scratch_without_any_folder_raises_config_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere"])
    with pytest.raises(CloudlockConfigError, match=r"temporary folder cannot be written.*TMPDIR"), scratch():
        pass


@pytest.mark.parametrize(
    "write",
    [lambda path: path.write_bytes(b"text"), lambda path: pq.write_table(pa.table({"a": range(100_000)}), path)],
    ids=["by Python", "by Arrow"],
)
def test_scratch_full_disk_raises_unavailable(write: Callable[[Path], Any]) -> None:
    def work() -> None:
        with scratch() as folder:
            folders.append(folder)
            (folder / "full").symlink_to("/dev/full")
            write(folder / "full")

    folders: list[Path] = []
    with pytest.raises(CloudlockUnavailableError, match=r"temporary folder .*the disk is full \(No space"):
        work()
    assert not folders[0].exists()
