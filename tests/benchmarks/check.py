"""Count the records in the Parquet files of a contender: ``python -m tests.benchmarks.check FOLDER`` prints JSON.

It runs in a process of its own, so that the one that starts the contenders stays small.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def counts(folder: Path) -> dict[str, int]:
    """Return rows, distinct ids and the sum of ``event_count`` of all files with both columns; empty without any."""
    found = []
    for path in sorted(folder.rglob("*.parquet")):
        with pq.ParquetFile(path) as file:
            if {"id", "event_count"} <= set(file.schema_arrow.names):
                table = file.read(columns=["id", "event_count"])
                found.append(
                    table.select(["id", "event_count"]).cast(pa.schema({"id": "string", "event_count": "int64"}))
                )
    if not found:
        return {}
    table = pa.concat_tables(found)
    return {
        "rows": table.num_rows,
        "distinct": pc.count_distinct(table["id"]).as_py(),
        "events": pc.sum(table["event_count"], min_count=0).as_py(),
    }


if __name__ == "__main__":
    print(json.dumps(counts(Path(sys.argv[1]))))
