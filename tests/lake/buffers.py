"""Rows to fill a RangeBuffer with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from airflow_provider_cloudlock.lake.buffer import BATCH, DayRecords, RangeBuffer
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.pages import Echo
from airflow_provider_cloudlock.resources import RESOURCES

LAYOUT = Layout.of(RESOURCES["threats"])
DAY, NEXT = "2026-01-02", "2026-01-03"
FIRST, SECOND = date(2026, 1, 2), date(2026, 1, 3)
START = datetime(2026, 1, 2, tzinfo=UTC)
IN_MEMORY = 10**9

in_memory_and_spilled = pytest.mark.parametrize("rows_in_memory", [IN_MEMORY, 1], ids=["memory", "spilled"])


def table(keys: list[str], created: list[datetime], detected: list[datetime] | None = None) -> pa.Table:
    """Make rows with a key and a creation time; a third have values in other columns."""
    columns: dict[str, list[Any]] = {
        "id": keys,
        "created_at": [None] * len(keys) if detected else created,
        "detected_at": detected or [None] * len(keys),
        "description": [f"Anomaly {key}" if int(key) % 3 else None for key in keys],
        "users": [[{"display_name": None, "email": key}] * (int(key) % 3) for key in keys],
    }
    fields = [columns.get(field.name, [None] * len(keys)) for field in LAYOUT.schema]
    return pa.table([pa.array(v, f.type) for v, f in zip(fields, LAYOUT.schema, strict=True)], LAYOUT.schema)


def numbered(count: int, first: int = 0, start: datetime = START) -> pa.Table:
    """Make rows in order, a millisecond apart."""
    numbers = range(first, first + count)
    return table([f"{n:06}" for n in numbers], [start + timedelta(milliseconds=n) for n in numbers])


def as_page(rows: pa.Table) -> ArrowPage:
    """Make a page of rows; what was received does not matter to a buffer."""
    return ArrowPage(Echo(), rows.slice(0, 0), True, True, rows, {}, LAYOUT)


def page_of(*records: dict[str, Any]) -> ArrowPage:
    return ArrowFormat(LAYOUT).decode(json.dumps({"items": records}).encode())


def buffered(pages: list[pa.Table], rows_in_memory: int) -> RangeBuffer:
    buffer = RangeBuffer(LAYOUT, rows_in_memory)
    for page in pages:
        buffer.add(as_page(page))
    return buffer


def joined(tables: Iterator[pa.Table]) -> pa.Table:
    return pa.concat_tables([LAYOUT.schema.empty_table(), *tables])


def ids(records: DayRecords) -> list[str]:
    found: list[str] = joined(records.in_order(BATCH))["id"].to_pylist()
    return found


def sorted_rows(rows: pa.Table) -> pa.Table:
    """Sort with Arrow, all rows together: the expected order."""
    with_time = rows.append_column("_created", LAYOUT.created(rows))
    return with_time.sort_by([("_created", "ascending"), ("id", "ascending")]).drop_columns("_created")
