"""The operator, run against a tenant into a lake of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pytest
import tenacity

from airflow_provider_cloudlock.api import client
from tests.operators.lake import DAY, NEXT, Lake, connection, operator
from tests.support import Tenant


class Extract(Protocol):
    """Runs the operator."""

    def __call__(
        self, tenant: Tenant, after: Any = ..., before: Any = ..., context: Any = ..., **options: Any
    ) -> dict[str, Any]:
        """Return what the task returns."""


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """A lake without anything in it."""
    return Lake(tmp_path / "lake")


@pytest.fixture
def extract(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Extract:
    """Extract a window of a tenant into the lake."""

    def run(
        tenant: Tenant, after: Any = DAY, before: Any = NEXT, context: Any = None, **options: Any
    ) -> dict[str, Any]:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        task = operator(options.pop("destination", lake.destination), after, before, **options)
        return task.execute({} if context is None else context)

    return run
