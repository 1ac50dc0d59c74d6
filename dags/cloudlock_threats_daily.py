"""
# Cloudlock threats, every day

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
A day in which nothing changed is not written again.
**load** then brings every changed day into the DuckDB warehouse, each in one transaction.

Every task may run again at any time, with the same result. Two things to know:

* A run needs a day to work on. The scheduler and `airflow backfill create` give it one. A run triggered by hand without
  a logical date has none, and its extract fails at once; with one, its day is the last that was over by then. For days
  of your own choice use `cloudlock_threats_range`.
* The connection `cloudlock_default` must exist (type *Cisco Cloudlock*).

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE`,
`CLOUDLOCK_WAREHOUSE`, `CLOUDLOCK_POOL` and `CLOUDLOCK_DUCKDB_POOL`. Without them, lake and warehouse are in
`AIRFLOW_HOME/cloudlock` on the worker: good for one machine.

The warehouse is a file of one worker. With several workers, give one of them a queue of its own and name it in the task
`load`; a load that finds another host's file fails and says so. `CLOUDLOCK_DUCKDB_POOL` names a pool with one slot:
loads then wait for one another instead of failing on the file's lock.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import CronDataIntervalTimetable, dag

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, LAKE, POOL, REFRESH, REFRESH_DAYS
from cloudlock_duckdb import WAREHOUSE, load

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator


@dag(
    # Not "@daily": the interval of a bare cron string is empty in Airflow 3. With this timetable it is the UTC day that
    # just ended. Starting on the stroke of midnight is safe, as the next runs read the day again.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would refresh the same days
    default_args=DEFAULT_ARGS,
    params={
        "lake": LAKE,
        "warehouse": WAREHOUSE,
        "refresh_days": REFRESH_DAYS,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_daily() -> None:
    """Extract each day's threats and those that may have changed, then load what did."""
    extract = CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
    )
    load([extract.output], warehouse="{{ params.warehouse }}")


cloudlock_threats_daily()
