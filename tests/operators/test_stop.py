"""A task that Airflow stops while it waits for a response."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.operators.lake import DAY, Lake, connection, operator
from tests.support import Fault, Request, Tenant, day_of_records, hangs


def test_on_kill_stops_immediately_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, lake: Lake, tmp_path: Path
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def stop_during_request(_: Request) -> Fault:
        os.kill(os.getpid(), signal.SIGALRM)
        return hangs()

    with Tenant(day_of_records(DAY, 5), faults=stop_during_request) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        task = operator(lake.destination)

        def handle(*_: Any) -> None:
            task.on_kill()  # as Airflow's own handler of SIGTERM does

        before = signal.signal(signal.SIGALRM, handle)
        try:
            with pytest.raises(SystemExit, match="The task was stopped"):
                task.execute({})
        finally:
            signal.signal(signal.SIGALRM, before)
        # A client that went on waiting would have sent the next try after its time limit.
        assert len(tenant.seen) == 1
    assert lake.files == []
    assert list(scratch.iterdir()) == []


def test_on_kill_before_and_after_execute_does_nothing(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 5)) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        task = operator(lake.destination)
        task.on_kill()
        task.execute({})
        task.on_kill()
