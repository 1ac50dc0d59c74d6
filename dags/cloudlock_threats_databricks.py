"""
# Cloudlock threats, every day, into Databricks

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
**load** then replaces each of these days in the Delta table `cloudlock_threats` by its object, in one commit each: who
reads meanwhile sees the day as it was, or as it is now. It reads the object that lies in the lake when its turn has
come. Two loads at once never mix: Delta refuses the second, and its retry finds the way free.

Every task may run again at any time, with the same result. A load **fails and changes nothing** when its object is
not in the lake, holds fewer rows than the extract proved, or rows of another day: clear the extract and the tasks after
it. More rows are well: a later extract found them.

What must exist:

* the connections `cloudlock_default` (type *Cisco Cloudlock*) and `databricks_default` (type *Databricks*, with the
  `http_path` of a SQL warehouse in its extra), and `pip install apache-airflow-providers-databricks` on the workers;
* an external location or volume on the lake's folder;
* for the login: use catalog, use schema and create table, and read files on the location (or read volume).

Lists are arrays, users are structs: `select id from cloudlock_threats where array_contains(platforms, 'box')`.

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE`,
`CLOUDLOCK_LOCATION`, `CLOUDLOCK_SCHEMA` and `CLOUDLOCK_POOL`. Without the first, a scheduled run fails: it has no lake.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, task

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, POOL, REFRESH, REFRESH_DAYS, default_of
from cloudlock_sql import Slice, checked, slices

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

CONNECTION = "databricks_default"

_SCHEMA = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)?$"
_LOCATION = r"^((s3|gs)://[\w.-]+|abfss://[\w-]+@[\w.-]+|/Volumes)(/[\w.=-]+)*$"

COLUMNS = {
    "id": "string not null",
    "created_at": "timestamp",
    "updated_at": "timestamp",
    "detected_at": "timestamp",
    "start_time": "timestamp",
    "end_time": "timestamp",
    "status": "string",
    "dismissed_at": "timestamp",
    "dismiss_reason": "string",
    "threat_risk": "string",
    "threat_type": "string",
    "threat_entity": "string",
    "short_description": "string",
    "description": "string",
    "event_count": "bigint",
    "platforms": "array<string>",
    "locations": "array<string>",
    "users": "array<struct<display_name: string, email: string>>",
    "suspicious_ip": "string",
    "_extra": "string",
}


TABLE = (
    "create table if not exists {{ params.schema }}.cloudlock_threats "
    f"({', '.join(f'{name} {kind}' for name, kind in COLUMNS.items())})"
)


@task
def statements(extract: dict[str, Any], schema: str, location: str) -> list[list[str]]:
    """Write what loads every slice."""
    checked("schema", schema, _SCHEMA)
    checked("location", location, _LOCATION)
    return [replace(part, schema, location) for part in slices(extract)]


def replace(part: Slice, schema: str, location: str) -> list[str]:
    """Replace the rows of a slice's day with those of its object."""
    source = f"parquet.`{location}/{part.file}`"  # an object that is not there is an error
    time = "coalesce(created_at, detected_at)"
    day = f"{time} >= timestamp '{part.start.isoformat()}' and {time} < timestamp '{part.end.isoformat()}'"
    check = (
        f"select if(count(*) >= {part.rows}, count(*), raise_error(concat('The object has only ', count(*), ' of the "
        f"{part.rows} rows extracted. Clear the extract and the tasks after it.'))) from {source}"
    )
    # One commit, which refuses rows of another day.
    swap = f"insert into {schema}.cloudlock_threats replace where {day} select {', '.join(COLUMNS)} from {source}"
    return [check, swap]


# Databricks has an operator for it. It would be imported, with all it needs, whenever this file is read.
@task
def run(sql: list[str]) -> None:
    """Run statements one after the other."""
    from airflow.providers.databricks.hooks.databricks_sql import DatabricksSqlHook

    DatabricksSqlHook(CONNECTION).run(sql)


@dag(
    # Not "@daily": the interval of a bare cron string is empty in Airflow 3.
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,  # two runs would refresh the same days
    default_args=DEFAULT_ARGS,
    params={
        "lake": Param(
            default_of("lake", ""),
            type="string",
            description="Folder of the Parquet objects: `s3://…`, `gs://…` or `abfs://…`, with its Airflow connection, "
            "such as `s3://aws_default@my-bucket/cloudlock`.",
        ),
        "location": Param(
            default_of("location", "s3://my-bucket/cloudlock"),
            type="string",
            pattern=_LOCATION,
            description="The same folder as Databricks knows it: `s3://bucket/…`, `gs://bucket/…`, "
            "`abfss://container@account.dfs.core.windows.net/…` or `/Volumes/…`.",
        ),
        "schema": Param(
            default_of("schema", "main.security"),
            type="string",
            pattern=_SCHEMA,
            description="Catalog and schema of the table `cloudlock_threats`, which is made when missing.",
        ),
        "refresh_days": REFRESH_DAYS,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_databricks() -> None:
    """Extract each day's threats and those that may have changed, then load them."""
    extract = CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
    )
    loads = statements(extract.output, schema="{{ params.schema }}", location="{{ params.location }}")
    tables = run.override(task_id="tables")([TABLE])
    # One at a time: beside one another they would conflict and be tried again.
    loads >> tables >> run.override(task_id="load", max_active_tis_per_dag=1).expand(sql=loads)


cloudlock_threats_databricks()
