"""The records of a slice while it is read: the same whether they lie in memory or on disk."""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.lake import spool as spool_module
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.schemas import SCHEMAS, Layout
from airflow_provider_cloudlock.lake.spool import BATCH, ROWS_IN_MEMORY, Spool
from tests.support import day_of_records, record

LAYOUT = Layout(SCHEMAS["threats"], "id", ("created_at", "detected_at"))
DAY = "2026-01-02"
START = datetime(2026, 1, 2, tzinfo=UTC)

IN_MEMORY = 10**9


def table(keys: list[str], created: list[datetime], detected: list[datetime] | None = None) -> pa.Table:
    """Make rows that know little but what they are ordered by; a third have something in the other columns."""
    columns: dict[str, list[Any]] = {
        "id": keys,
        "created_at": [None] * len(keys) if detected else created,
        "detected_at": detected or [None] * len(keys),
        "description": [f"Anomaly {key}" if int(key) % 3 else None for key in keys],
        "users": [[{"display_name": None, "email": key}] * (int(key) % 3) for key in keys],
    }
    fields = [columns.get(field.name, [None] * len(keys)) for field in LAYOUT.schema]
    return pa.table([pa.array(v, f.type) for v, f in zip(fields, LAYOUT.schema, strict=True)], LAYOUT.schema)


def numbered(count: int, first: int = 0) -> pa.Table:
    """Make rows in order."""
    numbers = range(first, first + count)
    return table([f"{n:06}" for n in numbers], [START + timedelta(milliseconds=n) for n in numbers])


def spooled(pages: list[pa.Table], rows_in_memory: int) -> Spool:
    spool = Spool(LAYOUT, rows_in_memory)
    for page in pages:
        spool.add_rows(page)
    return spool


def sorted_rows(rows: pa.Table) -> pa.Table:
    """Sort as Arrow does, all at once: the truth."""
    with_time = rows.append_column("_created", LAYOUT.created(rows))
    return with_time.sort_by([("_created", "ascending"), ("id", "ascending")]).drop_columns("_created")


def page_of(*records: dict[str, Any]) -> ArrowPage:
    return ArrowFormat(LAYOUT).decode(json.dumps({"items": records}).encode())


def open_files() -> set[str]:
    """Tell which files of the folder for temporary files are open, by the descriptors of this process."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(each)
        except FileNotFoundError:  # the one that lists them
            continue
        if target.startswith(tempfile.gettempdir()):
            found.add(f"{each.name} {target}")
    return found


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder of this test alone for temporary files."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    gc.collect()
    yield folder
    assert list(folder.iterdir()) == []


# --- where the records lie --------------------------------------------------------------------------------------------


def test_few_records_make_no_file(scratch: Path) -> None:
    spool = Spool(LAYOUT)
    spool.add_rows(numbered(ROWS_IN_MEMORY))
    assert sum(each.num_rows for each in spool.in_order(BATCH)) == ROWS_IN_MEMORY
    assert open_files() == set()


def test_many_records_lie_in_one_file_that_has_no_name_and_goes_with_them(scratch: Path) -> None:
    spool = Spool(LAYOUT)
    spool.add_rows(numbered(ROWS_IN_MEMORY))
    spool.add_rows(numbered(BATCH, ROWS_IN_MEMORY))
    held = open_files()
    assert len(held) == 1
    assert held.pop().endswith("(deleted)")
    assert list(scratch.iterdir()) == []
    first = next(spool.in_order(BATCH))
    assert spool.count == ROWS_IN_MEMORY + BATCH
    del spool
    gc.collect()
    assert open_files() == set()
    assert first.equals(numbered(BATCH))  # what was given is no view of the file


def test_what_comes_later_goes_to_the_same_file(scratch: Path) -> None:
    spool = spooled([numbered(2 * BATCH)], rows_in_memory=BATCH)
    held = open_files()
    assert len(held) == 1
    size = [os.fstat(int(each.split()[0])).st_size for each in held]
    spool.add_rows(numbered(BATCH, 2 * BATCH))
    assert open_files() == held
    assert [os.fstat(int(each.split()[0])).st_size for each in held] > size
    assert pa.concat_tables(spool.as_they_came()).equals(numbered(3 * BATCH))


def test_of_records_on_disk_only_keys_and_times_take_memory(scratch: Path) -> None:
    size = numbered(20_000).nbytes
    gc.collect()
    before = pa.total_allocated_bytes()
    spool = spooled([numbered(1_000, first) for first in range(0, 20_000, 1_000)], rows_in_memory=BATCH)
    gc.collect()
    assert pa.total_allocated_bytes() - before < size / 3
    assert spool.rows == 20_000


def test_reading_goes_on_when_only_the_rows_are_held(scratch: Path) -> None:
    rows = spooled([numbered(2 * BATCH)], rows_in_memory=0).as_they_came()
    gc.collect()
    assert pa.concat_tables(rows).equals(numbered(2 * BATCH))
    del rows
    gc.collect()
    assert open_files() == set()


# --- the same either way ----------------------------------------------------------------------------------------------


@st.composite
def pages(draw: st.DrawFn) -> list[pa.Table]:
    """Draw pages of any size, their rows in some order, with times that several share."""
    sizes = draw(st.lists(st.integers(0, 12), max_size=8))
    count = sum(sizes)
    per_instant = draw(st.sampled_from([1, 2, 7, 100]))
    rows = [(START + timedelta(seconds=n // per_instant), f"{n * 37 % 101:03}") for n in range(count)]
    order = draw(st.sampled_from(["as made", "ascending", "descending", "mixed"]))
    if order == "mixed":
        rows = draw(st.permutations(rows))
    elif order != "as made":
        rows.sort(reverse=order == "descending")
    parts = []
    for size in sizes:
        part, rows = rows[:size], rows[size:]
        times, keys = [time for time, _ in part], [key for _, key in part]
        detected = draw(st.sampled_from([None, times])) if part else None
        parts.append(table(keys, times, detected))
    return parts


@settings(max_examples=80, deadline=None, derandomize=True)
@given(
    pages=pages(), rows_in_memory=st.sampled_from([0, 5, IN_MEMORY]), size=st.integers(1, 30), batch=st.integers(1, 9)
)
def test_everything_it_tells_is_what_was_given(
    pages: list[pa.Table], rows_in_memory: int, size: int, batch: int
) -> None:
    whole = pa.concat_tables([LAYOUT.schema.empty_table(), *pages])
    with patch.object(spool_module, "BATCH", batch):
        spool = spooled(pages, rows_in_memory)
        assert spool.rows == spool.count == spool.distinct() == whole.num_rows
        pieces = list(spool.in_order(size))
        assert [piece.num_rows for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
        assert pa.concat_tables([LAYOUT.schema.empty_table(), *pieces]).equals(sorted_rows(whole))
        assert pa.concat_tables([LAYOUT.schema.empty_table(), *spool.as_they_came()]).equals(whole)
        assert spool.keys.to_pylist() == whole["id"].to_pylist()
        filled = [name for name in LAYOUT.time_fields if whole.num_rows and not whole[name].null_count]
        assert spool.sorted_by == (filled[0] if filled else None)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(one=pages(), other=pages(), places=st.tuples(*[st.sampled_from([0, 5, IN_MEMORY])] * 2))
def test_two_of_them(one: list[pa.Table], other: list[pa.Table], places: tuple[int, int]) -> None:
    whole = pa.concat_tables([LAYOUT.schema.empty_table(), *one, *other])
    with patch.object(spool_module, "BATCH", 4):
        left, right = spooled(one, places[0]), spooled(other, places[1])
        both = pc.count_distinct(whole["id"]).as_py()
        assert left.distinct(right) == right.distinct(left) == both
        left.join(right)
        assert (left.rows, left.distinct()) == (whole.num_rows, both)
        assert pa.concat_tables([LAYOUT.schema.empty_table(), *left.as_they_came()]).equals(whole)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(pages=pages(), more=pages())
def test_more_may_come_after_a_look(pages: list[pa.Table], more: list[pa.Table]) -> None:
    whole = pa.concat_tables([LAYOUT.schema.empty_table(), *pages, *more])
    with patch.object(spool_module, "BATCH", 4):
        spool = spooled(pages, 5)
        assert len(spool.keys) == spool.rows
        for page in more:
            spool.add_rows(page)
        assert spool.keys.to_pylist() == whole["id"].to_pylist()
        assert [each for piece in spool.in_order(3) for each in piece["id"].to_pylist()] == (
            sorted_rows(whole)["id"].to_pylist()
        )


@pytest.mark.parametrize("rows_in_memory", [0, ROWS_IN_MEMORY, IN_MEMORY])
@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_a_large_slice_in_order(rows_in_memory: int, order: str) -> None:
    rows = numbered(3 * BATCH + 17)
    came = rows if order == "ascending" else rows.take(pa.array(range(rows.num_rows - 1, -1, -1)))
    spool = spooled([came[start : start + 999] for start in range(0, came.num_rows, 999)], rows_in_memory)
    assert pa.concat_tables(spool.in_order(BATCH)).equals(rows)


# --- what is not an ordinary row --------------------------------------------------------------------------------------


def test_an_empty_one() -> None:
    spool = Spool(LAYOUT, 0)
    spool.add(page_of())
    assert (spool.rows, spool.count, spool.distinct(), spool.sorted_by) == (0, 0, 0, None)
    assert spool.keys.to_pylist() == list(spool.in_order(10)) == list(spool.as_they_came()) == []


@pytest.mark.parametrize("rows_in_memory", [0, IN_MEMORY])
def test_records_that_cannot_be_kept_are_counted_and_held_as_they_came(rows_in_memory: int) -> None:
    records = day_of_records(DAY, 6)
    lost = [{**records[1], "id": None}, {**records[2], "created_at": "soon"}]
    spool = Spool(LAYOUT, rows_in_memory)
    spool.add(page_of(*records[:1], *lost))
    spool.add(page_of(*records[3:], lost[0]))  # one of them comes again
    assert (spool.rows, spool.count, spool.distinct()) == (4, 7, 6)
    assert [each for each, _ in spool.unkept.values()] == lost
    other = Spool(LAYOUT, rows_in_memory)
    other.add(page_of(records[0], lost[1], {**records[5], "id": ""}))
    assert spool.distinct(other) == other.distinct(spool) == 7
    spool.join(other)
    assert (spool.rows, spool.count, spool.distinct()) == (5, 10, 7)


def test_the_time_of_detection_counts_where_there_is_no_time_of_creation() -> None:
    hours = [f"{DAY}T0{hour}:00:00+00:00" for hour in range(6)]
    detected = [record(9 - n, hour) | {"created_at": None, "detected_at": hour} for n, hour in enumerate(hours)]
    spool = Spool(LAYOUT)
    spool.add(page_of(*detected[3:], *detected[:3]))
    assert spool.sorted_by == "detected_at"
    assert [key for piece in spool.in_order(4) for key in piece["id"].to_pylist()] == ["9", "8", "7", "6", "5", "4"]
    spool.add(page_of(record(1, f"{DAY}T02:30:00Z")))
    assert spool.sorted_by is None
    assert [key for piece in spool.in_order(4) for key in piece["id"].to_pylist()][2:4] == ["7", "1"]


def test_a_large_page_on_disk_takes_no_memory() -> None:
    table = numbered(99_999)
    size = table.nbytes
    spool = Spool(LAYOUT, rows_in_memory=0)
    spool.add_rows(table)
    del table
    gc.collect()
    before = pa.total_allocated_bytes()
    del spool
    gc.collect()
    assert before - pa.total_allocated_bytes() < size / 2  # keys, creation times, and a few rows


@pytest.mark.parametrize("rows_in_memory", [IN_MEMORY, 1])
def test_of_rows_that_came_again_the_newest_versions_stay(rows_in_memory: int) -> None:
    early, late = (record(n, DAY, updated_at=f"{DAY}T0{n}:00:00Z")["updated_at"] for n in (1, 2))
    spool = Spool(LAYOUT, rows_in_memory)
    spool.add(page_of(*(record(n, DAY, updated_at=early, event_count=1) for n in range(3_000))))
    changed = [record(n, DAY, updated_at=[late, early, None][n % 3], event_count=2) for n in range(600)]
    spool.add(page_of(*changed, {"event_count": 7}))
    spool.add(page_of({"event_count": 7}, record(3_000, DAY, event_count=3)))
    newest = spool.newest()
    found = {row["id"]: row["event_count"] for table in newest.as_they_came() for row in table.to_pylist()}
    assert found == {str(n): 2 if n < 600 and n % 3 < 2 else 3 if n == 3_000 else 1 for n in range(3_001)}
    assert (newest.rows, newest.count, newest.distinct()) == (3_001, 3_002, 3_002)
    assert newest.newest() is newest
    assert [row["id"] for table in newest.in_order(100) for row in table.to_pylist()] == sorted(found)


@pytest.mark.parametrize("rows_in_memory", [IN_MEMORY, 1])
def test_versions_are_compared(rows_in_memory: int) -> None:
    one, other, empty = (Spool(LAYOUT, rows_in_memory) for _ in range(3))
    early, late = f"{DAY}T01:00:00Z", f"{DAY}T02:00:00Z"
    nameless = {"event_count": 7}
    one.add(page_of(*(record(n, DAY, updated_at=[early, None][n % 2]) for n in range(3_000)), nameless))
    other.add(page_of(*(record(n, DAY, updated_at=[early, None, late][n % 3]) for n in range(2_999, 5, -1)), nameless))
    compared = dict(one.compared(other))
    same = {n for n in range(6, 3_000) if [early, None][n % 2] == [early, None, late][n % 3]}
    assert {key for key, is_same in compared.items() if is_same} == {*map(str, same), *other.unkept}
    assert len(compared) == 3_001
    assert set(dict(one.compared(empty)).values()) == {False}
    assert dict(empty.compared(one)) == {}
