"""The fixture that users opt in to."""

from __future__ import annotations

import json
import os
import urllib.request

import pytest

from airflow_provider_cloudlock.sandbox.server import Sandbox

pytest_plugins = ["airflow_provider_cloudlock.sandbox.fixtures"]


def test_the_connection_leads_to_the_sandbox(cloudlock_sandbox: Sandbox) -> None:
    connection = json.loads(os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"])
    assert (connection["conn_type"], connection["extra"]) == ("cloudlock", {"tenant": "sandbox"})
    request = urllib.request.Request(
        f"{connection['host']}/api/v2/threats?created_after=2026-01-31&limit=100",
        headers={"Authorization": f"Bearer {connection['password']}"},
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        answer = json.load(response)
    assert answer["items"] == cloudlock_sandbox.anomalies()[::-1][:40]
    assert len(cloudlock_sandbox.anomalies()) == 31 * 40


@pytest.mark.parametrize("_", range(2))
def test_every_test_has_its_own(cloudlock_sandbox: Sandbox, _: int) -> None:
    first = cloudlock_sandbox.anomalies()[0]
    assert first["dismiss_reason"] != "mine"
    cloudlock_sandbox.dismiss(first["id"], "mine")
    assert cloudlock_sandbox.anomalies()[0]["dismiss_reason"] == "mine"
