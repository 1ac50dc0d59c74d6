"""Comparison of the lake with Cloudlock's counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_cloudlock.cli.audit import Audit
from airflow_provider_cloudlock.exceptions import CloudlockAuthError, CloudlockConfigError
from tests.cli.audit.receipts import audited, kinds, texts
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, RECEIPT, Lake, connection, hour, object_of
from tests.support import Habits, Tenant, day_of_records, record

THIRD = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 12), *day_of_records(NEXT, 9)]


def compared(lake: Lake, **options: Any) -> Audit:
    """Audit two days against the tenant of the last extraction."""
    return audited(lake, DAY, THIRD, cloudlock_conn_id="cloudlock_default", **options)


def counts(found: Audit) -> list[tuple[int | None, int | None]]:
    """Return Cloudlock's counts and their differences from the lake."""
    return [(day.api_rows, day.api_more) for day in found.days]


def test_against_api_equal_counts_one_request_per_day(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        before = len(tenant.seen)
        found = compared(lake)
        assert len(tenant.seen) - before == 2, "one request a day"
    assert found.is_whole
    assert counts(found) == [(12, 0), (9, 0)]
    assert found.api_rows == 21


def test_against_api_lower_count_is_no_finding(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.delete(*(each["id"] for each in tenant.window(DAY, NEXT)[:2]))
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(10, -2), (9, 0)]


def test_against_api_higher_count_is_finding(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.insert(record(7, hour(5)), record(8, hour(6)))
        found = compared(lake)
        assert counts(found) == [(14, 2), (9, 0)]
        assert kinds(found) == [("API has more",), ()]
        assert "Cloudlock counts 14 records, the lake has 12" in texts(found)[0]
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
def test_against_api_inclusive_bound_reads_day(extract: Extract, lake: Lake, habits: Habits) -> None:
    with Tenant([*TWO_DAYS, *day_of_records(THIRD, 5)], habits) as tenant:
        extract(tenant, DAY, THIRD)
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(12, 0), (9, 0)]


def test_against_api_without_count_is_complete(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS, Habits(total="null")) as tenant:
        extract(tenant, DAY, THIRD)
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(None, None)] * 2
    assert found.api_rows is None


def test_against_api_missing_object_is_not_read(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        lake.path(object_of(NEXT)).unlink()
        before = len(tenant.seen)
        found = compared(lake)
        assert len(tenant.seen) - before == 2, "one count request per day"
    assert kinds(found) == [(), ("missing",)]
    assert counts(found) == [(12, 0), (9, 9)]


def test_against_api_quarantined_records_are_known(extract: Extract, lake: Lake) -> None:
    with Tenant([*TWO_DAYS, record(1, hour(3)) | {"id": None}]) as tenant:
        extract(tenant, DAY, THIRD, max_quarantined=1)
        found = compared(lake)
    assert found.is_whole
    assert counts(found) == [(13, 1), (9, 0)]


def test_against_api_unverified_count_is_finding(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.behave(total="high")
        found = compared(lake)
    assert kinds(found) == [("API has more",)] * 2
    assert counts(found) == [(19, 7), (16, 7)]
    assert "The count could not be verified." in texts(found)[0]


def test_against_api_requests_status_filter(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD, status="Active", on_vanished="drop")
        found = compared(lake)
        assert {request.params["status"] for request in tenant.seen} == {"Active"}
    assert found.is_whole
    assert [more for _, more in counts(found)] == [0, 0]


def test_against_api_partial_day_is_not_read(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        noon = hour(12).isoformat()
        receipt = lake.receipt() | {"window": [hour(0).isoformat(), noon], "until": noon, "rows": 6}
        lake.write(RECEIPT, json.dumps(receipt).encode())
        before = len(tenant.seen)
        found = compared(lake)
        assert len(tenant.seen) - before == 2, "one count request per day"
    assert kinds(found) == [("partial",), ()]
    assert counts(found) == [(12, 6), (9, 0)]


def test_against_api_of_another_tenant_raises(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(tenant).replace("acme", "other"))
        before = len(tenant.seen)
        with pytest.raises(CloudlockConfigError, match="tenant 'acme', and the connection 'other' is one of 'other'"):
            audited(lake, DAY, THIRD, cloudlock_conn_id="other")
        assert len(tenant.seen) == before


def test_against_api_refused_token_raises(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.token = "another"
        with pytest.raises(CloudlockAuthError):
            compared(lake)
