"""Files on a local disk: replaced whole, readable as the umask says, and nothing left of processes that died."""

from __future__ import annotations

import fcntl
import os

import pytest

from tests.operators.conftest import Extract
from tests.operators.lake import DAY, FOLDER, NAME, OBJECT, QUARANTINE, RECEIPT, Lake, as_row, hour, stem
from tests.support import Tenant, day_of_records, record

TEN = day_of_records(DAY, 10)
LEFTOVER = f"{FOLDER}/.{NAME}.parquet.4711-0badcafe.tmp"


def test_leftovers_of_a_dead_process_go(extract: Extract, lake: Lake) -> None:
    lake.write(LEFTOVER, b"PAR1 half an obj")
    lake.write(f"_receipts/{FOLDER}/.{NAME}.json.4711-0badcafe.tmp", b'{"resource"')
    with Tenant(TEN) as tenant:
        extract(tenant)
    assert lake.files == [RECEIPT, OBJECT]


def test_leftovers_go_when_the_records_are_those_published_before(extract: Extract, lake: Lake) -> None:
    with Tenant(TEN) as tenant:
        extract(tenant)
        lake.write(LEFTOVER, b"half")
        assert extract(tenant)["slices"][0]["changed"] is False
    assert lake.files == [RECEIPT, OBJECT]


def test_leftovers_of_a_quarantine_go_with_it(extract: Extract, lake: Lake) -> None:
    lake.write(QUARANTINE.replace(NAME, f".{NAME}") + ".4711-0badcafe.tmp", b'{"id"')
    with Tenant(TEN) as tenant:
        extract(tenant)
    assert lake.files == [RECEIPT, OBJECT]


def test_leftovers_of_superseded_slices_go_with_them(extract: Extract, lake: Lake) -> None:
    inside = stem(hour(6), hour(7))
    with Tenant(TEN) as tenant:
        extract(tenant, hour(6), hour(7))
        lake.write(f"{FOLDER}/.{inside}.parquet.4711-0badcafe.tmp", b"half")
        lake.write(f"_receipts/{FOLDER}/.{inside}.json.4711-0badcafe.tmp", b"half")
        extract(tenant)
    assert lake.files == [RECEIPT, OBJECT]


def test_what_another_process_is_writing_is_left_alone(extract: Extract, lake: Lake) -> None:
    path = lake.write(LEFTOVER, b"half")
    with Tenant(TEN) as tenant:
        with path.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            extract(tenant)
            assert lake.files == [RECEIPT, LEFTOVER, OBJECT]
        tenant.dismiss(*[each["id"] for each in TEN])
        extract(tenant)
        assert lake.files == [RECEIPT, OBJECT]


def test_hidden_files_of_others_are_left_alone(extract: Extract, lake: Lake) -> None:
    others = [f"{FOLDER}/.tmp", f"{FOLDER}/.{NAME}.parquet.crc", f"{FOLDER}/{NAME}.parquet.4711.tmp"]
    for name in others:
        lake.write(name)
    with Tenant(TEN) as tenant:
        extract(tenant)
    assert lake.files == sorted([RECEIPT, OBJECT, *others])


def test_a_reader_keeps_the_whole_object_that_it_opened(extract: Extract, lake: Lake) -> None:
    with Tenant(TEN) as tenant:
        extract(tenant)
        with lake.path(OBJECT).open("rb") as reader:
            whole = lake.path(OBJECT).read_bytes()
            tenant.insert(*[record(n, hour(5)) for n in range(500)])
            extract(tenant)
            assert reader.read() == whole
        assert lake.rows() == [as_row(each) for each in tenant.window(hour(0), hour(24))]


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)], ids=oct)
def test_who_may_read_follows_the_umask(extract: Extract, lake: Lake, umask: int, mode: int) -> None:
    earlier = os.umask(umask)
    try:
        with Tenant([*TEN, record(1, hour(5)) | {"id": None}]) as tenant:
            extract(tenant, max_quarantined=1)
    finally:
        os.umask(earlier)
    assert [oct(lake.path(name).stat().st_mode & 0o777) for name in (OBJECT, RECEIPT, QUARANTINE)] == [oct(mode)] * 3
