"""Airflow's own HttpOperator with a pagination function; what it returns is written as one Parquet file.

The operator itself keeps every response until the last one has come, and needs no more than its documentation shows.
"""

from __future__ import annotations

import json
import os

from airflow_logs import settle_logs
from measure import PATH, Measured, given

task = given()
os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": task.url})

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from airflow.providers.http.operators.http import HttpOperator  # noqa: E402 - after the connection is set
from requests import Response  # noqa: E402

settle_logs()


def next_page(response: Response) -> dict[str, dict[str, str]] | None:
    """Ask for the page behind this one, while there is one."""
    page = response.json()
    offset = page["offset"] + page["results"]
    if not page["items"] or offset >= page["total"]:
        return None
    return {"data": task.query(offset)}


operator = HttpOperator(
    task_id="extract",
    method="GET",
    endpoint=PATH,
    data=task.query(0),
    headers=task.authorization,
    pagination_function=next_page,
    response_filter=lambda responses: [item for response in responses for item in response.json()["items"]],
)
measured = Measured()
records = operator.execute({})
pq.write_table(pa.Table.from_pylist(records), f"{task.folder}/threats.parquet", compression="zstd")
measured.stop()
measured.report(len(records), "apache-airflow", "apache-airflow-providers-http", "pyarrow")
