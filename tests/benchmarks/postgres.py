"""Measure how fast a day is loaded into Postgres, as Arrow and row by row.

``python -m tests.benchmarks.postgres`` starts a server and loads one day into empty tables of the same kind, in turns
with the ``load`` of the sample DAG and with ``PostgresHook.insert_rows`` of the official provider. Both start from the
Parquet file and commit the same rows; the copy, the hash and the ledger of the sample DAG count.
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

from tests.benchmarks.query import FIRST, records_of, write_object
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
    """Yield rows. The hook turns every list into JSON, which array columns do not accept: they are written here."""
    for record in records:
        record["users"] = json.dumps(record["users"])
        for name in ("platforms", "locations"):
            record[name] = "{" + json.dumps(record[name], ensure_ascii=False)[1:-1] + "}"
        yield tuple(record.values())


_LOADERS: dict[str, Callable[[Path, str], None]] = {"Arrow, as the sample DAG": _as_arrow, "insert_rows": _row_by_row}


def _seconds(loader: Callable[[Path, str], None], file: Path, schema: str) -> tuple[float, str]:
    """Return how long a load takes, and a hash of the loaded rows."""
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
    """Load in turns and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help="records of the day (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="loads of each kind (%(default)s)")
    options = parser.parse_args()
    atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"])
    with tempfile.TemporaryDirectory() as folder, postgres() as connection:
        os.environ[f"AIRFLOW_CONN_{CONNECTION.upper()}"] = connection
        file = Path(folder, "slice.parquet")
        write_object(records_of(FIRST, options.rows), file, FIRST)
        taken: dict[str, list[float]] = {name: [] for name in _LOADERS}
        left = set()
        for number in range(options.rounds):
            for name, loader in _LOADERS.items():
                seconds, rows = _seconds(loader, file, f"round_{number}")
                taken[name].append(seconds)
                left.add(rows)
    assert len(left) == 1, "the loads do not leave the same rows"
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    print(f"| {options.rows:,} rows | seconds | rows a second |\n| --- | ---: | ---: |")
    for name, seconds in medians.items():
        print(f"| {name} | {seconds:.2f} | {options.rows / seconds:,.0f} |")
    arrow, row_by_row = medians.values()
    print(f"\nArrow is {row_by_row / arrow:.1f} times as fast as insert_rows (goal: at least {_GOAL}).")
    sys.exit(row_by_row < _GOAL * arrow)


if __name__ == "__main__":
    main()
