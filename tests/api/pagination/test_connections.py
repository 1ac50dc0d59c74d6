"""Several requests under way at once: the same result as one after another, and no more than the server allows."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
import tenacity

from airflow_provider_cloudlock.api import client as client_module
from airflow_provider_cloudlock.api.endpoint import Endpoint
from airflow_provider_cloudlock.api.pagination.reader import Reader
from airflow_provider_cloudlock.api.prefetch import Prefetcher
from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.api.result_set import ResultSet
from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockDriftError,
    CloudlockUnavailableError,
)
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.threads import Background
from tests.api.asking import ask, client_of
from tests.api.pagination.test_changes import (
    BY_START,
    CHANGES,
    EARLY,
    LATE,
    MANY,
    Change,
    assert_steady,
)
from tests.api.reading import DAY, FORMATS, START, THREATS, WINDOW, amid, keys, rows
from tests.support import (
    Fault,
    Habits,
    Record,
    Request,
    Tenant,
    day_of_records,
    hangs,
    ids,
    record,
    responds,
    throttled,
)

TOTALS = ["true", "absent", "page", "low", "high", "zero", "null", "so_far"]


@contextmanager
def reader_of(
    tenant: Tenant, connections: int, kind: str = "dicts", page_size: int = 10_000, rate: float | None = None
) -> Iterator[Reader[Any, Any]]:
    with client_of(tenant, requests_per_second=rate) as client:
        yield Reader(Endpoint(client, THREATS, FORMATS[kind](), page_size, connections=connections))


def read(
    tenant: Tenant, *options: Any, query: Query = WINDOW, at_most: int | None = None, rate: float | None = None
) -> ResultSet[Any]:
    with reader_of(tenant, *options, rate=rate) as reader:
        return reader.read(query, at_most)


def ties(count: int, run: int) -> list[Record]:
    """Make records of which so many in a row share their creation time."""
    return [record((n * 37 + 11) % 100_003, START + timedelta(seconds=n // run)) for n in range(count)]


class Watch:
    """Faults that only hold answers back, and note when they leave.

    :param hold: seconds, of every request or by request.
    :param others: faults to be done then, by request number.
    """

    def __init__(
        self, hold: float | Callable[[Request], float] = 0.004, others: dict[int, Fault] | None = None
    ) -> None:
        self._hold = hold if callable(hold) else lambda _: hold
        self._others = others or {}
        self.ends: dict[int, float] = {}

    def __call__(self, request: Request) -> Fault:
        def act(_: Any) -> None:
            time.sleep(self._hold(request))
            self.ends[request.number] = time.monotonic()

        watching = Fault("watched", act)
        return watching + self._others[request.number] if request.number in self._others else watching

    def at_once(self, requests: list[Request]) -> int:
        """Tell the most of these that were under way at once: come, and not yet answered."""
        return max(sum(other.at <= each.at < self.ends[other.number] for other in requests) for each in requests)


# --- the same result --------------------------------------------------------------------------------------------------


def assert_same(tenant: Tenant, kind: str) -> tuple[int, int]:
    """Read with one and with four connections; tell how many requests each took."""
    one = read(tenant, 1, kind)
    asked = len(tenant.seen)
    four = read(tenant, 4, kind)
    assert rows(four) == rows(one)
    assert sorted(keys(four)) == sorted(ids(tenant.records))
    assert (four.proof, four.duplicates) == (one.proof, one.duplicates)
    return asked, len(tenant.seen) - asked


@pytest.mark.parametrize("total", ["true", "absent"])
@pytest.mark.parametrize("cap", [7, 10, 100])
def test_connections_at_multiples_of_page_size(cap: int, total: Any) -> None:
    counts = {edge * cap + beside for edge in (1, 2) for beside in (0, 1)}
    counts |= {
        edge * (cap - 2) + beside for edge in (2, 4)[: 100 // cap] for beside in (0, 1, 2)
    }  # two records come again
    for count, kind in product(sorted(counts), FORMATS):
        with Tenant(day_of_records(DAY, count), Habits(cap=cap, total=total)) as tenant:
            one, four = assert_same(tenant, kind)
            # With a total nothing is asked for that is not needed. Without, what is ahead of the end, which is asked
            # each time that the end is looked at.
            assert four == one if total == "true" else four <= one + 3 * 4


@pytest.mark.parametrize(
    ("cap", "count", "most"), [(7, 37, 4), (10, 45, 4), (100, 315, 1)], ids=["cap 7", "cap 10", "cap 100"]
)
@pytest.mark.parametrize("run", [1, 2, 3, 4, 5])
def test_connections_with_ties_over_page_ends(run: int, cap: int, count: int, most: int) -> None:
    for beside, kind in enumerate(FORMATS):
        with Tenant(ties(count + beside, run), Habits(cap=cap)) as tenant:
            one, four = assert_same(tenant, kind)
            # A longer tie than was foreseen costs what was ahead of it; from large pages so many are foreseen.
            assert four <= one * most + 2


@pytest.mark.parametrize("late", [2, 4])
def test_responses_out_of_order_are_joined(kind: str, late: int) -> None:
    with Tenant(amid(day_of_records(DAY, 95)), Habits(cap=10)) as tenant:
        one = read(tenant, 1, kind)
    slow = str((late - 1) * 8)
    watch = Watch(lambda request: 0.06 if request.params["offset"] == slow else 0.0)
    with Tenant(amid(day_of_records(DAY, 95)), Habits(cap=10), faults=watch) as tenant:
        four = read(tenant, 4, kind)
        assert len(tenant.seen) <= one.requests
    assert rows(four) == rows(one)
    offsets = {request.number: int(request.params["offset"]) for request in tenant.seen}
    came = [offsets[number] for number in sorted(watch.ends, key=watch.ends.__getitem__)]
    assert came != sorted(came)


@pytest.mark.parametrize("at_most", [1, 10, 11, 40, 200])
@pytest.mark.parametrize("query", [Query(), WINDOW], ids=["open", "window"])
def test_partial_read_prefetches_no_page_too_many(kind: str, query: Query, at_most: int) -> None:
    with Tenant(day_of_records(DAY, 95), Habits(cap=10)) as tenant:
        one = read(tenant, 1, kind, query=query, at_most=at_most)
        asked = len(tenant.seen)
        four = read(tenant, 4, kind, query=query, at_most=at_most)
        offsets = [int(request.params["offset"]) for request in tenant.seen]
    assert rows(four) == rows(one)
    assert sorted(offsets[asked:]) == sorted(offsets[:asked])


# --- sets that move ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [3, 6])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_change_during_prefetch_loses_nothing(change: Change, number: int) -> None:
    watch = Watch(0.001)
    with Tenant(MANY, Habits(cap=16), before={number: change}, faults=watch) as tenant:
        assert_steady(tenant, read(tenant, 4, "arrow" if number == 3 else "dicts"), EARLY, LATE)
    again = [request for request in tenant.seen if request.params["limit"] == "100000"]
    assert not again or watch.at_once(again) == 1  # what moved is read again one page after another


def test_constant_changes_fail(kind: str) -> None:
    lock = threading.Lock()

    def change(tenant: Tenant, _: Request) -> None:
        with lock:
            tenant.delete(min(tenant.records, key=lambda each: str(each["start_time"]))["id"])

    with (
        Tenant(day_of_records(DAY, 200), Habits(cap=10, **BY_START), before=change) as tenant,
        pytest.raises(CloudlockDriftError, match="could not be read completely"),
    ):
        read(tenant, 4, kind)


# --- the end ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("beyond", [None, "refuses", "refuses the end", "fails", "throttles"])
def test_wrong_total_and_refused_offsets_lose_nothing(total: Any, beyond: str | None) -> None:
    fault = {"fails": responds(500), "throttles": throttled(0)}.get(beyond or "")
    count = 40 if beyond else 37
    refuses = {"refuses": {f"offset>{count}"}, "refuses the end": {f"offset>{count - 1}"}}.get(beyond or "", ())

    def fault_beyond(request: Request) -> Fault | None:
        return fault if int(request.params["offset"]) > count else None

    behaves = Habits(cap=10, total=total, refuses=refuses)
    with Tenant(day_of_records(DAY, count), behaves, faults=fault_beyond) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match=f"reports a total of {count + 7}"):
                read(tenant, 4)
        else:
            assert sorted(keys(read(tenant, 4))) == sorted(ids(tenant.records))


# --- how many at once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 2, 4])
def test_requests_in_flight_are_limited(kind: str, connections: int) -> None:
    meeting = threading.Barrier(connections)

    def meet(_: Tenant, request: Request) -> None:
        if 2 <= request.number <= connections + 1:
            meeting.wait(10)  # nobody is answered before all have come

    watch = Watch()
    with Tenant(day_of_records(DAY, 120), Habits(cap=10), before=meet, faults=watch) as tenant:
        assert len(keys(read(tenant, connections, kind))) == 120
        assert tenant.connections <= connections + 1
    assert watch.at_once(tenant.seen) == connections


def test_rate_limit_holds_over_all_connections() -> None:
    watch = Watch(0.05)
    with Tenant(day_of_records(DAY, 160), Habits(cap=10), faults=watch) as tenant:
        began = time.monotonic()
        assert len(keys(read(tenant, 4, rate=50))) == 160
    assert watch.at_once(tenant.seen) > 1
    late = [request.at - began - place / 50 for place, request in enumerate(tenant.seen)]
    assert min(late) >= 0


def test_429_halves_the_connections() -> None:
    watch = Watch(
        lambda r: 0.05 if r.number in (2, 3, 4, 5, 20, 21, 22) else 0.004, {10: throttled(0), 30: throttled(0)}
    )
    with Tenant(day_of_records(DAY, 400), Habits(cap=10), faults=watch) as tenant, reader_of(tenant, 4) as reader:
        assert len(keys(reader.read(WINDOW))) == 400
        first = len(tenant.seen)
        assert len(keys(reader.read(WINDOW))) == 400
    seen = tenant.seen
    assert watch.at_once(seen[1:9]) == 4
    assert watch.at_once(seen[18:29]) == 2
    assert watch.at_once(seen[38:first]) == 1
    assert watch.at_once(seen[first:]) == 1


def test_concurrent_429_halve_the_connections_once() -> None:
    # The one that is not refused, and those that are sent again, are answered when all refusals are known.
    watch = Watch(
        lambda r: 0 if r.number < 5 else 0.15 if r.number < 9 else 0.02, dict.fromkeys((2, 3, 4), throttled(0))
    )
    with Tenant(day_of_records(DAY, 200), Habits(cap=10), faults=watch) as tenant:
        assert len(keys(read(tenant, 4))) == 200
    assert watch.at_once(tenant.seen[14:]) == 2


def test_retry_after_holds_for_all_threads() -> None:
    with (
        Tenant(day_of_records(DAY, 5), faults={1: throttled("1")}) as tenant,
        client_of(tenant) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        refused = pool.submit(ask, client)
        while not client.throttled:
            time.sleep(0.001)
        time.sleep(0.05)
        ask(client)
        refused.result()
    first, *others = (request.at for request in tenant.seen)
    assert len(others) == 2
    assert min(others) - first >= 0.9


# --- nobody waits any more --------------------------------------------------------------------------------------------


def test_closed_client_sends_no_waiting_request() -> None:
    with Tenant(day_of_records(DAY, 5)) as tenant, client_of(tenant, requests_per_second=4) as client:
        with ThreadPoolExecutor(4) as pool:
            waiting = [pool.submit(ask, client) for _ in range(4)]
            tenant.wait_for(1)
            client.close()
        outcomes = [type(each.exception()) for each in waiting]
        assert outcomes.count(CancelledError) == 3
        assert len(tenant.seen) == client.requests == 1


def test_closed_client_sends_no_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_BACKOFF", tenacity.wait_fixed(0.2))
    with Tenant(faults=responds(503)) as tenant, client_of(tenant) as client, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(ask, client) for _ in range(4)]
        tenant.wait_for(4)
        client.close()
        for each in waiting:
            with pytest.raises((CancelledError, CloudlockUnavailableError)):
                each.result(5)
        assert len(tenant.seen) == 4


def test_dropped_request_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_BACKOFF", tenacity.wait_fixed(60))
    dropped = threading.Event()
    with Tenant(faults=responds(503)) as tenant, client_of(tenant) as client, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, "threats", {}, bytes, dropped)
        tenant.wait_for(1)
        dropped.set()
        with pytest.raises(CancelledError):
            waiting.result(5)
        assert len(tenant.seen) == 1


def test_prefetch_beyond_the_end_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_BACKOFF", tenacity.wait_fixed(0.3))
    ahead = threading.Event()

    def fault(request: Request) -> Fault | None:
        offset = int(request.params["offset"])
        if offset > 46:
            ahead.set()
            return responds(500)
        if offset == 40:  # the last page comes once what is ahead of it is under way
            assert ahead.wait(30)
        return None

    with Tenant(day_of_records(DAY, 46), Habits(cap=10, total="absent"), faults=fault) as tenant:
        with reader_of(tenant, 4) as reader:
            assert len(keys(reader.read(WINDOW))) == 46
            time.sleep(0.4)
        beyond = [request.params["offset"] for request in tenant.seen if int(request.params["offset"]) > 46]
    assert len(beyond) == len(set(beyond)), [request.params["offset"] for request in tenant.seen]


def test_prefetch_after_a_failure_is_not_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "_BACKOFF", tenacity.wait_fixed(0.3))
    faults = {"8": hangs(0.1) + responds(403), "16": responds(503), "24": responds(503), "32": responds(503)}
    with Tenant(day_of_records(DAY, 90), Habits(cap=10), faults=lambda r: faults.get(r.params["offset"])) as tenant:
        with reader_of(tenant, 4) as reader:
            with pytest.raises(CloudlockAuthError):
                reader.read(WINDOW)
            time.sleep(0.4)
        assert len(tenant.seen) == 5


def test_unexpected_request_drops_the_prefetched() -> None:
    dropped: dict[int, threading.Event] = {}

    def ask(offset: int, event: threading.Event) -> int:
        dropped[offset] = event
        return offset

    ahead = Prefetcher(ask, Background(2))
    assert ahead.page(0, [9, 18]) == 0
    assert ahead.page(9, [18, 27]) == 9
    assert ahead.page(17, [26]) == 17
    assert [dropped[offset].is_set() for offset in (9, 18, 17)] == [True, True, False]


def test_reader_keeps_no_page() -> None:
    with Tenant(day_of_records(DAY, 400), Habits(cap=40)) as tenant, reader_of(tenant, 4, "arrow") as reader:
        reader.read(WINDOW)
        gc.collect()
        assert not [each for each in gc.get_objects() if type(each) is ArrowPage]
