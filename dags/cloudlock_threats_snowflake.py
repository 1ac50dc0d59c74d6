"""
# Cloudlock threats, every day, into Snowflake

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
**load** then replaces each of these days by its object, in one transaction each: who reads `cloudlock_threats`
meanwhile sees the day as it was, or as it is now. Loads wait for one another, and each brings in the object that lies
in the lake when its turn has come.

Every task may run again at any time, with the same result. A load **fails and changes nothing** when its object is
not in the lake, or holds fewer rows than the extract proved: clear the extract and the tasks after it. More rows are
well: a later extract found them.

What must exist:

* the connections `cloudlock_default` (type *Cisco Cloudlock*) and `snowflake_default` (type *Snowflake*, with
  warehouse, database, schema and role), and `pip install apache-airflow-providers-snowflake` on the workers;
* an external stage on the lake's folder, made once by somebody who may:
  `create stage cloudlock_lake url = 's3://my-bucket/cloudlock/' storage_integration = …`;
* for the role: usage on warehouse, database, schema and stage, and create table in the schema.

Lists and users are arrays: `select id from cloudlock_threats where array_contains('box'::variant, platforms)`.

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE`, `CLOUDLOCK_STAGE`
and `CLOUDLOCK_POOL`. Without the first, a scheduled run fails: it has no lake.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import CronDataIntervalTimetable, Param, dag, task

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, POOL, REFRESH, REFRESH_DAYS, default_of
from cloudlock_sql import Slice, checked, slices

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

CONNECTION = "snowflake_default"

_STAGE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,2}$"

TABLES = [
    """
    create table if not exists cloudlock_threats (
        id varchar not null,
        created_at timestamp_ltz,
        updated_at timestamp_ltz,
        detected_at timestamp_ltz,
        start_time timestamp_ltz,
        end_time timestamp_ltz,
        status varchar,
        dismissed_at timestamp_ltz,
        dismiss_reason varchar,
        threat_risk varchar,
        threat_type varchar,
        threat_entity varchar,
        short_description varchar,
        description varchar,
        event_count number(19, 0),
        platforms array,
        locations array,
        users array,
        suspicious_ip varchar,
        _extra varchar
    )
    """,
    "create table if not exists cloudlock_lock as select 'threats' as resource, 0 as loads",
]


@task
def statements(extract: dict[str, Any], stage: str) -> list[list[str]]:
    """Write the transaction of every slice."""
    checked("stage", stage, _STAGE)
    return [swap(part, stage) for part in slices(extract)]


def swap(part: Slice, stage: str) -> list[str]:
    """Replace the rows of a slice's day with those of its object."""
    day = (
        f"coalesce(created_at, detected_at) >= '{part.start.isoformat()}'::timestamp_tz "
        f"and coalesce(created_at, detected_at) < '{part.end.isoformat()}'::timestamp_tz"
    )
    # A file named in FILES that is not there is an error; a PATTERN that finds none is not. FORCE, as the object may
    # have been loaded before. The vectorized scanner reads lists as plain arrays.
    copy = (
        f"copy into cloudlock_threats from @{stage} files = ('{part.file}') "
        "file_format = (type = parquet use_vectorized_scanner = true) match_by_column_name = case_insensitive "
        "on_error = abort_statement force = true"
    )
    # Words are no number: the statement fails with them, and the session ends without a commit.
    check = (
        f"select cast(iff(count(*) >= {part.rows}, '1', 'The object has only ' || count(*) || ' of the {part.rows} "
        f"rows extracted. Clear the extract and the tasks after it.') as number) from cloudlock_threats where {day}"
    )
    return [
        "begin",
        # Changing this row makes every other load wait until the commit. A DELETE that finds no row might not.
        "update cloudlock_lock set loads = loads + 1 where resource = 'threats'",
        f"delete from cloudlock_threats where {day}",
        copy,
        check,
        "commit",
    ]


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
            description="Folder of the Parquet objects, the one the stage is on: `s3://…`, `gs://…` or `abfs://…`, "
            "with its Airflow connection, such as `s3://aws_default@my-bucket/cloudlock`.",
        ),
        "stage": Param(
            default_of("stage", "cloudlock_lake"),
            type="string",
            pattern=_STAGE,
            description="External stage on the lake's folder: `stage`, `schema.stage` or `database.schema.stage`.",
        ),
        "refresh_days": REFRESH_DAYS,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_snowflake() -> None:
    """Extract each day's threats and those that may have changed, then load them."""
    extract = CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
    )
    tables = SQLExecuteQueryOperator(task_id="tables", conn_id=CONNECTION, sql=TABLES, do_xcom_push=False)
    # A list of statements runs in one session.
    load = SQLExecuteQueryOperator.partial(task_id="load", conn_id=CONNECTION, do_xcom_push=False).expand(
        sql=statements(extract.output, stage="{{ params.stage }}")
    )
    tables >> load


cloudlock_threats_snowflake()
