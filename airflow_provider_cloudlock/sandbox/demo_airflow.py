"""The demo's side of Airflow: a throw-away home, and the processes that work in it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import IO, Any, cast

LOOPBACK = "127.0.0.1"
START_SECONDS = 180
STOP_SECONDS = 30


class DemoError(Exception):
    """The demo cannot go on; the text is for the person who watches it."""


class AirflowHome:
    """A throw-away ``AIRFLOW_HOME``.

    :param folder: where it lies
    :param dags: the folder of the DAGs
    :param connection: of the tenant, as JSON; Airflow gets it by the environment, no file holds it
    """

    def __init__(self, folder: Path, dags: Path, connection: str) -> None:
        self.log = folder / "airflow.log"
        self._dags = dags
        # Nothing of an Airflow that the user has elsewhere, least of all its database, and no proxy on the way to
        # this machine.
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("AIRFLOW_")}
        self.environment = {name: value for name, value in kept.items() if not name.upper().endswith("_PROXY")} | {
            # `airflow standalone` looks for its parts on the PATH.
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))),
            "AIRFLOW_HOME": str(folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW_CONN_CLOUDLOCK_DEFAULT": connection,
        }

    def migrate(self) -> None:
        """Make Airflow's database."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "airflow", "db", "migrate"]
            done = subprocess.run(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
            )
        if done.returncode:
            raise DemoError(f"airflow db migrate ended with {done.returncode}. {see(self.log)}")

    @contextmanager
    def runs(self) -> Iterator[Runs]:
        """Start a process that has Airflow and the DAGs loaded."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow_provider_cloudlock.sandbox.demo_runs", str(self._dags)],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        with process:  # which closes its input and waits: at the end of its input it ends
            try:
                yield Runs(cast("IO[str]", process.stdin), cast("IO[str]", process.stdout), self.log)
            except BaseException:
                process.kill()
                raise

    @contextmanager
    def standalone(self, port: int) -> Iterator[str]:
        """Run the whole of Airflow, and give the address of its UI.

        :param port: of the UI; 0 takes a free one
        """
        port, *log_ports = _free_ports(port, 0, 0)
        url = f"http://{LOOPBACK}:{port}"
        environment = self.environment | {
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__PARALLELISM": "4",
            # Its own ports may be taken by another Airflow.
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(log_ports[0]),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(log_ports[1]),
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # A session of its own: Ctrl-C reaches the demo alone, which then stops Airflow in good order.
                start_new_session=True,
            )
        try:
            self._wait_until_healthy(process, url)
            yield url
        finally:
            _stop_session(process)

    def _wait_until_healthy(self, process: subprocess.Popen[bytes], url: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise DemoError(f"airflow standalone ended with {process.returncode}. {see(self.log)}")
            try:
                with opener.open(f"{url}/api/v2/monitor/health", timeout=5) as response:
                    health = json.load(response)
            except (OSError, ValueError):  # it does not listen yet
                health = {}
            if health and all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor")):
                return
            time.sleep(0.5)
        raise DemoError(f"airflow standalone was not ready after {START_SECONDS} seconds. {see(self.log)}")


class Runs:
    """Runs of the daily DAG, one after another.

    :param days: where to ask for a run
    :param answers: where to read what became of it
    :param log: what Airflow says besides
    """

    def __init__(self, days: IO[str], answers: IO[str], log: Path) -> None:
        self._days = days
        self._answers = answers
        self._log = log
        self.airflow_version: str = self._answer()["airflow"]

    def run(self, logical_date: datetime) -> dict[str, Any]:
        """Run the DAG for the day that ends at a logical date, and return what its tasks returned."""
        with suppress(BrokenPipeError):  # then there is no answer either
            print(logical_date.isoformat(), file=self._days, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._answers.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "Airflow ended before its time."}
        if "error" in answer:
            raise DemoError(f"{answer['error']}\n{see(self._log)}")
        return answer


def see(log: Path) -> str:
    """Tell where to read on."""
    return f"All that Airflow said is in {log}"


def _free_ports(*wanted: int) -> list[int]:
    """Return ports that nobody listens on; for 0 any such port."""
    with ExitStack() as sockets:
        found = []
        for port in wanted:
            probe = sockets.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except (OSError, OverflowError) as error:
                raise DemoError(f"Port {port} cannot be used: {error}. Choose another with --port.") from error
            found.append(probe.getsockname()[1])
        return found


def _stop_session(process: subprocess.Popen[bytes]) -> None:
    """Stop a process that leads a session, and all that is left of the session."""
    try:
        process.send_signal(signal.SIGINT)  # the only signal on which `airflow standalone` stops its parts
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
