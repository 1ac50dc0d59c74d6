"""The demo, as a person runs it, and what can be done with what it leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_provider_cloudlock.sandbox import demo
from airflow_provider_cloudlock.sandbox.demo_airflow import AirflowHome, DemoError
from airflow_provider_cloudlock.sandbox.server import Sandbox
from tests.operators.lake import object_of, receipt_of

BIN = Path(sys.executable).parent
DAGS = Path(__file__).parents[2] / "dags"


@dataclass
class Shown:
    """What the demo left on the screen and in its folder."""

    code: int
    output: str
    errors: str
    folder: Path

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the warehouse."""
        with closing(duckdb.connect(str(self.folder / "cloudlock/warehouse.duckdb"), read_only=True)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """Run the demo, beside another Airflow that it must not touch."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("demo") / "new"
    other = {"HOME": str(home), "AIRFLOW_HOME": str(home), "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "oracle://production"}
    done = subprocess.run(
        [BIN / "cloudlock-sandbox", "demo", "--directory", folder],
        env=os.environ | other,
        capture_output=True,
        text=True,
        check=False,
    )
    assert list(home.iterdir()) == []
    return Shown(done.returncode, done.stdout, done.stderr, folder)


@pytest.mark.slow
def test_the_demo_shows_what_it_promises(shown: Shown) -> None:
    assert (shown.code, shown.errors) == (0, "")
    runs = [line.split() for line in shown.output.splitlines() if line.startswith("  2026-03-0")][:8]
    days = [f"2026-03-0{day}" for day in range(2, 9)]
    assert [(day, slices, rows) for day, slices, rows, *_ in runs] == [(day, "8", "320") for day in [*days, days[-1]]]
    changed = [int(run[3]) for run in runs]
    assert changed[0] == 8  # nothing was there
    assert all(1 <= number < 8 for number in changed[1:7])  # the new day, and where somebody dismissed an anomaly
    assert changed[7] == 1  # the one that was dismissed since
    assert [int(run[4]) for run in runs] == [40 * number for number in changed]
    assert "before   ACTIVE\n" in shown.output
    assert "after    DISMISSED, Confirmed by the user\n" in shown.output
    assert "the tenant has 560 anomalies, the warehouse 560: the same ones, each exactly once" in shown.output
    assert "proof           single_response" in shown.output
    assert max(map(len, shown.output.splitlines())) <= 110 + len(str(shown.folder))
    for noise in ("Traceback", "[info", "Warning"):
        assert noise not in shown.output


@pytest.mark.slow
def test_demo_folder_holds_lake_and_warehouse(shown: Shown) -> None:
    assert {path.name for path in shown.folder.iterdir()} >= {"airflow.cfg", "airflow.db", "airflow.log", "cloudlock"}
    lake = shown.folder / "cloudlock/lake"
    days = [f"2026-02-{day}" for day in range(23, 29)] + [f"2026-03-0{day}" for day in range(1, 9)]
    files = [str(path.relative_to(lake)) for path in lake.rglob("*") if path.is_file()]
    assert sorted(files) == sorted([*map(object_of, days), *map(receipt_of, days)])
    assert shown.ask(
        "select count(*), count(distinct id), count(distinct timezone('UTC', created_at)::date) from cloudlock_threats"
    ) == [(560, 560, 14)]
    assert shown.ask("select count(*), sum(rows) from cloudlock_loads") == [(14, 560)]


@pytest.mark.slow
def test_no_file_holds_the_token(shown: Shown) -> None:
    files = [path for path in shown.folder.rglob("*") if path.is_file()]
    assert len(files) > 30
    assert [path for path in files if b"sandbox-token" in path.read_bytes()] == []


@pytest.mark.slow
def test_a_range_is_read_by_mapped_tasks_and_loaded_once(shown: Shown) -> None:
    days = {"from": "2026-02-20", "to": "2026-03-02", "days_per_task": 3}
    before = shown.ask("select status, count(*) from cloudlock_threats group by all order by all")
    tenant = {"first_day": date(2026, 2, 20), "last_day": date(2026, 3, 8), "now": datetime(2026, 3, 9, tzinfo=UTC)}
    with Sandbox(**tenant) as sandbox:
        home = AirflowHome(shown.folder, DAGS, sandbox.connection_json())
        done = subprocess.run(
            [BIN / "airflow", "dags", "test", "cloudlock_threats_range", "--conf", json.dumps(days)],
            env=home.environment,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "{'slices_loaded': 3, 'slices_skipped': 7, 'rows_loaded': 120}" in done.stdout
    assert "XCom not found" not in done.stdout
    after = shown.ask("select status, count(*) from cloudlock_threats group by all order by all")
    assert sum(row[1] for row in after) == sum(row[1] for row in before) + 120


@pytest.mark.slow
def test_a_failed_run_says_why(shown: Shown) -> None:
    with Sandbox() as sandbox:
        wrong = json.dumps(json.loads(sandbox.connection_json()) | {"password": "recycled"})
        home = AirflowHome(shown.folder, DAGS, wrong)
        with (
            pytest.raises(DemoError, match=r"^extract: .*refuses the access token.*\n.*airflow\.log$"),
            home.runs() as runs,
        ):
            runs.run(datetime(2026, 3, 3, tzinfo=UTC))


def test_dags_that_cannot_be_loaded_are_explained(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("from airflow.sdk import dag, no_such_name\n")
    home = AirflowHome(tmp_path, tmp_path, "{}")
    with pytest.raises(DemoError, match="no_such_name"), home.runs():
        pass


def demo_of(*arguments: str) -> int:
    """Run the demo in this process; only where it stops before it starts Airflow."""
    parser = ArgumentParser()
    demo.add_arguments(parser)
    return demo.run(parser.parse_args(arguments))


def test_a_used_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").touch()
    assert demo_of("--directory", str(tmp_path)) == 1
    assert f"{tmp_path} is not empty. Give a new or empty --directory" in capsys.readouterr().err
    assert demo_of("--directory", str(tmp_path / "thesis.txt")) == 1
    assert "thesis.txt cannot be used" in capsys.readouterr().err


def test_without_a_checkout_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "__file__", str(tmp_path / "site-packages/airflow_provider_cloudlock/sandbox/demo.py"))
    assert demo_of() == 1
    assert "Clone the repository and run `uv run cloudlock-sandbox demo` in it." in capsys.readouterr().err
