"""This provider: the operator as a task runs it, with every proof, check and receipt of it.

pyarrow is not imported beforehand: the operator does that when it runs, so it counts.
"""

from __future__ import annotations

import json
import os

from airflow_logs import settle_logs
from measure import Measured, given

task = given()
extra = json.loads(task.extra or "{}")
os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = json.dumps(
    {"conn_type": "cloudlock", "host": task.url, "password": task.token, "extra": extra}
)

import airflow  # noqa: E402, F401 - the connection is set before Airflow looks at the environment

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator  # noqa: E402

settle_logs()
operator = CloudlockToObjectStorageOperator(
    task_id="extract",
    destination=f"file://{task.folder}",
    created_after=task.first,
    created_before=task.last,
    page_size=task.page,
)
measured = Measured()
result = operator.execute({})
measured.stop()
measured.report(
    result["rows"],
    "airflow-provider-cloudlock",
    "apache-airflow",
    "pyarrow",
    written=sum(part["changed"] for part in result["slices"]),
)
