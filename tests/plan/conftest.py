"""Plans for made-up tenants."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from airflow_provider_cloudlock.plan.report import Plan, plan
from tests.hooks.conftest import _no_waiting
from tests.operators.lake import DAY, NEXT, connection
from tests.support import Tenant

__all__ = ["_no_waiting"]


class Planned(Protocol):
    """Makes a plan."""

    def __call__(self, tenant: Tenant, start: Any = ..., end: Any = ..., *, extra: Any = ..., **options: Any) -> Plan:
        """Return the plan for a window of a tenant, by a connection with something extra."""


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    """Make a plan."""

    def run(tenant: Tenant, start: Any = DAY, end: Any = NEXT, *, extra: Any = None, **options: Any) -> Plan:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant, **(extra or {})))
        return plan(start, end, **options)

    return run
