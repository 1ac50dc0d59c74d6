"""The command ``cloudlock-sandbox``."""

from __future__ import annotations

import argparse
import datetime
import logging
import shlex
import signal
import sys
import threading
from collections.abc import Sequence

from airflow_provider_cloudlock.sandbox.control import PREFIX
from airflow_provider_cloudlock.sandbox.query import MAX_LIMIT
from airflow_provider_cloudlock.sandbox.server import THREATS, Sandbox

LOOPBACK = "127.0.0.1"
CHANGES = ("dismiss?id=…&reason=Known", "add", "delete?id=…")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    :param argv: its arguments; by default those of the process
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(prog="cloudlock-sandbox", description="A stand-in for the Cloudlock API.")
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = commands.add_parser("serve", help="serve made-up anomalies until Ctrl-C")
    _add_serve_arguments(serve)
    serve.set_defaults(run=lambda options: _serve(serve, options))
    demo = commands.add_parser("demo", help="show the provider at work against a sandbox")
    if arguments[:1] == ["demo"]:
        # The demo brings in the provider itself; serving needs the standard library alone.
        from airflow_provider_cloudlock.sandbox.demo import add_arguments, run

        add_arguments(demo)
        demo.set_defaults(run=run)
    options = parser.parse_args(arguments)
    return int(options.run(options))


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    day = datetime.date.fromisoformat
    # Not 8080, which is where Airflow itself listens.
    parser.add_argument("--port", type=int, default=8765, help="port to listen on; 0 takes a free one (%(default)s)")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on (%(default)s: this machine only)")
    parser.add_argument("--token", default="sandbox-token", help="access token to ask for (%(default)s)")
    parser.add_argument("--per-day", type=int, default=40, metavar="N", help="anomalies a day (%(default)s)")
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--first-day", type=day, metavar="YYYY-MM-DD", help="first UTC day that has anomalies")
    start.add_argument("--days", type=int, metavar="N", help="the last N days have anomalies (30)")
    parser.add_argument("--last-day", type=day, metavar="YYYY-MM-DD", help="last day that has any (today)")
    parser.add_argument(
        "--page-cap", type=int, default=MAX_LIMIT, metavar="N", help="most records in one answer (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other anomalies (%(default)s)")


def _serve(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    first_day = options.first_day
    try:
        if options.days is not None:
            if options.days < 1:
                raise ValueError("--days must be at least 1")
            last_day = options.last_day or datetime.datetime.now(datetime.UTC).date()
            first_day = last_day - datetime.timedelta(days=options.days - 1)
        sandbox = Sandbox(
            host=options.host,
            port=options.port,
            token=options.token,
            per_day=options.per_day,
            first_day=first_day,
            last_day=options.last_day,
            seed=options.seed,
            page_cap=options.page_cap,
        )
    except (ValueError, OverflowError) as error:
        parser.error(str(error))
    try:
        sandbox.start()
    except (OSError, OverflowError) as error:
        parser.error(f"cannot listen on {options.host}, port {options.port}: {error}. Choose another with --port.")
    # One way out for both signals, also where a shell started the command with Ctrl-C ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    logging.basicConfig(format="%(asctime)s %(message)s")
    logging.getLogger("airflow_provider_cloudlock.sandbox").setLevel(logging.DEBUG)
    try:
        print(_greeting(sandbox), flush=True)
        threading.Event().wait()
    except KeyboardInterrupt:
        sandbox.stop()
    return 0


def _greeting(sandbox: Sandbox) -> str:
    authorization = shlex.quote(f"Authorization: Bearer {sandbox.token}")
    lines = [
        f"Cloudlock sandbox with anomalies from {sandbox.first_day} to {sandbox.last_day}; Ctrl-C stops it.",
        f"  url    {sandbox.url}",
        f"  token  {sandbox.token}",
        "",
        "Try it:",
        f"  curl -H {authorization} '{sandbox.url}{THREATS}?limit=2&order=created_at'",
        "",
        "Change it, with an id that the first command prints:",
        *(f"  curl -X POST -H {authorization} '{sandbox.url}{PREFIX}{change}'" for change in CHANGES),
        "",
        "Use it in Airflow:",
        f"  export AIRFLOW_CONN_CLOUDLOCK_DEFAULT={shlex.quote(sandbox.connection_json())}",
    ]
    if sandbox.host not in (LOOPBACK, "localhost"):
        lines += ["", "Other machines may reach it; the provider speaks plain http to its own machine only."]
    return "\n".join(lines)
