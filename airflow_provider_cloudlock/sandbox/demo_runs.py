"""The demo's Airflow: a process of its own, since Airflow reads its settings when it is imported.

It answers on standard output, one line of JSON for each day that it reads from standard input. Everything that Airflow
has to say goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG, Context

DAG_ID = "cloudlock_threats_daily"


def main(dags: str) -> int:
    """Run the daily DAG once for each logical date on standard input.

    :param dags: the folder of the DAGs.
    """
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def answer(what: dict[str, Any]) -> None:
        print(json.dumps(what), file=answers, flush=True)

    from airflow import __version__
    from airflow.dag_processing.dagbag import DagBag

    sys.path.append(dags)  # as Airflow does
    bag = DagBag(dags)
    dag = bag.dags.get(DAG_ID)
    if dag is None:
        answer({"error": "; ".join(bag.import_errors.values()) or f"there is no {DAG_ID} in {dags}"})
        return 1
    answer({"airflow": __version__})
    for line in sys.stdin:
        answer(_run(dag, datetime.fromisoformat(line.strip())))
    return 0


def _run(dag: DAG, logical_date: datetime) -> dict[str, Any]:
    failures: list[str] = []

    def note(context: Context) -> None:
        failures.append(f"{context['task'].task_id}: {context.get('exception')}")

    for task in dag.tasks:
        task.retries = 0  # somebody is watching: a failure shows at once
        task.on_failure_callback = [note]
    run = dag.test(logical_date=logical_date)
    if run.state != "success":
        return {"error": "; ".join(failures) or f"the run ended as {run.state}"}
    return {each.task_id: each.xcom_pull(task_ids=each.task_id) for each in run.get_task_instances()}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
