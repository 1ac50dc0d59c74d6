"""Measure how often a day is read completely while its records change.

``python -m tests.benchmarks.drift`` reads days of 1,000 records from servers of many kinds, while up to 1 % of the
records are inserted, deleted, dismissed or updated between two requests. Every case has a seed. *complete* are days
that were read, *failed* those that ended with an error. *lost* are records that existed throughout and were not read,
*twice* those that were read more than once, *made up* those that never existed.

- Records in order of creation time, in either direction: 100 % complete.
- Records in any other order: complete if one response holds all of them, otherwise the day may fail.
- No record is ever lost, read twice or made up.

The exit status is 1 if a record is lost, read twice or made up, or if less than 95 % of the days of a kind in order of
creation time are complete: a kind marked (!).
"""

from __future__ import annotations

import argparse
import logging
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from statistics import mean
from typing import Any

from airflow_provider_cloudlock.exceptions import CloudlockError
from tests.api.reading import DAY, NEXT, START, WINDOW, keys, reader_of
from tests.support import Habits, Tenant, record, stamp

ROWS = 1_000
CAPS = (100, 1_000, None)
#: How a server orders its records: what it does with ``order``, and its default order.
SERVERS: dict[str, dict[str, Any]] = {
    "oldest first": {},
    "newest first": {"ignores": ["order"], "default_order": "-created_at"},
    "by id": {"ignores": ["order"], "default_order": "id"},
    "by update": {"ignores": ["order"], "default_order": "updated_at"},
    "last updated first": {"ignores": ["order"], "default_order": "-updated_at"},
    "as they came in": {"ignores": ["order"], "default_order": "table"},
}
#: Servers that list records in order of creation time.
IN_ORDER = ("oldest first", "newest first")
#: Instants that the records of a day share, and the order of records of one instant.
TIES: dict[str, tuple[int, Any]] = {"none": (ROWS, "table"), "some": (96, "table"), "shuffled": (96, "shuffled")}
CHANGES = (0.3, 1.0)
_GOAL = 0.95


@dataclass(frozen=True)
class Kind:
    """A server, and how often its records change.

    :param cap: the most records in a page.
    :param server: one of ``SERVERS``.
    :param ties: one of ``TIES``.
    :param changes: probability that records change between two requests.
    :param connections: concurrent requests.
    """

    cap: int | None
    server: str
    ties: str
    changes: float
    connections: int


@dataclass(frozen=True)
class Outcome:
    """The result of reading one day."""

    complete: bool
    lost: int
    twice: int
    made_up: int
    requests: int


def outcome(kind: Kind, seed: int) -> Outcome:
    """Read one day while it changes."""
    random = Random(seed)
    instants, ties = TIES[kind.ties]
    held = [record(n, _moment(random, instants)) for n in random.sample(range(10 * ROWS), ROWS)]
    ever = {str(each["id"]) for each in held}
    lock = threading.Lock()

    def change(tenant: Tenant, _: object) -> None:
        with lock:
            if random.random() < kind.changes:
                for _ in range(random.randint(1, ROWS // 100)):
                    ever.update(_change(tenant, random, instants))

    with Tenant(held, Habits(cap=kind.cap, ties=ties, **SERVERS[kind.server]), before=change) as tenant:
        with reader_of(tenant, "arrow", connections=kind.connections) as reader:
            try:
                got = keys(reader.read(WINDOW))
            except CloudlockError:
                return Outcome(False, 0, 0, 0, len(tenant.seen))
        lost = set(tenant.steady(DAY, NEXT)).difference(got)
        return Outcome(True, len(lost), len(got) - len(set(got)), len(set(got) - ever), len(tenant.seen))


def _moment(random: Random, instants: int) -> datetime:
    return START + timedelta(days=1) * random.randrange(instants) / instants


def _change(tenant: Tenant, random: Random, instants: int) -> list[str]:
    """Change one record, and return the keys of new records."""
    kind = random.choice(["insert", "delete", "dismiss", "update"])
    if kind == "insert":
        now = stamp(datetime.now(UTC))
        new = record(random.randrange(10 * ROWS, 10**9), _moment(random, instants), updated_at=now)
        tenant.insert(new)
        return [str(new["id"])]
    chosen = random.choice(tenant.records)["id"]
    if kind == "delete":
        tenant.delete(chosen)
    elif kind == "dismiss":
        tenant.dismiss(chosen)
    else:
        tenant.change(chosen, updated_at=stamp(datetime.now(UTC)))
    return []


def line(kind: Kind, found: list[Outcome]) -> str:
    """Return the line of a kind in the table."""
    share = share_of(found)
    sums = [sum(getattr(each, name) for each in found) for name in ("lost", "twice", "made_up")]
    requests = [each.requests for each in found]
    cells = [
        kind.server,
        "none" if kind.cap is None else f"{kind.cap:,}",
        kind.ties,
        f"{kind.changes:g}",
        kind.connections,
        f"{share:.0%}{' (!)' if is_missed(kind, found) else ''}",
        f"{1 - share:.0%}",
        *sums,
        f"{mean(requests):.1f}",
        max(requests),
    ]
    return "| " + " | ".join(map(str, cells)) + " |"


def share_of(found: list[Outcome]) -> float:
    """Return the share of complete days."""
    return mean(each.complete for each in found)


def is_missed(kind: Kind, found: list[Outcome]) -> bool:
    """Whether the records of a kind come in order of creation time, and too few of its days are complete."""
    return kind.server in IN_ORDER and share_of(found) < _GOAL


_HEAD = (
    "| order | cap | ties | changes | connections | complete | failed | lost | twice | made up | requests | at most |\n"
    "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
)


def main() -> int:
    """Measure, print the table, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=40, help="days of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the first day (%(default)s)")
    parser.add_argument("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), help="orders to measure")
    parser.add_argument("--ties", nargs="+", choices=TIES, default=list(TIES), help="ties to measure")
    parser.add_argument("--connections", nargs="+", type=int, default=[4], help="concurrent requests")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    seeds = range(options.seed, options.seed + options.cases)
    kinds = [Kind(*each) for each in product(CAPS, options.servers, options.ties, CHANGES, options.connections)]
    everything: list[Outcome] = []
    missed = 0
    print(_HEAD)
    with ProcessPoolExecutor() as pool:
        for kind in kinds:
            found = list(pool.map(outcome, [kind] * len(seeds), seeds))
            print(line(kind, found), flush=True)
            everything += found
            missed += is_missed(kind, found)
    wrong = sum(each.lost + each.twice + each.made_up for each in everything)
    print(f"\n{len(everything):,} days: {share_of(everything):.1%} complete, {wrong} records lost, twice or made up.")
    print(f"{missed} kinds in order of creation time below {_GOAL:.0%}.")
    return int(wrong > 0 or missed > 0)


if __name__ == "__main__":
    sys.exit(main())
