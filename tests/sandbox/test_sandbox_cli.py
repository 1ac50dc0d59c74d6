"""The command, as a user starts and stops it."""

from __future__ import annotations

import datetime
import json
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import airflow_provider_cloudlock
from airflow_provider_cloudlock.sandbox.cli import main

COMMAND = "import sys; from airflow_provider_cloudlock.sandbox.cli import main; sys.exit(main())"


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run ``serve`` and yield the process and its greeting."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line.strip())
            if line.strip().startswith("export "):
                break
        yield process, lines
    finally:
        process.kill()
        process.communicate()


def total(export: str, query: str) -> int:
    """Ask with what the export line tells."""
    _, assignment = shlex.split(export)
    connection = json.loads(assignment.removeprefix("AIRFLOW_CONN_CLOUDLOCK_DEFAULT="))
    request = urllib.request.Request(
        f"{connection['host']}/api/v2/threats?{query}", headers={"Authorization": f"Bearer {connection['password']}"}
    )
    with urllib.request.urlopen(request, timeout=5) as response:
        return int(json.load(response)["total"])


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_serve_greets_answers_and_stops(signum: signal.Signals) -> None:
    days = ("--first-day", "2026-01-01", "--last-day", "2026-01-02")
    with serving(*days, "--per-day", "3", "--token", "it's-mine", "--page-cap", "2") as (process, lines):
        assert "from 2026-01-01 to 2026-01-02" in lines[0]
        assert lines[1].startswith("url    http://127.0.0.1:")
        assert lines[2] == "token  it's-mine"
        assert total(lines[-1], "limit=5") == 6
        curl = shlex.split(next(line for line in lines if line.startswith("curl ")))
        assert curl[1:3] == ["-H", "Authorization: Bearer it's-mine"]
        add = shlex.split(next(line for line in lines if line.startswith("curl ") and line.endswith("/sandbox/add'")))
        assert add[1:5] == ["-X", "POST", "-H", "Authorization: Bearer it's-mine"]
        assert add[5].startswith(lines[1].split()[1])
        process.send_signal(signum)
        _, log = process.communicate(timeout=5)
        assert process.returncode == 0
        assert "GET /api/v2/threats?limit=5 HTTP/1.1" in log
        assert "it's-mine" not in log


def test_serve_the_last_days() -> None:
    with serving("--days", "2", "--last-day", "2026-01-31", "--per-day", "5") as (_, lines):
        assert "from 2026-01-30 to 2026-01-31" in lines[0]
    with serving("--days", "1") as (_, lines):
        today = datetime.datetime.now(datetime.UTC).date()
        assert f"from {today} to {today}" in lines[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--days", "0"], "--days must be at least 1"),
        (["--days", "1000000"], "out of range"),
        (["--days", "3", "--first-day", "2026-01-01"], "not allowed with"),
        (["--first-day", "2026-01-02", "--last-day", "2026-01-01"], "is after"),
        (["--first-day", "soon"], "invalid"),
        (["--token", ""], "printable ASCII"),
        (["--port", "65536"], "cannot listen on 127.0.0.1, port 65536"),
    ],
)
def test_serve_refuses_in_words(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["serve", *options])
    assert refused.value.code == 2
    assert message in capsys.readouterr().err


def test_serve_says_when_the_port_is_taken(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(SystemExit):
        main(["serve", "--port", str(taken.getsockname()[1])])
    assert "Choose another with --port" in capsys.readouterr().err


def test_serving_needs_the_standard_library_alone() -> None:
    probe = (
        "import sys; import airflow_provider_cloudlock.sandbox.cli;"
        "print([n for n in sys.modules if n.partition('.')[0] not in sys.stdlib_module_names"
        " and not n.startswith(('airflow_provider_cloudlock', '_'))])"
    )
    root = Path(airflow_provider_cloudlock.__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-S", "-c", probe], cwd=root, capture_output=True, text=True, check=True, timeout=20
    )
    assert run.stdout.strip() == "[]"
