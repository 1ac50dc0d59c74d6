"""Waits between tries are no subject here, but where a test says so; what is read is read as both kinds of pages."""

from __future__ import annotations

import pytest
import tenacity

from airflow_provider_cloudlock.api import client


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))


@pytest.fixture(params=["dicts", "arrow"])
def kind(request: pytest.FixtureRequest) -> str:
    """Both kinds of pages."""
    return str(request.param)
