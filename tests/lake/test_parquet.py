"""The Parquet file of a day: deterministic bytes, read back when written, compared record by record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError
from airflow_provider_cloudlock.lake.buffer import DayRecords
from airflow_provider_cloudlock.lake.parquet import Identity, PublishedFile, write
from airflow_provider_cloudlock.lake.schema import SCHEMA_VERSION
from airflow_provider_cloudlock.lake.store import sha256
from tests.lake.buffers import FIRST, IN_MEMORY, LAYOUT, START, buffered

SCHEMA = LAYOUT.schema
IDENTITY = Identity("threats", "acme", FIRST, None)
GROUP = 20_000
#: Rows of two row groups, the second one short.
MANY = GROUP + 1_234
PATH = "s3://lake/threats/a.parquet"
REPETITIVE = {
    "status",
    "dismiss_reason",
    "threat_risk",
    "threat_type",
    "threat_entity",
    "short_description",
    "suspicious_ip",
    "_extra",
    "platforms.list.element",
    "locations.list.element",
    "users.list.element.display_name",
    "users.list.element.email",
}


@cache
def rows(count: int) -> pa.Table:
    """Make rows in order, with values in every column."""
    numbers = range(count)
    created = [START + timedelta(milliseconds=4 * (n // 2)) for n in numbers]  # two share each instant
    some = [time if n % 3 == 0 else None for n, time in enumerate(created)]
    people = [{"display_name": "Ada", "email": "ada@example.com"}, {"display_name": None, "email": "b@example.com"}]
    columns: dict[str, list[Any]] = {
        "id": [f"{n:06}" for n in numbers],
        "created_at": created,
        "updated_at": created,
        "detected_at": some,
        "start_time": created,
        "end_time": some,
        "status": ["DISMISSED" if n % 3 == 0 else "ACTIVE" for n in numbers],
        "dismissed_at": some,
        "dismiss_reason": ["Known" if n % 3 == 0 else None for n in numbers],
        "description": [f"Anomaly {n}: signed in repeatedly." for n in numbers],
        "event_count": [n % 20 for n in numbers],
        "platforms": [["google", "dropbox"][: n % 3] for n in numbers],
        "locations": [None if n % 5 == 0 else ["France"] for n in numbers],
        "users": [people[: n % 3] for n in numbers],
        "suspicious_ip": [f"203.0.113.{n % 254}" for n in numbers],
        "_extra": [None if n % 9 else '{"a":1}' for n in numbers],
    }
    fields = [columns.get(field.name, ["SAME"] * count) for field in SCHEMA]
    return pa.table([pa.array(v, f.type) for v, f in zip(fields, SCHEMA, strict=True)], SCHEMA)


def records_of(*tables: pa.Table, rows_in_memory: int = IN_MEMORY) -> DayRecords:
    buffer = buffered(list(tables), rows_in_memory)
    assert set(buffer.days()) <= {FIRST}
    return buffer.day(FIRST)


def written(path: Path, *tables: pa.Table, identity: Identity = IDENTITY, rows_in_memory: int = IN_MEMORY) -> Path:
    assert write(records_of(*tables, rows_in_memory=rows_in_memory), path, LAYOUT, identity) == sha256(path)
    return path


def published(path: Path, identity: Identity = IDENTITY) -> PublishedFile:
    return PublishedFile(path, PATH, LAYOUT, identity)


def changed(table: pa.Table, place: int, name: str, value: Any) -> pa.Table:
    """Return a table with one other value."""
    column = table.schema.get_field_index(name)
    field = SCHEMA.field(column)
    new = pa.chunked_array(
        [*table[name][:place].chunks, pa.array([value], field.type), *table[name][place + 1 :].chunks], field.type
    )
    return table.set_column(column, field, new)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two row groups, which no test changes."""
    return written(tmp_path_factory.mktemp("large") / "large.parquet", rows(MANY))


# --- bytes ------------------------------------------------------------------------------------------------------------


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, 5_300), max_size=6),
    seed=st.one_of(st.none(), st.integers(0, 99)),
    rows_in_memory=st.sampled_from([0, 3_000, IN_MEMORY]),
)
def test_write_same_records_gives_same_bytes(
    cuts: list[int], seed: int | None, rows_in_memory: int, tmp_path: Path
) -> None:
    table = rows(5_300)
    expected = written(tmp_path / "expected", table).read_bytes()
    edges = [0, *sorted(cuts), table.num_rows]
    pages = [table[start:end] for start, end in pairwise(edges)]
    if seed is not None:
        order = Random(seed).sample(range(table.num_rows), table.num_rows)
        pages = [table.take(pa.array(order[start:end], pa.int64())) for start, end in pairwise(edges)]
    assert written(tmp_path / "other", *pages, rows_in_memory=rows_in_memory).read_bytes() == expected


@pytest.mark.parametrize(("page", "rows_in_memory"), [(10_000, 10_000), (7_001, IN_MEMORY), (100, 0)])
def test_write_several_row_groups_gives_same_bytes(large: Path, tmp_path: Path, page: int, rows_in_memory: int) -> None:
    table = rows(MANY)
    pages = [table[start : start + page] for start in range(0, MANY, page)]
    if page == 7_001:
        pages.reverse()
    assert written(tmp_path / "other", *pages, rows_in_memory=rows_in_memory).read_bytes() == large.read_bytes()


def test_write_other_records_or_identity_gives_other_bytes(tmp_path: Path) -> None:
    table = rows(100)
    one = written(tmp_path / "one", table).read_bytes()
    assert written(tmp_path / "other", changed(table, 99, "event_count", 77)).read_bytes() != one
    for other in (replace(IDENTITY, status="Active"), replace(IDENTITY, tenant="other")):
        assert written(tmp_path / "other", table, identity=other).read_bytes() != one


# --- contents ---------------------------------------------------------------------------------------------------------


def test_write_file_has_rows_schema_and_identity(large: Path) -> None:
    with pq.ParquetFile(large) as file:
        assert file.read().equals(rows(MANY))
        assert file.schema_arrow.equals(SCHEMA)
        metadata = {name: value for name, value in file.schema_arrow.metadata.items() if name.startswith(b"cloudlock.")}
    assert metadata == {
        b"cloudlock.resource": b"threats",
        b"cloudlock.tenant": b"acme",
        b"cloudlock.day": b"2026-01-02",
        b"cloudlock.status": b"",
        b"cloudlock.schema_version": str(SCHEMA_VERSION).encode(),
    }


def test_write_row_groups_have_statistics_and_indexes(large: Path) -> None:
    metadata = pq.read_metadata(large)
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    assert [group.num_rows for group in groups] == [GROUP, MANY - GROUP]
    first = 0
    for group in groups:
        columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
        assert {column.compression for column in columns.values()} == {"ZSTD"}
        assert all(column.has_offset_index and column.has_column_index for column in columns.values())
        assert all(column.statistics.has_null_count for column in columns.values())
        created = columns["created_at"].statistics
        assert (created.min, created.max) == tuple(
            rows(MANY)["created_at"][n].as_py() for n in (first, first + group.num_rows - 1)
        )
        assert columns["status"].statistics.min == "ACTIVE"
        assert {name for name, column in columns.items() if column.has_dictionary_page} == REPETITIVE
        first += group.num_rows


@pytest.mark.parametrize(
    ("change", "by"),
    [
        (lambda table: table, "created_at"),
        (lambda table: renamed(table, everywhere=True), "detected_at"),
        (lambda table: renamed(table, everywhere=False), None),
    ],
    ids=["created_at", "detected_at", "mixed"],
)
def test_write_sorting_columns_name_creation_time(
    tmp_path: Path, change: Callable[[pa.Table], pa.Table], by: str | None
) -> None:
    path = written(tmp_path / "a", change(rows(50)))
    with pq.ParquetFile(path) as file:
        sorting = file.metadata.row_group(0).sorting_columns
        order = [(SCHEMA[each.column_index].name, each.descending) for each in sorting]
        assert order == ([(by, False), ("id", False)] if by else [])
        assert file.read()["id"].to_pylist() == rows(50)["id"].to_pylist()


def renamed(table: pa.Table, everywhere: bool) -> pa.Table:
    """Move the creation time to the time of detection, in all rows or in every other one."""
    lost = pa.array([everywhere or n % 2 == 0 for n in range(table.num_rows)])
    created = table["created_at"]
    columns = {
        "created_at": pc.if_else(lost, pa.scalar(None, created.type), created),
        "detected_at": pc.if_else(lost, created, pa.scalar(None, created.type)),
    }
    return pa.table([columns.get(name, table[name]) for name in SCHEMA.names], SCHEMA)


def test_write_no_records_gives_file_without_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    assert pq.read_table(path).equals(SCHEMA.empty_table())
    assert published(path).holds(records_of())
    assert not published(path).holds(records_of(rows(1)))
    assert published(path).rows_without(pa.array(["1"])).num_rows == 0


# --- read back --------------------------------------------------------------------------------------------------------


def test_write_missing_row_is_found_and_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table = pq.ParquetWriter.write_table
    monkeypatch.setattr(pq.ParquetWriter, "write_table", lambda writer, table: write_table(writer, table[1:]))
    with pytest.raises(CloudlockDataError, match=r"holds 9 rows instead of 10.*Nothing was published"):
        written(tmp_path / "short", rows(10))


def test_write_damaged_file_is_found_and_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "damaged"
    close = pq.ParquetWriter.close

    def damage(writer: pq.ParquetWriter) -> None:
        was_open = writer.is_open
        close(writer)
        if was_open:
            key = pq.read_metadata(path).row_group(0).column(0)
            data = bytearray(path.read_bytes())
            data[key.data_page_offset + key.total_compressed_size // 2] ^= 1
            path.write_bytes(data)

    monkeypatch.setattr(pq.ParquetWriter, "close", damage)
    with pytest.raises((CloudlockDataError, OSError, pa.ArrowInvalid), match="CRC"):
        written(path, rows(1_000))


# --- comparison with the published object -----------------------------------------------------------------------------


@pytest.mark.parametrize("rows_in_memory", [0, IN_MEMORY])
def test_holds_same_records_in_any_order(large: Path, rows_in_memory: int) -> None:
    table = rows(MANY)
    pages = [table[start : start + 7_777] for start in range(0, MANY, 7_777)]
    assert published(large).holds(records_of(*pages, rows_in_memory=rows_in_memory))
    assert published(large).holds(records_of(*reversed(pages), rows_in_memory=rows_in_memory))


@pytest.mark.parametrize("place", [0, 2_499, 2_500, GROUP - 1, GROUP, MANY - 1])
@pytest.mark.parametrize(
    ("name", "value"),
    [("status", None), ("event_count", 99), ("users", [{"display_name": "Eve", "email": None}]), ("_extra", "{}")],
)
def test_holds_one_other_value_returns_false(large: Path, place: int, name: str, value: Any) -> None:
    assert not published(large).holds(records_of(changed(rows(MANY), place, name, value)))


def test_holds_missing_or_added_record_returns_false(large: Path) -> None:
    table = rows(MANY + 1)
    assert published(large).holds(records_of(table[:MANY]))
    assert not published(large).holds(records_of(table))
    assert not published(large).holds(records_of(table[: MANY - 1]))
    assert not published(large).holds(records_of(table[1:]))
    assert not published(large).holds(records_of(table[:GROUP], table[GROUP + 1 :]))
    assert not published(large).holds(records_of())


@pytest.mark.parametrize("kept", [[], [0], [GROUP - 1, GROUP], [5, 2_500, 19_999, 20_000, MANY - 1], range(MANY)])
def test_rows_without_keys_returns_other_rows(large: Path, kept: Any) -> None:
    table = rows(MANY)
    places = pa.array(kept, pa.int64())
    keys = table["id"].combine_chunks()
    others = keys.filter(pc.invert(pc.is_in(keys, value_set=keys.take(places))))
    assert published(large).rows_without(others).equals(table.take(places))


# --- published objects that are refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize("name", ["id", "description", "event_count"])
def test_published_file_with_damaged_page_raises(large: Path, tmp_path: Path, group: int, name: str) -> None:
    metadata = pq.read_metadata(large).row_group(group)
    column = next(metadata.column(n) for n in range(metadata.num_columns) if metadata.column(n).path_in_schema == name)
    data = bytearray(large.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    damaged = tmp_path / "damaged"
    damaged.write_bytes(data)
    with pytest.raises(CloudlockDataError, match=rf"{PATH} cannot be read as Parquet \(.*CRC.*Move it away"):
        published(damaged).holds(records_of(rows(MANY)))
    with pytest.raises(CloudlockDataError, match=r"cannot be read as Parquet \(.*CRC"):
        published(damaged).rows_without(pa.array(["000001"]))


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"PAR1" * 9])
def test_published_file_not_parquet_raises(large: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    damaged = tmp_path / "damaged"
    damaged.write_bytes(damage(large.read_bytes()))
    with pytest.raises(CloudlockDataError, match=r"cannot be read as Parquet .* it is not known which of its records"):
        published(damaged)


@pytest.mark.parametrize(
    "table",
    [
        rows(2).drop_columns("_extra"),
        rows(2).append_column("new", pa.nulls(2)),
        rows(2).rename_columns(["ID", *SCHEMA.names[1:]]),
    ],
    ids=["less", "more", "other"],
)
def test_published_file_with_other_columns_raises(tmp_path: Path, table: pa.Table) -> None:
    pq.write_table(table, tmp_path / "a")
    with pytest.raises(CloudlockDataError, match=f"{PATH} has other columns than this version writes. Move it away"):
        published(tmp_path / "a")


@pytest.mark.parametrize(("theirs", "ours"), [(None, "Active"), ("Active", None), ("Active", "Dismissed")])
def test_published_file_with_other_status_raises(tmp_path: Path, theirs: str | None, ours: str | None) -> None:
    path = written(tmp_path / "a", rows(2), identity=replace(IDENTITY, status=theirs))
    assert published(path, replace(IDENTITY, status=theirs)).holds(records_of(rows(2)))
    message = f"{PATH} was extracted with status={theirs!r}, and this run asks for status={ours!r}: one would replace"
    with pytest.raises(CloudlockConfigError, match=message):
        published(path, replace(IDENTITY, status=ours))


def test_published_file_of_other_tenant_raises(tmp_path: Path) -> None:
    path = written(tmp_path / "a", rows(2), identity=replace(IDENTITY, tenant="other"))
    message = f"{PATH} holds data of the Cloudlock tenant 'other', and this connection is one of 'acme'"
    with pytest.raises(CloudlockConfigError, match=message):
        published(path)
