"""The command, as Airflow takes it in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.audit.receipts import publish
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
    *("day", "whole", "slices", "rows", "bytes", "proofs", "extracted_at", "vanished_kept", "quarantined"),
    *("schema_versions", "statuses", "gaps", "overlaps", "api_rows", "api_more", "findings", "age_seconds"),
}


@pytest.fixture
def audit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Run the command in this process: its status, and what it wrote to standard output and error."""
    from airflow.cli.cli_parser import get_parser

    monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")  # which it sets where nobody has

    def run(destination: str, *options: str) -> Answer:
        arguments = get_parser().parse_args(["cloudlock", "audit", destination, *options])
        capsys.readouterr()  # what an extract said before
        with pytest.raises(SystemExit) as end:
            arguments.func(arguments)
        return (end.value.code, *capsys.readouterr())

    return run


def test_a_whole_lake(audit: Audit, lake: Lake) -> None:
    publish(lake)
    status, out, err = audit(lake.destination, "--from", DAY, "--to", NEXT)
    assert (status, err) == (0, "")
    assert out.startswith(f"threats in {lake.destination}/threats, ")
    assert out.endswith("\n\nThe day is whole.\n")


def test_a_gap(audit: Audit, lake: Lake) -> None:
    publish(lake)
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", THIRD)
    assert status == 1
    assert f"{NEXT}  gap: Nothing is in the lake." in out


def test_json_of_an_extraction_by_a_fast_clock(audit: Audit, lake: Lake) -> None:
    publish(lake, extracted_at="2999-01-01T00:00:00+00:00")
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", NEXT, "--json")
    assert (status, json.loads(out)["days"][0]["age_seconds"]) == (0, 0)


def test_json_is_for_programs(audit: Audit, lake: Lake) -> None:
    publish(lake, rows=40, vanished_kept=3)
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", THIRD, "--json", "--verify")
    found = json.loads(out)
    assert status == 1
    assert set(found) == OF_ALL
    assert all(set(day) == OF_DAY for day in found["days"])
    first, second = found["days"]
    assert (found["from"], found["to"], found["rows"], found["verified"]) == (DAY, THIRD, 40, True)
    assert (first["rows"], first["proofs"], first["gaps"]) == (40, ["single_response"], [])
    assert first["age_seconds"] > 0
    assert [finding["kind"] for finding in first["findings"]] == ["changed"], "the object is no Parquet"
    assert (second["rows"], second["extracted_at"], second["age_seconds"]) == (None, None, None)
    assert second["gaps"] == [[f"{NEXT}T00:00:00+00:00", f"{THIRD}T00:00:00+00:00"]]
    assert second["findings"] == [{"kind": "gap", "text": "Nothing is in the lake. Extract the day."}]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_page_beside_what_is_printed(audit: Audit, lake: Lake, tmp_path: Path, options: list[str]) -> None:
    publish(lake)
    page = tmp_path / "page.html"
    status, out, _ = audit(lake.destination, "--from", DAY, "--to", NEXT, "--html", str(page), *options)
    assert status == 0
    assert page.read_text().startswith("<!doctype html>")
    assert out.startswith("{" if options else "threats in")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--from", "soon"], "from='soon' is not a point in time"),
        (["--from", THIRD, "--to", DAY], "does not come before"),
        (["--resource", "threat"], "Known resources: threats"),
        (["--against-api", "--conn-id", "nowhere"], "nowhere"),
        (["--html", "{tmp}/none/page.html"], "{tmp}/none/page.html: it cannot be written (No such file or directory)"),
        (["--html", "{tmp}"], "{tmp}: it cannot be written (Is a directory)"),
    ],
)
def test_no_audit(audit: Audit, lake: Lake, tmp_path: Path, options: list[str], words: str) -> None:
    publish(lake)
    tmp = str(tmp_path)
    status, out, err = audit(lake.destination, *(option.replace("{tmp}", tmp) for option in options))
    assert (status, out) == (2, "")
    assert words.replace("{tmp}", tmp) in err
    assert "Traceback" not in err


def test_no_lake(audit: Audit, tmp_path: Path) -> None:
    status, out, err = audit(f"file://{tmp_path}/nowhere")
    assert (status, out) == (2, "")
    assert "There is nothing in" in err


def test_cloudlock_refuses(audit: Audit, extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(day_of_records(DAY, 3)) as tenant:
        extract(tenant)
        monkeypatch.setenv("AIRFLOW_CONN_ANOTHER", connection(tenant).replace(tenant.token, "wrong"))
        status, out, err = audit(lake.destination, "--from", DAY, "--to", NEXT, "--against-api", "--conn-id", "another")
    assert (status, out) == (2, "")
    assert "401" in err
    assert "Traceback" not in err


def test_the_defaults_of_the_command_are_those_of_the_audit(audit: Audit, lake: Lake) -> None:
    publish(lake)
    status, out, _ = audit(lake.destination, "--json")
    found = json.loads(out)
    assert (status, len(found["days"]), found["resource"], found["api_rows"]) == (1, 30, "threats", None)
    assert not found["verified"]


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own."""
    return subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
def test_the_real_command_line(extract: Extract, lake: Lake, tmp_path: Path) -> None:
    """Whatever is logged on the way, standard output is the JSON alone."""
    page = tmp_path / "page.html"
    with Tenant(day_of_records(DAY, 12), Habits(before_inclusive=True)) as tenant:
        extract(tenant)
        tenant.insert(record(7, hour(24)))  # counted by a server that includes the bound, and so the day is read
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
    assert "the day is read to be sure" in done.stderr
    assert page.exists()


def test_other_commands_do_not_pay_for_it() -> None:
    """Airflow loads the definition at every command: it may bring in no other library, and nothing of the work."""
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
    brought = done.stdout.splitlines()[-1].split()
    assert len(brought) <= 2, brought
    assert all(name.startswith("airflow_provider_cloudlock.") for name in brought)
