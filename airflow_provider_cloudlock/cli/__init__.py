"""Commands of Airflow's command line.

Airflow calls :func:`get_commands` for every ``airflow`` command, so it imports nothing that Airflow has not loaded. The
module itself imports the standard library alone: Airflow loads it while its configuration is still being set up, and a
task can import an audit or a plan without Airflow's command line.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.cli.cli_config import ActionCommand, GroupCommand

_DAY = "YYYY-MM-DD"


def check_database_access() -> None:
    """End ``airflow cloudlock`` with status 2 and an explanation if it is started inside a task.

    Airflow replaces the address of its database in the environment of a task, and every ``airflow`` command fails on it
    with status 1, which means findings here. Provider discovery is the only code of a provider that runs earlier.

    :raises SystemExit: with status 2 in that case.
    """
    address = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "")
    if sys.argv[1:2] == ["cloudlock"] and address.startswith("airflow-db-not-allowed"):
        sys.stderr.write(
            "The command airflow cloudlock does not run inside a task, as tasks have no access to Airflow's database. "
            "Call audit() of airflow_provider_cloudlock.cli.audit, or plan() of airflow_provider_cloudlock.cli.plan, "
            "in a @task instead.\n"
        )
        raise SystemExit(2)


def get_commands() -> list[GroupCommand]:
    """Return the commands of this package."""
    from airflow.cli.cli_config import GroupCommand

    text = "Plan extractions of Cloudlock data and audit the lake"
    return [GroupCommand(name="cloudlock", help=text, subcommands=(_audit(), _plan()))]


def _audit() -> ActionCommand:
    return _command(
        "audit",
        help="Check that every day of a lake is complete",
        description="Compare the receipts of a lake with its objects, and report for every UTC day whether it is "
        "complete. Nothing is written to the lake.",
        epilog="Exit status: 0 if every day is complete, 1 if there are findings, 2 if the audit failed.",
        args=(
            _arg(
                "destination",
                help="Destination of the extraction, such as s3://aws_default@lake/cloudlock or file:///data/lake",
            ),
            _arg("--from", dest="start", metavar=_DAY, help="First UTC day (default: 30 days before --to)"),
            _arg("--to", dest="end", metavar=_DAY, help="UTC day after the last one (default: today)"),
            _arg("--resource", default="threats", help="Extracted resource (default: threats)"),
            _arg("--verify", action="store_true", help="Read every object and compare its SHA-256 and its row count"),
            _arg("--against-api", action="store_true", help="Compare with Cloudlock's counts: one request per day"),
            _arg(
                "--conn-id",
                default="cloudlock_default",
                help="Connection to Cloudlock, for --against-api (default: cloudlock_default)",
            ),
            _json(),
            _arg("--html", metavar="FILE", help="Write a calendar as an HTML page to this file, too"),
        ),
    )


def _plan() -> ActionCommand:
    return _command(
        "plan",
        help="Estimate the cost of an extraction",
        description="Request Cloudlock's record counts of a window (one request per UTC day for up to 14 days, else "
        "one per month) and estimate how many requests, and how much time, its extraction takes. Nothing is "
        "extracted.",
        epilog="Exit status: 0 if the plan was made, 2 if not.",
        args=(
            _arg("--from", dest="start", metavar=_DAY, required=True, help="First UTC day"),
            _arg("--to", dest="end", metavar=_DAY, required=True, help="UTC day after the last one"),
            _arg("--resource", default="threats", help="Resource to extract (default: threats)"),
            _arg("--conn-id", default="cloudlock_default", help="Connection to Cloudlock (default: cloudlock_default)"),
            _json(),
        ),
    )


def _command(name: str, **options: Any) -> ActionCommand:
    from airflow.cli.cli_config import ActionCommand, lazy_load_command

    run = lazy_load_command(f"airflow_provider_cloudlock.cli.{name}.command.run")
    return ActionCommand(name=name, func=run, **options)


def _arg(*flags: str, **options: Any) -> Any:
    from airflow.cli.cli_config import Arg

    return Arg(flags, **options)  # type: ignore[no-untyped-call]


def _json() -> Any:
    return _arg("--json", action="store_true", help="Print JSON instead of a table")
