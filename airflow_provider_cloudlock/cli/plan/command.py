"""``airflow cloudlock plan``: arguments -> output and exit status."""

from __future__ import annotations

import json
import sys
from argparse import Namespace

from airflow_provider_cloudlock.cli.console import cli_errors
from airflow_provider_cloudlock.cli.plan.report import plan
from airflow_provider_cloudlock.cli.plan.table import as_table


def run(arguments: Namespace) -> None:
    """Run the command.

    :param arguments: the parsed arguments.
    :raises SystemExit: with status 2 if the plan could not be made.
    """
    with cli_errors():
        found = plan(arguments.start, arguments.end, resource=arguments.resource, cloudlock_conn_id=arguments.conn_id)
    text = json.dumps(found.as_json(), indent=2) if arguments.json else as_table(found)
    sys.stdout.write(f"{text}\n")
