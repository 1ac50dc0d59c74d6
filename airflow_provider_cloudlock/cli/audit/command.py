"""``airflow cloudlock audit``: arguments -> output and exit status."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

from airflow_provider_cloudlock.cli.audit.html import as_html
from airflow_provider_cloudlock.cli.audit.report import Audit, audit
from airflow_provider_cloudlock.cli.audit.table import as_table
from airflow_provider_cloudlock.cli.console import cli_errors, fail


def run(arguments: Namespace) -> None:
    """Run the command.

    :param arguments: the parsed arguments.
    :raises SystemExit: always: 0 if every day is complete, 1 if there are findings, 2 if the audit failed.
    """
    with cli_errors():
        found = audit(
            arguments.destination,
            arguments.start,
            arguments.end,
            resource=arguments.resource,
            verify=arguments.verify,
            cloudlock_conn_id=arguments.conn_id if arguments.against_api else None,
        )
        if arguments.html is not None:
            _write(found, arguments.html)
        text = json.dumps(found.as_json(), indent=2) if arguments.json else as_table(found)
    sys.stdout.write(f"{text}\n")
    raise SystemExit(0 if found.is_whole else 1)


def _write(found: Audit, file: str) -> None:
    try:
        Path(file).write_text(as_html(found), encoding="utf-8")
    except OSError as error:
        fail(f"--html {file}: the file cannot be written ({error.strerror}). Name a file in an existing folder.")
