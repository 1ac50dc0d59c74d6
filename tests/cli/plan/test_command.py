"""``airflow cloudlock plan``, through Airflow's own parser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from airflow.cli import cli_parser

from airflow_provider_cloudlock.cli import get_commands
from airflow_provider_cloudlock.provider_info import get_provider_info
from tests.operators.lake import DAY, NEXT, connection
from tests.support import TOKEN, Habits, Tenant, day_of_records, echoes_token

THIRD = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 12), *day_of_records(NEXT, 9)]


@pytest.fixture(autouse=True)
def _own_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")


def command(*arguments: str) -> object:
    """Run the command in this process and return its exit status."""
    try:
        parsed = cli_parser.get_parser().parse_args(["cloudlock", "plan", *arguments])
        parsed.func(parsed)
    except SystemExit as end:
        return end.code
    return 0


def window(start: str = DAY, end: str = THIRD) -> tuple[str, ...]:
    """Return the arguments for a window."""
    return "--from", start, "--to", end


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Define the connection to a tenant."""

    def run(tenant: Tenant, name: str = "cloudlock_default", **extra: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection(tenant, **extra))

    return run


def test_provider_info_names_get_commands() -> None:
    assert get_provider_info()["cli"] == [f"{get_commands.__module__}.{get_commands.__qualname__}"]
    (group,) = get_commands()
    assert group.name == "cloudlock"
    assert [each.name for each in group.subcommands] == ["audit", "plan"]


def test_plan_prints_table(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant)
        assert command(*window()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"From {DAY} to {THIRD} (exclusive), UTC"
    assert [line.split() for line in lines if line.startswith(("2026", "all"))] == [
        [DAY, "12"],
        [NEXT, "9"],
        ["all", "21"],
    ]
    assert any(line.startswith("At least 3 requests in one task") for line in lines)


def test_plan_prints_json(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant)
        assert command(*window(), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [period["records"] for period in found["periods"]] == [12, 9]
    assert (found["days"], found["requests_at_least"]) == (2, 3)


def test_plan_uses_conn_id(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant, "other")
        assert command(*window(), "--conn-id", "other", "--resource", "threats") == 0
    assert "Plan for threats with connection other, " in capsys.readouterr().out


def test_plan_without_count_exits_0(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS, Habits(total="absent")) as tenant:
        connect(tenant)
        assert command(*window()) == 0
    assert "unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (window(DAY, DAY), f"from={DAY} is not before to={DAY}, and to is exclusive. For one day, give the day after"),
        (window(NEXT, DAY), f"from={NEXT} is not before to={DAY}"),
        (window(DAY, "2999-01-01"), "to=2999-01-01 is in the future"),
        (window("soon"), "from='soon'"),
        ((*window(), "--resource", "threat"), "Known resources: threats"),
        ((*window(), "--conn-id", "nowhere"), "nowhere"),
        (("--from", DAY), "--to"),
        (("--to", DAY), "--from"),
    ],
)
def test_plan_invalid_argument_exits_2(
    connect: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant)
        assert command(*arguments) == 2
        assert tenant.seen == []
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert "At least" not in said.out


def test_plan_refused_token_exits_2_without_token(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS, faults=echoes_token()) as tenant:
        connect(tenant)
        assert command(*window()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "refuses the access token" in said.err
    assert TOKEN not in said.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["audit file:///lake", f"plan --from {DAY} --to {NEXT}"])
def test_airflow_command_in_task_exits_2_with_advice(tmp_path: Path, command: str) -> None:
    script = (
        "import subprocess, sys; from airflow.sdk.execution_time.supervisor import block_orm_access; "
        "block_orm_access(); sys.exit(subprocess.run(sys.argv[1:]).returncode)"
    )
    airflow = str(Path(sys.executable).with_name("airflow"))
    done = subprocess.run(
        [sys.executable, "-c", script, airflow, "cloudlock", *command.split()],
        env={name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        | {"AIRFLOW_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "airflow cloudlock does not run inside a task" in done.stderr
    assert "airflow_provider_cloudlock.cli.audit" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_airflow_command_plan_in_shell(tmp_path: Path) -> None:
    settings = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW__")}

    def shell(conn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("airflow"), "cloudlock", "plan", *window(), *arguments],
            env=settings | {"AIRFLOW_HOME": str(tmp_path), "AIRFLOW_CONN_CLOUDLOCK_DEFAULT": conn},
            capture_output=True,
            text=True,
            check=False,
        )

    with Tenant(TWO_DAYS, Habits(refuses=["order"])) as tenant:
        conn = connection(tenant)
        done = shell(conn, "--json")  # a simpler form of the request is logged
        assert [f"From {DAY} to {NEXT}: 12 records" in done.stderr, f"to {THIRD}: 9 records" in done.stderr] == [
            True
        ] * 2
        assert json.loads(done.stdout)["records"] == 21
        assert (done.returncode, "Retrying with a simpler form of the request." in done.stderr) == (0, True)
        tenant.token = "another"
        refused = shell(conn)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "refuses the access token" in refused.stderr
    assert TOKEN not in done.stdout + done.stderr + refused.stderr
