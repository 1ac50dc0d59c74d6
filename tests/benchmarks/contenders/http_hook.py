"""Airflow's HttpHook in a loop: page after page, each tried up to five times, until the total is reached; one file.

The retries are those that the hook's documentation shows, on every exception. The token is the connection's password,
so that Airflow masks it in logs.
"""

from __future__ import annotations

import json
import os

from airflow_logs import settle_logs
from measure import PATH, Measured, given

task = given()
os.environ["AIRFLOW_CONN_HTTP_DEFAULT"] = json.dumps({"conn_type": "http", "host": task.url, "password": task.token})

import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import tenacity  # noqa: E402
from airflow.providers.http.hooks.http import HttpHook  # noqa: E402 - after the connection is set

settle_logs()
hook = HttpHook(method="GET")
authorization = {"Authorization": f"Bearer {hook.get_connection(hook.http_conn_id).password}"}
retries = {
    "wait": tenacity.wait_exponential(),
    "stop": tenacity.stop_after_attempt(5),
    "retry": tenacity.retry_if_exception_type(Exception),
    "reraise": True,
}
measured = Measured()
records = []
while True:
    answer = hook.run_with_advanced_retry(retries, endpoint=PATH, data=task.query(len(records)), headers=authorization)
    page = answer.json()
    records += page["items"]
    if not page["items"] or len(records) >= page["total"]:
        break
pq.write_table(pa.Table.from_pylist(records), f"{task.folder}/threats.parquet", compression="zstd")
measured.stop()
measured.report(len(records), "apache-airflow", "apache-airflow-providers-http", "pyarrow")
