"""Waits between tries are no subject here, but where a test says so."""

from __future__ import annotations

import pytest
import tenacity

from airflow_provider_cloudlock.api import client


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))
