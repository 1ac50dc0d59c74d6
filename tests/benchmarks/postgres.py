"""How fast does a slice come into Postgres, as Arrow and row by row?

``python -m tests.benchmarks.postgres`` starts a server and loads one slice into empty tables of the same kind, in turn
as the sample Dag does it, and with ``PostgresHook.insert_rows`` of the official provider. Both begin with the Parquet
file and end with the same rows committed; what the sample Dag does besides (the copy, the hash, the ledger) counts.
"""

from __future__ import annotations

import argparse
import atexit
import hashlib
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import pyarrow.parquet as pq

from tests.benchmarks.query import FIRST, _ours, _spool
from tests.support.postgres import postgres

sys.path.append(str(Path(__file__).parents[2] / "dags"))
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-")
os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "WARNING"

from airflow.providers.postgres.hooks.postgres import PostgresHook
from cloudlock_postgres import CONNECTION, TABLES, load

_GOAL = 5


def _as_arrow(file: Path, schema: str) -> None:
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    window = [FIRST.isoformat(), (FIRST + timedelta(days=1)).isoformat()]
    rows = pq.read_metadata(file).num_rows
    part = {"window": window, "path": f"file://{file}", "rows": rows, "sha256": sha256}
    load.function([{"resource": "threats", "slices": [part]}], schema)


def _row_by_row(file: Path, schema: str) -> None:
    with pq.ParquetFile(file) as parquet:
        rows = (row for batch in parquet.iter_batches(10_000) for row in _cells(batch.to_pylist()))
        PostgresHook(CONNECTION).insert_rows(f'"{schema}"."cloudlock_threats"', rows, parquet.schema_arrow.names)


def _cells(records: list[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    """Make rows of records. The hook makes JSON of every list, which an array does not take: those are written here."""
    for record in records:
        record["users"] = json.dumps(record["users"])
        for name in ("platforms", "locations"):
            record[name] = "{" + json.dumps(record[name], ensure_ascii=False)[1:-1] + "}"
        yield tuple(record.values())


_LOADERS: dict[str, Callable[[Path, str], None]] = {"Arrow, as the sample Dag": _as_arrow, "insert_rows": _row_by_row}


def _seconds(loader: Callable[[Path, str], None], file: Path, schema: str) -> tuple[float, str]:
    """Measure one load, and return a hash of what it left."""
    hook = PostgresHook(CONNECTION)
    hook.run([f'create schema "{schema}"', f'set search_path to "{schema}"', *TABLES])
    begin = perf_counter()
    loader(file, schema)
    seconds = perf_counter() - begin
    each = "md5(row(t.*)::text)"
    left = hook.get_first(f'select md5(string_agg({each}, \'\' order by {each})) from "{schema}"."cloudlock_threats" t')
    hook.run(f'drop schema "{schema}" cascade')
    return seconds, left[0]


def main() -> None:
    """Read the options, load, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="records of the slice (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each kind; the median counts (%(default)s)")
    options = parser.parse_args()
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"])
    with tempfile.TemporaryDirectory() as folder, postgres() as connection:
        os.environ[f"AIRFLOW_CONN_{CONNECTION.upper()}"] = connection
        file = Path(folder, "slice.parquet")
        _ours(_spool(FIRST, options.rows), file, FIRST)
        taken: dict[str, list[float]] = {name: [] for name in _LOADERS}
        left = set()
        for number in range(options.rounds):
            for name, loader in _LOADERS.items():
                seconds, rows = _seconds(loader, file, f"round_{number}")
                taken[name].append(seconds)
                left.add(rows)
    assert len(left) == 1, "They do not leave the same rows."
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    print(f"| {options.rows:,} rows | seconds | rows a second |\n| --- | ---: | ---: |")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {options.rows / seconds:,.0f} |")
    arrow, row_by_row = medians.values()
    print(f"\nArrow is {row_by_row / arrow:.1f} times as fast as insert_rows (goal: at least {_GOAL}).")
    sys.exit(row_by_row < _GOAL * arrow)


if __name__ == "__main__":
    main()
