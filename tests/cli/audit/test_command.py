"""``airflow cloudlock audit``, through Airflow's own parser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.audit.receipts import publish
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, Lake, connection, hour
from tests.support import Habits, Tenant, day_of_records, record

THIRD = "2026-01-04"
Answer = tuple[object, str, str]
Audit = Callable[..., Answer]

OF_ALL = {
    *("uri", "resource", "from", "to", "made_at", "verified", "whole", "rows", "bytes", "vanished_kept", "quarantined"),
    *("schema_versions", "api_rows", "days"),
}
OF_DAY = {
    *("day", "whole", "rows", "bytes", "proof", "until", "extracted_at", "vanished_kept", "quarantined"),
    *("schema_version", "tenant", "status", "api_rows", "api_more", "findings", "age_seconds"),
}


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Run the command in this process; return its status, standard output and standard error."""
    from airflow.cli.cli_parser import get_parser

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # the command sets it otherwise

    def run(destination: str, *options: str) -> Answer:
        arguments = get_parser().parse_args(["cloudlock", "audit", destination, *options])
        capsys.readouterr()  # output of an extraction before
        with pytest.raises(SystemExit) as end:
            arguments.func(arguments)
        return (end.value.code, *capsys.readouterr())

    return run


def test_audit_complete_lake_exits_0(audit: Audit, lake: Lake) -> None:
    publish(lake)
    status, out, err = audit(lake.destination, "--from", DAY, "--to", NEXT)
    assert (status, err) == (0, "")
    assert out.startswith(f"threats in {lake.destination}/threats, ")
    assert out.endswith("\n\nThe day is complete.\n")


def test_audit_gap_exits_1(audit: Audit, lake: Lake) -> None:
    publish(lake)
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", THIRD)
    assert status == 1
    assert f"{NEXT}  gap: Not extracted. Extract the day." in out


def test_json_future_extraction_has_age_0(audit: Audit, lake: Lake) -> None:
    publish(lake, extracted_at="2999-01-01T00:00:00+00:00")
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", NEXT, "--json")
    assert (status, json.loads(out)["days"][0]["age_seconds"]) == (0, 0)


def test_json_has_all_fields(audit: Audit, lake: Lake) -> None:
    publish(lake, rows=40, vanished_kept=3)
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", THIRD, "--json", "--verify")
    found = json.loads(out)
    assert status == 1
    assert set(found) == OF_ALL
    assert all(set(day) == OF_DAY for day in found["days"])
    first, second = found["days"]
    assert (found["from"], found["to"], found["rows"], found["verified"]) == (DAY, THIRD, 40, True)
    assert (first["rows"], first["proof"], first["until"]) == (40, "single_response", None)
    assert (first["schema_version"], first["tenant"], first["status"]) == (1, "acme", None)
    assert first["age_seconds"] > 0
    assert [finding["kind"] for finding in first["findings"]] == ["changed"], "the object is not Parquet"
    assert (second["rows"], second["extracted_at"], second["age_seconds"]) == (None, None, None)
    assert second["findings"] == [{"kind": "gap", "text": "Not extracted. Extract the day."}]


def test_json_partial_day_has_until(audit: Audit, lake: Lake) -> None:
    publish(lake, until=6)
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", NEXT, "--json")
    (day,) = json.loads(out)["days"]
    assert (status, day["whole"], day["until"]) == (1, False, hour(6).isoformat())
    assert [finding["kind"] for finding in day["findings"]] == ["partial"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_html_is_written_besides_output(audit: Audit, lake: Lake, tmp_path: Path, options: list[str]) -> None:
    publish(lake)
    page = tmp_path / "page.html"
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", NEXT, "--html", str(page), *options)
    assert status == 0
    assert page.read_text().startswith("<!doctype html>")
    assert out.startswith("{" if options else "threats in")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--from", "soon"], "from='soon'"),
        (["--from", THIRD, "--to", DAY], "is not before"),
        (["--resource", "threat"], "Known resources: threats"),
        (["--against-api", "--conn-id", "nowhere"], "nowhere"),
        (
            ["--html", "{tmp}/none/page.html"],
            "{tmp}/none/page.html: the file cannot be written (No such file or directory)",
        ),
        (["--html", "{tmp}"], "{tmp}: the file cannot be written (Is a directory)"),
    ],
)
def test_audit_invalid_argument_exits_2(
    audit: Audit, lake: Lake, tmp_path: Path, options: list[str], words: str
) -> None:
    publish(lake)
    tmp = str(tmp_path)
    status, out, err = audit(lake.destination, *(option.replace("{tmp}", tmp) for option in options))
    assert (status, out) == (2, "")
    assert words.replace("{tmp}", tmp) in err
    assert "Traceback" not in err


def test_audit_empty_destination_exits_2(audit: Audit, tmp_path: Path) -> None:
    status, out, err = audit(f"file://{tmp_path}/nowhere")
    assert (status, out) == (2, "")
    assert "There is nothing in" in err


def test_against_api_refused_token_exits_2(
    audit: Audit, extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Tenant(day_of_records(DAY, 3)) as tenant:
        extract(tenant)
        monkeypatch.setenv("AIRFLOW_CONN_ANOTHER", connection(tenant).replace(tenant.token, "wrong"))
        status, out, err = audit(lake.destination, "--from", DAY, "--to", NEXT, "--against-api", "--conn-id", "another")
    assert (status, out) == (2, "")
    assert "401" in err
    assert "Traceback" not in err


def test_audit_defaults_are_30_days_of_threats(audit: Audit, lake: Lake) -> None:
    publish(lake)
    status, out, _ = audit(lake.destination, "--json")
    found = json.loads(out)
    assert (status, len(found["days"]), found["resource"], found["api_rows"]) == (1, 30, "threats", None)
    assert not found["verified"]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a new process."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
def test_airflow_command_prints_only_json(extract: Extract, lake: Lake, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    with Tenant(day_of_records(DAY, 12), Habits(before_inclusive=True)) as tenant:
        extract(tenant)
        tenant.insert(record(7, hour(24)))  # a server with an inclusive bound counts it, so the day is read
        done = python(
            *("-m", "airflow", "cloudlock", "audit", lake.destination, "--from", DAY, "--to", NEXT),
            *("--against-api", "--verify", "--json", "--html", str(page)),
            AIRFLOW_CONN_CLOUDLOCK_DEFAULT=connection(tenant),
            AIRFLOW_HOME=str(tmp_path / "home"),
            AIRFLOW__CORE__UNIT_TEST_MODE="False",
        )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["whole"], found["rows"], found["api_rows"]) == (True, 12, 12)
    assert "Reading the day to verify the count" in done.stderr
    assert page.exists()


def test_get_commands_imports_nothing_else() -> None:
    """Airflow calls it for every command, also for those of others."""
    code = """
import sys
from airflow.cli import cli_config
from importlib import import_module
from airflow_provider_cloudlock.provider_info import get_provider_info
before = set(sys.modules)
for name in get_provider_info()["cli"]:
    module, _, function = name.rpartition(".")
    getattr(import_module(module), function)()
print(*sorted(set(sys.modules) - before))
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split() == []


@pytest.mark.parametrize("name", ["audit", "plan"])
def test_import_in_task_loads_no_command_line(name: str) -> None:
    code = f"""
import sys
from airflow_provider_cloudlock.cli.{name} import {name}
print(callable({name}), *sorted(module for module in sys.modules if module.startswith("airflow.cli")))
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"
