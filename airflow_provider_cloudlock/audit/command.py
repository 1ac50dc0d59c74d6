"""``airflow cloudlock audit``: arguments -> what is printed and written, and the exit status."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

from airflow_provider_cloudlock.audit.report import Audit, audit
from airflow_provider_cloudlock.audit.table import as_table
from airflow_provider_cloudlock.audit.wall import as_html
from airflow_provider_cloudlock.console import at_work, fail


def run(arguments: Namespace) -> None:
    """Run the command.

    :param arguments: as the definition names them.
    :raises SystemExit: always: 0 when every day is whole, 1 when something was found, 2 when no audit could be made.
    """
    with at_work():
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
        fail(f"--html {file}: it cannot be written ({error.strerror}). Give a file in a folder that there is.")
