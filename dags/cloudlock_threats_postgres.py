"""
# Cloudlock threats, every day, into Postgres

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
**load** then brings every changed day into Postgres, as Arrow and in one transaction each: who reads the table
`cloudlock_threats` meanwhile sees the day as it was, or as it is now.

Every task may run again at any time, with the same result. What must exist:

* the connection `cloudlock_default` (type *Cisco Cloudlock*), and `postgres_default` (type *Postgres*), whose login may
  make tables in the schema or finds them there with the rights to select, insert and delete;
* `pip install "airflow-provider-cloudlock[postgres]"` on the workers.

Lists are arrays, users are jsonb: `select "id" from cloudlock_threats where 'box' = any("platforms")`.

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE`,
`CLOUDLOCK_SCHEMA` and `CLOUDLOCK_POOL`. Without the first, the lake is in `AIRFLOW_HOME/cloudlock` on the worker: good
for one machine.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import CronDataIntervalTimetable, dag

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, LAKE, POOL, REFRESH, REFRESH_DAYS
from cloudlock_postgres import SCHEMA, load

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator


@dag(
    # Not "@daily": the interval of a bare cron string is empty in Airflow 3.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would refresh the same days
    default_args=DEFAULT_ARGS,
    params={
        "lake": LAKE,
        "schema": SCHEMA,
        "refresh_days": REFRESH_DAYS,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_postgres() -> None:
    """Extract each day's threats and those that may have changed, then load what did."""
    extract = CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
    )
    load([extract.output], schema="{{ params.schema }}")


cloudlock_threats_postgres()
