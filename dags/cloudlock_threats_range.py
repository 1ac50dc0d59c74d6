"""
# Cloudlock threats, for the days you choose

Trigger it by hand with the days `from` and `to`. They are UTC days, and half-open like every window here: `to` is the
first day that is **not** fetched any more, so a year is 2026-01-01 to 2027-01-01.
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
from cloudlock_common import DEFAULT_ARGS, LAKE, POOL
from cloudlock_duckdb import WAREHOUSE, load

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator


@task
def plan(first: str, end: str, days_per_task: str) -> list[dict[str, str]]:
    """Cut the range into windows for the extract tasks."""
    start, stop = (datetime.fromisoformat(day).replace(tzinfo=UTC) for day in (first, end))
    now = datetime.now(UTC)
    if start >= stop:
        raise AirflowFailException(f"from {first} must be before to {end}, the first day that is not fetched any more.")
    if stop > now:
        raise AirflowFailException(f"to {end} is still to come in UTC: choose {now:%Y-%m-%d} or earlier.")
    starts = [start + timedelta(days=days) for days in range(0, (stop - start).days, int(days_per_task))]
    return [
        {"created_after": after.isoformat(), "created_before": before.isoformat()}
        for after, before in pairwise([*starts, stop])
    ]


@dag(
    schedule=None,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "from": Param(type="string", format="date", description="First UTC day that is fetched."),
        "to": Param(type="string", format="date", description="First UTC day that is not fetched any more."),
        "days_per_task": Param(7, type="integer", minimum=1, maximum=366, description="Days read by one task."),
        "lake": LAKE,
        "warehouse": WAREHOUSE,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_range() -> None:
    """Plan, extract in parallel, load once."""
    windows = plan("{{ params.from }}", "{{ params.to }}", "{{ params.days_per_task }}")
    extract = CloudlockToObjectStorageOperator.partial(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        max_active_tis_per_dagrun=4,
        pool=POOL,
    ).expand_kwargs(windows)
    load(extract.output, warehouse="{{ params.warehouse }}")


cloudlock_threats_range()
