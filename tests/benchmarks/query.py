"""Measure how many bytes of a year a query for one risk in one hour reads.

``python -m tests.benchmarks.query`` writes a year of days three times: as the provider does, with pyarrow's defaults,
and as one row group per day. DuckDB then queries each lake for one risk in one hour. The bytes are those that DuckDB
reads from the files, footers included.
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

from airflow_provider_cloudlock.lake import parquet
from airflow_provider_cloudlock.lake.buffer import DayRecords
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.resources import resource_named
from tests.benchmarks.records import Day

LAYOUT = Layout.of(resource_named("threats"))
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
_QUERY = """
SELECT count(*), sum(event_count) FROM read_parquet('counted://{lake}/*/*.parquet', hive_partitioning = true)
WHERE {days} threat_risk = 'Account Compromise' AND created_at >= '{start}' AND created_at < '{end}'
"""


class Counted(LocalFileSystem):  # type: ignore[misc]
    """The local disk, with a count of the bytes read."""

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


def records_of(day: datetime, rows: int) -> DayRecords:
    """Return a day of records, decoded as the provider does."""
    page_format = ArrowFormat(LAYOUT)
    collector = page_format.collector()
    items = bytes(Day(day.date(), rows, 0.0).items(0, rows)).rstrip(b",")
    collector.add(page_format.decode(b'{"items":[' + items + b"]}"))
    return collector.day(day.date())


def write_object(records: DayRecords, path: Path, day: datetime) -> None:
    """Write the object of a day as the provider does."""
    parquet.write(records, path, LAYOUT, parquet.Identity("threats", "acme", day.date(), None))


def _plain(records: DayRecords, path: Path, day: datetime) -> None:
    pq.write_table(pa.concat_tables(records.in_order(100_000)), path)


def _one_group(records: DayRecords, path: Path, day: datetime) -> None:
    pq.write_table(pa.concat_tables(records.in_order(100_000)), path, compression="zstd", compression_level=1)


_WRITERS: dict[str, Callable[[DayRecords, Path, datetime], None]] = {
    "as the provider writes": write_object,
    "zstd, one row group": _one_group,
    "pyarrow's defaults": _plain,
}


def main() -> None:
    """Write the lakes, query them and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=365, help="days (%(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="records per day (%(default)s)")
    options = parser.parse_args()
    start = FIRST + timedelta(days=options.days // 2, hours=9)
    connection = duckdb.connect()
    connection.register_filesystem(Counted())
    with tempfile.TemporaryDirectory() as home:
        for number in range(options.days):
            day = FIRST + timedelta(days=number)
            records = records_of(day, options.rows)
            for name, write in _WRITERS.items():
                folder = Path(home, name.replace(" ", "-").replace("'", ""), f"created_date={day:%Y-%m-%d}")
                folder.mkdir(parents=True)
                write(records, folder / "part.parquet", day)
        print("| lake | MiB | rows found | MiB read, day given | MiB read, day not given |")
        print("| --- | ---: | ---: | ---: | ---: |")
        for name in _WRITERS:
            lake = Path(home, name.replace(" ", "-").replace("'", ""))
            size = sum(path.stat().st_size for path in lake.rglob("*.parquet"))
            read = []
            for days in (f"created_date = '{start:%Y-%m-%d}' AND", ""):
                Counted.read = 0
                query = _QUERY.format(lake=lake, days=days, start=start, end=start + timedelta(hours=1))
                (found, _), *_ = connection.execute(query).fetchall()
                read.append(f"{Counted.read / 2**20:,.2f}")
            print(f"| {name} | {size / 2**20:,.1f} | {found:,} | {' | '.join(read)} |")


if __name__ == "__main__":
    main()
