"""Pytest fixtures for your own DAGs. Name the module in your top-level ``conftest.py``::

pytest_plugins = ["airflow_provider_cloudlock.sandbox.fixtures"]
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import pytest

from airflow_provider_cloudlock.sandbox.server import Sandbox


@pytest.fixture
def cloudlock_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Run a sandbox behind the connection ``cloudlock_default``.

    It holds 40 anomalies for each day of January 2026, seen from midnight of the first of February; ``set_now`` moves
    its clock on to later dismissals.
    """
    with Sandbox(
        first_day=datetime.date(2026, 1, 1),
        last_day=datetime.date(2026, 1, 31),
        now=datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC),
    ) as sandbox:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", sandbox.connection_json())
        yield sandbox
