"""The sample DAGs as Airflow sees them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.dags.conftest import DAGS
from tests.operators.lake import connection
from tests.support import Tenant, day_of_records, responds, throttled

DAILY, RANGE = "cloudlock_threats_daily", "cloudlock_threats_range"
EXTRACT, LOAD = "cloudlock_threats_extract", "cloudlock_threats_load"


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """Every DAG of the folder, loaded with every warning an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bag = DagBag(str(DAGS))
    assert bag.import_errors == {}
    return bag.dags


def test_every_file_of_a_dag_has_one(dags: dict[str, DAG]) -> None:
    assert set(dags) == {path.stem for path in DAGS.glob("cloudlock_threats_*.py")}


@pytest.mark.parametrize("dag_id", [DAILY, RANGE, EXTRACT, LOAD])
def test_everything_is_described(dags: dict[str, DAG], dag_id: str) -> None:
    dag = dags[dag_id]
    assert dag.tags == {"cloudlock", "security"}
    assert dag.doc_md.strip().startswith("# Cloudlock threats")
    for name in dag.params:
        assert dag.params.get_param(name).description, name
        user = "refresh_days=REFRESH" if name == "refresh_days" else f"{{{{ params.{name} }}}}"
        assert user in Path(dag.fileloc).read_text(), f"{name} has no user"


@pytest.mark.parametrize("dag_id", [DAILY, RANGE, EXTRACT, LOAD])
def test_tasks_are_retried_with_growing_delays(dags: dict[str, DAG], dag_id: str) -> None:
    for task in dags[dag_id].tasks:
        assert task.owner == "security-data"
        assert task.retries == 4
        assert task.retry_delay == timedelta(minutes=1)
        assert task.retry_exponential_backoff == 2
        assert task.max_retry_delay == timedelta(hours=1)


def test_the_daily_interval_is_the_utc_day(dags: dict[str, DAG]) -> None:
    dag = dags[DAILY]
    assert isinstance(dag.timetable, CronDataIntervalTimetable)
    from airflow.serialization.encoders import coerce_to_core_timetable

    interval = coerce_to_core_timetable(dag.timetable).infer_manual_data_interval(
        run_after=datetime(2026, 1, 3, 0, 0, 1, tzinfo=UTC)
    )
    assert (interval.start, interval.end) == (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC))


def test_daily_runs_follow_one_another(dags: dict[str, DAG]) -> None:
    dag = dags[DAILY]
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert dag.task_dict["extract"].downstream_task_ids == {"load"}


def test_a_few_days_are_refreshed_by_default(dags: dict[str, DAG]) -> None:
    param = dags[DAILY].params.get_param("refresh_days")
    assert param.value == 7
    assert [param.resolve(days) for days in (0, 90)] == [0, 90]
    for nonsense in (-1, 91, "7", 1.5):
        with pytest.raises(ParamValidationError, match=re.escape(repr(nonsense))):
            param.resolve(nonsense)


@pytest.mark.parametrize(("run_type", "days"), [("scheduled", "7"), ("manual", "7"), ("backfill", "0")])
def test_a_backfill_leaves_the_other_days_to_their_own_runs(dags: dict[str, DAG], run_type: str, days: str) -> None:
    for dag in dags.values():
        if "refresh_days" in dag.params:
            context = {"dag_run": SimpleNamespace(run_type=run_type), "params": {"refresh_days": 7, "lake": ""}}
            extract = dag.task_dict["extract"].prepare_for_execution()
            extract.render_template_fields(context)  # type: ignore[arg-type]
            assert str(extract.refresh_days) == days


def test_the_defaults_need_no_connection_but_the_tenants(dags: dict[str, DAG]) -> None:
    for dag in (dags[DAILY], dags[RANGE]):
        assert dag.params["lake"].startswith("file:///")
        assert dag.params["warehouse"].endswith("/cloudlock/warehouse.duckdb")


def test_range_dag_runs_four_extracts_of_31_days(dags: dict[str, DAG]) -> None:
    dag = dags[RANGE]
    assert dag.params["days_per_task"] == 31
    assert dag.task_dict["extract"].max_active_tis_per_dagrun == 4
    assert dag.task_dict["plan"].downstream_task_ids == {"extract"}
    assert dag.task_dict["extract"].downstream_task_ids == {"load"}


def test_all_that_asks_the_api_for_a_range_waits_in_its_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloudlock_common.POOL", "cloudlock")
    dag = DagBag(str(DAGS / f"{RANGE}.py")).dags[RANGE]
    assert {task.task_id: task.pool for task in dag.tasks} == {
        "plan": "cloudlock",
        "extract": "cloudlock",
        "load": "default_pool",
    }


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    """A tenant with two days of anomalies, known to Airflow."""
    with Tenant([*day_of_records("2026-01-30", 12), *day_of_records("2026-01-31", 9)]) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        yield tenant


def plan(first: str, end: str, days_per_task: str = "7", plan_only: str = "False") -> list[list[str]]:
    """Return the windows planned, as short as they can be written."""
    from cloudlock_threats_range import plan as task

    windows: list[dict[str, Any]] = task.function(first, end, days_per_task, plan_only)
    assert all(set(window) == {"created_after", "created_before"} for window in windows)
    return [[time.removesuffix("T00:00:00+00:00") for time in window.values()] for window in windows]


@pytest.mark.usefixtures("tenant")
def test_a_range_is_cut_into_pieces_that_leave_nothing_out() -> None:
    assert plan("2026-01-30", "2026-02-04", "2") == [
        ["2026-01-30", "2026-02-01"],
        ["2026-02-01", "2026-02-03"],
        ["2026-02-03", "2026-02-04"],
    ]


@pytest.mark.usefixtures("tenant")
@pytest.mark.parametrize("days_per_task", ["1", "7"])
def test_the_end_is_not_included(days_per_task: str) -> None:
    assert plan("2026-01-02", "2026-01-03", days_per_task) == [["2026-01-02", "2026-01-03"]]


@pytest.mark.usefixtures("tenant")
def test_a_whole_number_of_pieces_has_no_empty_one() -> None:
    assert plan("2026-01-01", "2026-01-15") == [["2026-01-01", "2026-01-08"], ["2026-01-08", "2026-01-15"]]


@pytest.mark.parametrize(
    ("end", "what"),
    [
        ("2026-01-02", "from=2026-01-03 is not before to=2026-01-02, .* give the day after it as to"),
        ("2026-01-03", "from=2026-01-03 is not before to=2026-01-03, .* give the day after it as to"),
        ("2999-01-01", "to=2999-01-01 is in the future.* Give to=20"),
    ],
)
def test_range_of_invalid_dates_fails_before_a_request(tenant: Tenant, end: str, what: str) -> None:
    with pytest.raises(AirflowFailException, match=what):
        plan("2026-01-03", end)
    assert tenant.seen == []


def run_python(script: str, *arguments: str, **environment: str) -> str:
    """Run a script in a process of its own, as the samples read environment variables when they are imported."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={name: value for name, value in os.environ.items() if not name.startswith("CLOUDLOCK_")} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


PARAMS = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
print(json.dumps({dag_id: {"doc": dag.doc_md, "params": dag.params.dump(), "pools": {task.task_id: task.pool for task in
    dag.tasks}} for dag_id, dag in bag.dags.items()}))
"""


def test_samples_work_in_a_subfolder(tmp_path: Path) -> None:
    folder = tmp_path / "dags" / "security" / "cloudlock"
    shutil.copytree(DAGS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    found = json.loads(run_python(PARAMS, str(tmp_path / "dags"), PYTHONPATH=str(DAGS.parent)))
    assert set(found) == {path.stem for path in DAGS.glob("cloudlock_threats_*.py")}


def test_environment_variables_set_the_defaults() -> None:
    given = {
        "lake": "s3://lake_conn@lake/cloudlock",
        "warehouse": "/data/warehouse.duckdb",
        "schema": "security",
        "table": "security.threats",
        "stage": "security.lake",
        "location": "s3://lake/cloudlock",
    }
    pools = {"CLOUDLOCK_POOL": "api", "CLOUDLOCK_DUCKDB_POOL": "duckdb"}
    variables = {f"CLOUDLOCK_{name.upper()}": value for name, value in given.items()} | pools
    for path in sorted(DAGS.glob("cloudlock_threats_*.py")):
        lake = {"CLOUDLOCK_LAKE": "gs://lake_conn@lake/cloudlock"} if "bigquery" in path.name else {}
        found = json.loads(run_python(PARAMS, str(path), **variables | lake))[path.stem]
        for name, value in given.items():
            if name in found["params"] and "bigquery" not in path.name:
                assert found["params"][name] == value
                assert f"`CLOUDLOCK_{name.upper()}`" in found["doc"]
        for task, pool in found["pools"].items():
            if task in ("extract", "plan") and "redshift" not in path.name:
                assert (pool, "`CLOUDLOCK_POOL`" in found["doc"]) == ("api", True)
        if "warehouse" in found["params"]:
            assert (found["pools"]["load"], "`CLOUDLOCK_DUCKDB_POOL`" in found["doc"]) == ("duckdb", True)


@pytest.mark.parametrize("warehouse", ["snowflake", "bigquery", "redshift", "databricks"])
def test_scheduled_run_without_a_lake_is_refused(dags: dict[str, DAG], warehouse: str, tenant: Tenant) -> None:
    dag = dags[f"cloudlock_threats_{warehouse}"]
    extract: Any = dag.task_dict["extract"].prepare_for_execution()
    day = {
        "data_interval_start": datetime(2026, 1, 2, tzinfo=UTC),
        "data_interval_end": datetime(2026, 1, 3, tzinfo=UTC),
    }
    context: Any = {"dag_run": SimpleNamespace(run_type="scheduled"), "params": dag.params.dump(), **day}
    extract.render_template_fields(context)
    with pytest.raises(AirflowFailException, match="destination"):
        extract.execute(context)
    assert tenant.seen == []


@pytest.mark.usefixtures("tenant")
def test_today_is_an_end_that_is_not_still_to_come() -> None:
    now = datetime.now(UTC)
    assert plan(f"{now - timedelta(days=1):%Y-%m-%d}", f"{now:%Y-%m-%d}")


@pytest.mark.usefixtures("tenant")
def test_plan_of_a_range_logs_its_records_and_requests(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "airflow.task"):
        plan("2026-01-30", "2026-02-02")
    shown = [message.split() for message in caplog.messages if message.startswith(("2026", "all"))]
    assert shown == [["2026-01-30", "12"], ["2026-01-31", "9"], ["2026-02-01", "0"], ["all", "21"]]
    assert any("Records" in message for message in caplog.messages)
    assert any("At least 3 requests" in message for message in caplog.messages)


@pytest.mark.usefixtures("tenant")
def test_a_plan_alone_has_no_windows(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "airflow.task"):
        assert plan("2026-01-30", "2026-02-01", plan_only="True") == []
    assert "all" in {message.partition(" ")[0] for message in caplog.messages}


def test_a_tenant_that_gives_no_counts_is_read_all_the_same(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    tenant.behave(total="absent")
    with caplog.at_level("INFO", "airflow.task"):
        assert plan("2026-01-30", "2026-02-01") == [["2026-01-30", "2026-02-01"]]
    assert "unknown" in caplog.text


def test_a_count_that_fails_fails_the_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(faults=throttled(61)) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        with pytest.raises(CloudlockUnavailableError):  # which Airflow retries
            plan("2026-01-30", "2026-02-01")
    with Tenant(faults=responds(401)) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        with pytest.raises(AirflowFailException, match="refuses the access token"):
            plan("2026-01-30", "2026-02-01")
