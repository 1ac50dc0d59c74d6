"""
Load Cloudlock threats from the lake into a DuckDB warehouse: one transaction for each UTC day.

The extract writes one Parquet object per day and returns its SHA-256. The ledger table ``cloudlock_loads`` records
which object each day was loaded from, so a load brings in only what the warehouse does not have, and may run twice,
late or in any order. The same three statements (delete the day, insert the object, record it) serve any warehouse with
transactions.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, Variable, task
from airflow.sdk.exceptions import AirflowFailException
from cloudlock_common import HOME, day_of, default_of, local_copy

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

log = logging.getLogger(__name__)

#: The pool of the loads. DuckDB opens a file for one process at a time: make a pool with one slot, or concurrent loads
#: fail and use up their retries.
POOL = default_of("duckdb_pool", "default_pool")

WAREHOUSE = Param(
    default_of("warehouse", f"{HOME}/warehouse.duckdb"),
    type="string",
    minLength=1,
    description="DuckDB database file. Settings of the connection `duckdb_default` apply, where there is one.",
)

TABLES = """
create table if not exists "cloudlock_threats" (
    "id" varchar not null,
    "created_at" timestamptz,
    "updated_at" timestamptz,
    "detected_at" timestamptz,
    "start_time" timestamptz,
    "end_time" timestamptz,
    "status" varchar,
    "dismissed_at" timestamptz,
    "dismiss_reason" varchar,
    "threat_risk" varchar,
    "threat_type" varchar,
    "threat_entity" varchar,
    "short_description" varchar,
    "description" varchar,
    "event_count" bigint,
    "platforms" varchar[],
    "locations" varchar[],
    "users" struct("display_name" varchar, "email" varchar)[],
    "suspicious_ip" varchar,
    "_extra" varchar
);
create table if not exists "cloudlock_loads" (
    "resource" varchar not null,
    "window_start" timestamptz not null,
    "window_end" timestamptz not null,
    "sha256" varchar not null,
    "rows" bigint not null,
    "path" varchar not null,
    "loaded_at" timestamptz not null default current_timestamp
);
"""


@task(pool=POOL)
def load(extracts: Sequence[dict[str, Any]], warehouse: str) -> dict[str, int]:
    """
    Bring the warehouse level with the lake for every slice the extracts name.

    :param extracts: what ``CloudlockToObjectStorageOperator`` returned, once for each of its tasks.
    :param warehouse: the DuckDB database file; it and its folder are made when missing.
    """
    from airflow.providers.duckdb.hooks.duckdb import DuckDBHook

    Path(warehouse).parent.mkdir(parents=True, exist_ok=True)
    done = {"slices_loaded": 0, "slices_skipped": 0, "rows_loaded": 0}
    # DuckDB gives a file to one process at a time. Held open from the first look into the ledger to the last commit,
    # it keeps two loads apart; the second fails at once and its retry finds the file free.
    with closing(DuckDBHook(database=warehouse).get_conn()) as connection:
        check_host(connection, warehouse)
        connection.execute(TABLES)
        # What mapped tasks return is a lazy sequence, and a loop takes a failed look-up for its end: [:] fetches all of
        # it or fails.
        for extract in extracts[:]:
            for part in extract["slices"]:
                if is_loaded(connection, extract["resource"], part):
                    done["slices_skipped"] += 1
                else:
                    done["rows_loaded"] += load_slice(connection, extract["resource"], part)
                    done["slices_loaded"] += 1
    log.info("%s: %s", warehouse, done)
    return done


def check_host(connection: DuckDBPyConnection, warehouse: str) -> None:
    """
    Raise if earlier loads wrote the warehouse to another host's file of the same path.

    With several workers, each would otherwise fill a file of its own with the loads that it happens to run. The file
    names the host that created it, and an Airflow Variable, which all workers share, the host of the first load. A
    file on a volume may move with its volume.
    """
    connection.execute('create table if not exists "cloudlock_host" ("host" varchar not null)')
    connection.execute(
        'insert into "cloudlock_host" select ? where not exists (from "cloudlock_host")', [socket.gethostname()]
    )
    host = connection.execute('select "host" from "cloudlock_host"').fetchall()[0][0]
    name = host_variable(warehouse)
    first = Variable.get(name, None)
    if first is None:
        Variable.set(name, host, description=f"Host whose {warehouse} has the loads from Cloudlock")
    elif first != host:
        raise AirflowFailException(
            f"{warehouse} on this worker was created by host {host}, but earlier loads went to the file of host "
            f"{first}. Run all loads on one worker: give that worker a queue of its own, and the load task this queue. "
            f"If the other file is gone, delete the Airflow Variable {name} and load all days again."
        )


def host_variable(warehouse: str) -> str:
    """Return the name of the Airflow Variable with the host of a warehouse."""
    return "cloudlock_host_of" + re.sub(r"\W+", "_", f"/{warehouse}")[-200:]


def is_loaded(connection: DuckDBPyConnection, resource: str, part: dict[str, Any]) -> bool:
    """
    Return whether the warehouse holds this very object, by the ledger, and as many rows.

    The extract's ``changed`` is not read: an extract that was stopped after it wrote, and before it returned, reports
    on its retry that nothing changed.
    """
    start, end = day_of(part)
    found = connection.execute(
        'select 1 from "cloudlock_loads" '
        'where "resource" = ? and "window_start" = ? and "window_end" >= ? and "sha256" = ? and "rows" = '
        '(select count(*) from "cloudlock_threats" '
        'where coalesce("created_at", "detected_at") >= ? and coalesce("created_at", "detected_at") < ?)',
        [resource, start, datetime.fromisoformat(part["window"][1]), part["sha256"], start, end],
    )
    return found.fetchone() is not None


def load_slice(connection: DuckDBPyConnection, resource: str, part: dict[str, Any]) -> int:
    """Replace the rows of a slice's day with those of its object, and return their number."""
    start, end = day_of(part)
    with local_copy(part) as (file, sha256), transaction(connection):
        connection.execute(
            'delete from "cloudlock_threats" '
            'where coalesce("created_at", "detected_at") >= ? and coalesce("created_at", "detected_at") < ?',
            [start, end],
        )
        inserted = connection.execute(
            'insert into "cloudlock_threats" by name from read_parquet(?, hive_partitioning = false)', [str(file)]
        )
        rows: int = inserted.fetchall()[0][0]
        connection.execute(
            'delete from "cloudlock_loads" where "resource" = ? and "window_start" < ? and "window_end" > ?',
            [resource, end, start],
        )
        connection.execute(
            'insert into "cloudlock_loads" ("resource", "window_start", "window_end", "sha256", "rows", "path") '
            "values (?, ?, ?, ?, ?, ?)",
            [resource, start, datetime.fromisoformat(part["window"][1]), sha256, rows, part["path"]],
        )
    return rows


@contextmanager
def transaction(connection: DuckDBPyConnection) -> Iterator[None]:
    """Commit what happens inside, all of it or, on any error, nothing."""
    connection.begin()
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()
