"""Neither the access token nor the proxy's password is in anything that a real Airflow leaves of a run.

All runs are tasks of one Dag, each in a process of its own below Airflow's local executor, with everything logged and
OpenLineage on. Airflow's masking is off: what is not said needs no mask.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from socket import create_server
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.fernet import Fernet

from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook
from tests.api.loopback import certificate, proxy, tls
from tests.integration.canary import ECHOES, PASSWORD, TOKEN, contents
from tests.operators.lake import DAY, NEXT, OBJECT, RECEIPT, operator
from tests.support import Fault, Request, Tenant, day_of_records, echoes_token, headed, redirects, responds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).parents[2]
KEY = Fernet.generate_key()

DAG = """
from datetime import UTC, datetime
from airflow.sdk import Asset, Param, dag
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

@dag(schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC), params={"lake": Param("", type="string")})
def secrets():
    for name in %(names)r:
        CloudlockToObjectStorageOperator(
            task_id=name,
            destination="{{ params.lake }}/" + name,
            created_after=%(start)r,
            created_before=%(end)r,
            cloudlock_conn_id=name,
            outlets=[Asset(name)],
        )

secrets()
"""

#: Of each run the words that its log must hold: proof that it went as it was meant to. The slow ones come first.
WORDS = {
    "unreachable": "the connection was refused",
    "garbled": "was answered with status 200, but",
    "proxy_wrong": "the proxy refuses",
    "proxy_of_environment": "the proxy cannot be reached",
    "plain": "20 rows, written",
    "uri": "20 rows, written",
    "stored": "20 rows, written",
    "refused": "bad credentials Bearer ***",
    "forbidden": "bad credentials Bearer ***",
    "throttled": "It asks to wait 86400 s",
    "redirected": "redirects are never followed",
    "untrusted": "certificate is not accepted",
    "in_host": "it holds a user or a password",
    "in_extra": "has the unknown field 'token'",
    "misplaced": "is not a JSON object",
}
SUCCEED = {name for name, words in WORDS.items() if "written" in words}

EVERY_ECHO = " ".join(f"[{echo(TOKEN.text)}]" for echo in ECHOES.values())
FAULTS = {
    "garbled": responds(200, f'{{"items": [{EVERY_ECHO}'),
    "refused": echoes_token(401),
    "forbidden": echoes_token(403),
    "throttled": echoes_token(429) + headed(Retry_After="86400"),
    "redirected": redirects(f"https://sso.example.com/?{EVERY_ECHO}"),
}


@dataclass(frozen=True)
class Runs:
    """What the runs left.

    :param folder: holds all of it: home, lake, logs, temporary files.
    :param requests: that the servers saw, by the name of the run.
    """

    folder: Path
    requests: dict[str, list[Request]]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask Airflow's database."""
        with closing(sqlite3.connect(self.folder / "home/airflow.db")) as database:
            return database.execute(query).fetchall()

    def log(self, name: str) -> str:
        """Return the log of a run."""
        (path,) = self.folder.glob(f"home/logs/dag_id=secrets/*/task_id={name}/attempt=1.log")
        return path.read_text()

    def events(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return OpenLineage's events of a kind about the tasks, by the name of the run."""
        events = [json.loads(line) for line in (self.folder / "home/lineage.jsonl").read_text().splitlines()]
        return {
            event["job"]["name"].removeprefix("secrets."): event
            for event in events
            if event["eventType"] == kind and "." in event["job"]["name"]
        }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run everything in an Airflow of its own."""
    folder, certificates = tmp_path_factory.mktemp("airflow"), tmp_path_factory.mktemp("certificates")
    for name in ("home", "dags", "temporary"):
        (folder / name).mkdir()
    (folder / "dags/secrets.py").write_text(DAG % {"names": list(WORDS), "start": DAY, "end": NEXT})
    with ExitStack() as stack:
        faults: dict[str, Fault | None] = {name: FAULTS.get(name) for name in WORDS}
        tenants = {
            name: stack.enter_context(Tenant(day_of_records(DAY, 20), faults=fault, token=TOKEN.text))
            for name, fault in faults.items()
        }
        connections = _connections(stack, tenants, certificates)
        environment = _environment(folder, connections)
        log = stack.enter_context((folder / "airflow.log").open("wb"))
        command = [sys.executable, "-m", "airflow"]
        options: dict[str, Any] = {"env": environment, "stdout": log, "stderr": log, "cwd": folder}
        subprocess.run([*command, "db", "migrate"], check=True, **options)
        _store(folder / "home/airflow.db", json.loads(connections["stored"]))
        conf = json.dumps({"lake": f"file://{folder}/lake"})
        dag = [*command, "dags", "test", "--use-executor", "--conf", conf, "secrets", DAY]
        with _started([*command, "api-server", "--apps", "execution"], options), _started(dag, options) as run:
            run.wait()
    return Runs(folder, {name: tenant.seen for name, tenant in tenants.items()})


def _connections(stack: ExitStack, tenants: dict[str, Tenant], folder: Path) -> dict[str, str]:
    """Write the connection of every run; some hold the token in another place than it belongs."""

    def write(name: str, **fields: Any) -> str:
        return json.dumps({"conn_type": "cloudlock", "host": tenants[name].url, "password": TOKEN.text} | fields)

    def secured(name: str) -> str:
        return stack.enter_context(tls(tenants[name], pem)).replace("127.0.0.1", "localhost")

    def through(place: str) -> dict[str, str]:
        return {"proxy": f"http://user:{quote(PASSWORD.text, safe='')}@{place}", "ca_bundle": str(pem)}

    pem = certificate(folder, "localhost")
    right, wrong = (stack.enter_context(proxy("user", password))[0] for password in (PASSWORD.text, "another"))
    spelled = quote(TOKEN.text, safe="")
    return {name: write(name) for name in WORDS} | {
        "uri": f"cloudlock://:{spelled}@{quote(tenants['uri'].url, safe='')}/?page_size=7",
        "stored": write("stored", host=secured("stored"), extra=through(right)),
        "proxy_wrong": write("proxy_wrong", host=secured("proxy_wrong"), extra=through(wrong)),
        "proxy_of_environment": write("proxy_of_environment", host="http://localhost:1"),
        "untrusted": write("untrusted", host=stack.enter_context(tls(tenants["untrusted"], pem))),
        "unreachable": write("unreachable", host="http://127.0.0.1:1"),
        "in_host": write("in_host", host=f"https://{spelled}@tenant.example.com"),
        "in_extra": write("in_extra", extra={"token": TOKEN.text}, password=""),
        "misplaced": write("misplaced", login=TOKEN.text, schema=TOKEN.text, extra=TOKEN.text, password=""),
    }


def _environment(folder: Path, connections: dict[str, str]) -> dict[str, str]:
    with create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
    variables = {f"AIRFLOW_CONN_{name.upper()}": text for name, text in connections.items() if name != "stored"}
    return kept | variables | {
        "AIRFLOW_HOME": str(folder / "home"),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__FERNET_KEY": KEY.decode(),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "8",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__LOGGING__MIN_LENGTH_MASKED_SECRET": "1000000",  # which no secret reaches: none is masked
        "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": "True",
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(folder / "home/lineage.jsonl"), "append": True}
        ),
        # The server may still be starting when the first task asks it.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "100",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "1",
        "HTTP_PROXY": f"http://user:{quote(PASSWORD.text, safe='')}@127.0.0.1:1",
        "NO_PROXY": "127.0.0.1",
        "PYTHONPATH": str(REPOSITORY),
        "TMPDIR": str(folder / "temporary"),
    }  # fmt: skip


def _store(database: Path, connection: dict[str, Any]) -> None:
    """Keep a connection as Airflow does, its secrets encrypted."""
    secrets = (
        Fernet(KEY).encrypt(text.encode()).decode()
        for text in (connection["password"], json.dumps(connection["extra"]))
    )
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute(
            "insert into connection (conn_id, conn_type, host, password, extra, is_encrypted, is_extra_encrypted)"
            " values ('stored', 'cloudlock', ?, ?, ?, 1, 1)",
            (connection["host"], *secrets),
        )


@contextmanager
def _started(command: list[str], options: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, in the end none of its children either."""
    with subprocess.Popen(command, start_new_session=True, **options) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)


def test_every_run_went_as_it_was_meant_to(runs: Runs) -> None:
    states = {"success": SUCCEED, "failed": set(WORDS) - SUCCEED}
    found = runs.ask("select task_id, state from task_instance")
    assert {state: {name for name, its in found if its == state} for state in states} == states
    assert [name for name, words in WORDS.items() if words not in runs.log(name)] == []
    asked = SUCCEED | set(FAULTS)
    assert {name for name, requests in runs.requests.items() if requests} == asked
    for request in (request for requests in runs.requests.values() for request in requests):
        assert request.headers["Authorization"] == f"Bearer {TOKEN.text}"


def test_everything_that_could_tell_was_written(runs: Runs) -> None:
    assert "Skipping masking for a secret as it's too short" in (runs.folder / "airflow.log").read_text()
    for name in SUCCEED | set(FAULTS):
        for evidence in ('"level":"debug"', "GET /api/v2/threats", "urllib3.connectionpool"):
            assert evidence in runs.log(name)
    assert runs.events("START").keys() == WORDS.keys()
    assert runs.events("COMPLETE").keys() == SUCCEED
    failed = runs.events("FAIL")
    assert failed.keys() == WORDS.keys() - SUCCEED
    for name, event in failed.items():
        facet = event["run"]["facets"]["errorMessage"]
        assert "Traceback" in facet["stackTrace"], name
        assert "Cloudlock" in facet["stackTrace"], name
    ((password, extra),) = runs.ask("select password, extra from connection where conn_id = 'stored'")
    assert Fernet(KEY).decrypt(password).decode() == TOKEN.text
    assert quote(PASSWORD.text, safe="") in Fernet(KEY).decrypt(extra).decode()


def test_files_of_all_runs_hold_no_secret(runs: Runs) -> None:
    found = list(contents(runs.folder))
    places = {where for where, data in found if data}
    tables = {"asset_event", "connection", "dag_run", "rendered_task_instance_fields", "serialized_dag", "xcom"}
    assert places >= {f"home/airflow.db table {name}" for name in tables}
    assert places >= {f"lake/{name}/{OBJECT} rows" for name in SUCCEED}
    assert places >= {f"lake/{name}/{RECEIPT}" for name in SUCCEED}
    assert sorted({where for where, data in found if TOKEN.is_in(data) or PASSWORD.is_in(data)}) == []


def test_no_request_has_the_token_but_where_it_belongs(runs: Runs) -> None:
    for request in (request for requests in runs.requests.values() for request in requests):
        others = [value for name, value in request.headers.items() if name.lower() != "authorization"]
        assert not any(TOKEN.is_in(value.encode()) for value in (request.target, request.method, *others))


def test_no_object_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(day_of_records(DAY, 20), token=TOKEN.text) as tenant:
        fields = {"conn_type": "cloudlock", "host": tenant.url, "password": TOKEN.text}
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", json.dumps(fields))
        hook, task = CloudlockHook(), operator("file:///lake")
        assert hook.count() == 20
        shown = [form(each) for form in (repr, str) for each in (hook, hook.client, vars(hook), task, vars(task))]
        shown += [pickle.dumps(each).decode("latin-1") for each in (CloudlockHook(), task)]
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(hook)
    assert not any(TOKEN.is_in(each.encode()) for each in shown)
