"""Files on a local disk: replaced as a whole, synced, with the mode of the umask, no leftovers of dead processes."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, FOLDER, OBJECT, QUARANTINE, RECEIPT, Lake, as_row, hour
from tests.support import Tenant, day_of_records, record

TEN = day_of_records(DAY, 10)
#: The folder for copies in progress, and one that a process left there.
STAGING = "_receipts/threats"
LEFTOVER = f"{STAGING}/.threats-{DAY}.parquet.4711-0badcafe.tmp"


def test_leftovers_of_dead_process_are_removed(extract: Extract, lake: Lake) -> None:
    lake.write(LEFTOVER, b"PAR1 half an obj")
    lake.write(f"{STAGING}/.{DAY}.json.4711-0badcafe.tmp", b'{"resource"')
    with Tenant(TEN) as tenant:
        extract(tenant)
    assert lake.files == [RECEIPT, OBJECT]


def test_leftovers_beside_unchanged_object_are_removed(extract: Extract, lake: Lake) -> None:
    with Tenant(TEN) as tenant:
        extract(tenant)
        lake.write(LEFTOVER, b"half")
        assert extract(tenant)["slices"][0]["changed"] is False
        assert lake.files == [RECEIPT, OBJECT]
        lake.path(RECEIPT).unlink()  # so that the object itself is read
        lake.write(LEFTOVER, b"half")
        assert extract(tenant)["slices"][0]["changed"] is False
    assert lake.files == [RECEIPT, OBJECT]


def test_leftovers_of_quarantine_are_removed_with_it(extract: Extract, lake: Lake) -> None:
    lake.write(f"{STAGING}/.{DAY}.jsonl.4711-0badcafe.tmp", b'{"id"')
    with Tenant(TEN) as tenant:
        extract(tenant)
    assert lake.files == [RECEIPT, OBJECT]


def test_copies_of_live_process_are_kept(extract: Extract, lake: Lake) -> None:
    path = lake.write(LEFTOVER, b"half")
    with Tenant(TEN) as tenant:
        with path.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            extract(tenant)
            assert lake.files == sorted([RECEIPT, LEFTOVER, OBJECT])
        tenant.dismiss(*[each["id"] for each in TEN])
        extract(tenant)
        assert lake.files == [RECEIPT, OBJECT]


def test_unknown_files_are_kept(extract: Extract, lake: Lake) -> None:
    others = [
        f"{FOLDER}/.tmp",
        f"{FOLDER}/.threats-{DAY}.parquet.crc",
        f"{FOLDER}/threats-{DAY}.parquet.4711.tmp",
        f"{STAGING}/.tmp",
        f"{STAGING}/.{DAY}.json.crc",
        f"{STAGING}/{DAY}.json.4711.tmp",
    ]
    for name in others:
        lake.write(name)
    with Tenant(TEN) as tenant:
        extract(tenant)
    assert lake.files == sorted([RECEIPT, OBJECT, *others])


def test_reader_keeps_the_object_that_it_opened(extract: Extract, lake: Lake) -> None:
    with Tenant(TEN) as tenant:
        extract(tenant)
        with lake.path(OBJECT).open("rb") as reader:
            content = lake.path(OBJECT).read_bytes()
            tenant.insert(*[record(n, hour(5)) for n in range(500)])
            extract(tenant)
            assert reader.read() == content
        assert lake.rows() == [as_row(each) for each in tenant.window(hour(0), hour(24))]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)], ids=oct)
def test_file_mode_follows_umask(extract: Extract, lake: Lake, umask: int, mode: int) -> None:
    earlier = os.umask(umask)
    try:
        with Tenant([*TEN, record(1, hour(5)) | {"id": None}]) as tenant:
            extract(tenant, max_quarantined=1)
    finally:
        os.umask(earlier)
    assert [oct(lake.path(name).stat().st_mode & 0o777) for name in (OBJECT, RECEIPT, QUARANTINE)] == [oct(mode)] * 3


def test_every_file_and_its_folder_are_synced(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    with Tenant([*TEN, record(1, hour(5)) | {"id": None}]) as tenant:
        extract(tenant, max_quarantined=1)
    for path in (lake.path(OBJECT), lake.path(RECEIPT), lake.path(QUARANTINE)):
        assert {path.stat().st_ino, path.parent.stat().st_ino} <= synced


def folders_fail(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Make ``fsync`` of folders fail; no file system that is at hand everywhere does."""
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EBADF, errno.ENOTSUP], ids=os.strerror)
def test_folder_that_cannot_be_synced_is_written(
    extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    folders_fail(monkeypatch, number)
    with Tenant(TEN) as tenant:
        assert extract(tenant)["slices"][0]["changed"] is True
        assert extract(tenant)["slices"][0]["changed"] is False
    assert lake.files == [RECEIPT, OBJECT]


def test_folder_with_io_error_fails(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    folders_fail(monkeypatch, errno.EIO)
    with Tenant(TEN) as tenant, pytest.raises(CloudlockUnavailableError, match="Input/output error"):
        extract(tenant)
