"""How fast and how small is the extraction of one large day, and of ten?

``uv run python -m tests.benchmarks.extract_day`` prints a table. Every case is a process of its own against one sandbox
in another; rounds are interleaved, and the figures are medians. Compare the ratios within one run: machines differ and
are noisy. CPU and peak memory are the reader's alone; the peak is what it takes beyond its imports.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

FIRST = date(2026, 1, 1)

_SERVER = """
import sys, time, urllib.request
from datetime import UTC, date, datetime
from airflow_provider_cloudlock.sandbox.server import Sandbox
per_day, first, last = int(sys.argv[1]), date.fromisoformat(sys.argv[2]), date.fromisoformat(sys.argv[3])
with Sandbox(per_day=per_day, first_day=first, last_day=last, now=datetime(2026, 11, 1, tzinfo=UTC)) as sandbox:
    request = urllib.request.Request(f"{sandbox.url}/api/v2/threats?limit=1")
    request.add_header("Authorization", f"Bearer {sandbox.token}")
    urllib.request.urlopen(request).read()  # the records are made now, not while somebody is timed
    print(sandbox.url, sandbox.token, flush=True)
    sys.stdin.read()
"""

_MEASURE = """
import json, os, resource, sys, time

def now_and_cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def report(rows, started, idle):
    wall, cpu = (after - before for after, before in zip(now_and_cpu(), started))
    print(json.dumps({"rows": rows, "wall": wall, "cpu": cpu, "peak": peak() - idle}))

url, token, folder, first, last = sys.argv[1:6]
"""

_CASES = {
    "this provider": """
os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = json.dumps({"conn_type": "cloudlock", "host": url, "password": token})
import logging
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator
import airflow_provider_cloudlock.api.paging, airflow_provider_cloudlock.lake.publish
logging.disable(logging.CRITICAL)
operator = CloudlockToObjectStorageOperator(
    task_id="extract", destination=f"file://{folder}", created_after=first, created_before=last)
started, idle = now_and_cpu(), peak()
report(operator.execute({})["rows"], started, idle)
""",
    "plain loop": """
import requests, pyarrow as pa, pyarrow.parquet as pq
started, idle = now_and_cpu(), peak()
records, session = [], requests.Session()
session.headers["Authorization"] = f"Bearer {token}"
while True:
    answer = session.get(f"{url}/api/v2/threats", params={"created_after": first, "created_before": last,
        "order": "created_at", "limit": 10000, "offset": len(records)}).json()
    records += answer["items"]
    if not answer["items"] or len(records) >= answer["total"]:
        break
pq.write_table(pa.Table.from_pylist(records), f"{folder}/plain.parquet", compression="zstd")
report(len(records), started, idle)
""",
    "fetch only": """
import requests
started, idle = now_and_cpu(), peak()
rows, session = 0, requests.Session()
session.headers["Authorization"] = f"Bearer {token}"
while True:
    answer = session.get(f"{url}/api/v2/threats", params={"created_after": first, "created_before": last,
        "order": "created_at", "limit": 10000, "offset": rows}, stream=True).raw.read(decode_content=True)
    found = int(answer[answer.index(b'"results":') + 10:].split(b",", 1)[0])
    rows += found
    if found < 10000:
        break
report(rows, started, idle)
""",
}
_CASES["this provider, unchanged"] = _CASES["this provider"]


def run(days: int, per_day: int, rounds: int) -> None:
    """Measure every case and print the table."""
    last = FIRST + timedelta(days=days)
    serve = [sys.executable, "-c", _SERVER, str(per_day), FIRST.isoformat(), (last - timedelta(days=1)).isoformat()]
    figures: dict[str, list[dict[str, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as home,
        subprocess.Popen(serve, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server,
    ):
        assert server.stdout is not None
        assert server.stdin is not None
        url, token = server.stdout.readline().split()
        environment = {**os.environ, "AIRFLOW_HOME": home}
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                for name in ("this provider", "this provider, unchanged", "plain loop", "fetch only"):
                    arguments = [url, token, folder, FIRST.isoformat(), last.isoformat()]
                    done = subprocess.run(
                        [sys.executable, "-c", _MEASURE + _CASES[name], *arguments],
                        env=environment,
                        capture_output=True,
                        text=True,
                        check=True,
                    )
                    figures.setdefault(name, []).append(json.loads(done.stdout.splitlines()[-1]))
        server.stdin.close()
    print(f"\n{days} day(s) of {per_day:,} anomalies, page 10,000, {rounds} rounds, {datetime.now(UTC):%Y-%m-%d}")
    print(f"{'':28}{'rows/s':>10}{'wall s':>9}{'CPU s':>9}{'CPU ratio':>11}{'peak MiB':>10}")
    ours = statistics.median(each["cpu"] for each in figures["this provider"])
    for name, rows in figures.items():
        assert {each["rows"] for each in rows} == {days * per_day}, (name, rows)
        wall, cpu, peak = (statistics.median(each[key] for each in rows) for key in ("wall", "cpu", "peak"))
        print(f"{name:28}{days * per_day / wall:>10,.0f}{wall:>9.2f}{cpu:>9.2f}{cpu / ours:>11.2f}{peak:>10.0f}")


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-day", type=int, default=100_000, help="anomalies a day (%(default)s)")
    parser.add_argument("--days", type=int, nargs="+", default=[1, 5], help="windows to measure, in days (1 5)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case (%(default)s)")
    options = parser.parse_args()
    assert Path("tests").is_dir(), "run it from the root of the repository"
    for days in options.days:
        run(days, options.per_day, options.rounds)


if __name__ == "__main__":
    main()
