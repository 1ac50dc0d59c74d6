"""Daily runs and an interrupted backfill in a real Airflow; loads into three warehouses follow by the asset.

``python -m tests.benchmarks.backfill [--days 60]`` starts an Airflow, a tenant and a Postgres, extracts five days one
by one with dismissals in between, then backfills the days before them, four at a time: the first backfill is cancelled
on its way, and some of its tasks are killed. It prints how many records each place holds, and compares: with the
tenant, with each other, and the lake with what one run after another would have made of it. It ends with 1 if anything
differs, and takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.integration.standalone import Standalone, standalone
from tests.operators.lake import Lake, connection, operator
from tests.support import Tenant, day_of_records
from tests.support.postgres import postgres

DAGS = Path(__file__).parents[2] / "dags"
EXTRACT, LOAD = "cloudlock_threats_extract", "cloudlock_threats_load"
#: Beside the sample for DuckDB, the same for other warehouses: module, parameter and value.
OTHERS = {"postgres": ("cloudlock_postgres", "public"), "iceberg": ("cloudlock_iceberg", "cloudlock.threats")}
LOADS = (LOAD, *(f"{LOAD}_{name}" for name in OTHERS))
END = date(2026, 3, 31)
DAILY = 5
EACH_DAY = 50

_OTHER = """
from airflow.sdk import PartitionedAssetTimetable, dag
from cloudlock_common import THREATS
from cloudlock_threats_load import changes
from {module} import load


@dag(schedule=PartitionedAssetTimetable(assets=THREATS), max_active_runs=4, default_args={{"retries": 4}})
def {dag_id}():
    load(changes(), {value!r})


{dag_id}()
"""


def main() -> int:
    """Run it all, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.backfill", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--days", type=int, default=60, help="days to backfill (default 60)")
    days = parser.parse_args().days
    dates = [str(END - timedelta(days=back)) for back in range(days + DAILY - 1, -1, -1)]
    records = [each for day in dates for each in day_of_records(day, EACH_DAY)]
    records = [each | {"id": number} for number, each in enumerate(records, 1)]
    with tempfile.TemporaryDirectory(prefix="backfill-") as name, Tenant(records) as tenant, postgres() as server:
        folder = Path(name)
        with airflow(folder, tenant, server) as running:
            run_daily(running, tenant, dates[-DAILY:])
            run_backfill(running, dates[0], dates[-DAILY - 1])
            loads = Counter(run["partition_key"] for run in running.runs(LOAD) if run["partition_key"] in dates)
            events = Counter(event["partition_key"] for event in running.events() if event["partition_key"] in dates)
            states = {dag_id: dict(running.states(dag_id)) for dag_id in (EXTRACT, *LOADS)}
        return report(folder, tenant, server, dates, loads, events, states)


@contextmanager
def airflow(folder: Path, tenant: Tenant, server: str) -> Iterator[Standalone]:
    """Start Airflow over the samples, with one load for each kind of warehouse."""
    (folder / "dags").mkdir()
    modules = ("cloudlock_common", "cloudlock_duckdb", EXTRACT, LOAD, *(module for module, _ in OTHERS.values()))
    for module in modules:
        shutil.copy(DAGS / f"{module}.py", folder / "dags")
    for name, (module, value) in OTHERS.items():
        text = _OTHER.format(module=module, value=value, dag_id=f"{LOAD}_{name}")
        (folder / f"dags/{LOAD}_{name}.py").write_text(text)
    catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/iceberg"}
    make_namespace(catalog)
    with standalone(
        folder,
        folder / "dags",
        connection(tenant),
        AIRFLOW_CONN_POSTGRES_DEFAULT=server,
        AIRFLOW_CONN_ICEBERG_DEFAULT=json.dumps({"conn_type": "iceberg", "extra": catalog}),
    ) as running:
        yield running


def make_namespace(catalog: dict[str, str]) -> None:
    """Make the namespace of the Iceberg table."""
    from pyiceberg.catalog import load_catalog

    with closing(load_catalog("iceberg_default", **catalog)) as made:
        made.create_namespace("cloudlock")


def run_daily(running: Standalone, tenant: Tenant, dates: list[str]) -> None:
    """Run the days one by one; somebody dismisses an anomaly of the first one after each."""
    running.unpause(*LOADS, EXTRACT)
    for number, day in enumerate(dates):
        assert running.wait_for_run(EXTRACT, running.trigger(EXTRACT, partition_key=day)) == "success"
        print(f"{day} extracted", flush=True)
        if day != dates[-1]:
            tenant.dismiss(tenant.window(dates[0], dates[1])[number]["id"])
    running.wait_until_quiet(EXTRACT, *LOADS, seconds=900)


def run_backfill(running: Standalone, first: str, last: str) -> None:
    """Backfill, cut it short, and take it up again."""
    create = ("backfill", "create", "--dag-id", EXTRACT, "--from-date", first, "--to-date", last)
    options = ("--max-active-runs", "4", "--run-backwards")
    before = running.states(EXTRACT)["success"]
    start = time.monotonic()
    running.command(*create, *options)
    running.until(lambda: running.states(EXTRACT)["success"] > before + 5, 300)
    killed = 0
    while not killed:
        killed = kill_tasks()
    backfill = running.ask("GET", f"/api/v2/backfills?dag_id={EXTRACT}")["backfills"][-1]["id"]
    running.ask("PUT", f"/api/v2/backfills/{backfill}/cancel")
    done = running.states(EXTRACT)
    print(f"the backfill was cancelled after {time.monotonic() - start:.0f} s, {killed} tasks killed: {dict(done)}")
    running.until(lambda: not set(running.states(EXTRACT)) - {"success", "failed"}, 600)
    running.command(*create, *options, "--reprocess-behavior", "failed")
    time.sleep(10)
    running.wait_until_quiet(EXTRACT, *LOADS, seconds=3600)
    print(f"all is done after {time.monotonic() - start:.0f} s")


def kill_tasks() -> int:
    """Kill every task that runs, and return how many: children of the executor's workers."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    processes = [line.split(maxsplit=2) for line in listed.splitlines()[1:]]
    workers = {pid for pid, _, name in processes if name.startswith("airflow worker -- LocalExecutor")}
    found = [int(pid) for pid, parent, _ in processes if parent in workers]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return len(found)


def report(
    folder: Path,
    tenant: Tenant,
    server: str,
    dates: list[str],
    loads: Counter[str],
    events: Counter[str],
    states: dict[str, dict[str, int]],
) -> int:
    """Print what each place holds, and return the exit status."""
    end = str(END + timedelta(days=1))
    given = held(tenant.window(dates[0], end))
    lake = Lake(folder / "cloudlock/lake")
    places = {
        "lake": held(row for row in lake.rows()),
        "DuckDB": in_duckdb(folder),
        "Postgres": in_postgres(server),
        "Iceberg": in_iceberg(folder),
    }
    print(f"\n{'place':10} {'records':>8}  same as the API\n{'API':10} {len(given):8}")
    for place, found in places.items():
        print(f"{place:10} {len(found):8}  {'yes' if found == given else 'NO'}")
    os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = connection(tenant)
    one_by_one = Lake(folder / "one by one")
    for day in dates:
        after = str(date.fromisoformat(day) + timedelta(days=1))
        operator(one_by_one.destination, day, after).execute({})
    same = {name: lake.path(name).read_bytes() for name in lake.objects if name.split("=")[1][:10] in dates} == {
        name: one_by_one.path(name).read_bytes() for name in one_by_one.objects
    }
    print(f"\nthe {len(one_by_one.objects)} objects are those of one run after another: {'yes' if same else 'NO'}")
    print(
        f"events for {len(events)} days, {events.total()} in all; loads for {len(loads)} days, {loads.total()} in all"
    )
    for dag_id, counted in states.items():
        print(f"{dag_id:34} {counted}")
    whole = same and all(found == given for found in places.values()) and set(loads) == set(dates)
    return 0 if whole else 1


def held(rows: Any) -> list[tuple[str, str]]:
    """Return the ids and states of records, in order."""
    return sorted((str(each["id"]), str(each["status"])) for each in rows)


def in_duckdb(folder: Path) -> list[tuple[str, str]]:
    import duckdb

    with closing(duckdb.connect(str(folder / "cloudlock/warehouse.duckdb"), read_only=True)) as warehouse:
        return sorted(warehouse.execute("select id, status from cloudlock_threats").fetchall())


def in_postgres(server: str) -> list[tuple[str, str]]:
    import psycopg2

    there = json.loads(server)
    with closing(psycopg2.connect(host=there["host"], user=there["login"], dbname=there["schema"])) as warehouse:
        cursor = warehouse.cursor()
        cursor.execute("select id, status from cloudlock_threats")
        return sorted(cursor.fetchall())


def in_iceberg(folder: Path) -> list[tuple[str, str]]:
    from pyiceberg.catalog import load_catalog

    with closing(load_catalog("iceberg_default", type="sql", uri=f"sqlite:///{folder}/catalog.db")) as catalog:
        return held(catalog.load_table("cloudlock.threats").scan().to_arrow().to_pylist())


if __name__ == "__main__":
    sys.exit(main())
