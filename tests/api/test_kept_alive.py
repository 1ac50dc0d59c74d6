"""A connection that is used again."""

from __future__ import annotations

import time

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.api.asking import ask, client_of
from tests.support import Tenant, day_of_records, drips

TEN = day_of_records("2026-01-02", 10)


def test_the_time_limit_holds_on_a_connection_that_served_before() -> None:
    with Tenant(TEN, faults={2: drips(20, 0.01)}) as tenant, client_of(tenant, timeout=0.3) as client:
        client.attempts = 1
        assert ask(client) == TEN
        began = time.monotonic()
        with pytest.raises(CloudlockUnavailableError, match=r"within 0\.3 s"):
            ask(client)
        assert time.monotonic() - began < 1
        assert tenant.connections == 1
