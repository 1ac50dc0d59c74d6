"""The commands that Airflow takes in. Loaded at every ``airflow`` command, so it imports only what is loaded anyway."""

from __future__ import annotations

from typing import Any

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command


def get_commands() -> list[GroupCommand]:
    """Return what Airflow's command line is to know."""
    text = "Plan extractions of Cloudlock data, and look after the lake"
    return [GroupCommand(name="cloudlock", help=text, subcommands=(_AUDIT, _PLAN))]


def _arg(*flags: str, **options: Any) -> Any:
    return Arg(flags, **options)  # type: ignore[no-untyped-call]


_DAY = "YYYY-MM-DD"
_JSON = _arg("--json", action="store_true", help="Print JSON instead of a table")

_AUDIT = ActionCommand(
    name="audit",
    help="Tell whether a lake is whole, day by day",
    description="Read the receipts in a lake, and tell for every UTC day whether it is whole.",
    epilog="Exit status: 0 every day is whole, 1 something was found, 2 the audit could not be made.",
    func=lazy_load_command("airflow_provider_cloudlock.audit.command.run"),
    args=(
        _arg(
            "destination", help="As the operator is told, such as s3://aws_default@lake/cloudlock or file:///data/lake"
        ),
        _arg("--from", dest="start", metavar=_DAY, help="First UTC day asked for (default: 30 days before --to)"),
        _arg("--to", dest="end", metavar=_DAY, help="First UTC day not asked for (default: today)"),
        _arg("--resource", default="threats", help="What was extracted (default: threats)"),
        _arg("--verify", action="store_true", help="Read every object again, compare its SHA-256 and its rows"),
        _arg("--against-api", action="store_true", help="Compare with Cloudlock's own counts: one request a day"),
        _arg(
            "--conn-id",
            default="cloudlock_default",
            help="The connection to Cloudlock, for --against-api (default: cloudlock_default)",
        ),
        _JSON,
        _arg("--html", metavar="FILE", help="Write a calendar for the browser, or the wall, to this file as well"),
    ),
)

_PLAN = ActionCommand(
    name="plan",
    help="Tell what reading a range of days should cost",
    description="Ask Cloudlock how many records each UTC day has, and tell how many requests, and about how much time, "
    "it should take to read them. One request a day; nothing is read or written.",
    epilog="Exit status: 0 here is the plan, 2 none could be made.",
    func=lazy_load_command("airflow_provider_cloudlock.plan.command.run"),
    args=(
        _arg("--from", dest="start", metavar=_DAY, required=True, help="First UTC day asked for"),
        _arg("--to", dest="end", metavar=_DAY, required=True, help="First UTC day not asked for"),
        _arg("--resource", default="threats", help="What is to be extracted (default: threats)"),
        _arg("--conn-id", default="cloudlock_default", help="The connection to Cloudlock (default: cloudlock_default)"),
        _JSON,
    ),
)
