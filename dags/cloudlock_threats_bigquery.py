"""
# Cloudlock threats, every day, into BigQuery

**extract** brings the anomalies (threats) of the run's UTC day into the lake as Parquet, and reads the `refresh_days`
days before it again: Cloudlock lets an anomaly be dismissed at any time, and one created around midnight may show late.
**load** then replaces each of these days, a partition of the table `cloudlock_threats`, by its object: one load job
each, which happens as a whole or not at all. One at a time, in all runs together, so that none that began earlier ends
later; each brings in the object that lies in the lake when its turn has come.

Every task may run again at any time, with the same result. A load **fails and changes nothing** when its object is
not in the lake: clear the extract and the tasks after it.

BigQuery holds no null inside of a list, and takes a list that is null for an empty one: a day with the former, which
Cloudlock's own samples do not have, fails at its load. A job whose task was killed goes on and may end after the one of
its retry; a later refresh settles that.

What must exist:

* the connections `cloudlock_default` (type *Cisco Cloudlock*) and `google_cloud_default` (type *Google Cloud*), and
  `pip install apache-airflow-providers-google gcsfs` on the workers;
* the dataset, in the location of the lake's bucket;
* for the service account: BigQuery Data Editor on the dataset, BigQuery Job User on the project, and Storage Object
  Viewer on the bucket (the extract needs Storage Object User there).

The partition is the UTC day of the anomaly, lists are arrays, users are structs:
`select id from security.cloudlock_threats where _PARTITIONDATE >= '2026-01-01' and 'box' in unnest(platforms)`.

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_LAKE`,
`CLOUDLOCK_DATASET`, `CLOUDLOCK_BIGQUERY_LOCATION` and `CLOUDLOCK_POOL`. Without the first, a scheduled run fails: it
has no lake.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airflow.sdk import CronDataIntervalTimetable, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, POOL, REFRESH, REFRESH_DAYS, default_of
from cloudlock_sql import Slice, checked, slices

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

CONNECTION = "google_cloud_default"

_DATASET = r"^[a-z][a-z0-9-]{4,28}[a-z0-9]\.\w+$"

#: Partitioned by the day of the load's choice, as the time of an anomaly is in one of two columns.
TABLE = """
create table if not exists `{{ params.dataset }}.cloudlock_threats` (
    id string not null,
    created_at timestamp,
    updated_at timestamp,
    detected_at timestamp,
    start_time timestamp,
    end_time timestamp,
    status string,
    dismissed_at timestamp,
    dismiss_reason string,
    threat_risk string,
    threat_type string,
    threat_entity string,
    short_description string,
    description string,
    event_count int64,
    platforms array<string>,
    locations array<string>,
    users array<struct<display_name string, email string>>,
    suspicious_ip string,
    _extra string
)
partition by _PARTITIONDATE
"""


@task
def jobs(extract: dict[str, Any], dataset: str) -> list[dict[str, Any]]:
    """Write the load job of every slice."""
    checked("dataset", dataset, _DATASET)
    return [{"job": overwrite(part, dataset), "rows": part.rows} for part in slices(extract, "gs")]


def overwrite(part: Slice, dataset: str) -> dict[str, Any]:
    """Replace the partition of a slice's day with its object."""
    project, name = dataset.split(".")
    return {
        "load": {
            "sourceUris": [f"gs://{part.bucket}/{part.key}"],
            "sourceFormat": "PARQUET",
            "parquetOptions": {"enableListInference": True},
            "destinationTable": {
                "projectId": project,
                "datasetId": name,
                "tableId": f"cloudlock_threats${part.start:%Y%m%d}",
            },
            "createDisposition": "CREATE_NEVER",
            "writeDisposition": "WRITE_TRUNCATE",
        }
    }


# BigQuery has an operator for it. It would be imported, with all it needs, whenever this file is read.
@task
def run(job: dict[str, Any], location: str, rows: int = 0) -> None:
    """Run a job to its end, and see that it brought as many rows as were extracted."""
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    done = BigQueryHook(gcp_conn_id=CONNECTION, use_legacy_sql=False).insert_job(configuration=job, location=location)
    if rows and done.output_rows < rows:
        raise AirflowFailException(
            f"{job['load']['sourceUris'][0]} has only {done.output_rows} of the {rows} rows extracted, and so has its "
            "partition now. Clear the extract and the tasks after it."
        )


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
            pattern="^(gs://.*)?$",
            description="Folder of the Parquet objects in Google Cloud Storage, with its Airflow connection: "
            "`gs://google_cloud_default@my-bucket/cloudlock`.",
        ),
        "dataset": Param(
            default_of("dataset", "my-project.security"),
            type="string",
            pattern=_DATASET,
            description="Project and dataset of the table `cloudlock_threats`, which is made when missing.",
        ),
        "location": Param(
            default_of("bigquery_location", "US"),
            type="string",
            minLength=1,
            description="Location of the dataset and the bucket.",
        ),
        "refresh_days": REFRESH_DAYS,
    },
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_bigquery() -> None:
    """Extract each day's threats and those that may have changed, then load them."""
    extract = CloudlockToObjectStorageOperator(
        task_id="extract",
        resource="threats",
        destination="{{ params.lake }}",
        refresh_days=REFRESH,
        pool=POOL,
    )
    location = "{{ params.location }}"
    loads = jobs(extract.output, dataset="{{ params.dataset }}")
    tables = run.override(task_id="tables")({"query": {"query": TABLE, "useLegacySql": False}}, location)
    load = run.override(task_id="load", max_active_tis_per_dag=1)
    loads >> tables >> load.partial(location=location).expand_kwargs(loads)


cloudlock_threats_bigquery()
