"""How much of a year must be read for the anomalies of one risk in one hour?

``python -m tests.benchmarks.query`` writes a year of slices as the provider does, the same rows as pyarrow does when
nothing is chosen, and as one row group a day; then DuckDB asks each for one risk in one hour. Bytes are those that
DuckDB read from the files, footers included.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from airflow_provider_cloudlock.api.resources import THREATS
from airflow_provider_cloudlock.lake import parquet
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.schemas import SCHEMAS, Layout
from airflow_provider_cloudlock.lake.slices import Slice
from airflow_provider_cloudlock.lake.spool import Spool
from tests.benchmarks.records import Day

LAYOUT = Layout(SCHEMAS["threats"], THREATS.key, THREATS.time_fields)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_QUERY = """
SELECT count(*), sum(event_count) FROM read_parquet('counted://{lake}/*/*.parquet', hive_partitioning = true)
WHERE {days} threat_risk = 'Account Compromise' AND created_at >= '{start}' AND created_at < '{end}'
"""


class Counted(LocalFileSystem):  # type: ignore[misc]
    """The local disk, with a count of what is read."""

    protocol = "counted"
    read = 0

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = super()._open(path, mode, **options)
        plain = file.f.read

        def read(size: int = -1) -> bytes:
            data: bytes = plain(size)
            Counted.read += len(data)
            return data

        file.read = read
        return file


def _spool(day: datetime, rows: int) -> Spool:
    page_format = ArrowFormat(LAYOUT)
    spool = page_format.gather()
    records = Day(day.date(), rows, 0.0)
    spool.add(page_format.decode(b'{"items":[' + bytes(records.items(0, rows)).rstrip(b",") + b"]}"))
    return spool


def _ours(spool: Spool, path: Path, day: datetime) -> None:
    parquet.write(spool, path, Slice(day, day + timedelta(days=1)), LAYOUT, None)


def _plain(spool: Spool, path: Path, day: datetime) -> None:
    pq.write_table(pa.concat_tables(spool.in_order(100_000)), path)


def _one_group(spool: Spool, path: Path, day: datetime) -> None:
    pq.write_table(pa.concat_tables(spool.in_order(100_000)), path, compression="zstd", compression_level=1)


_WRITERS: dict[str, Callable[[Spool, Path, datetime], None]] = {
    "as the provider writes": _ours,
    "zstd, one row group": _one_group,
    "pyarrow's defaults": _plain,
}


def main() -> None:
    """Read the options, write the lakes, ask them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365, help="slices (%(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="records of a slice (%(default)s)")
    options = parser.parse_args()
    start = FIRST + timedelta(days=options.days // 2, hours=9)
    connection = duckdb.connect()
    connection.register_filesystem(Counted())
    with tempfile.TemporaryDirectory() as home:
        for number in range(options.days):
            day = FIRST + timedelta(days=number)
            spool = _spool(day, options.rows)
            for name, write in _WRITERS.items():
                folder = Path(home, name.replace(" ", "-").replace("'", ""), f"created_date={day:%Y-%m-%d}")
                folder.mkdir(parents=True)
                write(spool, folder / "part.parquet", day)
        print("| lake | MiB | rows found | MiB read, day named | MiB read, day not named |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name in _WRITERS:
            lake = Path(home, name.replace(" ", "-").replace("'", ""))
            size = sum(path.stat().st_size for path in lake.rglob("*.parquet"))
            read = []
            for days in (f"created_date = '{start:%Y-%m-%d}' AND", ""):
                Counted.read = 0
                asked = _QUERY.format(lake=lake, days=days, start=start, end=start + timedelta(hours=1))
                (found, _), *_ = connection.execute(asked).fetchall()
                read.append(f"{Counted.read / 2**20:,.2f}")
            print(f"| {name} | {size / 2**20:,.1f} | {found:,} | {' | '.join(read)} |")


if __name__ == "__main__":
    main()
