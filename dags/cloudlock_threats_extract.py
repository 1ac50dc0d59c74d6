"""
# Cloudlock threats, every day, into the lake

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
A day in which nothing changed is not written again.

Each day that changed is a partition of the asset `cloudlock_threats`: whoever follows it has one run for each of them,
as `cloudlock_threats_load` does. A run in which nothing changed tells nobody.

Many days at once, four at a time, each read once:

    airflow backfill create --dag-id cloudlock_threats_extract --max-active-runs 4 --from-date … --to-date …

What must exist: the connection `cloudlock_default` (type *Cisco Cloudlock*).

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE` and
`CLOUDLOCK_POOL`. Without the first, the lake is in `AIRFLOW_HOME/cloudlock` on the worker: good for one machine.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import CronPartitionTimetable, dag

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, LAKE, POOL, REFRESH, REFRESH_DAYS, THREATS

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator


@dag(
    # The run that starts at midnight is for the day that just ended.
    schedule=CronPartitionTimetable("0 0 * * *", timezone="UTC", run_offset=-1, key_format="%Y-%m-%d"),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would refresh the same days
    default_args=DEFAULT_ARGS,
    params={"lake": LAKE, "refresh_days": REFRESH_DAYS},
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_extract() -> None:
    """Extract each day's threats and those that may have changed, and say which days did."""
    CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
        outlets=[THREATS],
    )


cloudlock_threats_extract()
