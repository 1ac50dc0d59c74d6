"""A real ``airflow standalone`` over a folder of DAGs, spoken to as its users do: by its REST API and its commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from airflow_provider_cloudlock.sandbox.demo_airflow import AirflowHome

_ENDED = {"success", "failed"}


class Standalone:
    """An Airflow that runs.

    :param home: of it.
    :param url: where it listens.
    """

    def __init__(self, home: AirflowHome, url: str) -> None:
        self._home = home
        self._url = url
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self._token = ""
        self._token = self.ask("GET", "/auth/token")["access_token"]

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the API."""
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {self._token}"},
        )
        try:
            with self._opener.open(request, timeout=60) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error

    def unpause(self, *dag_ids: str) -> None:
        """Let the scheduler run DAGs, as soon as it knows them."""
        for dag_id in dag_ids:
            self.until(lambda dag_id=dag_id: self._knows(dag_id), 120)
            self.ask("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def _knows(self, dag_id: str) -> bool:
        return bool(self.ask("GET", f"/api/v2/dags?dag_id_pattern={dag_id}")["dags"])

    def trigger(self, dag_id: str, **body: Any) -> str:
        """Start a run, and return its id."""
        return str(self.ask("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, **body})["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return all runs of a DAG."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.ask("GET", f"/api/v2/dags/{dag_id}/dagRuns?limit=100&offset={len(found)}&order_by=run_after")
            found += page["dag_runs"]
            if len(found) >= page["total_entries"] or not page["dag_runs"]:
                return found

    def states(self, dag_id: str) -> Counter[str]:
        """Count the runs of a DAG by their states."""
        return Counter(run["state"] for run in self.runs(dag_id))

    def events(self) -> list[dict[str, Any]]:
        """Return all asset events."""
        page: list[dict[str, Any]] = self.ask("GET", "/api/v2/assets/events?limit=1000")["asset_events"]
        return page

    def wait_for_run(self, dag_id: str, run_id: str, seconds: float = 120) -> str:
        """Wait until a run has ended, and return its state."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}"
        self.until(lambda: self.ask("GET", path)["state"] in _ENDED, seconds)
        return str(self.ask("GET", path)["state"])

    def wait_until_quiet(self, *dag_ids: str, seconds: float = 120) -> None:
        """Wait until no run of these DAGs is under way, nor begins for a moment."""
        quiet_since = time.monotonic()

        def quiet() -> bool:
            nonlocal quiet_since
            if any(set(self.states(dag_id)) - _ENDED for dag_id in dag_ids):
                quiet_since = time.monotonic()
            return time.monotonic() - quiet_since > 8

        self.until(quiet, seconds)

    def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Wait for something."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited for {seconds} s in vain"
            time.sleep(0.5)

    def command(self, *arguments: str) -> str:
        """Run an ``airflow`` command, and return what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self._home.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@contextmanager
def standalone(folder: Path, dags: Path, connection: str, **environment: str) -> Iterator[Standalone]:
    """Start an Airflow, and stop it with all it started.

    :param folder: its home.
    :param dags: the folder of its DAGs.
    :param connection: to the tenant.
    :param environment: more of its environment.
    """
    home = AirflowHome(folder, dags, connection)
    home.environment.update(environment)
    home.migrate()
    with home.standalone(0) as url:
        yield Standalone(home, url)
