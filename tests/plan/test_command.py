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
    """Run the command in this process, and return its exit status."""
    try:
        parsed = cli_parser.get_parser().parse_args(["cloudlock", "plan", *arguments])
        parsed.func(parsed)
    except SystemExit as end:
        return end.code
    return 0


def window(start: str = DAY, end: str = THIRD) -> tuple[str, ...]:
    """Write the arguments for a window."""
    return "--from", start, "--to", end


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a tenant's connection known."""

    def run(tenant: Tenant, name: str = "cloudlock_default", **extra: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", connection(tenant, **extra))

    return run


def test_airflow_is_told_of_both_commands() -> None:
    assert get_provider_info()["cli"] == [f"{get_commands.__module__}.{get_commands.__qualname__}"]
    (group,) = get_commands()
    assert group.name == "cloudlock"
    assert [each.name for each in group.subcommands] == ["audit", "plan"]


def test_a_table(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant)
        assert command(*window()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"From {DAY} up to, and without, {THIRD} (UTC)"
    assert [line.split() for line in lines if line.startswith(("2026", "all"))] == [
        [DAY, "12", "4"],
        [NEXT, "9", "4"],
        ["all", "21", "8"],
    ]


def test_json(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant)
        assert command(*window(), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [day["records"] for day in found["days"]] == [12, 9]
    assert found["requests_at_least"] == 8


def test_another_connection(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant, "other")
        assert command(*window(), "--conn-id", "other", "--resource", "threats") == 0
    assert "Plan for threats by other, " in capsys.readouterr().out


def test_no_count_is_no_failure(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS, Habits(total="absent")) as tenant:
        connect(tenant)
        assert command(*window()) == 0
    assert "unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (window(DAY, DAY), "is empty"),
        (window(NEXT, DAY), "ends before it starts"),
        (window(DAY, "2999-01-01"), "still to come"),
        (window("soon"), "from='soon' is not a point in time"),
        ((*window(), "--resource", "threat"), "Known resources: threats"),
        ((*window(), "--conn-id", "nowhere"), "nowhere"),
        (("--from", DAY), "--to"),
        (("--to", DAY), "--from"),
    ],
)
def test_no_plan(connect: Any, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    with Tenant(TWO_DAYS) as tenant:
        connect(tenant)
        assert command(*arguments) == 2
        assert tenant.seen == []
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert "Requests" not in said.out


def test_a_refusal_without_the_token(connect: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with Tenant(TWO_DAYS, faults=echoes_token()) as tenant:
        connect(tenant)
        assert command(*window()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "refuses the access token" in said.err
    assert TOKEN not in said.err


@pytest.mark.slow
def test_what_a_shell_sees(tmp_path: Path) -> None:
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
        done = shell(conn, "--json")  # it logs that a simpler request is tried
        assert json.loads(done.stdout)["records"] == 21
        assert (done.returncode, "A simpler form of the request is tried" in done.stderr) == (0, True)
        tenant.token = "another"
        refused = shell(conn)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "refuses the access token" in refused.stderr
    assert TOKEN not in done.stdout + done.stderr + refused.stderr
