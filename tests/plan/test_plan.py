"""What is asked for, and what becomes of the answers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockConfigError,
    CloudlockUnavailableError,
)
from airflow_provider_cloudlock.plan.report import plan
from tests.operators.lake import DAY, NEXT
from tests.plan.conftest import Planned
from tests.support import TOKEN, Habits, Tenant, day_of_records, echoes_token, hangs, responds

THIRD = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 12), *day_of_records(NEXT, 9)]


def test_one_small_request_a_day(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, DAY, THIRD)
        asked = [(seen.params["created_after"], seen.params["created_before"]) for seen in tenant.seen]
        assert {seen.params["limit"] for seen in tenant.seen} == {"1"}
    assert asked == [(f"{DAY}T00:00:00", f"{NEXT}T00:00:00"), (f"{NEXT}T00:00:00", f"{THIRD}T00:00:00")]
    assert [day.records for day in found.days] == [12, 9]
    assert (found.records, found.requests) == (21, 8)
    assert (found.resource, found.cloudlock_conn_id, found.page_size) == ("threats", "cloudlock_default", 10_000)
    assert timedelta(0) <= datetime.now(UTC) - found.made_at < timedelta(minutes=1)


def test_one_connection_serves_all_counts(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        planned(tenant, DAY, THIRD)
        assert tenant.connections == 1


def test_a_part_of_a_day(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, f"{DAY}T12:00", f"{NEXT}T12:00:00+00:00")
    assert [day.as_json()["window"] for day in found.days] == [
        ["2026-01-02T12:00:00+00:00", "2026-01-03T00:00:00+00:00"],
        ["2026-01-03T00:00:00+00:00", "2026-01-03T12:00:00+00:00"],
    ]
    assert [day.records for day in found.days] == [6, 5]


def test_the_page_size_is_the_readers(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert planned(tenant, extra={"page_size": "5"}).page_size == 5
        assert planned(tenant, extra={"page_size": 5}, page_size=6).page_size == 6
        asked = len(tenant.seen)
        with pytest.raises(CloudlockConfigError, match="page_size=100001 is not a whole number from 1 to 100000"):
            planned(tenant, page_size=100_001)
        assert len(tenant.seen) == asked


def test_no_count(planned: Planned) -> None:
    with Tenant(TWO_DAYS, Habits(total="null")) as tenant:
        found = planned(tenant, DAY, THIRD)
    assert [day.records for day in found.days] == [None, None]
    assert (found.records, found.requests) == (None, 4)


def test_no_count_of_one_day(planned: Planned) -> None:
    with Tenant(TWO_DAYS, before={2: lambda tenant: tenant.behave(total="absent")}) as tenant:
        found = planned(tenant, DAY, THIRD)
    assert [day.records for day in found.days] == [12, None]
    assert (found.records, found.requests) == (None, 6)


def test_the_budget_makes_the_pace(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, DAY, NEXT, extra={"requests_per_second": 5})
    assert found.interval == pytest.approx(0.21)
    assert found.pace < found.interval  # a single count waits for nothing
    assert found.seconds == pytest.approx(found.requests * 0.21)


def test_without_a_budget_the_counts_do(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults=hangs(0.1)) as tenant:
        found = planned(tenant, DAY, THIRD)
    assert found.interval == 0
    assert 0.1 <= found.seconds_per_request < 5
    assert found.seconds == found.requests * found.pace


def test_one_slow_count_is_not_the_pace(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults={2: hangs(0.4)}) as tenant:
        assert planned(tenant, "2026-01-01", THIRD).pace < 0.4


def test_a_count_that_fails_is_tried_again(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults={1: responds(503)}) as tenant:
        assert planned(tenant).records == 12


def test_counts_that_keep_failing_are_no_plan(planned: Planned) -> None:
    fails = Tenant(TWO_DAYS, faults=lambda seen: responds(503) if seen.number > 1 else None)
    with fails as tenant, pytest.raises(CloudlockUnavailableError):
        planned(tenant, DAY, THIRD)


def test_cloudlock_refuses(planned: Planned) -> None:
    with Tenant(TWO_DAYS, faults=echoes_token()) as tenant:
        with pytest.raises(CloudlockAuthError) as refused:
            planned(tenant, DAY, THIRD)
        assert len(tenant.seen) == 1
    assert TOKEN not in str(refused.value)


def test_a_connection_that_there_is_not() -> None:
    with pytest.raises(AirflowNotFoundException, match="nowhere"):
        plan(DAY, NEXT, cloudlock_conn_id="nowhere")


@pytest.mark.parametrize(
    ("start", "end", "options", "message"),
    [
        ("2026-01-32", NEXT, {}, "from='2026-01-32' is not a point in time"),
        (DAY, "soon", {}, "to='soon' is not a point in time"),
        (DAY, DAY, {}, "is empty"),
        (NEXT, DAY, {}, "ends before it starts"),
        (DAY, "2999-01-01", {}, "still to come"),
        (DAY, NEXT, {"resource": "threat"}, "Known resources: threats"),
        (DAY, NEXT, {"page_size": 0}, "page_size=0 is not a whole number"),
    ],
)
def test_nonsense_is_refused_before_anything_is_asked(
    planned: Planned, start: str, end: str, options: dict[str, Any], message: str
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(CloudlockConfigError, match=message):
            planned(tenant, start, end, **options)
        assert tenant.seen == []


def test_dates_will_do(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert planned(tenant, date(2026, 1, 2), date(2026, 1, 4)).records == 21


def test_json_says_all(planned: Planned) -> None:
    with Tenant(TWO_DAYS) as tenant:
        found = planned(tenant, DAY, NEXT, extra={"requests_per_second": 5, "page_size": 10}).as_json()
    assert datetime.fromisoformat(found.pop("made_at"))
    assert found == {
        "resource": "threats",
        "connection": "cloudlock_default",
        "window": ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"],
        "page_size": 10,
        "records": 12,
        "requests_at_least": 10,
        "estimated_seconds": 2.1,
        "seconds_per_request": 0.21,
        "budget_seconds_per_request": 0.21,
        "days": [
            {
                "day": "2026-01-02",
                "window": ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00"],
                "records": 12,
                "requests": 10,
            }
        ],
    }
