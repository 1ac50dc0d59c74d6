"""``cloudlock-sandbox demo``: the sample DAGs at work on a made-up tenant."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, distribution
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from airflow_provider_cloudlock.sandbox.demo_airflow import AirflowHome, DemoError, Runs
from airflow_provider_cloudlock.sandbox.demo_report import Warehouse, lake_tree, receipt_lines, receipts
from airflow_provider_cloudlock.sandbox.server import Sandbox

# The days are fixed, so that everybody sees the same numbers.
FIRST_DAY = date(2026, 3, 2)
DAYS = [FIRST_DAY + timedelta(days=number) for number in range(7)]
#: The DAG's own default of ``refresh_days``: the first run finds anomalies on that many days before its own.
REFRESH_DAYS = 7
TENANT_SINCE = FIRST_DAY - timedelta(days=REFRESH_DAYS)
#: The day of which an anomaly is dismissed in the end; the last run still reads it again.
DISMISSED_DAY = DAYS[1]
REASON = "Confirmed by the user"

LINE = "  {:<10}  {:>6}  {:>5}  {:>7}  {:>11}  {:>7}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's arguments.

    :param parser: of the command ``demo``
    """
    parser.add_argument(
        "--directory", type=Path, metavar="DIR", help="a new or empty folder to work in (by default a temporary one)"
    )
    parser.add_argument("--keep-running", action="store_true", help="then start the Airflow UI, until Ctrl-C")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of the UI (by default a free one)")


def run(args: argparse.Namespace) -> int:
    """Run the demo.

    :param args: its arguments
    :return: 0 when everything was as it must be; else 1, with the reason on standard error
    """
    # One way out for both signals, so that no process stays behind, also where a shell had Ctrl-C ignored.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)  # line by line into a pipe, too
    try:
        _demo(args)
    except DemoError as error:
        print(f"\nThe demo failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130
    return 0


def _demo(args: argparse.Namespace) -> None:
    began = time.monotonic()
    dags = _dags_folder()
    _check_duckdb()
    folder = _make_folder(args.directory)
    print("The sample DAGs of airflow-provider-cloudlock at work: real Airflow, real Parquet, real DuckDB;")
    print("only the tenant is made up. Everything stays in", folder)
    with Sandbox(first_day=TENANT_SINCE, last_day=DAYS[-1], now=_after(FIRST_DAY)) as sandbox:
        print(f"\n  {'Cloudlock sandbox with 40 anomalies a day':<50}{sandbox.url}")
        home = AirflowHome(folder, dags, sandbox.connection_json())
        with _timed("Airflow's database (airflow db migrate)"):
            home.migrate()
        warehouse = Warehouse(folder / "cloudlock" / "warehouse.duckdb")
        with home.runs() as runs:
            print(f"  {'Airflow':<50}{runs.airflow_version}")
            _run_the_days(sandbox, runs)
            changed = _dismiss_one(sandbox, runs, warehouse)
        _compare(sandbox, warehouse)
        _look_around(folder, warehouse, changed)
        print(f"\nDone in {time.monotonic() - began:.0f} s.")
        if args.keep_running:
            _keep_running(home, args.port)
        else:
            print("With --keep-running the demo goes on to the Airflow UI, with these DAGs, this lake and this tenant.")


def _run_the_days(sandbox: Sandbox, runs: Runs) -> None:
    print(f"\ncloudlock_threats_daily, once for each day. A run reads its day, and the {REFRESH_DAYS} before it again,")
    print("as anomalies may have been dismissed since. What did not change is neither written nor loaded again.\n")
    print(LINE.format("day", "slices", "rows", "changed", "rows loaded", "seconds"))
    for day in DAYS:
        sandbox.set_now(_after(day))
        _run_day(runs, day)


def _run_day(runs: Runs, day: date) -> dict[str, Any]:
    began = time.monotonic()
    results = runs.run(_after(day))
    extract, load = results["extract"], results["load"]
    changed = sum(part["changed"] for part in extract["slices"])
    seconds = f"{time.monotonic() - began:.1f}"
    print(LINE.format(str(day), len(extract["slices"]), extract["rows"], changed, load["rows_loaded"], seconds))
    return results


def _dismiss_one(sandbox: Sandbox, runs: Runs, warehouse: Warehouse) -> dict[str, Any]:
    """Dismiss an anomaly and run the last day again: exactly one slice must change, and its row with it."""
    chosen = next(each for each in sandbox.anomalies(DISMISSED_DAY, DISMISSED_DAY) if each["status"] == "ACTIVE")
    sandbox.dismiss(chosen["id"], REASON)
    print(f"\nNow an analyst dismisses an anomaly of {DISMISSED_DAY}, and the run of {DAYS[-1]} is repeated:\n")
    before = warehouse.status(chosen["id"])
    results = _run_day(runs, DAYS[-1])
    after = warehouse.status(chosen["id"])
    changed = [part for part in results["extract"]["slices"] if part["changed"]]
    where = f"anomaly {chosen['id']} in the warehouse"
    print(f"\n  {where}   before   {before}")
    print(f"  {'':<{len(where)}}   after    {after}")
    if [part["window"][0][:10] for part in changed] != [str(DISMISSED_DAY)]:
        raise DemoError(f"The slice of {DISMISSED_DAY} alone should have changed, but these did: {changed}")
    if not after.startswith("DISMISSED"):
        raise DemoError(f"Anomaly {chosen['id']} should be dismissed in the warehouse, but it is {after}.")
    part: dict[str, Any] = changed[0]
    return part


def _compare(sandbox: Sandbox, warehouse: Warehouse) -> None:
    """Hold the warehouse against the tenant, without the provider in between."""
    tenant = [(str(each["id"]), each["status"], each["dismiss_reason"]) for each in sandbox.anomalies()]
    expected, found = sorted(tenant, key=repr), sorted(warehouse.anomalies(), key=repr)
    print(f"\n  the tenant has {len(expected)} anomalies, the warehouse {len(found)}: ", end="")
    if found != expected:
        print("they differ")
        raise DemoError("The warehouse should hold every anomaly of the tenant exactly once, as it stands now.")
    print("the same ones, each exactly once")


def _look_around(folder: Path, warehouse: Warehouse, part: dict[str, Any]) -> None:
    lake = folder / "cloudlock" / "lake"
    print("\nThe lake:\n")
    print(*lake_tree(lake), sep="\n")
    print("\nThe receipts:\n")
    print(*receipts(lake), sep="\n")
    print("\nMore of the receipt of the changed slice:\n")
    print(*receipt_lines(lake, part), sep="\n")
    print("\nThe warehouse, anomalies by day and risk:\n")
    print(*warehouse.risks(DAYS[0], DAYS[-1]), sep="\n")
    print(f"\n{folder}\n")
    for name, what in (
        ("cloudlock/lake", "the lake: Parquet objects and their receipts"),
        ("cloudlock/warehouse.duckdb", "the warehouse: cloudlock_threats, cloudlock_loads"),
        ("airflow.log", "all that Airflow said"),
        ("airflow.cfg, airflow.db", "Airflow's settings and database"),
    ):
        print(f"  {name:<28}{what}")
    print("\nAsk the warehouse yourself:\n")
    print("  uv run python")
    print("  >>> import duckdb")
    print(f"  >>> warehouse = duckdb.connect({str(warehouse.file)!r}, read_only=True)")
    print("  >>> warehouse.sql('from cloudlock_loads')")


def _keep_running(home: AirflowHome, port: int) -> None:
    print("\nStarting the Airflow UI (half a minute) ...")
    with home.standalone(port) as url:
        print(f"\n  {url}   no password, this machine only\n")
        end = DAYS[-1] + timedelta(days=1)
        print(f"Trigger cloudlock_threats_range there, from {TENANT_SINCE} to {end}. Ctrl-C stops everything.")
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("\nStopping ...")


@contextmanager
def _timed(what: str) -> Iterator[None]:
    print(f"  {what:<50}", end="", flush=True)
    began = time.monotonic()
    yield
    print(f"{time.monotonic() - began:.1f} s")


def _after(day: date) -> datetime:
    """Return the midnight at which a UTC day ends."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)


def _dags_folder() -> Path:
    """Find the sample DAGs: they belong to the repository, not to the installed package."""
    for root in (Path(__file__).parents[2], Path.cwd()):
        if (root / "dags" / "cloudlock_threats_daily.py").is_file():
            return root / "dags"
    raise DemoError(
        "The demo runs the sample DAGs in the folder dags/ of the repository, which is not here. "
        "Clone the repository and run `uv run cloudlock-sandbox demo` in it."
    )


def _check_duckdb() -> None:
    try:
        distribution("apache-airflow-providers-duckdb")
    except PackageNotFoundError:
        raise DemoError(
            "The DAGs load into DuckDB, whose Airflow provider is missing: install airflow-provider-cloudlock[duckdb]."
        ) from None


def _make_folder(wanted: Path | None) -> Path:
    if wanted is None:
        return Path(tempfile.mkdtemp(prefix="cloudlock-demo-"))
    try:
        wanted.mkdir(parents=True, exist_ok=True)
        used = any(wanted.iterdir())
    except OSError as error:
        raise DemoError(f"{wanted} cannot be used: {error}. Give another --directory.") from error
    if used:
        raise DemoError(f"{wanted} is not empty. Give a new or empty --directory, or none for a temporary one.")
    return wanted.resolve()
