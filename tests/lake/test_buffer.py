"""RangeBuffer and SpillFile: few records stay in memory, many lie in an anonymous temporary file."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from threading import Barrier

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockUnavailableError
from airflow_provider_cloudlock.lake.buffer import BATCH, ROWS_IN_MEMORY, RangeBuffer, SpillFile
from tests.lake.buffers import (
    DAY,
    FIRST,
    LAYOUT,
    NEXT,
    SECOND,
    START,
    as_page,
    buffered,
    in_memory_and_spilled,
    joined,
    numbered,
    page_of,
    table,
)
from tests.support import day_of_records, record


def open_files() -> dict[int, str]:
    """Return the open files of the temporary folder, by descriptor of this process."""
    found = {}
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = os.readlink(each)
        except FileNotFoundError:  # the descriptor that lists them
            continue
        if target.startswith(tempfile.gettempdir()):
            found[int(each.name)] = target
    return found


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A folder for the temporary files of this test alone."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    gc.collect()
    yield folder
    assert list(folder.iterdir()) == []


# --- memory and file --------------------------------------------------------------------------------------------------


def test_buffer_few_records_open_no_file(scratch: Path) -> None:
    buffer = RangeBuffer(LAYOUT)
    buffer.add(as_page(numbered(ROWS_IN_MEMORY)))
    assert joined(buffer.day(FIRST).in_order(BATCH)).num_rows == ROWS_IN_MEMORY
    assert open_files() == {}


def test_buffer_many_records_lie_in_one_anonymous_file(scratch: Path) -> None:
    buffer = RangeBuffer(LAYOUT)
    buffer.add(as_page(numbered(ROWS_IN_MEMORY)))
    buffer.add(as_page(numbered(BATCH, ROWS_IN_MEMORY)))
    names = set(open_files().values())
    assert len(names) == 1
    assert names.pop().endswith("(deleted)")
    assert list(scratch.iterdir()) == []
    first = next(buffer.day(FIRST).in_order(BATCH))
    assert buffer.count == ROWS_IN_MEMORY + BATCH
    del buffer
    gc.collect()
    assert first.equals(numbered(BATCH))  # valid although the buffer is gone
    del first
    gc.collect()
    assert open_files() == {}


def test_buffer_unread_file_is_closed_with_buffer(scratch: Path) -> None:
    buffer = buffered([numbered(10)], rows_in_memory=1)
    assert open_files()
    del buffer
    gc.collect()
    assert open_files() == {}


def test_buffer_later_pages_go_to_same_file(scratch: Path) -> None:
    buffer = buffered([numbered(2 * BATCH)], rows_in_memory=BATCH)
    files = open_files()
    sizes = [[os.fstat(each).st_size for each in files]]
    for page in (numbered(1, 2 * BATCH), numbered(BATCH, 2 * BATCH + 1, START + timedelta(days=1))):
        buffer.add(as_page(page))
        sizes.append([os.fstat(each).st_size for each in files])
    assert open_files() == files
    assert sizes[0] == sizes[1] < sizes[2], "a few records stay in memory until there are many"
    assert joined(buffer.day(FIRST).in_order(BATCH)).equals(numbered(2 * BATCH + 1))
    assert buffer.day(SECOND).rows == BATCH


def test_buffer_spilled_records_keep_only_keys_and_times(scratch: Path) -> None:
    size = numbered(20_000).nbytes
    gc.collect()
    before = pa.total_allocated_bytes()
    buffer = buffered([numbered(1_000, first) for first in range(0, 20_000, 1_000)], rows_in_memory=BATCH)
    gc.collect()
    assert pa.total_allocated_bytes() - before < size / 3
    assert buffer.count == 20_000


def test_buffer_large_spilled_page_is_released(scratch: Path) -> None:
    gc.collect()
    before = pa.total_allocated_bytes()
    rows = numbered(99_999)
    size = rows.nbytes
    buffer = buffered([rows], rows_in_memory=0)
    del rows
    gc.collect()
    assert pa.total_allocated_bytes() - before < size / 2  # keys and creation times
    assert buffer.count == 99_999


def test_buffer_reading_continues_without_buffer(scratch: Path) -> None:
    rows = buffered([numbered(2 * BATCH)], rows_in_memory=0).day(FIRST).in_order(100)
    gc.collect()
    assert joined(rows).equals(numbered(2 * BATCH))
    del rows
    gc.collect()
    assert open_files() == {}


def test_buffer_full_disk_raises_unavailable(scratch: Path) -> None:
    buffer = buffered([numbered(BATCH)], rows_in_memory=1)
    _fill_disk_of(open_files())
    with pytest.raises(CloudlockUnavailableError, match=r"temporary folder .*the disk is full \(No space"):
        buffer.add(as_page(numbered(BATCH, BATCH)))


def test_buffer_disk_full_before_reading_raises(scratch: Path) -> None:
    buffer = buffered([numbered(BATCH)], rows_in_memory=1)
    _fill_disk_of(open_files())
    with pytest.raises(CloudlockUnavailableError, match=r"temporary folder .*the disk is full \(No space"):
        list(buffer.day(FIRST).in_order(BATCH))


def test_buffer_without_temporary_folder_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(CloudlockConfigError, match=f"temporary folder {tmp_path / 'missing'} cannot be written"):
        buffered([numbered(10)], rows_in_memory=1)


def _fill_disk_of(descriptors: dict[int, str]) -> None:
    """Let every further write to open files meet a full disk, which ``/dev/full`` is."""
    full = os.open("/dev/full", os.O_RDWR)
    for each in descriptors:
        os.dup2(full, each)
    os.close(full)


def test_spill_file_returns_batches_by_number(scratch: Path) -> None:
    file = SpillFile(LAYOUT.schema)
    batches = [numbered(n, 10 * n).combine_chunks().to_batches()[0] for n in (3, 5, 2)]
    assert [file.write(each) for each in batches] == [0, 1, 2]
    readers = [file.reader(), file.reader()]
    del file
    gc.collect()
    for number in (2, 0, 1):
        for reader in readers:
            assert reader.get_batch(number).equals(batches[number])


def test_day_records_pieces_stop_early_without_reading_all(scratch: Path) -> None:
    buffer = buffered([numbered(BATCH, n * BATCH) for n in range(4)], rows_in_memory=1)
    pieces = list(islice(buffer.day(FIRST).in_order(BATCH), 2))
    assert joined(iter(pieces)).equals(numbered(2 * BATCH))


# --- threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["ascending", "mixed"])
def test_day_records_of_many_threads_read_same_file(scratch: Path, order: str) -> None:
    days = [START + timedelta(days=n) for n in range(8)]
    expected = {day.date(): numbered(2_000, 10_000 * n, day) for n, day in enumerate(days)}
    rows = pa.concat_tables(expected.values())
    if order == "mixed":
        rows = rows.take(pa.array([n * 7_919 % rows.num_rows for n in range(rows.num_rows)]))
    buffer = buffered([rows[start : start + 3_000] for start in range(0, rows.num_rows, 3_000)], rows_in_memory=1)
    together = Barrier(len(days))

    def read(day: date) -> bool:
        together.wait(30)
        found = [joined(buffer.day(day).in_order(size)).equals(expected[day]) for size in (300, 700, 5_000)]
        buffer.release(day)
        return all(found)

    with ThreadPoolExecutor(len(days)) as pool:
        assert all(pool.map(read, expected))
    assert buffer.count == 0
    assert buffer.days() == []


# --- duplicates and unkept records ------------------------------------------------------------------------------------


def test_buffer_empty_holds_nothing() -> None:
    buffer = RangeBuffer(LAYOUT, 0)
    buffer.add(page_of())
    assert (buffer.count, buffer.distinct(), buffer.days(), buffer.unkept(FIRST)) == (0, 0, [], {})
    day = buffer.day(FIRST)
    assert (day.rows, day.sorted_by, day.keys.to_pylist(), list(day.in_order(10))) == (0, None, [], [])


@in_memory_and_spilled
def test_buffer_distinct_counts_keys_of_all_pages(rows_in_memory: int) -> None:
    buffer = RangeBuffer(LAYOUT, rows_in_memory)
    buffer.add(page_of(record(1, DAY), record(2, NEXT)))
    buffer.add(page_of(record(2, NEXT), {"id": None}))
    assert (buffer.distinct(), buffer.count) == (3, 4)


@pytest.mark.parametrize(
    ("keys", "distinct"),
    [
        (["1", "2", "1"], 2),
        (["1", "01", "001"], 3),
        (["1", "a", "1"], 2),
        (["1", "1.0", "-1"], 3),
        (["9" * 30, "9" * 30, "9" * 31], 2),
        (["\u00e9", "\u00e8", "\u00e9"], 2),
    ],
)
def test_buffer_distinct_compares_keys_as_text(keys: list[str], distinct: int) -> None:
    buffer = RangeBuffer(LAYOUT)
    for key in keys:
        buffer.add(page_of(record(0, DAY) | {"id": key}))
    assert (buffer.count, buffer.distinct()) == (3, distinct)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.lists(st.from_regex(r"[0-9]{1,3}", fullmatch=True), max_size=9), max_size=6))
def test_buffer_distinct_equals_number_of_different_keys(pages: list[list[str]]) -> None:
    buffer = buffered([table(keys, [START] * len(keys)) for keys in pages], rows_in_memory=5)
    assert buffer.distinct() == len({key for keys in pages for key in keys})
    assert buffer.count == sum(map(len, pages))


@in_memory_and_spilled
def test_buffer_unkept_records_are_counted_as_received(rows_in_memory: int) -> None:
    records = day_of_records(DAY, 6)
    nameless = {**records[1], "id": None, "created_at": f"{NEXT}T05:00:00+07:00"}
    timeless = {**records[2], "created_at": "soon"}
    buffer = RangeBuffer(LAYOUT, rows_in_memory)
    buffer.add(page_of(records[0], nameless, timeless))
    buffer.add(page_of(*records[3:], nameless))  # one of them again
    assert (buffer.day(FIRST).rows, buffer.count, buffer.distinct()) == (4, 7, 6)
    assert buffer.unkept(FIRST) == {FIRST: [nameless, timeless]}
    assert buffer.unkept(SECOND) == {FIRST: [nameless], SECOND: [timeless]}


def test_release_drops_day() -> None:
    buffer = RangeBuffer(LAYOUT)
    buffer.add(page_of(record(1, DAY), record(2, NEXT)))
    buffer.release(FIRST)
    buffer.release(FIRST)
    assert (buffer.days(), buffer.count, buffer.day(FIRST).rows) == ([SECOND], 1, 0)
