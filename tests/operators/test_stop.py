"""A task that is asked to stop."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.operators.lake import Lake, connection, operator
from tests.support import Fault, Request, Tenant, day_of_records, hangs

DAY = "2026-01-02"


def test_it_stops_at_once_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch, lake: Lake, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))

    def stop_amid(_: Request) -> Fault:
        os.kill(os.getpid(), signal.SIGALRM)
        return hangs()

    with Tenant(day_of_records(DAY, 5), faults=stop_amid) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        task = operator(lake.destination)

        def asked(*_: Any) -> None:
            task.on_kill()  # as Airflow's own handler of SIGTERM does

        before = signal.signal(signal.SIGALRM, asked)
        try:
            with pytest.raises(SystemExit, match="asked to stop"):
                task.execute({})
        finally:
            signal.signal(signal.SIGALRM, before)
        assert time.monotonic() - tenant.seen[0].at < 2
        assert len(tenant.seen) == 1
    assert lake.files == []
    assert list(scratch.iterdir()) == []


def test_there_is_nothing_to_stop_before_and_after(monkeypatch: pytest.MonkeyPatch, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 5)) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        task = operator(lake.destination)
        task.on_kill()
        task.execute({})
        task.on_kill()
