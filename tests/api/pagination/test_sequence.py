"""Result sets in no order of creation time: complete in one response, or by two identical passes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from airflow_provider_cloudlock.api.endpoint import Endpoint
from airflow_provider_cloudlock.api.pagination.reader import Reader
from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.api.records import RecordFormat
from airflow_provider_cloudlock.exceptions import CloudlockDriftError
from tests.api.asking import client_of
from tests.api.reading import (
    DAY,
    NEXT,
    START,
    THREATS,
    WINDOW,
    assert_promise,
    beginnings,
    keys,
    read,
    reader_of,
    rows,
)
from tests.support import Habits, Record, Request, Tenant, day_of_records, ids, record, responds, stamp

#: By id, by creation and by start they stand in other orders than in the table; every third was updated later.
MANY = sorted(
    (each | {"id": n * 37 % 101} for n, each in enumerate(day_of_records(DAY, 100), 1)),
    key=lambda each: int(each["id"]) * 53 % 101,
)
BY_START = sorted(MANY, key=lambda each: str(each["start_time"]))
ORDERS = ["updated_at", "-updated_at", "start_time", "id", "table"]


def habits(order: str, cap: Any = 40, **more: Any) -> Habits:
    return Habits(cap=cap, ignores={"order"}, default_order=order, **more)


def in_pass(number: int, change: Callable[[Tenant], object], offset: int = 0) -> Callable[[Tenant, Request], None]:
    """Change something once, before a page of one of the passes, at this offset or beyond."""
    begun: list[int] = []
    done: list[int] = []

    def before(tenant: Tenant, request: Request) -> None:
        at = int(request.params["offset"])
        if at == 0 and request.params["limit"] != "1":
            begun.append(at)
        if len(begun) == number and at >= offset and not done:
            done.append(at)
            change(tenant)

    return before


# --- one response -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", [2, 7, 100])
def test_single_response_with_true_total_is_complete(kind: str, order: str, number: int) -> None:
    with Tenant(MANY[:number], habits(order, None)) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(tenant.records))
        assert (result.proof, result.pages) == ("single_response", 1)
        assert [(request.params["offset"], request.params["limit"]) for request in tenant.seen] == [
            ("0", "10000"),
            (str(number), "10000"),
            ("0", "1"),
        ]


@pytest.mark.parametrize("total", ["absent", "null", "page", "so_far", "zero", "low"])
def test_single_response_without_reliable_total_needs_two_passes(kind: str, total: Any) -> None:
    with Tenant(MANY, habits("start_time", None, total=total)) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(MANY))
        assert beginnings(tenant) == 2
        assert result.proof == "single_response"


def test_single_response_is_complete_while_records_are_added(kind: str) -> None:
    numbers = count(1000)

    def add(tenant: Tenant, _: Request) -> None:
        tenant.insert(record(next(numbers), START, start_time="2026-01-09T00:00:00Z"))

    with Tenant(MANY, habits("start_time", None), before=add) as tenant:
        assert_promise(tenant, read(tenant, kind))
        assert beginnings(tenant) == 1


def test_half_total_of_a_cut_page_is_not_trusted(kind: str) -> None:
    """The page is as long as its total; a record still to be read moves to the part already read."""

    def move(tenant: Tenant) -> None:
        tenant.change(BY_START[80]["id"], start_time=stamp(START - timedelta(minutes=1)))

    with Tenant(MANY, habits("start_time", 50, total="low"), before=in_pass(1, move, offset=40)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(MANY))


@pytest.mark.parametrize("number", [1, 3])
def test_few_records_in_order_by_chance_are_not_in_order(number: int) -> None:
    """Three records of four are sorted like their creation; the fourth moves to the start before it is read."""
    held = [
        record(n, START + timedelta(hours=n), updated_at=stamp(START + timedelta(days=2, hours=-n))) for n in range(4)
    ]
    script = {number: lambda tenant: tenant.dismiss(3)}
    with Tenant(held, habits("-updated_at", [3, 2, 4], total="absent"), before=script) as tenant:
        assert sorted(keys(read(tenant))) == ["0", "1", "2", "3"]


# --- two passes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("connections", [1, 4])
def test_two_identical_passes_are_complete(kind: str, order: str, connections: int) -> None:
    with Tenant(MANY, habits(order)) as tenant:
        result = read(tenant, kind, connections=connections)
        assert sorted(keys(result)) == sorted(ids(MANY))
        assert result.proof == "identical_passes"
        assert beginnings(tenant) == 2


@pytest.mark.parametrize(
    ("is_fixed", "limit", "proof"), [(False, "100000", "single_response"), (True, "10", "identical_passes")]
)
def test_later_passes_request_the_largest_page_allowed(is_fixed: bool, limit: str, proof: str) -> None:
    script = {2: lambda tenant: tenant.delete(BY_START[0]["id"])}
    with Tenant(MANY, habits("start_time", None), before=script) as tenant, client_of(tenant) as client:
        endpoint = Endpoint(client, THREATS, RecordFormat(THREATS), 10, is_page_size_fixed=is_fixed)
        assert Reader(endpoint).read(WINDOW).proof == proof
        assert [request.params["limit"] for request in tenant.seen[:3]] == ["10", "10", limit]


@pytest.mark.parametrize("total", ["true", "absent"])
def test_record_missed_by_one_pass_is_found_by_the_next(kind: str, total: Any) -> None:
    def move(tenant: Tenant) -> None:
        tenant.change(BY_START[80]["id"], start_time=stamp(START - timedelta(minutes=1)))

    with Tenant(MANY, habits("start_time", total=total), before=in_pass(1, move, offset=30)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(MANY))


@pytest.mark.parametrize(
    "change",
    [
        lambda tenant: tenant.delete(BY_START[50]["id"]),
        lambda tenant: tenant.dismiss(BY_START[50]["id"]),
        lambda tenant: tenant.insert(record(998, START, start_time="2025-12-09T00:00:00Z")),
        lambda tenant: tenant.insert(record(998, START, start_time="2026-01-09T00:00:00Z")),
        lambda tenant: tenant.change(BY_START[50]["id"], start_time=BY_START[20]["start_time"]),
    ],
    ids=["deleted", "dismissed", "added at the start", "added at the end", "moved"],
)
def test_passes_that_differ_are_followed_by_another(kind: str, change: Callable[[Tenant], object]) -> None:
    with Tenant(MANY, habits("start_time", total="absent"), before=in_pass(2, change)) as tenant:
        assert_promise(tenant, read(tenant, kind))
        assert beginnings(tenant) == 3


def test_newest_version_is_held_after_a_change(kind: str) -> None:
    anchor = BY_START[39]["id"]
    change = in_pass(1, lambda tenant: tenant.change(anchor, updated_at="2026-01-09T00:00:00Z", description="new"), 1)
    with Tenant(MANY, habits("start_time"), before=change) as tenant:
        found = {str(each["id"]): each["description"] for each in rows(read(tenant, kind))}
    assert found[str(anchor)] == "new"
    assert len(found) == 100


def test_two_equal_passes_must_follow_each_other() -> None:
    """The set is the same before and after the second pass, during which it differs."""
    passing = record(-1, "2026-01-02T12:00:00Z", start_time="2025-12-01T00:00:00Z")
    begun = count(1)

    def pass_by(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] == "0":
            number = next(begun)
            if number == 2:
                tenant.insert(passing)
            if number == 3:
                tenant.delete(-1)

    with Tenant(MANY[:39], habits("start_time", 15, total="absent"), before=pass_by) as tenant:
        assert_promise(tenant, read(tenant))
        assert beginnings(tenant) == 4


@pytest.mark.parametrize("total", ["true", "absent"])
def test_random_order_never_loses_a_record(kind: str, total: Any) -> None:
    for number in range(41, 61):
        with Tenant(MANY[:number], habits("shuffled", total=total)) as tenant:
            try:
                got = keys(read(tenant, kind))
            except CloudlockDriftError:
                continue
            assert len(got) == number


def test_changes_in_every_pass_fail_after_four(kind: str) -> None:
    def delete_first(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] != "0":
            tenant.delete(min(tenant.records, key=lambda each: str(each["start_time"]))["id"])

    with (
        Tenant(MANY, habits("start_time", 15), before=delete_first) as tenant,
        pytest.raises(CloudlockDriftError, match="in 4 passes: another record came to offset 14") as error,
    ):
        read(tenant, kind)
    assert [request.params["offset"] for request in tenant.seen] == ["0", "14"] * 4
    assert error.value.retryable
    assert "Nothing was kept. Try again when" in str(error.value)


def test_key_on_two_pages_of_every_pass_fails(kind: str) -> None:
    """Two identical passes list it twice, so that another record may be missing in its place."""
    twin = BY_START[20] | {"start_time": BY_START[-1]["start_time"], "description": "twin"}
    with (
        Tenant([*MANY, twin], habits("start_time", 15)) as tenant,
        pytest.raises(CloudlockDriftError, match="a record came on two pages"),
    ):
        read(tenant, kind)


def test_passes_that_all_differ_fail() -> None:
    """A record is replaced before the end of each pass: each pass fits, and no two are identical."""
    numbers = count(1000)

    def swap(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] == "14":
            tenant.delete(min(tenant.records, key=lambda each: str(each["start_time"]))["id"])
            tenant.insert(record(next(numbers), "2026-01-02T12:00:00Z", start_time="2025-12-01T00:00:00Z"))

    with (
        Tenant(MANY, habits("start_time", 15), before=swap) as tenant,
        pytest.raises(CloudlockDriftError, match="no two passes in a row were identical"),
    ):
        read(tenant)
    assert beginnings(tenant) == 4


def test_one_record_per_page_fails() -> None:
    def shrink(tenant: Tenant, request: Request) -> None:
        tenant.behave(cap=5 if request.params["offset"] == "0" else 1)

    with (
        Tenant(MANY, habits("start_time", total="absent"), before=shrink) as tenant,
        pytest.raises(CloudlockDriftError, match="pages repeat: they are too small to go on"),
    ):
        read(tenant)


@pytest.mark.parametrize("ties", ["id", "shuffled"])
def test_more_records_of_one_time_than_a_page_holds(ties: Any, kind: str) -> None:
    """No page can begin before their time, so only a steady order among them can be verified."""
    held = [record(n, START + timedelta(hours=1)) for n in range(100, 250)]
    with Tenant(held, Habits(cap=40, ties=ties)) as tenant:
        if ties == "id":
            assert len(keys(read(tenant, kind))) == 150
        else:
            with pytest.raises(CloudlockDriftError):
                read(tenant, kind)


# --- servers that fail beyond the end ---------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["created_at", "start_time"])
@pytest.mark.parametrize("status", [500, 503])
@pytest.mark.parametrize("cap", [None, 40])
def test_failure_beyond_the_end_is_the_end_if_total_confirms(order: str, status: int, cap: int | None) -> None:
    def fails(request: Request) -> Any:
        return responds(status) if int(request.params["offset"]) >= 100 else None

    with Tenant(MANY, habits(order, cap), faults=fails) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(MANY))


@pytest.mark.parametrize("order", ["created_at", "start_time"])
@pytest.mark.parametrize("total", ["absent", "so_far", "page", "zero"])
def test_failure_beyond_the_end_without_total_says_so(order: str, total: Any) -> None:
    def fails(request: Request) -> Any:
        return responds(500) if int(request.params["offset"]) >= 100 else None

    with (
        Tenant(MANY, habits(order, None, total=total), faults=fails) as tenant,
        pytest.raises(Exception, match="The 100 records before this offset may be all of them, but the reported total"),
    ):
        read(tenant)
    assert len(tenant.seen) < 20


# --- ranges of several days -------------------------------------------------------------------------------------------

TWO_DAYS = Query(start=START, end=START + timedelta(days=2))


def test_range_that_changes_in_no_order_is_read_by_day() -> None:
    """The window of both days is stirred while it is read; each day alone holds still."""
    held = [*MANY, *(each | {"id": int(each["id"]) + 500} for each in day_of_records(NEXT, 60))]

    def stir(tenant: Tenant, request: Request) -> None:
        if request.params["created_before"] == "2026-01-05T00:00:00" and request.params["created_after"] < "2026-01-01":
            tenant.change(7, start_time=stamp(datetime.now(UTC)), updated_at=stamp(datetime.now(UTC)))

    with (
        Tenant(held, habits("start_time", 40, total="absent"), before=stir) as tenant,
        reader_of(tenant, "arrow") as reader,
    ):
        found = list(reader.read_range(TWO_DAYS))
        assert [each.query.start for each in found] == [START, START + timedelta(days=1)]
        assert [len(rows(each)) for each in found] == [100, 60]
        whole = [seen for seen in tenant.seen if seen.params["created_before"] == "2026-01-05T00:00:00"]
        assert sum(seen.params["offset"] == "0" for seen in whole if seen.params["created_after"] < "2026-01-01") == 2


def test_range_in_order_is_read_at_once_however_it_changes() -> None:
    lock, numbers = threading.Lock(), count(5000)

    def stir(tenant: Tenant, _: Request) -> None:
        with lock:
            number = next(numbers)
            tenant.delete(tenant.records[number % 20]["id"])
            tenant.insert(record(number, START + timedelta(seconds=number * 7919 % 172_800)))

    held: list[Record] = [each for day in (DAY, NEXT) for each in day_of_records(day, 100)]
    with Tenant(held, Habits(cap=40), before=stir) as tenant, reader_of(tenant, connections=4) as reader:
        (found,) = reader.read_range(TWO_DAYS)
        assert set(tenant.steady(DAY, "2026-01-04")) <= set(keys(found))
