"""The sample DAGs as Airflow sees them."""

from __future__ import annotations

import re
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, CronDataIntervalTimetable
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError

from tests.dags.conftest import DAGS

DAILY, RANGE = "cloudlock_threats_daily", "cloudlock_threats_range"


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


@pytest.mark.parametrize("dag_id", [DAILY, RANGE])
def test_everything_is_described(dags: dict[str, DAG], dag_id: str) -> None:
    dag = dags[dag_id]
    assert dag.tags == {"cloudlock", "security"}
    assert dag.doc_md.strip().startswith("# Cloudlock threats")
    for name in dag.params:
        assert dag.params.get_param(name).description, name
        assert f"{{{{ params.{name} }}}}" in Path(dag.fileloc).read_text(), f"{name} has no user"


@pytest.mark.parametrize("dag_id", [DAILY, RANGE])
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


def test_the_defaults_need_no_connection_but_the_tenants(dags: dict[str, DAG]) -> None:
    for dag in (dags[DAILY], dags[RANGE]):
        assert dag.params["lake"].startswith("file:///")
        assert dag.params["warehouse"].endswith("/cloudlock/warehouse.duckdb")


def test_a_range_is_read_by_four_tasks_at_a_time(dags: dict[str, DAG]) -> None:
    dag = dags[RANGE]
    assert dag.task_dict["extract"].max_active_tis_per_dagrun == 4
    assert dag.task_dict["plan"].downstream_task_ids == {"extract"}
    assert dag.task_dict["extract"].downstream_task_ids == {"load"}


def plan(*args: str) -> list[list[str]]:
    """Return the windows planned, as short as they can be written."""
    from cloudlock_threats_range import plan as task

    windows: list[dict[str, Any]] = task.function(*args)
    assert all(set(window) == {"created_after", "created_before"} for window in windows)
    return [[time.removesuffix("T00:00:00+00:00") for time in window.values()] for window in windows]


def test_a_range_is_cut_into_pieces_that_leave_nothing_out() -> None:
    assert plan("2026-01-30", "2026-02-04", "2") == [
        ["2026-01-30", "2026-02-01"],
        ["2026-02-01", "2026-02-03"],
        ["2026-02-03", "2026-02-04"],
    ]


@pytest.mark.parametrize("days_per_task", ["1", "7"])
def test_the_end_is_not_included(days_per_task: str) -> None:
    assert plan("2026-01-02", "2026-01-03", days_per_task) == [["2026-01-02", "2026-01-03"]]


def test_a_whole_number_of_pieces_has_no_empty_one() -> None:
    assert plan("2026-01-01", "2026-01-15", "7") == [["2026-01-01", "2026-01-08"], ["2026-01-08", "2026-01-15"]]


@pytest.mark.parametrize("end", ["2026-01-02", "2026-01-03"])
def test_an_empty_or_inverted_range_is_refused_for_good(end: str) -> None:
    with pytest.raises(AirflowFailException, match=f"from 2026-01-03 must be before to {end}"):
        plan("2026-01-03", end, "7")


def test_an_end_still_to_come_is_refused_for_good() -> None:
    now = datetime.now(UTC)
    with pytest.raises(AirflowFailException, match=f"choose {now:%Y-%m-%d} or earlier"):
        plan("2026-01-03", f"{now + timedelta(days=1):%Y-%m-%d}", "7")
    assert plan(f"{now - timedelta(days=1):%Y-%m-%d}", f"{now:%Y-%m-%d}", "7")
