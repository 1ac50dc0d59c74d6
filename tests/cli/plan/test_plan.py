"""Counts that a plan requests, and the plan made of them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_cloudlock.cli.plan import plan
from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockConfigError,
    CloudlockUnavailableError,
)
from tests.cli.plan.conftest import Planned
from tests.operators.lake import DAY, NEXT
from tests.support import TOKEN, Habits, Tenant, day_of_records, echoes_token, hangs, responds

THIRD = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 12), *day_of_records(NEXT, 9)]


def test_plan_sends_one_request_per_day(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, DAY, THIRD)
        asked = [(seen.params["created_after"], seen.params["created_before"]) for seen in tenant.seen]
        assert {seen.params["limit"] for seen in tenant.seen} == {"1"}
    assert asked == [(f"{DAY}T00:00:00", f"{NEXT}T00:00:00"), (f"{NEXT}T00:00:00", f"{THIRD}T00:00:00")]
    assert [(period.start.day, period.days, period.records) for period in found.periods] == [(2, 1, 12), (3, 1, 9)]
    assert (found.days, found.records, found.requests) == (2, 21, 3)
    assert (found.resource, found.cloudlock_conn_id, found.page_size) == ("threats", "cloudlock_default", 10_000)
    assert timedelta(0) <= datetime.now(UTC) - found.made_at < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("end", "starts"),
    [
        ("2026-01-16", [*range(2, 16)]),
        ("2026-01-17", [2]),
        ("2026-02-01", [2]),
        ("2026-02-02", [2, 1]),
        ("2026-03-02", [2, 1, 1]),
    ],
)
def test_plan_counts_by_day_up_to_14_then_by_month(planned: Planned, end: str, starts: list[int]) -> None:
    records = [*TWO_DAYS, *day_of_records("2026-02-01", 4)]
    with Tenant(records) as tenant:
        found = planned(tenant, DAY, end)
        assert len(tenant.seen) == len(starts)
    assert [period.start.day for period in found.periods] == starts
    assert found.days == (date.fromisoformat(end) - date.fromisoformat(DAY)).days
    assert found.records == 21 + 4 * (end > "2026-02-01")
    assert found.end.date().isoformat() == end


def test_plan_reuses_one_connection(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        planned(tenant, DAY, THIRD)
        assert tenant.connections == 1


def test_plan_parts_of_days_are_periods(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, f"{DAY}T12:00", f"{NEXT}T12:00:00+00:00")
    assert [period.as_json()["window"] for period in found.periods] == [
        ["2026-01-02T12:00:00+00:00", "2026-01-03T00:00:00+00:00"],
        ["2026-01-03T00:00:00+00:00", "2026-01-03T12:00:00+00:00"],
    ]
    assert [period.records for period in found.periods] == [6, 5]


def test_plan_page_size_is_that_of_the_reader(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert planned(tenant, extra={"page_size": "5"}).page_size == 5
        assert planned(tenant, extra={"page_size": 5}, page_size=6).page_size == 6
        asked = len(tenant.seen)
        with pytest.raises(CloudlockConfigError, match="page_size=100001"):
            planned(tenant, page_size=100_001)
        assert len(tenant.seen) == asked


def test_plan_without_count_has_no_records(planned: Planned) -> None:
    with Tenant(TWO_DAYS, Habits(total="null")) as tenant:
        found = planned(tenant, DAY, THIRD)
    assert [period.records for period in found.periods] == [None, None]
    assert (found.records, found.requests) == (None, 2)


def test_plan_unknown_day_is_taken_to_be_empty(planned: Planned) -> None:
    with Tenant(TWO_DAYS, before={2: lambda tenant: tenant.behave(total="absent")}) as tenant:
        found = planned(tenant, DAY, THIRD)
    assert [period.records for period in found.periods] == [12, None]
    assert (found.records, found.requests) == (None, 3)


def test_plan_rate_limit_sets_the_pace(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, DAY, NEXT, extra={"requests_per_second": 5})
    assert found.interval == pytest.approx(0.21)
    assert found.pace < found.interval  # a single count does not wait
    assert found.seconds == pytest.approx(found.requests * 0.21)


def test_plan_without_rate_limit_counts_set_the_pace(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults=hangs(0.1)) as tenant:
        found = planned(tenant, DAY, THIRD)
    assert found.interval == 0
    assert 0.1 <= found.seconds_per_request < 5
    assert found.seconds == found.requests * found.pace


def test_plan_pace_is_the_median(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults={2: hangs(0.4)}) as tenant:
        assert planned(tenant, "2026-01-01", THIRD).pace < 0.4


def test_plan_failed_count_is_retried(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults={1: responds(503)}) as tenant:
        assert planned(tenant).records == 12


def test_plan_permanently_failing_count_raises(planned: Planned) -> None:
    fails = Tenant(TWO_DAYS, faults=lambda seen: responds(503) if seen.number > 1 else None)
    with fails as tenant, pytest.raises(CloudlockUnavailableError):
        planned(tenant, DAY, THIRD)


def test_plan_refused_token_raises_without_token(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults=echoes_token()) as tenant:
        with pytest.raises(CloudlockAuthError) as refused:
            planned(tenant, DAY, THIRD)
        assert len(tenant.seen) == 1
    assert TOKEN not in str(refused.value)


def test_plan_unknown_connection_raises() -> None:
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        plan(DAY, NEXT, cloudlock_conn_id="nowhere")


@pytest.mark.parametrize(
    ("start", "end", "options", "message"),
    [
        ("2026-01-32", NEXT, {}, "from='2026-01-32'"),
        (DAY, "soon", {}, "to='soon'"),
        (DAY, DAY, {}, "is not before to="),
        (NEXT, DAY, {}, "is not before to="),
        (DAY, "2999-01-01", {}, "is in the future"),
        (DAY, NEXT, {"resource": "threat"}, "Known resources: threats"),
        (DAY, NEXT, {"page_size": 0}, "page_size=0"),
    ],
)
def test_plan_invalid_argument_raises_before_requests(
    planned: Planned, start: str, end: str, options: dict[str, Any], message: str
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(CloudlockConfigError, match=message):
            planned(tenant, start, end, **options)
        assert tenant.seen == []


def test_plan_accepts_dates(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert planned(tenant, date(2026, 1, 2), date(2026, 1, 4)).records == 21


def test_as_json_has_all_fields(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, DAY, NEXT, extra={"requests_per_second": 5, "page_size": 10}).as_json()
    assert datetime.fromisoformat(found.pop("made_at"))
    assert found == {
        "resource": "threats",
        "connection": "cloudlock_default",
        "window": ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"],
        "page_size": 10,
        "days": 1,
        "records": 12,
        "requests_at_least": 3,
        "estimated_seconds": 0.63,
        "seconds_per_request": 0.21,
        "budget_seconds_per_request": 0.21,
        "periods": [
            {"window": ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"], "days": 1, "records": 12},
        ],
    }
