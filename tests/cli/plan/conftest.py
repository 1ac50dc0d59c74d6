"""Plans for scripted tenants."""

from __future__ import annotations

from typing import Any, Protocol

import pytest

from airflow_provider_cloudlock.cli.plan import Plan, plan
from tests.operators.lake import DAY, NEXT, connection
from tests.support import Tenant


class Planned(Protocol):
    """Makes a plan."""

    def __call__(self, tenant: Tenant, start: Any = ..., end: Any = ..., *, extra: Any = ..., **options: Any) -> Plan:
        """Return the plan for a window of a tenant; ``extra`` is that of the connection."""


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> Planned:
    """Make a plan."""

    def run(tenant: Tenant, start: Any = DAY, end: Any = NEXT, *, extra: Any = None, **options: Any) -> Plan:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant, **(extra or {})))
        return plan(start, end, **options)

    return run
