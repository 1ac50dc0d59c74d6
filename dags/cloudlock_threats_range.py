"""
# Cloudlock threats, for the days you choose

Trigger it by hand with a first and a **last** day (both are included, both are UTC days).
**plan** cuts the range into pieces of `days_per_task` days, **extract** reads up to four pieces at a time into the
lake, and **load** brings every changed day into the DuckDB warehouse.

A piece that fails is retried alone. Days that are there already are read again, and written again only if they changed,
so a range may overlap an earlier one or the days of `cloudlock_threats_daily`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException
from cloudlock_duckdb import PLACES, load

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator


@task
def plan(from_date: str, to_date: str, days_per_task: str) -> list[dict[str, str]]:
    """Cut the range into windows for the extract tasks."""
    first, last = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (from_date, to_date))
    end, now = last + timedelta(days=1), datetime.now(UTC)
    if first > last:
        raise AirflowFailException(f"from_date {first:%Y-%m-%d} is after to_date {last:%Y-%m-%d}: swap them.")
    if end > now:
        raise AirflowFailException(
            f"to_date {last:%Y-%m-%d} is not over yet in UTC: choose {now - timedelta(days=1):%Y-%m-%d} or earlier."
        )
    starts = [first + timedelta(days=days) for days in range(0, (end - first).days, int(days_per_task))]
    return [
        {"created_after": start.isoformat(), "created_before": stop.isoformat()}
        for start, stop in pairwise([*starts, end])
    ]


@dag(
    schedule=None,
    max_active_runs=1,
    default_args={
        "owner": "security-data",
        "retries": 4,
        "retry_delay": timedelta(minutes=1),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(hours=1),
    },
    params={
        "from_date": Param(type="string", format="date", description="First UTC day."),
        "to_date": Param(type="string", format="date", description="Last UTC day, included. It must be over."),
        "days_per_task": Param(7, type="integer", minimum=1, maximum=366, description="Days read by one task."),
        **PLACES,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_range() -> None:
    """Plan, extract in parallel, load once."""
    windows = plan("{{ params.from_date }}", "{{ params.to_date }}", "{{ params.days_per_task }}")
    extract = CloudlockToObjectStorageOperator.partial(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        max_active_tis_per_dagrun=4,
    ).expand_kwargs(windows)
    load(extract.output, warehouse="{{ params.warehouse }}")


cloudlock_threats_range()
