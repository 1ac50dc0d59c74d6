"""Whole result sets of sets that move while they are read: complete, or an error, and never quietly less."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.api.resources import THREATS, Query
from airflow_provider_cloudlock.exceptions import CloudlockDriftError
from tests.api.reading import DAY, END, NEXT, START, WINDOW, assert_promise, beginnings, keys, read, rows
from tests.support import Habits, Record, Request, Tenant, day_of_records, ids, instant, record, stamp

TIMED = replace(THREATS, bounds="time")
#: By id they stand in another order than by time.
MANY = [each | {"id": n * 37 % 101} for n, each in enumerate(day_of_records(DAY, 100), 1)]

Change = Callable[[Tenant], object]


def assert_steady(tenant: Tenant, result: Any, *coming: Record) -> None:
    """The promise while things change; and nothing that never was."""
    assert_promise(tenant, result)
    assert set(keys(result)) <= set(ids([*MANY, *coming]))


def assert_some(tenant: Tenant, result: Any) -> None:
    """The promise where records come all the while."""
    assert_promise(tenant, result)
    assert set(keys(result)) <= set(ids(tenant.records))


def delete(*places: int) -> Change:
    """Delete records by their place in time."""
    return lambda tenant: tenant.delete(*(MANY[place]["id"] for place in places))


def move(place: int, hour: float) -> Change:
    return lambda tenant: tenant.change(MANY[place]["id"], created_at=(START + timedelta(hours=hour)).isoformat())


def dismiss(*places: int) -> Change:
    return lambda tenant: tenant.dismiss(*(MANY[place]["id"] for place in places))


def both(*changes: Change) -> Change:
    return lambda tenant: [change(tenant) for change in changes]


#: Records that come neither by their creation time nor by id: in small pages, nothing but the anchors ties these.
BY_START: dict[str, Any] = {"ignores": {"order"}, "default_order": "start_time"}
BY_ID: dict[str, Any] = {"ignores": {"order"}, "default_order": "id"}


def first_by_start(records: list[Record]) -> Any:
    return min(records, key=lambda each: str(each["start_time"]))["id"]


EARLY, LATE = record(1001, "2026-01-02T00:00:30Z"), record(1002, "2026-01-02T23:59:30Z")


def insert(*records: Record) -> Change:
    return lambda tenant: tenant.insert(*records)


CHANGES = {
    "the head is deleted": delete(*range(10)),
    "the first is deleted": delete(0),
    "the anchor is deleted": delete(39),
    "the one before the anchor is deleted": delete(38),
    "the last is deleted": delete(99),
    "what is not read yet is deleted": delete(*range(60, 70)),
    "all but a few are deleted": delete(*range(5, 100)),
    "all is deleted": delete(*range(100)),
    "one comes before": insert(EARLY),
    "one comes behind": insert(LATE),
    "one comes for one that goes": both(insert(EARLY), delete(5)),
    "one comes behind for one that goes before": both(insert(LATE), delete(5)),
    "one moves to the end": move(5, 23.99),
    "one moves to the beginning": move(90, 0.01),
    "two change places over the anchor": both(move(5, 23.99), move(90, 0.01)),
    "some read are dismissed": dismiss(1, 2, 4),
    "some not read are dismissed": dismiss(70, 71, 73),
    "the anchor is dismissed": dismiss(40, 38),
}


# --- one change, at any moment ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2, 4])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_change_costs_time_and_nothing_else(change: Change, number: int) -> None:
    with Tenant(MANY, Habits(cap=40), before={number: change}) as tenant:
        assert_steady(tenant, read(tenant), EARLY, LATE)


@pytest.mark.parametrize(("kind", "order"), [("dicts", "-created_at"), ("dicts", "id"), ("arrow", "updated_at")])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_change_of_a_set_in_another_order(kind: str, change: Change, order: str) -> None:
    habits = Habits(cap=40, ignores={"order"}, default_order=order, total="absent")
    with Tenant(MANY, habits, before={2: change}) as tenant:
        assert_steady(tenant, read(tenant, kind), EARLY, LATE)


def test_records_that_come_or_go_behind_the_anchor_cost_no_second_reading() -> None:
    with Tenant(MANY, Habits(cap=40), before={2: insert(LATE), 3: delete(95)}) as tenant:
        assert_steady(tenant, read(tenant), LATE)
        assert [request.params["offset"] for request in tenant.seen].count("0") == 1


def test_a_set_that_moved_is_read_again_with_the_largest_page() -> None:
    with Tenant(MANY, Habits(**BY_START), before={2: lambda tenant: tenant.delete(first_by_start(MANY))}) as tenant:
        result = read(tenant, page_size=10)
        assert_steady(tenant, result)
        assert result.proof == "single_response"
        limits = [request.params["limit"] for request in tenant.seen]
        assert limits[:3] == ["10", "10", "100000"]


def test_the_same_record_may_change_its_status_while_it_is_the_anchor(kind: str) -> None:
    with Tenant(MANY, Habits(cap=40), before={2: dismiss(40, 38), 3: dismiss(77, 79)}) as tenant:
        assert_steady(tenant, read(tenant, kind))
        assert [request.params["offset"] for request in tenant.seen].count("0") == 1


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("total", ["true", "absent"])
def test_a_set_that_ends_meanwhile_is_read_again(number: int, total: Any) -> None:
    with Tenant(MANY, Habits(cap=40, total=total), before={number: delete(*range(100))}) as tenant:
        assert keys(read(tenant)) == []


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("total", ["true", "absent"])
def test_an_empty_set_that_fills_meanwhile(number: int, total: Any) -> None:
    script = {number: lambda tenant: tenant.insert(*MANY)}
    with Tenant([], Habits(cap=40, total=total), before={n: c for n, c in script.items() if n < 3}) as tenant:
        assert len(keys(read(tenant))) == 100 * (number < 3)


# --- the end of a set -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", ["true", "absent", "zero"])
def test_a_deletion_before_the_end_is_confirmed_hides_nothing(total: Any) -> None:
    """Forty of forty-one came; one of them goes, and the last moves to where nobody looked."""
    with Tenant(MANY[:41], Habits(cap=40, total=total), before={2: delete(3)}) as tenant:
        assert_steady(tenant, read(tenant))


@pytest.mark.parametrize("total", ["true", "absent", "zero"])
def test_a_deletion_while_the_end_is_confirmed_hides_nothing(total: Any) -> None:
    """The anchor comes alone as the cap is one for a while; what lies beyond it is asked for when it has moved."""
    with Tenant(MANY[:6], Habits(cap=[5, 1, 5], total=total), before={3: delete(0)}) as tenant:
        assert_steady(tenant, read(tenant))


def test_a_deletion_while_the_server_gives_pages_of_one_hides_nothing() -> None:
    with Tenant(MANY[:2], Habits(cap=1, total="so_far"), before={3: delete(0)}) as tenant:
        assert_steady(tenant, read(tenant))


def test_a_deletion_while_pages_of_one_are_read_hides_nothing() -> None:
    with Tenant(MANY[:2], Habits(total="absent"), before={3: delete(0)}) as tenant:
        assert_steady(tenant, read(tenant, page_size=1))


# --- changes that would need more than a key to be seen ---------------------------------------------------------------


@pytest.mark.parametrize(
    "hours",
    [(12, 12, 12, 12, 12), (12, 12, 12, 18, 19), (6, 12, 12, 18, 19), (6, 12, 12, 12, 19)],
    ids=["all alike", "a, b and c", "b and c", "b, c and d"],
)
@pytest.mark.parametrize("total", ["true", "absent", "so_far"])
@pytest.mark.parametrize("earlier", [0, 1, 2, 3])
def test_equal_times_in_another_order_after_a_deletion_hide_nothing(
    kind: str, hours: tuple[int, ...], total: Any, earlier: int
) -> None:
    """The first of ``a b | c d e`` goes, and the server lists those of one instant anew: ``c b d e``."""
    held = [record(10 + n, START + timedelta(hours=n)) for n in range(earlier)]
    held += [record(n, START + timedelta(hours=hour)) for n, hour in zip((4, 2, 1, 3, 5), hours, strict=True)]
    change = both(lambda tenant: tenant.delete(4), lambda tenant: tenant.behave(ties="id"))
    with Tenant(held, Habits(cap=[earlier + 2, earlier + 3], total=total), before={2: change}) as tenant:
        got = keys(read(tenant, kind))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


def test_equal_times_in_another_order_at_what_seems_to_be_the_end_hide_nothing() -> None:
    """The first of ``a b | c`` goes, and the server lists the others anew: ``c b``, so that the anchor comes alone."""
    held = [record(number, "2026-01-02T12:00:00Z") for number in (4, 2, 1)]
    change = both(lambda tenant: tenant.delete(4), lambda tenant: tenant.behave(ties="id"))
    with Tenant(held, Habits(cap=2, total="absent"), before={2: change}) as tenant:
        got = keys(read(tenant))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


@pytest.mark.parametrize("cap", [40, [40, 2, 40], [40, 3, 1, 40]])
def test_records_of_one_time_over_the_end_of_a_page_cost_no_second_reading(kind: str, cap: Any) -> None:
    """The next page begins with all of them that are held, in the order in which they were."""
    alike = [each | {"created_at": "2026-01-02T12:00:00Z"} if 35 <= n < 45 else each for n, each in enumerate(MANY)]
    before, after = (time.isoformat() for time in (START, START + timedelta(hours=20)))
    held = [
        each | {"created_at": before if n < 35 else after if n >= 45 else each["created_at"]}
        for n, each in enumerate(alike)
    ]
    with Tenant(held, Habits(cap=cap)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))
        if cap == 40:
            assert tenant.seen[1].params["offset"] == "34"


def test_an_anchor_that_moves_over_others_hides_nothing() -> None:
    """The anchor is created anew behind the next record while one before it goes: ``a b c | d e``, ``a d c e``."""
    change = both(delete(1), move(2, 6))
    hours = (START + timedelta(hours=n) for n in (1, 2, 3, 4, 8))
    five = [each | {"created_at": hour.isoformat()} for each, hour in zip(MANY[:5], hours, strict=True)]
    with Tenant(five, Habits(cap=3), before={2: change}) as tenant:
        got = keys(read(tenant))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
@pytest.mark.parametrize("cap", [20, 40, None])
@pytest.mark.parametrize("connections", [1, 4])
def test_what_comes_by_time_is_read_at_once_however_it_moves(
    kind: str, order: str, cap: int | None, connections: int
) -> None:
    """Before every request two records go, at either end, and two come.

    Of a first page that came newest first a record must stay: before every fourth request the newest one goes.
    """
    numbers = iter(range(1000, 9000))
    lock = threading.Lock()

    def stir(tenant: Tenant, request: Request) -> None:
        with lock:
            held = tenant.window(DAY, NEXT)
            newest = -1 if order == "created_at" or request.number % 4 == 0 else 50
            tenant.delete(held[0]["id"], held[newest]["id"])
            tenant.insert(
                *(record(n, START + timedelta(hours=1 + n % 997 / 50)) for n in (next(numbers), next(numbers)))
            )

    habits = Habits(cap=cap, ignores={"order"}, default_order=order)
    with Tenant(MANY, habits, before=stir) as tenant:
        assert_promise(tenant, read(tenant, kind, connections=connections))
        assert [request.params["limit"] for request in tenant.seen].count("100000") == 0


@pytest.mark.parametrize("order", ["id", "-id"])
@pytest.mark.parametrize("cap", [20, 40, None])
@pytest.mark.parametrize("connections", [1, 4])
def test_what_comes_by_key_is_read_at_once_however_it_moves(
    kind: str, order: str, cap: int | None, connections: int
) -> None:
    """Before every request a record goes, another is dismissed and two come, one of them at the end or near it."""
    numbers, lock = iter(range(200, 1000)), threading.Lock()

    def stir(tenant: Tenant, request: Request) -> None:
        with lock:
            held = sorted(tenant.records, key=lambda each: int(each["id"]))
            tenant.delete(held[1 + request.number % 40]["id"])
            tenant.dismiss(held[50]["id"])
            if request.number < 20 and order == "id":
                tenant.insert(record(next(numbers), START + timedelta(hours=request.number % 20, seconds=7)))

    habits = Habits(cap=cap, ignores={"order"}, default_order=order)
    with Tenant(MANY, habits, before=stir) as tenant:
        assert_promise(tenant, read(tenant, kind, connections=connections))
        assert [request.params["limit"] for request in tenant.seen].count("100000") == 0


@pytest.mark.parametrize("ties", ["id", "shuffled"])
def test_records_of_one_time_are_read_by_their_keys(ties: Any, kind: str) -> None:
    """Too many for a page; in the second case there is no such order, and no two readings tell the same."""
    held = [record(n, START + timedelta(hours=1)) for n in range(100, 250)]
    with Tenant(held, Habits(cap=40, ties=ties)) as tenant:
        if ties == "id":
            assert len(rows(read(tenant, kind))) == 150
            assert len(tenant.seen) < 25
        else:
            with pytest.raises(CloudlockDriftError):
                read(tenant, kind)


def test_what_comes_by_key_at_first_and_then_does_not_is_no_order() -> None:
    """By update, where the first page alone comes by key as well."""
    held = [
        record(n, START + timedelta(minutes=n * 7 % 60), updated_at=stamp(START + timedelta(hours=1, minutes=n)))
        for n in range(100)
    ]
    held = [each | {"id": 200 - n} if n >= 60 else each for n, each in enumerate(held)]
    habits = Habits(cap=40, ignores={"order"}, default_order="updated_at")
    with Tenant(held, habits, before={3: lambda tenant: tenant.dismiss(50)}) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(held))


def test_few_may_come_by_key_by_chance() -> None:
    """Three by update, which come by key as well, are no order; so two readings must be the same."""
    hours = {1: 5, 2: 4, 3: 6, 5: 2, 4: 3}
    held = [
        record(key, START + timedelta(hours=hour), updated_at=stamp(START + timedelta(days=1, hours=n)))
        for n, (key, hour) in enumerate(hours.items())
    ]
    with Tenant(held, Habits(cap=3, ignores={"order"}, default_order="updated_at")) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(held))
        assert [request.params["offset"] for request in tenant.seen].count("0") == 2


def test_what_comes_by_key_and_by_something_else_is_not_lost(kind: str) -> None:
    """Newest update first, which is the order of the keys; what is dismissed goes to the start, unread."""
    held = [
        record(200 - n, START + timedelta(minutes=n * 7 % 60), updated_at=stamp(END - timedelta(minutes=n)))
        for n in range(50)
    ]
    habits = Habits(cap=40, ignores={"order"}, default_order="-updated_at")
    with Tenant(held, habits, before={2: lambda tenant: tenant.dismiss(held[-1]["id"])}) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))


# --- sets that never hold still ---------------------------------------------------------------------------------------


def restless(tenant: Tenant, request: Request) -> None:
    """Delete the first record before every page but the first."""
    if request.params["offset"] != "0" and tenant.records:
        tenant.delete(first_by_start(tenant.records))


def test_a_set_that_never_holds_still_is_an_error_after_four_readings(kind: str) -> None:
    with (
        Tenant(MANY, Habits(cap=15, **BY_START), before=restless) as tenant,
        pytest.raises(CloudlockDriftError, match="in 4 readings the record at offset 14 was another one") as error,
    ):
        read(tenant, kind)
    assert [request.params["offset"] for request in tenant.seen] == ["0", "14"] * 4
    assert error.value.retryable
    assert "Nothing was kept. Try again later" in str(error.value)


def test_what_comes_and_goes_before_the_anchor_without_moving_it_does_no_harm() -> None:
    def stir(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] == "0":
            tenant.insert(record(1000 + request.number, "2026-01-02T00:00:01Z"))
        elif request.params["offset"] == "39":
            tenant.delete(1000 + request.number - 1)
            tenant.insert(record(2000 + request.number, "2026-01-02T00:00:02Z"))

    habits = Habits(cap=40, ignores={"order"}, default_order="created_at")
    with Tenant(MANY, habits, before=stir) as tenant:
        assert_steady(tenant, read(tenant), *(record(n, DAY) for n in [*range(1000, 1020), *range(2000, 2020)]))


def test_two_readings_in_no_order_of_time_must_agree() -> None:
    """One comes and one goes before the anchor in every reading: each reading fits, no two agree."""

    def swap(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] == "14":
            tenant.delete(first_by_start(tenant.records))
            tenant.insert(record(-request.number, "2026-01-02T12:00:00Z", start_time="2025-12-01T00:00:00Z"))

    habits = Habits(cap=15, **BY_START)
    with (
        Tenant(MANY, habits, before=swap) as tenant,
        pytest.raises(CloudlockDriftError, match="no two readings were the same"),
    ):
        read(tenant)
    assert beginnings(tenant) == 4


@pytest.mark.parametrize("order", ["start_time", "updated_at", "-updated_at", "table"])
@pytest.mark.parametrize("cap", [15, 40, 50])  # the last of 50 holds two records, in some order whatever they are
def test_one_reading_in_no_order_of_time_is_no_proof(order: str, cap: int) -> None:
    mixed = sorted(MANY, key=lambda each: int(each["id"]) ** 2 % 101)
    with Tenant(mixed, Habits(cap=cap, ignores={"order"}, default_order=order)) as tenant:
        assert_steady(tenant, read(tenant))
        assert beginnings(tenant) >= 2


def test_a_set_whose_pages_alone_are_in_an_order_of_time_hides_nothing(kind: str) -> None:
    """By id, each page comes by time; so many go before the second that some slip through."""
    hours = [*(number / 4 for number in range(1, 41)), *(number / 9 for number in range(1, 21))]
    held = [record(number, START + timedelta(hours=hour)) for number, hour in enumerate(hours, 1)]
    with Tenant(held, Habits(cap=40, **BY_ID), before={2: lambda tenant: tenant.delete(*range(1, 6))}) as tenant:
        assert_promise(tenant, read(tenant, kind))


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_one_reading_in_an_order_of_time_is_proof(order: str) -> None:
    with Tenant(MANY, Habits(cap=40, ignores={"order"}, default_order=order)) as tenant:
        assert_steady(tenant, read(tenant))
        limits = [request.params["limit"] for request in tenant.seen if request.params["offset"] == "0"]
        # What does not come as it was asked for must show its start once more.
        assert limits == ["10000"] + ["1"] * (order == "-created_at")


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("count", [41, 100])
def test_what_is_updated_while_it_is_still_to_come_is_not_lost(kind: str, count: int, connections: int) -> None:
    """Newest update first, of records that were not updated before: what is dismissed goes to the start, unread."""
    held = [each | {"updated_at": each["created_at"]} for each in day_of_records(DAY, count)]
    habits = Habits(cap=40, ignores={"order"}, default_order="-updated_at")
    with Tenant(held, habits, before={2: lambda tenant: tenant.dismiss(held[0]["id"])}) as tenant:
        assert sorted(keys(read(tenant, kind, connections=connections))) == sorted(ids(held))


def test_the_first_record_updated_again_hides_no_other() -> None:
    held = [each | {"updated_at": each["created_at"]} for each in day_of_records(DAY, 41)]
    habits = Habits(cap=40, ignores={"order"}, default_order="-updated_at")
    script = {2: lambda tenant: [tenant.dismiss(held[place]["id"]) for place in (0, -1)]}
    with Tenant(held, habits, before=script) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(held))


def test_a_start_of_none_but_what_went_there_is_seen() -> None:
    """The page that shows the start again is so small that it holds no record that was read."""
    held = [each | {"updated_at": each["created_at"]} for each in day_of_records(DAY, 43)]

    def script(tenant: Tenant, request: Request) -> None:
        tenant.behave(cap=2 if request.number > 2 and request.params["offset"] == "0" else 41)
        if request.number == 2:
            tenant.dismiss(held[0]["id"])
            tenant.dismiss(held[1]["id"])

    with Tenant(held, Habits(ignores={"order"}, default_order="-updated_at"), before=script) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(held))


def test_a_newer_one_that_went_to_the_start_is_taken_in(kind: str) -> None:
    """All that is read first was updated; what was not is newer, and dismissed while it is still to come."""
    half = [START + timedelta(minutes=number) for number in range(42)]
    old = [record(number, time) | {"updated_at": stamp(time + timedelta(days=1))} for number, time in enumerate(half)]
    time = START + timedelta(hours=23)
    held = [*old, record(99, time) | {"updated_at": stamp(time)}]
    habits = Habits(cap=41, ignores={"order"}, default_order="-updated_at")
    with Tenant(held, habits, before={2: lambda tenant: tenant.dismiss(99)}) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))


@pytest.mark.parametrize("connections", [1, 4])
def test_newer_ones_before_every_request_hold_nothing_up(kind: str, connections: int) -> None:
    numbers, lock = iter(range(1, 1000)), threading.Lock()

    def come(tenant: Tenant, request: Request) -> None:
        with lock:
            number = next(numbers)
            tenant.insert(record(5000 + number, END - timedelta(seconds=1000 - number)))

    early = [each for each in MANY if instant(each["created_at"]) < END - timedelta(seconds=1000)]
    with Tenant(early, Habits(cap=40), before=come) as tenant:
        tenant.behave(ignores={"order"}, default_order="-created_at")
        assert_some(tenant, read(tenant, kind, connections=connections))
        assert [request.params["limit"] for request in tenant.seen].count("100000") == 0


def growing(total: str, **habits: Any) -> Tenant:
    """Make a set at whose end another record stands before every request."""
    numbers = iter(range(1, 10_000))

    def come(tenant: Tenant, request: Request) -> None:
        number = next(numbers)
        tenant.insert(record(5000 + number, START + timedelta(hours=23, seconds=number / 10)))

    early = [each for each in MANY if instant(each["created_at"]) < START + timedelta(hours=23)]
    return Tenant(early, Habits(cap=40, total=total, **habits), before=come)


def test_a_set_that_never_ends_ends_where_its_total_says(kind: str) -> None:
    with growing("true") as tenant:
        assert_some(tenant, read(tenant, kind))
        assert len(tenant.seen) < 20


@pytest.mark.parametrize("total", ["absent", "so_far", "page", "low", "high"])
@pytest.mark.parametrize("order", ["created_at", "id"])
def test_a_set_that_never_ends_is_one_that_moves(monkeypatch: pytest.MonkeyPatch, total: str, order: str) -> None:
    monkeypatch.setattr("airflow_provider_cloudlock.api.walk._GROWTH", 20)
    with (
        growing(total, ignores={"order"}, default_order=order) as tenant,
        pytest.raises(CloudlockDriftError, match=r"20 times in a row a few more records came|the total speaks of"),
    ):
        read(tenant)
    assert len(tenant.seen) < 400


@pytest.mark.parametrize("order", ["created_at", "id"])
def test_few_that_an_untrue_total_calls_all_are_not_believed(order: str) -> None:
    """The pages become as small as what is looked at again, and as many records go as are still to come."""
    five = [each | {"id": n} for n, each in enumerate(day_of_records(DAY, 5), 1)]
    script = {2: lambda tenant: tenant.delete(4), 3: lambda tenant: tenant.delete(2)}
    habits = Habits(cap=[3, 2], total="so_far", default_order=order, ignores={"order"})
    with Tenant(five, habits, before=script) as tenant:
        assert set(keys(read(tenant))) >= {"1", "3", "5"}


def test_many_small_pages_are_no_set_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cloudlock.api.walk._GROWTH", 20)
    with Tenant(MANY, Habits(cap=4)) as tenant:
        assert_steady(tenant, read(tenant))


@pytest.mark.parametrize("total", ["so_far", "page", "true", "absent"])
def test_small_pages_after_a_large_one_are_no_end(total: str) -> None:
    with Tenant(MANY, Habits(cap=[40, 5], total=total)) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(MANY))


def test_one_record_a_page_after_a_first_of_several_in_another_order_is_no_end() -> None:
    def shrink(tenant: Tenant, request: Request) -> None:
        tenant.behave(cap=5 if request.params["offset"] == "0" else 1)

    with (
        Tenant(MANY, Habits(total="absent", **BY_START), before=shrink) as tenant,
        pytest.raises(CloudlockDriftError, match="one record a page, so that none can be tied to the next"),
    ):
        read(tenant)


@pytest.mark.parametrize(
    ("updated_at", "kept"), [("2026-01-09T00:00:00Z", "changed"), ("2020-01-01T00:00:00Z", "held")]
)
def test_of_an_anchor_that_changed_in_the_last_reading_the_newer_version_stays(
    kind: str, updated_at: str, kept: str
) -> None:
    anchor = sorted(MANY, key=lambda each: str(each["start_time"]))[14]
    asked = []

    def change(tenant: Tenant, request: Request) -> None:
        asked.append(request.params["offset"])
        if asked.count("14") == 2:
            tenant.change(anchor["id"], updated_at=updated_at, description="changed")

    held = [each | {"description": "held"} for each in MANY]
    with Tenant(held, Habits(cap=15, **BY_START), before=change) as tenant:
        found = {str(each["id"]): each["description"] for each in rows(read(tenant, kind))}
    assert asked.count("0") == 2
    assert found == dict.fromkeys(ids(MANY), "held") | {str(anchor["id"]): kept}


def test_two_readings_the_same_must_follow_each_other() -> None:
    """By start; between two readings that are the same the set moved, so the second is compared with a third."""
    passing = record(-1, "2026-01-02T12:00:00Z", start_time="2025-12-01T00:00:00Z")
    script = {8: insert(passing), 9: lambda tenant: tenant.delete(-1)}
    with Tenant(MANY[:39], Habits(cap=15, **BY_START), before=script) as tenant:
        assert_steady(tenant, read(tenant))
        offsets = [request.params["offset"] for request in tenant.seen]
    assert offsets[:9] == ["0", "14", "28", "38", "39", "38", "0", "14", "0"]
    assert offsets.count("0") == 4


def test_a_record_that_changes_places_over_the_anchor_is_found_by_the_second_reading() -> None:
    """By ``updated_at``, one not read yet moves to the beginning and one read to the end: the first reading fits."""
    by_update = sorted(MANY, key=lambda each: instant(each["updated_at"]) or START)

    def swap(tenant: Tenant) -> None:
        tenant.change(by_update[60]["id"], updated_at="2026-01-01T00:00:00Z")
        tenant.change(by_update[5]["id"], updated_at="2026-01-09T00:00:00Z")

    habits = Habits(cap=40, ignores={"order"}, default_order="updated_at")
    with Tenant(MANY, habits, before={2: swap}) as tenant:
        assert_steady(tenant, read(tenant))


# --- halves -----------------------------------------------------------------------------------------------------------


def span(request: Request) -> tuple[datetime, datetime]:
    start, end = instant(request.params["created_after"]), instant(request.params["created_before"])
    assert start is not None
    assert end is not None
    return start, end


def restless_beyond(hours: float) -> Callable[[Tenant, Request], None]:
    """Windows of more than so many hours are never at one with their total."""

    def change(tenant: Tenant, request: Request) -> None:
        start, end = span(request)
        tenant.behave(total="high" if end - start > timedelta(hours=hours, minutes=1) else "true")

    return change


@pytest.mark.parametrize("hours", [12, 6])
def test_where_bounds_have_a_time_of_day_a_restless_window_is_read_in_halves(kind: str, hours: float) -> None:
    with Tenant(MANY, Habits(cap=15), before=restless_beyond(hours)) as tenant:
        result = read(tenant, kind, resource=TIMED)
        assert_steady(tenant, result)
        assert result.proof == "anchored"
        assert result.reported_total is None
        starts = {span(request)[0] + timedelta(seconds=1) for request in tenant.seen}
        assert starts == {START + timedelta(hours=n) for n in ((0, 12) if hours == 12 else (0, 6, 12, 18))}


def test_a_window_is_read_twice_before_it_is_halved() -> None:
    with Tenant(MANY, Habits(cap=15), before=restless_beyond(12)) as tenant:
        read(tenant, resource=TIMED)
        whole = [request for request in tenant.seen if span(request)[1] - span(request)[0] > timedelta(hours=13)]
    assert [request.params["offset"] for request in whole].count("0") == 2


def test_readings_that_are_still_to_be_compared_are_not_halved() -> None:
    """By start; the second reading has one more than the first, so a third is compared with it."""
    coming = record(-1, "2026-01-02T12:00:00Z")
    habits = Habits(cap=15, **BY_START)
    with Tenant(MANY[:39], habits, before={7: insert(coming)}) as tenant:
        assert_steady(tenant, read(tenant, resource=TIMED), coming)
        assert len({span(request) for request in tenant.seen}) == 1
        assert beginnings(tenant) == 3


def test_halves_are_bounded_too() -> None:
    with (
        Tenant(MANY, Habits(cap=50), before=restless_beyond(1)) as tenant,
        pytest.raises(CloudlockDriftError, match="4 readings"),
    ):
        read(tenant, resource=TIMED)
    assert len(tenant.seen) <= 60


def test_where_bounds_are_dates_there_are_no_halves() -> None:
    with Tenant(MANY, Habits(cap=40), before=restless_beyond(12)) as tenant, pytest.raises(CloudlockDriftError):
        read(tenant, resource=THREATS)
    assert [request.params["offset"] for request in tenant.seen].count("0") == 4


def test_a_record_that_moves_from_one_half_to_the_other_is_held_once() -> None:
    moved = False

    def change(tenant: Tenant, request: Request) -> None:
        nonlocal moved
        restless_beyond(12)(tenant, request)
        if not moved and span(request)[0] > START + timedelta(hours=11):
            moved = True
            tenant.change(MANY[30]["id"], created_at="2026-01-02T18:00:00Z")

    with Tenant(MANY, Habits(cap=15), before=change) as tenant:
        got = keys(read(tenant, resource=TIMED))
        assert moved
        assert len(got) == len(set(got))


def test_open_windows_have_no_halves() -> None:
    def change(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] != "0":
            tenant.delete(first_by_start(tenant.records))

    for query in (Query(start=START), Query(end=END), Query()):
        habits = Habits(cap=15, **BY_START)
        with Tenant(MANY, habits, before=change) as tenant, pytest.raises(CloudlockDriftError):
            read(tenant, resource=TIMED, query=query)
        assert len(tenant.seen) == 8
    assert WINDOW.halves() is not None


# --- an end that seems to be one --------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("order", ["created_at", "-created_at"])
@pytest.mark.parametrize("cap", [20, 40, None])
def test_late_rows_between_any_two_pages(cap: int | None, order: str, connections: int) -> None:
    """One more before every request, anywhere."""

    def late(tenant: Tenant, request: Request) -> None:
        if request.number > 1:
            tenant.insert(record(5000 + request.number, START + timedelta(seconds=request.number * 7919 % 86400)))

    habits = Habits(cap=cap, default_order=order, ignores={"order"})
    with Tenant(MANY, habits, before=late) as tenant:
        got = keys(read(tenant, connections=connections))
        assert len(got) == len(set(got))
        assert set(ids(MANY)) <= set(got)


def test_a_total_that_counts_so_far_is_no_witness() -> None:
    """Each page is cut just where the one before was, while late rows come."""
    caps = {"0": 36, "34": 2, "36": 1, "33": 4, "37": 1}
    held = day_of_records(DAY, 40)

    def script(tenant: Tenant, request: Request) -> None:
        offset = request.params["offset"]
        if offset in ("36", "37") and offset in caps:
            tenant.insert(record(5000 + int(offset), f"{DAY}T00:00:0{offset[1]}Z"))
        tenant.behave(cap=caps.pop(offset, 100))

    with Tenant(held, Habits(total="so_far", ties="id"), before=script) as tenant:
        assert set(ids(held)) <= set(keys(read(tenant)))


def test_an_end_that_deletions_feign() -> None:
    """The page is cut, and then so many records go that nothing is left behind where it ended."""
    caps = {"0": 36, "34": 2, "30": 2}
    held = day_of_records(DAY, 40)

    def script(tenant: Tenant, request: Request) -> None:
        offset = request.params["offset"]
        if offset == "36" and len(tenant.records) == 40:
            tenant.delete(*ids(held)[:4])
        tenant.behave(cap=caps.pop(offset, 100) if offset != "33" else 100)

    with Tenant(held, Habits(total="absent"), before=script) as tenant:
        assert set(ids(held)[4:]) <= set(keys(read(tenant)))


def test_an_end_that_two_cut_pages_feign() -> None:
    """Both pages are cut where the first one was: what lies behind it shows that."""
    caps = {"0": 36, "34": 2, "33": 3}
    held = day_of_records(DAY, 40)

    def script(tenant: Tenant, request: Request) -> None:
        tenant.behave(cap=caps.pop(request.params["offset"], 100))

    with Tenant(held, Habits(total="absent"), before=script) as tenant:
        assert set(ids(held)) <= set(keys(read(tenant)))
