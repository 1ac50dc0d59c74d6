"""Result sets in orders that nobody knows, while records come, go and change places."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockDriftError
from tests.api.reading import DAY, START, assert_promise, beginnings, keys, read, rows
from tests.support import Habits, Record, Request, Tenant, day_of_records, ids, record, stamp

#: By id, by creation and by start they stand in other orders than in the table; every third was updated later.
MANY = sorted(
    (each | {"id": n * 37 % 101} for n, each in enumerate(day_of_records(DAY, 100), 1)),
    key=lambda each: int(each["id"]) * 53 % 101,
)
BY_UPDATE = sorted(MANY, key=lambda each: str(each["updated_at"]))
BY_START = sorted(MANY, key=lambda each: str(each["start_time"]))

ORDERS = ["updated_at", "-updated_at", "table"]


def habits(order: str, cap: Any = 40, **more: Any) -> Habits:
    return Habits(cap=cap, ignores={"order"}, default_order=order, **more)


def at_reading(number: int, change: Callable[[Tenant], object], offset: int = 0) -> Callable[[Tenant, Request], None]:
    """Change something before a page of one of the readings, at this offset or beyond."""
    begun = []
    done = []

    def before(tenant: Tenant, request: Request) -> None:
        at = int(request.params["offset"])
        if at == 0 and request.params["limit"] != "1":
            begun.append(at)
        if len(begun) == number and at >= offset and not done:
            done.append(at)
            change(tenant)

    return before


# --- changes between any two pages ------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("cap", "page_size"), [(30, 1000), (100, 1000), (None, 1000), (None, 10)])
@pytest.mark.parametrize("connections", [1, 4])
def test_a_set_that_moves_all_the_while_is_read(
    kind: str, order: str, cap: int | None, page_size: int, connections: int
) -> None:
    """Before every request one goes, one is dismissed and one comes. In pages that are too small it is read again."""
    numbers, lock = iter(range(1000, 9000)), threading.Lock()

    def stir(tenant: Tenant, request: Request) -> None:
        with lock:
            number = next(numbers)
            held = sorted(tenant.records, key=lambda each: int(each["id"]))
            tenant.delete(held[number % 50]["id"])
            tenant.dismiss(held[50 + number % 40]["id"])
            new = record(number, START + timedelta(seconds=number), updated_at=stamp(datetime.now(UTC)))
            tenant.insert(new)

    with Tenant(MANY, habits(order, cap), before=stir) as tenant:
        assert_promise(tenant, read(tenant, kind, page_size, connections=connections))


@pytest.mark.parametrize("order", ["updated_at", "-updated_at"])
def test_the_newest_version_of_what_came_again_is_held(kind: str, order: str) -> None:
    """What has been read is dismissed, and comes a second time: at the end, or at the start."""
    first = (BY_UPDATE if order == "updated_at" else BY_UPDATE[::-1])[10]["id"]
    with Tenant(MANY, habits(order), before={2: lambda tenant: tenant.dismiss(first)}) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(MANY))
        assert next(each["status"] for each in rows(result) if str(each["id"]) == str(first)) == "DISMISSED"
        assert (result.outside, result.duplicates) == (0, 0)


def test_what_goes_to_the_start_unread_is_taken_in(kind: str) -> None:
    last = BY_UPDATE[0]["id"]
    with Tenant(MANY, habits("-updated_at"), before={2: lambda tenant: tenant.dismiss(last)}) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(MANY))
        assert beginnings(tenant) == 3  # one of them for what came to the start


def test_more_at_the_start_than_one_page_shows_are_read_again() -> None:
    def dismiss(tenant: Tenant) -> None:
        tenant.dismiss(*ids(BY_UPDATE[:30]))

    with Tenant(MANY, habits("-updated_at", 20), before=at_reading(1, dismiss, offset=10)) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(MANY))


def test_what_goes_to_the_start_unread_at_every_reading_is_not_lost() -> None:
    """Ten are updated before the page that would show them, and then so many others that they are out of sight."""
    ten, *others = ([each["id"] for each in BY_UPDATE[n : n + 10]] for n in (0, 10, 20))
    pages = 0

    def dismiss(tenant: Tenant, request: Request) -> None:
        nonlocal pages
        pages = 1 if request.params["offset"] == "0" else pages + 1
        for number, each in enumerate((ten, *others), 2):
            if pages == number:
                tenant.dismiss(*each)

    with (
        Tenant(MANY, habits("-updated_at", 20), before=dismiss) as tenant,
        pytest.raises(CloudlockDriftError, match="more records came to the start than one page shows"),
    ):
        read(tenant)


# --- two readings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", ["true", "absent"])
def test_what_slips_past_one_reading_is_found_by_the_next(kind: str, total: Any) -> None:
    """By start; what is still to come goes to where all was read."""

    def move(tenant: Tenant) -> None:
        tenant.change(BY_START[80]["id"], start_time=stamp(START - timedelta(minutes=1)))

    with Tenant(MANY, habits("start_time", total=total), before=at_reading(1, move, offset=30)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(MANY))


def test_what_slips_past_the_second_reading_is_held_by_the_first(kind: str) -> None:
    def move(tenant: Tenant) -> None:
        tenant.change(BY_START[80]["id"], start_time=BY_START[20]["start_time"])

    with Tenant(MANY, habits("start_time"), before=at_reading(2, move, offset=30)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(MANY))
        assert beginnings(tenant) == 2


def test_pages_in_another_order_each_time_prove_nothing(kind: str) -> None:
    """Whatever the numbers of requests shuffle: a few may be missing in each of two readings, and be the same."""
    whole = 0
    for count in range(41, 61):
        with Tenant(MANY[:count], habits("shuffled")) as tenant:
            try:
                got = keys(read(tenant, kind))
            except CloudlockDriftError:
                continue
            assert len(got) == count
            whole += 1
    assert whole < 3


@pytest.mark.parametrize(
    ("change", "needed"),
    [
        (lambda tenant: tenant.delete(BY_START[50]["id"]), 2),
        (lambda tenant: tenant.dismiss(BY_START[50]["id"]), 2),
        (lambda tenant: None, 2),
        (lambda tenant: tenant.insert(record(998, START, start_time="2025-12-09T00:00:00Z")), 2),
        (lambda tenant: tenant.insert(record(998, START, start_time=BY_START[50]["start_time"])), 3),
        (lambda tenant: tenant.change(BY_START[50]["id"], start_time=BY_START[20]["start_time"]), 3),
        (lambda tenant: tenant.change(BY_START[20]["id"], start_time=BY_START[50]["start_time"]), 3),
        (lambda tenant: [tenant.dismiss(each["id"]) for each in BY_START[:60]], 3),
    ],
    ids=["gone", "dismissed", "at the end", "at the start", "new between", "moved down", "moved up", "most dismissed"],
)
def test_only_what_is_at_the_ends_may_be_new_to_a_second_reading(
    kind: str, change: Callable[[Tenant], object], needed: int
) -> None:
    """By start, and nothing moves but between the first reading and the second; one comes to the end in any case."""

    def change_and_come(tenant: Tenant) -> None:
        change(tenant)
        tenant.insert(record(999, START, start_time="2026-01-09T00:00:00Z"))

    with Tenant(MANY, habits("start_time", total="absent"), before=at_reading(2, change_and_come)) as tenant:
        assert_promise(tenant, read(tenant, kind))
        assert beginnings(tenant) == needed


def test_a_new_record_between_others_at_every_reading_is_no_order() -> None:
    def come(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] == "0" and request.params["limit"] != "1":
            tenant.insert(record(1000 + request.number, START, start_time=BY_START[50]["start_time"]))

    with (
        Tenant(MANY, habits("start_time"), before=come) as tenant,
        pytest.raises(CloudlockDriftError, match="in 4 readings the records came in no certain order of time"),
    ):
        read(tenant)


# --- one response -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("total", "needed"), [("true", 1), ("so_far", 2), ("page", 2), ("absent", 2)])
def test_one_response_that_held_everything_is_proof_whatever_comes_later(kind: str, total: Any, needed: int) -> None:
    def come(tenant: Tenant, request: Request) -> None:
        if request.number < 5:
            tenant.insert(record(1000 + request.number, START, start_time=f"2026-01-09T00:00:0{request.number}Z"))

    with Tenant(MANY, habits("start_time", None, total=total), before=come) as tenant:
        assert_promise(tenant, read(tenant, kind))
        assert beginnings(tenant) == needed


@pytest.mark.parametrize("order", ["updated_at", "-updated_at"])
def test_what_comes_again_after_one_response_is_counted_once(kind: str, order: str) -> None:
    read_first = (BY_UPDATE if order == "updated_at" else BY_UPDATE[::-1])[10]["id"]
    script = {
        1: lambda tenant: tenant.behave(clock=timedelta(minutes=10)),
        2: lambda tenant: [tenant.dismiss(read_first), tenant.behave(clock=timedelta(minutes=90))],
    }
    with Tenant(MANY, habits(order, None), before=script) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(MANY))
        assert (result.outside, result.duplicates) == (0, 0)
        assert next(each["status"] for each in rows(result) if str(each["id"]) == str(read_first)) == "DISMISSED"
        if order == "updated_at":
            assert beginnings(tenant) == 1
            assert result.server_date is not None
            assert result.server_date < datetime.now(UTC) + timedelta(minutes=20)


def test_late_ones_behind_one_response_are_no_other_order(kind: str) -> None:
    """One comes right before the last record, where both looks at the end see it."""
    time = datetime.fromisoformat(BY_START[-1]["start_time"]) - timedelta(microseconds=1)
    script = {3: lambda tenant: tenant.insert(record(999, START, start_time=stamp(time)))}
    with Tenant(MANY, habits("start_time", None), before=script) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted([*ids(MANY), "999"])
        assert beginnings(tenant) == 1


def test_a_first_page_that_did_not_hold_everything_proves_nothing(kind: str) -> None:
    """Few are still to come, and one of them goes to where all was read."""

    def move(tenant: Tenant) -> None:
        tenant.change(BY_START[99]["id"], start_time=BY_START[20]["start_time"])

    with Tenant(MANY, habits("start_time", 95), before=at_reading(1, move, offset=40)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(MANY))


def test_a_total_that_is_half_the_truth_proves_nothing(kind: str) -> None:
    """The page is just as large; what is still to come goes to where all was read."""

    def move(tenant: Tenant) -> None:
        tenant.change(BY_START[80]["id"], start_time=stamp(START - timedelta(minutes=1)))

    with Tenant(MANY, habits("start_time", 50, total="low"), before=at_reading(1, move, offset=40)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(MANY))


# --- records updated at the same time ---------------------------------------------------------------------------------


def by_update(alike: range) -> list[Record]:
    """Records in the order of their updates, some of which are at the same time."""
    times = (START + timedelta(days=1, minutes=alike.start if n in alike else n) for n in range(100))
    return [each | {"updated_at": stamp(time)} for each, time in zip(MANY, times, strict=True)]


def test_records_updated_at_one_time_may_change_places(kind: str) -> None:
    """Of four of one time, the one that is still to come moves before those that have been read."""
    held = by_update(range(37, 41))
    held[40] |= {"id": -1}  # before all others, where those of one time come by id
    script = at_reading(1, lambda tenant: tenant.behave(ties="id"), offset=1)
    held[37:40] = sorted(held[37:40], key=lambda each: int(each["id"]))
    with Tenant(held, habits("updated_at", total="absent"), before=script) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))
        assert beginnings(tenant) == 2


@pytest.mark.parametrize("order", ["updated_at", "-updated_at"])
def test_records_updated_at_one_time_may_come_anyhow(kind: str, order: str) -> None:
    held = by_update(range(35, 45))
    with Tenant(held, habits(order, ties="shuffled")) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))
        assert beginnings(tenant) == 2
        assert len(tenant.seen) == 16


def test_what_went_to_the_start_at_one_time_may_come_anyhow(kind: str) -> None:
    """Six that have been read are dismissed at once; later one more is, so that the readings are not the same."""
    stirred = []

    def stir(tenant: Tenant, request: Request) -> None:
        if request.number == 2:
            tenant.dismiss(*ids(BY_UPDATE[-6:]))
        if request.params["offset"] == "0" and request.params["limit"] != "1":
            stirred.append(request.number)
            if len(stirred) == 2:
                tenant.insert(record(999, START, updated_at=stamp(datetime.now(UTC))))

    with Tenant(MANY, habits("-updated_at", ties="shuffled"), before=stir) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted([*ids(MANY), "999"])
        assert beginnings(tenant) == 3  # one of them for what came to the start


def test_more_records_updated_at_one_time_than_a_page_holds_are_read_by_their_anchors(kind: str) -> None:
    held = by_update(range(10, 90))
    with Tenant(held, habits("table", 30)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))


def test_records_that_were_never_updated_are_not_of_one_time(kind: str) -> None:
    held = [each | {"updated_at": None} for each in MANY]
    with Tenant(held, habits("table", 30)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))
        assert beginnings(tenant) == 2
