"""Several machines write one lake: CeleryExecutor, two workers, Redis and PostgreSQL; a worker is killed on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from airflow_provider_cloudlock.sandbox.demo_airflow import LOOPBACK, AirflowHome
from tests.integration.bucket import S3, Bucket
from tests.integration.standalone import Standalone
from tests.operators.lake import connection, object_of, operator
from tests.support import Tenant, day_of_records
from tests.support.postgres import postgres

pytest.importorskip("airflow.providers.celery", reason="apache-airflow-providers-celery is not installed")
if not shutil.which("redis-server"):
    pytest.skip("redis-server is not installed (Debian package redis-server)", allow_module_level=True)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FIRST = date(2026, 1, 1)
#: Days of the range, days of each of its tasks, and days of the backfill that follows.
RANGE, STEP, BACKFILL = 60, 5, 10
EACH_DAY = 40
DAYS = [FIRST + timedelta(days=n) for n in range(RANGE + BACKFILL)]
_DAGS = f"""
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
RETRIES = {{"retries": 5, "retry_delay": timedelta(seconds=1)}}

with DAG("celery_range", schedule=None, default_args=RETRIES):
    CloudlockToObjectStorageOperator.partial(
        task_id="extract", destination="s3://store@lake/cloudlock", max_active_tis_per_dagrun=4
    ).expand_kwargs(
        [
            {{
                "created_after": str(FIRST + timedelta(days=n)),
                "created_before": str(FIRST + timedelta(days=n + {STEP})),
            }}
            for n in range(0, {RANGE}, {STEP})
        ]
    )

with DAG(
    "celery_daily",
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=FIRST,
    end_date=FIRST + timedelta(days={RANGE + BACKFILL}),
    catchup=False,
    default_args=RETRIES,
):
    CloudlockToObjectStorageOperator(task_id="extract", destination="s3://store@lake/cloudlock")
"""


class Cluster:
    """An Airflow whose tasks run on Celery workers.

    :param home: its home.
    :param stack: stops the processes.
    """

    def __init__(self, home: AirflowHome, stack: ExitStack) -> None:
        self._home = home
        self._stack = stack

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a part of it in a session of its own."""
        with self._home.log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "airflow", *arguments],
                env=self._home.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._stack.callback(kill, process)
        return process

    def worker(self, name: str) -> subprocess.Popen[bytes]:
        """Start a worker with two slots."""
        return self.start("celery", "worker", "--concurrency", "2", "--celery-hostname", name, "--skip-serve-logs")


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process with all that it started, as the loss of a machine does."""
    for child in _descendants(process.pid):
        os.kill(child, signal.SIGKILL)
    process.wait()


def _descendants(pid: int) -> list[int]:
    """Return a process and all its descendants; those of Celery lead sessions of their own."""
    import psutil

    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def redis(folder: Path) -> Iterator[str]:
    """Start a Redis server, and give its URL."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = probe.getsockname()[1]
    command = ["redis-server", "--bind", LOOPBACK, "--port", str(port), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        yield f"redis://{LOOPBACK}:{port}/0"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def cluster(folder: Path, tenant: Tenant, s3: S3) -> Iterator[tuple[Cluster, Standalone]]:
    """Start an Airflow without workers, and stop it with all it started."""
    dags = folder / "dags"
    dags.mkdir(parents=True)
    (dags / "celery_dags.py").write_text(_DAGS)
    with ExitStack() as stack:
        broker = stack.enter_context(redis(folder))
        host = json.loads(stack.enter_context(postgres()))["host"]
        database = f"postgres@/postgres?host={quote(host, safe='')}"
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
        url = f"http://{LOOPBACK}:{port}"
        home = AirflowHome(folder, dags, connection(tenant))
        home.environment |= {
            "AIRFLOW_CONN_STORE": s3.connection(),
            "AIRFLOW__API__HOST": LOOPBACK,
            "AIRFLOW__API__PORT": str(port),
            "AIRFLOW__API_AUTH__JWT_SECRET": "secret-of-all-parts-of-this-cluster",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CELERY__BROKER_URL": broker,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql://{database}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{database}",
            # A killed worker is noticed after a missing heartbeat, and what it had fetched after the time in the queue.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "5",
        }
        home.migrate()
        found = Cluster(home, stack)
        for part in ("api-server", "scheduler", "dag-processor"):
            found.start(part)
        deadline = time.monotonic() + 120
        while True:
            try:
                airflow = Standalone(home, url)
                break
            except OSError:
                assert time.monotonic() < deadline, f"the API server does not listen; see {home.log}"
                time.sleep(1)
        yield found, airflow


def rows_of(bucket: Bucket) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of every object of the lake."""
    return {key: bucket.rows(key) for key in bucket.keys if key.startswith("cloudlock/threats/")}


def test_celery_worker_killed_lake_equals_api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [each for day in DAYS for each in day_of_records(str(day), EACH_DAY)]
    with ExitStack() as stack:
        # Slowly, so that the worker is killed while it extracts.
        tenant = stack.enter_context(Tenant(records, before=lambda *_: time.sleep(0.5)))
        s3 = stack.enter_context(S3())
        bucket = Bucket(s3, "lake")
        parts, airflow = stack.enter_context(cluster(tmp_path / "home", tenant, s3))
        doomed = parts.worker("doomed@%h")
        parts.worker("other@%h")
        airflow.unpause("celery_range", "celery_daily")
        run = airflow.trigger("celery_range")
        airflow.until(lambda: len(bucket.keys) > STEP, 180)
        kill(doomed)
        assert len(rows_of(bucket)) < RANGE, "the worker was killed too late"
        assert airflow.wait_for_run("celery_range", run, 300) == "success"
        tasks = airflow.ask("GET", f"/api/v2/dags/celery_range/dagRuns/{run}/taskInstances")["task_instances"]
        assert max(task["try_number"] for task in tasks) > 1, "no task ran on the killed worker"
        parts.worker("new@%h")
        first, last = str(DAYS[RANGE]), str(DAYS[-1])
        airflow.command("backfill", "create", "--dag-id", "celery_daily", "--from-date", first, "--to-date", last)
        airflow.until(lambda: airflow.states("celery_daily")["success"] == BACKFILL, 300)
        found = rows_of(bucket)
        assert sorted(row["id"] for rows in found.values() for row in rows) == sorted(
            str(each["id"]) for each in records
        )
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        alone = tmp_path / "alone"
        operator(f"file://{alone}", str(FIRST), str(DAYS[-1] + timedelta(days=1))).execute({})
        for path in (object_of(str(day)) for day in DAYS):
            assert bucket.read(f"cloudlock/{path}") == (alone / path).read_bytes(), path
