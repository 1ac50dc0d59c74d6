"""A destination belongs to one tenant, whatever days it holds."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.operators.lake import DAY, NEXT, Lake, connection, operator, receipt_of
from tests.support import Tenant, day_of_records

AFTER = "2026-01-04"
RECORDS = [*day_of_records(DAY, 10), *day_of_records(NEXT, 10)]


def extract_as(tenant: str, source: Tenant, lake: Lake, monkeypatch: pytest.MonkeyPatch, *window: str) -> None:
    """Extract a window with the connection of a tenant."""
    monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(source, tenant=tenant))
    operator(lake.destination, *window).execute({})


@pytest.mark.parametrize("damaged", [False, True], ids=["", "newest receipt damaged"])
def test_other_tenant_of_other_days_sends_no_request(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    with Tenant(RECORDS) as tenant:
        extract_as("acme", tenant, lake, monkeypatch, "2026-01-01", NEXT)
        if damaged:
            lake.write(receipt_of(DAY), b"{")
        before = lake.snapshot()
        sent = len(tenant.seen)
        with pytest.raises(AirflowFailException, match=r"Cloudlock tenant 'acme'.*'globex'.*destination of its own"):
            extract_as("globex", tenant, lake, monkeypatch, NEXT, AFTER)
        assert len(tenant.seen) == sent
    assert lake.snapshot() == before


def test_same_tenant_extracts_other_days(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(RECORDS) as tenant:
        extract_as("acme", tenant, lake, monkeypatch, DAY, NEXT)
        lake.write("_receipts/threats/notes.txt")
        extract_as("acme", tenant, lake, monkeypatch, NEXT, AFTER)
    assert len(lake.objects) == 2
