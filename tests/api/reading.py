"""Reading a window of a tenant as hook and operator do, and comparing it with the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow_provider_cloudlock.api.endpoint import Endpoint
from airflow_provider_cloudlock.api.pagination.reader import Reader
from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.api.records import RecordFormat, Records
from airflow_provider_cloudlock.api.result_set import ResultSet
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.pages import PageFormat
from airflow_provider_cloudlock.resources import RESOURCES, Resource
from tests.api.asking import client_of
from tests.support import Record, Tenant, day_of_records

THREATS = RESOURCES["threats"]
BEFORE, DAY, NEXT, AFTER = (f"2026-01-0{n}" for n in range(1, 5))
START, END = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
WINDOW = Query(start=START, end=END)

FORMATS: dict[str, Callable[[], PageFormat[Any, Any]]] = {
    "dicts": lambda: RecordFormat(THREATS),
    "arrow": lambda: ArrowFormat(Layout.of(THREATS)),
}


def amid(records: list[Record]) -> list[Record]:
    """Put records between those of the days before and after."""
    return [*day_of_records(BEFORE, 5), *records, *day_of_records(NEXT, 5)]


@contextmanager
def reader_of(
    tenant: Tenant,
    kind: str = "dicts",
    page_size: int = 10_000,
    resource: Resource = THREATS,
    connections: int = 1,
) -> Iterator[Reader[Any, Any]]:
    """Make a reader of a tenant, for pages of dicts or of Arrow."""
    with client_of(tenant) as client:
        yield Reader(Endpoint(client, resource, FORMATS[kind](), page_size, connections=connections))


def read(
    tenant: Tenant,
    kind: str = "dicts",
    page_size: int = 10_000,
    resource: Resource = THREATS,
    query: Query = WINDOW,
    at_most: int | None = None,
    connections: int = 1,
) -> ResultSet[Any]:
    """Read once, with a reader of its own."""
    with reader_of(tenant, kind, page_size, resource, connections) as reader:
        return reader.read(query, at_most)


def keys(result: ResultSet[Any]) -> list[str]:
    """Return the keys of all records, in the order they came."""
    return [str(row["id"]) for row in rows(result)]


def rows(result: ResultSet[Any]) -> list[dict[str, Any]]:
    """Return all records, in the order they came."""
    found = result.records
    return (
        list(found)
        if isinstance(found, Records)
        else [
            row for day in sorted(found.days()) for table in found.day(day).in_order(1000) for row in table.to_pylist()
        ]
    )


def assert_promise(tenant: Tenant, result: ResultSet[Any]) -> None:
    """The promise while things change: what was there throughout is held, and nothing twice."""
    got = keys(result)
    assert len(set(got)) == len(got)
    assert set(tenant.steady(DAY, NEXT)) <= set(got)


def beginnings(tenant: Tenant) -> int:
    """How often a reading began; a single record is asked for only to see the start again."""
    return sum(request.params["offset"] == "0" and request.params["limit"] != "1" for request in tenant.seen)
