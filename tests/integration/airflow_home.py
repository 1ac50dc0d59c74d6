"""Runs the Dags of a folder, each once, in a new Airflow home.

``python -m tests.integration.airflow_home DAGS``, with ``AIRFLOW_HOME`` set, prints one line of JSON:
what became of each run. Everything else that Airflow says goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any


def main(folder: str) -> None:
    """Make the home, and run every Dag of the folder for one day."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from airflow.dag_processing.dagbag import DagBag
    from airflow.utils.db import initdb

    initdb()
    bag = DagBag(folder)
    outcomes: dict[str, Any] = {"import errors": bag.import_errors}
    for dag_id, dag in bag.dags.items():
        run = dag.test(logical_date=datetime(2026, 1, 3, tzinfo=UTC))
        (instance,) = run.get_task_instances()
        outcomes[dag_id] = {
            "state": instance.state,
            "try_number": instance.try_number,
            "xcom": instance.xcom_pull(task_ids=instance.task_id),
        }
    print(json.dumps(outcomes), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
