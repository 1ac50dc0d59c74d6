"""
# Cloudlock threats, every day, into Redshift

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
**load** then copies each day's object into a staging table of its own, and puts its rows in the place of those the day
had, in one transaction: who reads `cloudlock_threats` meanwhile sees the day as it was, or as it is now. The ledger
`cloudlock_loads` tells when the object of each day was read: what a later load brought in is left as it is.

Every task may run again at any time, with the same result. A load **fails and changes nothing** when its object is
not in the lake, holds fewer rows than the extract proved, or rows of another day: clear the extract and the tasks after
it. More rows are well: a later extract found them. To load a run again, clear its task `plan` and what follows.

Redshift holds 65,535 bytes in a text: a day with a longer one fails at its load.

What must exist:

* the connections `cloudlock_default` (type *Cisco Cloudlock*) and `redshift_default` (type *Amazon Redshift*), and
  `pip install "apache-airflow-providers-amazon[s3fs]>=9.34"` on the workers;
* the bucket in the region of the cluster. The connection in the lake's address gives the right to read it: a `role_arn`
  in its extra is named to Redshift (attach that role to the cluster: `s3:GetObject`, `s3:ListBucket`); without one its
  keys are. It must name no `region` in its extra, which Redshift does not take for Parquet;
* for the login: usage and create on the schema.

Times are UTC; lists and users are SUPER: `select t.id from cloudlock_threats t, t.platforms p where p = 'box'`.

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE`,
`CLOUDLOCK_SCHEMA` and `CLOUDLOCK_POOL`. Without the first, a scheduled run fails: it has no lake.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import CronDataIntervalTimetable, Param, dag, task, task_group

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, POOL, REFRESH, REFRESH_DAYS, default_of
from cloudlock_sql import Slice, checked, slices

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

CONNECTION = "redshift_default"

_SCHEMA = r"^[A-Za-z_]\w{0,126}$"

#: COPY fills columns in their order, so it is that of the lake. Its Parquet reader knows no time with a zone.
TABLES = """
create table if not exists {{ params.schema }}.cloudlock_threats (
    id varchar(max) not null,
    created_at timestamp,
    updated_at timestamp,
    detected_at timestamp,
    start_time timestamp,
    end_time timestamp,
    status varchar(max),
    dismissed_at timestamp,
    dismiss_reason varchar(max),
    threat_risk varchar(max),
    threat_type varchar(max),
    threat_entity varchar(max),
    short_description varchar(max),
    description varchar(max),
    event_count bigint,
    platforms super,
    locations super,
    users super,
    suspicious_ip varchar(max),
    _extra varchar(max)
) sortkey (created_at);
create table if not exists {{ params.schema }}.cloudlock_loads (
    window_start timestamp not null,
    window_end timestamp not null,
    read_at timestamp not null
);
{% for part in ti.xcom_pull("plan") %}
create table if not exists {{ params.schema }}.{{ part.staging }} (like {{ params.schema }}.cloudlock_threats);
{% endfor %}
"""

CLEAN = """
{% for part in ti.xcom_pull("plan") %}
drop table if exists {{ params.schema }}.{{ part.staging }};
{% endfor %}
"""


@task
def plan(extract: dict[str, Any], schema: str) -> list[dict[str, Any]]:
    """Give every slice a staging table that no other load has, and write its transaction."""
    checked("schema", schema, _SCHEMA)
    now = clock()
    loads = []
    for part in slices(extract, "s3"):
        staging = f"cloudlock_stage_{uuid4().hex}"
        loads.append(
            {
                "bucket": part.bucket,
                "key": part.key,
                "connection": part.connection or "aws_default",
                "staging": staging,
                "sql": swap(part, schema, staging, now),
            }
        )
    return loads


def clock() -> datetime:
    """Return the time at the warehouse: workers may disagree on it, and what was read later must win."""
    from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook

    now: datetime = RedshiftSQLHook(redshift_conn_id=CONNECTION).get_first("select sysdate")[0]
    return now


def swap(part: Slice, schema: str, staging: str, read_at: datetime) -> list[str]:
    """Replace the rows of a slice's day with the staged rows, unless a later load did so already."""
    start, end, read = (f"timestamp '{at:%Y-%m-%d %H:%M:%S.%f}'" for at in (part.start, part.end, read_at))
    threats, loads = f"{schema}.cloudlock_threats", f"{schema}.cloudlock_loads"
    day = f"coalesce(created_at, detected_at) >= {start} and coalesce(created_at, detected_at) < {end}"
    newest = f"not exists (select 1 from {loads} where window_start = {start} and read_at > {read})"
    # Words are no number: the statement fails with them, and nothing is committed.
    check = (
        f"select cast(case when count(*) >= {part.rows} and count(*) = count(case when {day} then 1 end) "
        # COPY takes every object whose name begins with the one given.
        "and count(*) = count(distinct id) then '1' "
        f"else 'The object has ' || count(*)::varchar || ' rows, and {part.rows} of its day were extracted. "
        f"Clear the extract and the tasks after it.' end as integer) from {schema}.{staging}"
    )
    return [
        "begin",
        f"lock {loads}",  # one load at a time, each seeing what those before it did; who reads threats does not wait
        check,
        f"delete from {threats} where {day} and {newest}",
        f"insert into {threats} select * from {schema}.{staging} where {newest}",
        f"delete from {loads} where window_start = {start} and read_at <= {read}",
        f"insert into {loads} select {start}, {end}, {read} where {newest}",
        "commit",
    ]


@task_group
def load(bucket: str, key: str, connection: str, staging: str, sql: list[str]) -> None:
    """Bring one slice into the warehouse."""
    copy = S3ToRedshiftOperator(
        task_id="copy",
        s3_bucket=bucket,
        s3_key=key,
        aws_conn_id=connection,
        redshift_conn_id=CONNECTION,
        schema="{{ params.schema }}",
        table=staging,
        method="REPLACE",
        copy_options=["FORMAT AS PARQUET", "SERIALIZETOJSON"],
    )
    # A list of statements runs in one session.
    copy >> SQLExecuteQueryOperator(task_id="swap", conn_id=CONNECTION, sql=sql, do_xcom_push=False)


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
            pattern="^(s3://.*)?$",
            description="Folder of the Parquet objects in S3, with its Airflow connection: "
            "`s3://aws_default@my-bucket/cloudlock`.",
        ),
        "schema": Param(
            default_of("schema", "public"),
            type="string",
            pattern=_SCHEMA,
            description="Schema of the tables `cloudlock_threats` and `cloudlock_loads`, which are made when missing.",
        ),
        "refresh_days": REFRESH_DAYS,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_redshift() -> None:
    """Extract each day's threats and those that may have changed, then load them."""
    extract = CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
    )
    loads = plan(extract.output, schema="{{ params.schema }}")
    tables = SQLExecuteQueryOperator(
        task_id="tables", conn_id=CONNECTION, sql=TABLES, split_statements=True, do_xcom_push=False
    )
    clean = SQLExecuteQueryOperator(
        task_id="clean", conn_id=CONNECTION, sql=CLEAN, split_statements=True, do_xcom_push=False
    )
    loads >> tables >> load.expand_kwargs(loads) >> clean


cloudlock_threats_redshift()
