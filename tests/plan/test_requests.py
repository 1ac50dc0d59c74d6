"""The requests planned, and those that an extraction really sends."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook
from airflow_provider_cloudlock.plan.report import requests_for
from tests.operators.conftest import Extract, extract, lake
from tests.operators.lake import DAY, NEXT, hour
from tests.plan.conftest import Planned
from tests.support import Habits, Tenant, day_of_records, record

__all__ = ["extract", "lake"]


def sent(tenant: Tenant) -> int:
    """Read the day as a whole, by the connection of the last plan, and return how many requests that took."""
    before = len(tenant.seen)
    assert len(list(CloudlockHook().iter_records(created_after=DAY, created_before=NEXT))) == len(tenant.records)
    return len(tenant.seen) - before


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("page_size", [10, 16, 50])
@pytest.mark.parametrize("records", [0, 1, 2, 3, 4, 9, 10, 11, 18, 19, 49, 50, 51, 98, 99, 150])
def test_as_many_as_are_sent(planned: Planned, records: int, page_size: int, connections: int) -> None:
    with Tenant(day_of_records(DAY, records)) as tenant:
        (day,) = planned(tenant, extra={"page_size": page_size, "max_connections": connections}).days
        assert (day.records, day.requests) == (records, sent(tenant))


@pytest.mark.parametrize(
    "habits",
    [
        {"cap": 5},
        {"total": "null"},
        {"total": "absent"},
        {"refuses": ["order"]},
        {"default_order": "updated_at", "ignores": ["order"]},
    ],
)
@pytest.mark.parametrize("records", [0, 1, 2, 3, 10, 11, 40])
def test_never_more_than_are_sent(planned: Planned, records: int, habits: dict[str, Any]) -> None:
    with Tenant(day_of_records(DAY, records), Habits(**habits)) as tenant:
        assert planned(tenant, extra={"page_size": 50}).requests <= sent(tenant)


def test_all_that_the_operator_sends(planned: Planned, extract: Extract) -> None:
    # What lies within a second of midnight is sent with both days, and asked for twice.
    records = [record(n, hour(n / 2 + 1, day)) for day, count in ((DAY, 7), (NEXT, 25)) for n in range(count)]
    with Tenant(records) as tenant:
        found = planned(tenant, DAY, "2026-01-05", page_size=10)
        assert [day.requests for day in found.days] == [4, 11, 2]
        before = len(tenant.seen)
        extract(tenant, DAY, "2026-01-05", page_size=10)
        assert found.requests == len(tenant.seen) - before


def test_the_smallest_pages_are_planned_too() -> None:
    assert [requests_for(5, page_size) for page_size in (1, 2)] == [13, 12]
