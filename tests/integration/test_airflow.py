"""The operator in a Dag, run by a real Airflow with a database of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.operators.lake import DAY, NEXT, Lake, as_row, connection, hour
from tests.support import TOKEN, Tenant, day_of_records, echoes_token, throttled

pytestmark = pytest.mark.slow

DAG = """
from datetime import UTC, datetime, timedelta
from airflow.sdk import Asset, AssetAlias, CronDataIntervalTimetable, Param, dag
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

@dag(
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    default_args={"retries": 3, "retry_delay": timedelta(seconds=0)},
    params={"lake": %(lake)r, "days": Param(1, type="integer")},
)
def %(name)s():
    CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="{{ 'threats' }}",
        destination="{{ params.lake }}",
        refresh_days="{{ params.days }}",
        cloudlock_conn_id="{{ '%(connection)s' }}",
        outlets=%(outlets)s,
        %(options)s
    )

%(name)s()
"""


@dataclass(frozen=True)
class Airflow:
    """What an Airflow left that ran some Dags."""

    home: Path
    lakes: dict[str, Lake]
    outcomes: dict[str, Any]

    def ask(self, query: str) -> dict[str, Any]:
        """Ask its database for something by Dag, as JSON."""
        with closing(sqlite3.connect(self.home / "airflow.db")) as database:
            return {dag_id: json.loads(value) for dag_id, value in database.execute(query)}


TENANT = [*day_of_records("2026-01-01", 10), *day_of_records(DAY, 20), *day_of_records(NEXT, 30)]
OWN_WINDOW = """
        created_after="{{ data_interval_end }}",
        created_before="2026-01-03T12:00:00",
        status="{{ 'Dismissed' }}",
        page_size="{{ params.days * 7 }}",
        on_vanished="{{ 'drop' }}",
        max_quarantined="{{ 0 }}",
"""
#: Of each Dag its connection, and further arguments of its operator.
DAGS = {
    "plain": ("good", ""),
    "own": ("good", OWN_WINDOW),
    "refused": ("refusing", ""),
    "delayed": ("busy", ""),
    "several": ("good", 'inlets=[Asset("referred")],'),
    "unknown": ("good", ""),
}
#: Outlets of those that do not have just an asset of their own name.
OUTLETS = {
    "several": '[Asset("several"), Asset("other"), AssetAlias("alias"), Asset.ref(name="referred")]',
    "unknown": '[Asset.ref(name="nowhere")]',
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Airflow:
    """An Airflow that ran every Dag once, logging all it can."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("home", "dags", *DAGS)}
    lakes = {name: Lake(folders[name] / "lake") for name in DAGS}
    for name, (conn_id, options) in DAGS.items():
        outlets = OUTLETS.get(name, f'[Asset("{name}")]')
        values = {"name": name, "lake": lakes[name].destination, "connection": conn_id, "options": options}
        values["outlets"] = outlets
        (folders["dags"] / f"{name}.py").write_text(DAG % values)
    with (
        Tenant(TENANT) as good,
        Tenant(TENANT, faults=echoes_token()) as refusing,
        Tenant(TENANT, faults={1: throttled(86400)}) as busy,
        (folders["home"] / "airflow.log").open("wb") as log,
    ):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")} | {
            "AIRFLOW_HOME": str(folders["home"]),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folders["dags"]),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
            "AIRFLOW_CONN_GOOD": connection(good),
            "AIRFLOW_CONN_REFUSING": connection(refusing),
            "AIRFLOW_CONN_BUSY": connection(busy),
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.airflow_home", str(folders["dags"])],
            env=environment,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=log,
            check=False,
        )
    assert done.returncode == 0, (folders["home"] / "airflow.log").read_text()[-5000:]
    outcomes = json.loads(done.stdout)
    assert outcomes.pop("import errors") == {}
    return Airflow(folders["home"], lakes, outcomes)


def test_run_without_window_extracts_its_data_interval(airflow: Airflow) -> None:
    outcome, lake = airflow.outcomes["plain"], airflow.lakes["plain"]
    assert outcome["state"] == "success"
    assert lake.rows() == [as_row(each) for each in Tenant(TENANT).window("2026-01-01", NEXT)]
    assert outcome["xcom"]["window"] == [hour(-24).isoformat(), hour(24).isoformat()]
    assert outcome["xcom"]["rows"] == 30
    assert [each["path"] for each in outcome["xcom"]["slices"]] == [
        f"{lake.destination}/{name}" for name in lake.objects
    ]
    assert outcome["xcom"]["slices"][1].items() <= lake.receipt().items()


def test_every_template_is_rendered(airflow: Airflow) -> None:
    rendered = airflow.ask("select dag_id, rendered_fields from rendered_task_instance_fields")
    assert rendered["own"] == {
        "resource": "threats",
        "destination": airflow.lakes["own"].destination,
        "created_after": "2026-01-03 00:00:00+00:00",
        "created_before": "2026-01-03T12:00:00",
        "refresh_days": "1",
        "status": "Dismissed",
        "page_size": "7",
        "on_vanished": "drop",
        "max_quarantined": "0",
        "cloudlock_conn_id": "good",
    }
    assert airflow.outcomes["own"]["xcom"]["window"] == [hour(0).isoformat(), hour(36).isoformat()]
    assert {row["status"] for row in airflow.lakes["own"].rows()} == {"DISMISSED"}
    assert airflow.outcomes["own"]["xcom"]["rows"] == len(airflow.lakes["own"].rows()) > 0


def test_the_asset_event_holds_what_xcom_holds(airflow: Airflow) -> None:
    extras = airflow.ask("select source_dag_id, extra from asset_event")
    assert extras == {name: airflow.outcomes[name]["xcom"] for name in ("plain", "own", "delayed", "several")}


def test_event_is_emitted_for_every_outlet(airflow: Airflow) -> None:
    assets = (
        "select a.uri, e.extra from asset_event e join asset a on a.id = e.asset_id where source_dag_id = 'several'"
    )
    extras = airflow.ask(assets)
    assert set(extras) == {"several", "other", "referred", f"{airflow.lakes['several'].destination}/threats"}
    assert all(extra == airflow.outcomes["several"]["xcom"] for extra in extras.values())


def test_outlet_of_unknown_asset_is_refused(airflow: Airflow) -> None:
    assert airflow.outcomes["unknown"] == {"state": "failed", "try_number": 1, "xcom": None}
    assert "the outlet AssetNameRef(name='nowhere'): ASSET_NOT_FOUND" in (airflow.home / "airflow.log").read_text()
    assert airflow.lakes["unknown"].files == []


def test_what_a_retry_cannot_mend_is_not_tried_again(airflow: Airflow) -> None:
    assert airflow.outcomes["refused"] == {"state": "failed", "try_number": 1, "xcom": None}
    assert airflow.lakes["refused"].files == []


def test_what_may_pass_is_tried_again(airflow: Airflow) -> None:
    assert airflow.outcomes["delayed"]["state"] == "success"
    assert airflow.outcomes["delayed"]["try_number"] == 2
    assert airflow.lakes["delayed"].files == airflow.lakes["plain"].files


def test_the_token_is_nowhere(airflow: Airflow) -> None:
    log = airflow.home / "airflow.log"
    lines = log.read_text().splitlines()
    for evidence in ("[debug", "GET /api/v2/threats", "refuses the access token"):
        assert any(evidence in line for line in lines)
    # dag.test() stands in for the supervisor within the task's process, and there logs what it is told to mask.
    told = [line for line in lines if "Sending request" in line and "msg=MaskSecret(" in line]
    assert [line for line in lines if TOKEN in line and line not in told] == []
    folders = [airflow.home, *(lake.folder.parent for lake in airflow.lakes.values())]
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and path != log]
    assert {path.suffix for path in files} >= {".db", ".parquet", ".json"}
    assert [path for path in files if TOKEN.encode() in path.read_bytes()] == []
