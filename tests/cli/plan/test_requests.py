"""Planned requests against those of real extractions."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cloudlock.cli.plan.report import requests_for
from airflow_provider_cloudlock.hooks import cloudlock
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook
from tests.cli.plan.conftest import Planned
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, hour
from tests.support import Habits, Tenant, day_of_records, record


def sent(tenant: Tenant) -> int:
    """Read the day with the connection of the last plan and return the number of requests."""
    before = len(tenant.seen)
    assert len(list(CloudlockHook().iter_records(created_after=DAY, created_before=NEXT))) == len(
        tenant.window(DAY, NEXT)
    )
    return len(tenant.seen) - before


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("page_size", [10, 16, 50])
@pytest.mark.parametrize("records", [0, 2, 3, 4, 9, 10, 11, 18, 19, 49, 50, 51, 98, 99, 150])
def test_plan_requests_equal_those_sent(planned: Planned, records: int, page_size: int, connections: int) -> None:
    with Tenant(day_of_records(DAY, records)) as tenant:
        found = planned(tenant, extra={"page_size": page_size, "max_connections": connections})
        assert (found.records, found.requests) == (records, sent(tenant))


def test_plan_single_record_takes_one_page_or_two_passes(planned: Planned) -> None:
    """A single record may be all that a faulty server returns, so it takes two passes of three requests.

    The plan is a minimum: with records on the days before or after it is an ordinary page.
    """
    with Tenant(day_of_records(DAY, 1)) as tenant:
        assert planned(tenant).requests == 3
        assert sent(tenant) == 6
    with Tenant([*day_of_records(DAY, 1), *day_of_records(NEXT, 9)]) as tenant:
        assert planned(tenant).requests == sent(tenant) == 3


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
def test_plan_requests_never_exceed_those_sent(planned: Planned, records: int, habits: dict[str, Any]) -> None:
    with Tenant(day_of_records(DAY, records), Habits(**habits)) as tenant:
        assert planned(tenant, extra={"page_size": 50}).requests <= sent(tenant)


@pytest.mark.parametrize("records", [10, 11, 14, 15, 22, 23, 24, 40])
def test_plan_default_page_size_stretches_last_page(
    planned: Planned, records: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cloudlock, "DEFAULT_PAGE_SIZE", 10)
    with Tenant(day_of_records(DAY, records)) as tenant:
        assert planned(tenant).requests == sent(tenant)


def test_plan_requests_equal_those_of_the_operator(planned: Planned, extract: Extract) -> None:
    times = [hour(n / 2 + 1, day) for day, count in ((DAY, 7), (NEXT, 25)) for n in range(count)]
    records = [record(n, time) for n, time in enumerate(times)]
    with Tenant(records) as tenant:
        found = planned(tenant, DAY, "2026-01-05", page_size=10)
        before = len(tenant.seen)
        extract(tenant, DAY, "2026-01-05", page_size=10)
        assert found.requests == len(tenant.seen) - before == 5


@pytest.mark.parametrize(
    "habits",
    [
        {},
        {"total": "null"},
        {"cap": 5},
        {"default_order": "updated_at", "ignores": ["order"]},
    ],
)
@pytest.mark.parametrize("records", [0, 1, 7, 8, 11, 40])
def test_plan_long_window_requests_never_exceed_those_sent(
    planned: Planned, extract: Extract, records: int, habits: dict[str, Any]
) -> None:
    with Tenant(day_of_records(DAY, records), Habits(**habits)) as tenant:
        found = planned(tenant, DAY, "2026-02-10", page_size=10)
        assert found.days == 39
        before = len(tenant.seen)
        extract(tenant, DAY, "2026-02-10", page_size=10)
        assert found.requests <= len(tenant.seen) - before


@pytest.mark.parametrize(("total", "requests"), [("true", 1 + 5), ("null", 1 + 2 * 2)])
def test_plan_long_window_includes_count_and_ranges(planned: Planned, total: str, requests: int) -> None:
    """With a total the window is one range of 40 records, without it one range per 31 days."""
    with Tenant(day_of_records(DAY, 40), Habits(total=total)) as tenant:
        assert planned(tenant, DAY, "2026-02-10", page_size=12).requests == requests


@pytest.mark.parametrize(("page_size", "requests"), [(1, 6), (2, 5)])
def test_requests_for_smallest_pages(page_size: int, requests: int) -> None:
    assert requests_for(5, page_size) == requests
