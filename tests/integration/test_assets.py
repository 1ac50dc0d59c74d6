"""The load DAG follows the extract DAG by their asset, in a real Airflow with its scheduler."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.integration.standalone import Standalone, standalone
from tests.operators.lake import connection
from tests.support import Record, Tenant, day_of_records

pytestmark = [pytest.mark.waits, pytest.mark.timeout(300)]

DAGS = Path(__file__).parents[2] / "dags"
EXTRACT, LOAD = "cloudlock_threats_extract", "cloudlock_threats_load"
DAYS = [f"2026-01-0{day}" for day in range(1, 6)]
RECORDS: list[Record] = [each for day in DAYS for each in day_of_records(day, 20)]
RECORDS = [each | {"id": number} for number, each in enumerate(RECORDS, 1)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home, and the two DAGs, which read one day again instead of seven."""
    folder = tmp_path_factory.mktemp("assets")
    (folder / "dags").mkdir()
    for name in ("cloudlock_common", "cloudlock_duckdb", EXTRACT, LOAD):
        shutil.copy(DAGS / f"{name}.py", folder / "dags")
    common = folder / "dags/cloudlock_common.py"
    text = common.read_text()
    assert text.count("    7,\n") == 1
    common.write_text(text.replace("    7,\n", "    1,\n"))
    return folder


def days_told(airflow: Standalone) -> Counter[str]:
    return Counter(event["partition_key"] for event in airflow.events() if event["partition_key"] < "2026-02")


def days_loaded(airflow: Standalone) -> Counter[str]:
    return Counter(run["partition_key"] for run in airflow.runs(LOAD) if run["partition_key"] < "2026-02")


def extract(airflow: Standalone, day: str) -> None:
    assert airflow.wait_for_run(EXTRACT, airflow.trigger(EXTRACT, partition_key=day)) == "success"


def wait_for(airflow: Standalone, expected: Counter[str]) -> None:
    """Wait until these days were loaded, so often; what is too much stays, and is found at the end."""
    airflow.until(lambda: days_loaded(airflow) >= expected, 120)
    airflow.until(lambda: set(airflow.states(LOAD)) == {"success"}, 120)


def warehouse(folder: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(str(folder / "cloudlock/warehouse.duckdb"), read_only=True)) as held:
        return held.execute(query).fetchall()


def test_every_changed_day_is_loaded_once_and_no_other(folder: Path) -> None:
    with (
        Tenant(RECORDS) as tenant,
        standalone(folder, folder / "dags", connection(tenant)) as airflow,
    ):
        airflow.unpause(LOAD, EXTRACT)
        extract(airflow, DAYS[1])
        expected = Counter(DAYS[:2])
        wait_for(airflow, expected)

        tenant.dismiss(RECORDS[25]["id"])
        extract(airflow, DAYS[2])
        expected += Counter(DAYS[1:3])
        wait_for(airflow, expected)

        extract(airflow, DAYS[2])  # nothing changed

        dates = ("--from-date", DAYS[3], "--to-date", DAYS[4])
        airflow.command("backfill", "create", "--dag-id", EXTRACT, *dates, "--max-active-runs", "2")
        expected += Counter(DAYS[3:])
        wait_for(airflow, expected)

        airflow.wait_until_quiet(EXTRACT, LOAD)
        assert (days_told(airflow), days_loaded(airflow)) == (expected, expected)
        assert airflow.states(EXTRACT) == {"success": 6}
        assert set(airflow.states(LOAD)) == {"success"}
        held = warehouse(folder, "select id, status, created_at from cloudlock_threats order by created_at, id")
        assert [(row[0], row[1]) for row in held] == [(str(each["id"]), each["status"]) for each in tenant.records]
