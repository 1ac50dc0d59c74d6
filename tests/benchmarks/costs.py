"""Count what extractions cost, and print it beside the goals.

``python -m tests.benchmarks.costs`` prints a Markdown table; a figure that misses its goal is marked (!). API requests
and S3 requests are counted by the servers. The tests' own tenant answers, on all days around the window too, so that
the wider query of the provider finds records there. S3 is moto's server in a process of its own. Tasks run in processes
of their own; imports do not count. Wall times are measured with a latency of 200 ms per API request and 50 ms per S3
request, and include the CPU time that the two servers take. Memory is the peak above the imports.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median

import boto3

from tests.benchmarks import tasks
from tests.benchmarks.cases import Case, Entry, Setting
from tests.benchmarks.runs import Served, measure, started
from tests.support import Tenant, day_of_records

API_LATENCY, S3_LATENCY = 0.2, 0.05
YEAR = [date(2025, 1, 1) + timedelta(days=n) for n in range(365)]
TEN_YEARS = [date(2016, 1, 1) + timedelta(days=n) for n in range(3_653)]
#: The days of a daily run with ``refresh_days=7``.
WEEK = YEAR[23:31]
#: Days before and behind the window that have records too.
_AROUND = 3
_PACKAGE = Path(__file__).parents[2] / "airflow_provider_cloudlock"
_NAME = "lake"


@dataclass(frozen=True, slots=True)
class Figure:
    """A line of the table.

    :param what: what was measured.
    :param value: the measured value.
    :param goal: the most that it may be.
    :param unit: unit of both.
    :param digits: digits behind the decimal point.
    :param note: details.
    """

    what: str
    value: float
    goal: float
    unit: str = ""
    digits: int = 0
    note: str = ""

    def __str__(self) -> str:
        missed = " (!)" if self.value > self.goal else ""
        value, goal = f"{self.value:,.{self.digits}f}", f"{self.goal:,.{self.digits}f}"
        return f"| {self.what} | {value}{self.unit}{missed} | <= {goal}{self.unit} | {self.note} |"


class Bucket:
    """An empty bucket.

    :param server: the S3 server.
    """

    destination = f"s3://lake@{_NAME}/cloudlock"

    def __init__(self, server: Served) -> None:
        self._server = server
        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        self._client = boto3.client("s3", endpoint_url=server.url, region_name="us-east-1", **keys)
        self._client.create_bucket(Bucket=_NAME)

    def calls(self) -> dict[str, float]:
        """Return the number of requests of each kind since the last call."""
        return self._server.ask("/__reset")

    def objects(self) -> dict[str, bytes]:
        """Return the content of all Parquet objects by their path below the destination."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=_NAME, Prefix="cloudlock/threats/")
        keys = [each["Key"] for page in pages for each in page.get("Contents", [])]
        with ThreadPoolExecutor(10) as pool:
            return dict(zip((key.partition("/")[2] for key in keys), pool.map(self._read, keys), strict=True))

    def _read(self, key: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=_NAME, Key=key)["Body"].read()
        return content


@contextmanager
def api(days: Sequence[date], rows: int, latency: float = 0.0) -> Iterator[Tenant]:
    """Serve records of some days and of the days around them."""
    served = [days[0] + timedelta(days=n) for n in range(-_AROUND, len(days) + _AROUND)]
    records = [each for day in served for each in day_of_records(day, rows)]
    with Tenant(records, before=lambda *_: time.sleep(latency)) as tenant:
        connection = {"conn_type": "cloudlock", "host": tenant.url, "password": tenant.token}
        os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = json.dumps(connection)
        yield tenant


@contextmanager
def s3(latency: float = 0.0) -> Iterator[Bucket]:
    """Serve an empty bucket, and make the connection ``lake`` to it."""
    with started("tests.benchmarks.s3", "--latency", str(latency)) as server:
        extra = {"endpoint_url": server.url, "region_name": "us-east-1"}
        connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
        os.environ["AIRFLOW_CONN_LAKE"] = json.dumps(connection)
        yield Bucket(server)


@contextmanager
def local() -> Iterator[Path]:
    """Make an empty folder for a lake."""
    with tempfile.TemporaryDirectory(prefix="lake-") as folder:
        yield Path(folder)


def requests(_: argparse.Namespace) -> Iterator[Figure]:
    """Count API requests."""
    for rows in (40, 2_000):
        with api(WEEK, rows) as tenant, local() as lake:
            tasks.extract(f"file://{lake}", WEEK[-1:], refresh_days=7)
            yield Figure(f"API requests, daily run, refresh_days=7, {rows:,} a day", len(tenant.seen), 3)
    with api(YEAR, 40) as tenant:
        with local() as lake:
            tasks.extract(f"file://{lake}", YEAR)
        yield Figure("API requests, 365 days of 40 in one task", before := len(tenant.seen), 6)
        tasks.plan(YEAR)
        yield Figure("API requests, plan of a year", len(tenant.seen) - before, 15)


def store(_: argparse.Namespace) -> Iterator[Figure]:
    """Count S3 requests of extractions."""
    with api(YEAR, 40), s3() as bucket:
        for days, what, goal in (
            (YEAR[:1], "first extraction of a day", 3),
            (YEAR[1:], "first extraction of 364 days in one task", 3),
            (YEAR, "365 unchanged days in one task", 2),
            (WEEK, "unchanged daily run, refresh_days=7", 2),
        ):
            bucket.calls()
            tasks.extract(bucket.destination, days)
            calls = bucket.calls()
            per_day = (sum(calls.values()) - 1) / len(days)
            yield Figure(
                f"S3 requests per day beside one LIST per range, {what}", per_day, goal, "", 2, _written(calls)
            )


def _written(calls: dict[str, float]) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in sorted(calls.items()))


def wall(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure a year and daily runs with latencies."""
    with s3(S3_LATENCY) as bucket:
        with api(YEAR, 40, API_LATENCY):
            run = tasks.extract(bucket.destination, YEAR)
        note = f"{_same(bucket)}; CPU {run.cpu:.1f} s"
        yield Figure("Wall time, 365 days of 40 in one task", run.wall, 16, " s", 1, note)
        with api(WEEK, 40, API_LATENCY) as tenant:
            runs = [_daily(tenant, bucket, number) for number in range(options.rounds)]
        walls = [run.wall for run in runs]
        note = f"{_spread(walls, 2)}; CPU {median(run.cpu for run in runs):.1f} s"
        yield Figure("Wall time, daily run, 8 days, one changed", median(walls), 1.5, " s", 2, note)


def _daily(tenant: Tenant, bucket: Bucket, number: int) -> tasks.Run:
    """Dismiss a record of the fourth day, and run the last day with ``refresh_days=7``."""
    tenant.dismiss(tenant.window(str(WEEK[3]), str(WEEK[4]))[number]["id"])
    run = tasks.extract(bucket.destination, WEEK[-1:], refresh_days=7)
    assert [part["changed"] for part in run.result["slices"]] == [day == WEEK[3] for day in WEEK]
    return run


def _same(bucket: Bucket) -> str:
    """Compare the objects with those of single-day extractions without latency."""
    with api(YEAR, 40), local() as lake:
        tasks.extract_each(f"file://{lake}", YEAR)
        each = {str(path.relative_to(lake)): path.read_bytes() for path in lake.glob("threats/*/*.parquet")}
    is_same = len(each) == len(YEAR) and each == bucket.objects()
    return f"{len(each)} objects {'equal' if is_same else 'DIFFERENT FROM'} those of single-day extractions"


def audit(_: argparse.Namespace) -> Iterator[Figure]:
    """Count S3 requests and CPU time of audits of a lake of ten years."""
    with s3() as bucket:
        with api(TEN_YEARS, 1):
            tasks.extract(bucket.destination, TEN_YEARS)
        counts = []
        for days in (TEN_YEARS[-365:], TEN_YEARS):
            bucket.calls()
            run = tasks.audit(bucket.destination, days)
            assert run.result.is_whole
            calls = bucket.calls()
            counts.append(sum(calls.values()))
    note = f"{_written(calls)}; CPU {run.cpu:.1f} s"
    yield Figure(f"S3 requests, audit of ten years ({len(TEN_YEARS):,} days)", counts[1], 3_700, note=note)
    slope = (counts[1] - counts[0]) / (len(TEN_YEARS) - 365)
    yield Figure("S3 requests per further day, audit", slope, 1, "", 2, f"{counts[0]:,} for 365 days of the same lake")


def memory(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure the peak memory of a year."""
    (samples,) = _measured([_entry("provider", 365, 2_000)], 1)
    yield Figure("Peak memory, 365 days of 2,000 in one task", samples[0]["peak_mib"], 150, " MiB")


def million(options: argparse.Namespace) -> Iterator[Figure]:
    """Measure a million records against the floor contender."""
    contenders = [_entry(name, 10, 100_000) for name in ("provider", "floor")]
    ours, floor = _measured(contenders, options.rounds)
    ratios = [one["cpu"] / other["cpu"] for one, other in zip(ours, floor, strict=True)]
    peaks = [each["peak_mib"] for each in ours]
    yield Figure("Peak memory, 1,000,000 records of ten days", median(peaks), 150, " MiB", note=_spread(peaks, 0))
    yield Figure("CPU time, the same, floor = 1", median(ratios), 1.30, digits=2, note=_spread(ratios, 2))


def _entry(contender: str, days: int, rows: int) -> Entry:
    return Entry(contender, contender, Setting(days, rows), timedelta(days=days))


def _measured(entries: list[Entry], rounds: int) -> list[list[dict[str, float]]]:
    """Return the figures of every round of each entry."""
    samples = measure(Case("", entries), rounds, lambda what: print(what, file=sys.stderr, flush=True))
    for sample in (each for found in samples for each in found):
        assert not sample.fault, sample.fault
    return [[sample.figures for sample in found] for found in samples]


def _spread(values: list[float], digits: int) -> str:
    return f"median of {len(values)} rounds, {min(values):.{digits}f} to {max(values):.{digits}f}"


def lines(_: argparse.Namespace) -> Iterator[Figure]:
    """Count lines of code."""
    for folders, goal in ((("api", "lake"), 3_200), (("api/pagination",), 500)):
        files = [path for folder in folders for path in (_PACKAGE / folder).rglob("*.py")]
        count = sum(len(path.read_text().splitlines()) for path in files)
        yield Figure(f"Lines of {' and '.join(folders)}", count, goal)


CASES: dict[str, Callable[[argparse.Namespace], Iterator[Figure]]] = {
    each.__name__: each for each in (requests, store, wall, audit, memory, million, lines)
}


def main() -> None:
    """Measure the chosen cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="cases to measure (all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of the cases wall and million (%(default)s)")
    options = parser.parse_args()
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-")
    os.environ["AIRFLOW__LOGGING__LOGGING_LEVEL"] = "ERROR"
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1"
    print("| | measured | goal | |\n| --- | ---: | ---: | --- |")
    try:
        for name in options.cases:
            for figure in CASES[name](options):
                print(figure, flush=True)
    finally:
        shutil.rmtree(os.environ["AIRFLOW_HOME"], ignore_errors=True)


if __name__ == "__main__":
    main()
