"""
# Cloudlock threats, every day, into Iceberg

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
**load** then brings every changed day into an Iceberg table, in one commit each: who reads the table meanwhile sees the
day as it was, or as it is now. This is the door to Spark, Trino, Athena, Snowflake and whatever else reads Iceberg:
where one machine is outgrown, a distributed engine reads and writes the same table.

Every task may run again at any time, with the same result. What must exist:

* the connection `cloudlock_default` (type *Cisco Cloudlock*);
* the connection `iceberg_default` (type *Iceberg*). Host, login and password are those of a REST catalog; `type` in the
  extra names another kind, with the properties that pyiceberg knows for it, such as
  `{"type": "glue", "glue.region": "eu-central-1"}`. The catalog says where the data files lie. They are written with
  the rights the catalog lends, those in the extra (`s3.access-key-id` and so on) or those of the worker itself;
* the namespace of the table;
* `pip install "airflow-provider-cloudlock[iceberg]"` on the workers, and what the catalog asks for beyond
  (`pyiceberg[glue]`, `pyiceberg[hive]` …).

The table is made with a partition for each day of `created_at`. Which object a day came from is told by the snapshots:
`select committed_at, summary['cloudlock.path'], summary['cloudlock.sha256'] from cloudlock.threats.snapshots` in Spark.
One commit of a load is several snapshots. Only the last has these entries and was ever current; travel back to such.
Expire old snapshots and remove orphan files from time to time, as for any Iceberg table.

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE`, `CLOUDLOCK_TABLE`
and `CLOUDLOCK_POOL`. Without the first, the lake is in `AIRFLOW_HOME/cloudlock` on the worker: good for one machine.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

from airflow.sdk import CronDataIntervalTimetable, dag

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, LAKE, POOL, REFRESH, REFRESH_DAYS
from cloudlock_iceberg import TABLE, load

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
        "table": TABLE,
        "refresh_days": REFRESH_DAYS,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_iceberg() -> None:
    """Extract each day's threats and those that may have changed, then load what did."""
    extract = CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
    )
    load([extract.output], table="{{ params.table }}")


cloudlock_threats_iceberg()
