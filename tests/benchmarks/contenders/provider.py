"""This provider: the operator as a task runs it, with everything that it verifies and writes.

What the operator imports when it runs is imported beforehand, as in the other scripts: pyarrow, pandas if it is
installed, which pyarrow imports at the first conversion, and the filesystems of all installed Airflow providers.
Airflow's plugins are loaded beforehand too, as Airflow's task runner does.
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

from airflow_provider_cloudlock.lake.memory import limit_malloc_arenas  # noqa: E402
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator  # noqa: E402

limit_malloc_arenas()
import pyarrow  # noqa: E402
from airflow.sdk.plugins_manager import integrate_macros_plugins  # noqa: E402

import airflow_provider_cloudlock.api.client  # noqa: E402
import airflow_provider_cloudlock.operators.extraction  # noqa: E402
import airflow_provider_cloudlock.operators.lineage  # noqa: E402, F401
from airflow_provider_cloudlock.operators.destination import store_at  # noqa: E402

settle_logs()
integrate_macros_plugins()
store_at(f"file://{task.folder}")
pyarrow.scalar("")
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
