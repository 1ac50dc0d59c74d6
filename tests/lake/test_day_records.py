"""DayRecords: the records of a day in order of creation time and key, in memory or spilled."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.lake.buffer import BATCH, ROWS_IN_MEMORY, RangeBuffer
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.schema import Layout
from tests.lake.buffers import (
    DAY,
    FIRST,
    IN_MEMORY,
    LAYOUT,
    NEXT,
    SECOND,
    START,
    buffered,
    ids,
    in_memory_and_spilled,
    joined,
    numbered,
    page_of,
    sorted_rows,
    table,
)
from tests.lake.made_up import REPORTS
from tests.support import record


@st.composite
def pages(draw: st.DrawFn) -> list[pa.Table]:
    """Draw pages of any size over some days, their rows in any order, with creation times that several share."""
    sizes = draw(st.lists(st.integers(0, 12), max_size=8))
    count = sum(sizes)
    step = draw(st.sampled_from([timedelta(seconds=1), timedelta(hours=5), timedelta(days=1)]))
    per_instant = draw(st.sampled_from([1, 2, 7, 100]))
    start = START + draw(st.sampled_from([timedelta(), -timedelta(microseconds=1), timedelta(days=-20_000)]))
    rows = [(start + n // per_instant * step, f"{n * 37 % 101:03}") for n in range(count)]
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


def of_day(rows: pa.Table, day: date) -> pa.Table:
    """Return the rows of one UTC day, in the order in which they came."""
    times = LAYOUT.created(rows).to_pylist()
    return rows.filter(pa.array([time.date() == day for time in times], pa.bool_()))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(pages=pages(), rows_in_memory=st.sampled_from([0, 5, IN_MEMORY]), size=st.integers(1, 30))
def test_buffer_days_hold_their_records_in_order(pages: list[pa.Table], rows_in_memory: int, size: int) -> None:
    whole = joined(iter(pages))
    buffer = buffered(pages, rows_in_memory)
    assert buffer.count == buffer.distinct() == whole.num_rows
    assert set(buffer.days()) == {time.date() for time in LAYOUT.created(whole).to_pylist()}
    assert len(buffer.days()) == len(set(buffer.days()))
    for day in buffer.days():
        records, expected = buffer.day(day), of_day(whole, day)
        assert records.rows == expected.num_rows
        assert sorted(records.keys.to_pylist()) == sorted(expected["id"].to_pylist())
        pieces = list(records.in_order(size))
        assert [piece.num_rows for piece in pieces[:-1]] == [size] * (len(pieces) - 1)
        assert joined(iter(pieces)).equals(sorted_rows(expected))
        filled = [name for name in ("created_at", "detected_at") if not expected[name].null_count]
        assert records.sorted_by == (filled[0] if filled else None)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(pages=pages(), more=pages(), rows_in_memory=st.sampled_from([0, 5, IN_MEMORY]))
def test_day_records_added_after_reading_are_sorted_in(
    pages: list[pa.Table], more: list[pa.Table], rows_in_memory: int
) -> None:
    buffer = buffered(pages, rows_in_memory)
    for day in buffer.days():
        records, vanished = buffer.day(day), of_day(joined(iter(more)), day)
        expected = pa.concat_tables([of_day(joined(iter(pages)), day), vanished])
        assert joined(records.in_order(3)).num_rows == records.rows
        records.add(vanished)
        assert records.rows == expected.num_rows
        times = LAYOUT.created(joined(records.in_order(3))).to_pylist()
        assert times == sorted(LAYOUT.created(expected).to_pylist())
        assert sorted(ids(records)) == sorted(expected["id"].to_pylist())


@pytest.mark.parametrize("rows_in_memory", [0, ROWS_IN_MEMORY, IN_MEMORY])
@pytest.mark.parametrize("order", ["ascending", "descending"])
def test_day_records_of_large_day_are_in_order(rows_in_memory: int, order: str) -> None:
    rows = numbered(3 * BATCH + 17)
    came = rows if order == "ascending" else rows.take(pa.array(range(rows.num_rows - 1, -1, -1)))
    buffer = buffered([came[start : start + 999] for start in range(0, came.num_rows, 999)], rows_in_memory)
    assert joined(buffer.day(FIRST).in_order(BATCH)).equals(rows)


@in_memory_and_spilled
def test_day_records_without_creation_time_sort_by_detection(rows_in_memory: int) -> None:
    hours = [f"{DAY}T0{hour}:00:00+00:00" for hour in range(6)]
    detected = [record(9 - n, hour) | {"created_at": None, "detected_at": hour} for n, hour in enumerate(hours)]
    buffer, mixed = (RangeBuffer(LAYOUT, rows_in_memory) for _ in range(2))
    for each in (buffer, mixed):
        each.add(page_of(*detected[3:], *detected[:3]))
    assert buffer.day(FIRST).sorted_by == "detected_at"
    assert ids(buffer.day(FIRST)) == ["9", "8", "7", "6", "5", "4"]
    mixed.add(page_of(record(1, f"{DAY}T02:30:00Z")))
    assert mixed.day(FIRST).sorted_by is None
    assert ids(mixed.day(FIRST))[2:4] == ["7", "1"]


def test_day_records_end_at_utc_midnight() -> None:
    midnight = datetime(2026, 1, 3, tzinfo=UTC)
    times = [midnight, midnight - timedelta(microseconds=1), datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)]
    buffer = buffered([table(["1", "2", "3"], times)], IN_MEMORY)
    assert {day: ids(buffer.day(day)) for day in buffer.days()} == {
        SECOND: ["1"],
        FIRST: ["2"],
        date(1969, 12, 31): ["3"],
    }


@in_memory_and_spilled
def test_buffer_of_other_resource_uses_its_columns(rows_in_memory: int) -> None:
    page_format = ArrowFormat(Layout.of(REPORTS))
    buffer = RangeBuffer(Layout.of(REPORTS), rows_in_memory)
    one = {"number": "b", "made_at": f"{NEXT}T00:00:00Z", "changed_at": f"{NEXT}T01:00:00Z", "score": 1.5}
    two = {**one, "number": "a", "made_at": f"{DAY}T00:00:00Z"}
    for each in (one, two):
        buffer.add(page_format.decode(json.dumps({"items": [each]}).encode()))
    found = pa.concat_tables([each for day in (FIRST, SECOND) for each in buffer.day(day).in_order(9)])
    assert (found["number"].to_pylist(), found["score"].to_pylist()) == (["a", "b"], [1.5, 1.5])
    assert buffer.day(SECOND).sorted_by == "made_at"
