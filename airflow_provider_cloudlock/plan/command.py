"""``airflow cloudlock plan``: arguments -> what is printed."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from airflow_provider_cloudlock.console import at_work
from airflow_provider_cloudlock.plan.report import plan
from airflow_provider_cloudlock.plan.table import as_table


def run(arguments: Namespace) -> None:
    """Run the command.

    :param arguments: as the definition names them.
    :raises SystemExit: with status 2 when no plan could be made.
    """
    with at_work():
        found = plan(arguments.start, arguments.end, resource=arguments.resource, cloudlock_conn_id=arguments.conn_id)
    text = json.dumps(found.as_json(), indent=2) if arguments.json else as_table(found)
    sys.stdout.write(f"{text}\n")
