"""
# Cloudlock threats, for the days you choose

Trigger it by hand with the days `from` and `to`. They are UTC days, and half-open like every window here: `to` is the
first day that is **not** fetched any more, so a year is 2026-01-01 to 2027-01-01.
**plan** asks Cloudlock how many records there are, shows in its log what it should cost to read them, and cuts the
range into pieces of `days_per_task` days. **extract** reads up to four pieces at a time into the lake, and **load**
brings every changed day into the DuckDB warehouse.

With `plan_only` the run ends after its plan: nothing is extracted.

A piece that fails is retried alone. Days that are there already are read again, and written again only if they changed,
so a range may overlap an earlier one or the days of `cloudlock_threats_daily`.

Environment variables set the defaults of the parameters and the pools: `CLOUDLOCK_LAKE`, `CLOUDLOCK_WAREHOUSE`,
`CLOUDLOCK_POOL` and `CLOUDLOCK_DUCKDB_POOL`. Without them, lake and warehouse are in `AIRFLOW_HOME/cloudlock` on the
worker: good for one machine.

The warehouse is a file of one worker. With several workers, give one of them a queue of its own and name it in the task
`load`; a load that finds another host's file fails and says so. `CLOUDLOCK_DUCKDB_POOL` names a pool with one slot:
loads then wait for one another instead of failing on the file's lock.
"""

from __future__ import annotations

import logging
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, LAKE, POOL
from cloudlock_duckdb import WAREHOUSE, load

from airflow_provider_cloudlock.exceptions import CloudlockError
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

log = logging.getLogger("airflow.task")


@task(pool=POOL)
def plan(first: str, end: str, days_per_task: str, plan_only: str) -> list[dict[str, str]]:
    """Show what the range should cost, and cut it into windows for the extract tasks."""
    from airflow_provider_cloudlock.cli.plan.report import plan as plan_of
    from airflow_provider_cloudlock.cli.plan.table import as_table

    try:
        planned = plan_of(first, end)
    except CloudlockError as error:
        if error.retryable:
            raise
        raise AirflowFailException(str(error)) from error
    for line in as_table(planned).splitlines():
        log.info(line)
    if plan_only == "True":
        return []  # no windows, so Airflow skips the tasks to come
    starts = [planned.start + timedelta(days=days) for days in range(0, planned.days, int(days_per_task))]
    return [
        {"created_after": after.isoformat(), "created_before": before.isoformat()}
        for after, before in pairwise([*starts, planned.end])
    ]


@dag(
    schedule=None,
    max_active_runs=1,
    default_args=DEFAULT_ARGS,
    params={
        "from": Param(type="string", format="date", description="First UTC day that is fetched."),
        "to": Param(type="string", format="date", description="First UTC day that is not fetched any more."),
        "days_per_task": Param(31, type="integer", minimum=1, maximum=366, description="Days read by one task."),
        "plan_only": Param(False, type="boolean", description="Show the plan, in the log of its task, and end there."),
        "lake": LAKE,
        "warehouse": WAREHOUSE,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_range() -> None:
    """Plan, extract in parallel, load once."""
    windows = plan("{{ params.from }}", "{{ params.to }}", "{{ params.days_per_task }}", "{{ params.plan_only }}")
    extract = CloudlockToObjectStorageOperator.partial(
        task_id="extract",
        map_index_template="{{ task.created_after[:10] }} to {{ task.created_before[:10] }}",
        resource="threats",
        destination="{{ params.lake }}",
        max_active_tis_per_dagrun=4,
        pool=POOL,
    ).expand_kwargs(windows)
    load(extract.output, warehouse="{{ params.warehouse }}")


cloudlock_threats_range()
