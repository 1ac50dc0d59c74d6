"""The lake's rows beside what Cloudlock counts."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_cloudlock.audit.report import Audit
from airflow_provider_cloudlock.exceptions import CloudlockAuthError
from tests.audit.receipts import audited, kinds, texts
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, Lake, hour, stem
from tests.support import Habits, Tenant, day_of_records, record

THIRD = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 12), *day_of_records(NEXT, 9)]


def compared(lake: Lake, **options: Any) -> Audit:
    """Audit the two days against the tenant of the last extract."""
    return audited(lake, DAY, THIRD, cloudlock_conn_id="cloudlock_default", **options)


def counts(found: Audit) -> list[tuple[int | None, int | None]]:
    """Return what Cloudlock counts, and how many more these are."""
    return [(day.api_rows, day.api_more) for day in found.days]


def test_equal(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        before = len(tenant.seen)
        found = compared(lake)
        assert len(tenant.seen) - before == 2, "one request a day"
    assert found.is_whole
    assert counts(found) == [(12, 0), (9, 0)]
    assert found.api_rows == 21


def test_fewer_is_a_difference_and_no_finding(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.delete(*(each["id"] for each in tenant.window(DAY, NEXT)[:2]))
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(10, -2), (9, 0)]


def test_more_is_a_finding(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.insert(record(7, hour(5)), record(8, hour(6)))
        found = compared(lake)
        assert counts(found) == [(14, 2), (9, 0)]
        assert kinds(found) == [("API has more",), ()]
        assert "Cloudlock counts 14 records of this day, the lake 12" in texts(found)[0]
        extract(tenant, DAY, THIRD)
        assert compared(lake).is_whole


@pytest.mark.parametrize(
    "habits",
    [
        Habits(before_inclusive=True),
        Habits(granularity="day", before_inclusive=True),
        Habits(ignores=("created_before",)),
    ],
)
def test_a_count_that_is_too_high_is_made_sure_of(extract: Extract, lake: Lake, habits: Habits) -> None:
    with Tenant([*TWO_DAYS, *day_of_records(THIRD, 5)], habits) as tenant:
        extract(tenant, DAY, THIRD)
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(12, 0), (9, 0)]


def test_no_count(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS, Habits(total="null")) as tenant:
        extract(tenant, DAY, THIRD)
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(None, None)] * 2
    assert found.api_rows is None


def test_a_gap_stays_a_gap(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        lake.path(f"created_date={NEXT}/{stem(hour(0, NEXT), hour(24, NEXT))}.parquet").unlink()
        before = len(tenant.seen)
        found = compared(lake)
        assert len(tenant.seen) - before == 2, "the day is not read for that"
    assert kinds(found) == [(), ("missing",)]
    assert counts(found) == [(12, 0), (9, 9)]


def test_what_was_set_apart_is_not_more(extract: Extract, lake: Lake) -> None:
    with Tenant([*TWO_DAYS, record(1, hour(3)) | {"id": None}]) as tenant:
        extract(tenant, DAY, THIRD, max_quarantined=1)
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(13, 1), (9, 0)]


def test_a_count_that_cannot_be_made_sure_of(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.behave(total="high")
        found = compared(lake)
    assert kinds(found) == [("API has more",)] * 2
    assert counts(found) == [(19, 7), (16, 7)]
    assert "could not be read to be sure" in texts(found)[0]


def test_a_filter_is_asked_for_too(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD, status="Active", on_vanished="drop")
        found = compared(lake)
        assert {request.params["status"] for request in tenant.seen} == {"Active"}
    assert found.is_whole
    assert [more for _, more in counts(found)] == [0, 0]


def test_a_day_of_two_filters_is_not_compared(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        noon = f"{DAY}T12:00:00+00:00"
        extract(tenant, DAY, noon)
        extract(tenant, noon, NEXT, status="Active", on_vanished="drop")
        before = len(tenant.seen)
        found = audited(lake, cloudlock_conn_id="cloudlock_default")
        assert len(tenant.seen) == before
    assert kinds(found) == [("filter",)]
    assert found.api_rows is None


def test_cloudlock_refuses(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.token = "another"
        with pytest.raises(CloudlockAuthError):
            compared(lake)
