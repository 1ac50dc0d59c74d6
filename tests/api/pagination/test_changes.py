"""Whole result sets of sets that move while they are read: complete, or an error, and never quietly less."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockDriftError
from tests.api.reading import DAY, END, NEXT, START, assert_promise, beginnings, keys, read
from tests.support import Habits, Record, Request, Tenant, day_of_records, ids, instant, record, stamp

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
def test_one_change_loses_nothing(change: Change, number: int) -> None:
    with Tenant(MANY, Habits(cap=40), before={number: change}) as tenant:
        assert_steady(tenant, read(tenant), EARLY, LATE)


@pytest.mark.parametrize(("kind", "order"), [("dicts", "-created_at"), ("dicts", "id"), ("arrow", "updated_at")])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_change_in_another_order_loses_nothing(kind: str, change: Change, order: str) -> None:
    habits = Habits(cap=40, ignores={"order"}, default_order=order, total="absent")
    with Tenant(MANY, habits, before={2: change}) as tenant:
        assert_steady(tenant, read(tenant, kind), EARLY, LATE)


def test_changes_at_the_end_need_one_pass() -> None:
    with Tenant(MANY, Habits(cap=40), before={2: insert(LATE), 3: delete(95)}) as tenant:
        assert_steady(tenant, read(tenant), LATE)
        assert [request.params["offset"] for request in tenant.seen].count("0") == 1


def test_dismissal_in_the_overlap_needs_one_pass(kind: str) -> None:
    with Tenant(MANY, Habits(cap=40), before={2: dismiss(40, 38), 3: dismiss(77, 79)}) as tenant:
        assert_steady(tenant, read(tenant, kind))
        assert [request.params["offset"] for request in tenant.seen].count("0") == 1


@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("total", ["true", "absent"])
def test_deletion_of_all_records_is_an_empty_set(number: int, total: Any) -> None:
    with Tenant(MANY, Habits(cap=40, total=total), before={number: delete(*range(100))}) as tenant:
        assert keys(read(tenant)) == []


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("total", ["true", "absent"])
def test_empty_set_that_fills_is_read(number: int, total: Any) -> None:
    script = {number: lambda tenant: tenant.insert(*MANY)}
    with Tenant([], Habits(cap=40, total=total), before={n: c for n, c in script.items() if n < 3}) as tenant:
        assert len(keys(read(tenant))) == 100 * (number < 3)


# --- the end of a set -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", ["true", "absent", "zero"])
def test_deletion_before_end_check_loses_nothing(total: Any) -> None:
    """Forty of forty-one came; one of them goes, and the last moves to where nobody looked."""
    with Tenant(MANY[:41], Habits(cap=40, total=total), before={2: delete(3)}) as tenant:
        assert_steady(tenant, read(tenant))


@pytest.mark.parametrize("total", ["true", "absent", "zero"])
def test_deletion_during_end_check_loses_nothing(total: Any) -> None:
    """The anchor comes alone as the cap is one for a while; what lies beyond it is asked for when it has moved."""
    with Tenant(MANY[:6], Habits(cap=[5, 1, 5], total=total), before={3: delete(0)}) as tenant:
        assert_steady(tenant, read(tenant))


def test_deletion_with_cap_of_one_loses_nothing() -> None:
    with Tenant(MANY[:2], Habits(cap=1, total="so_far"), before={3: delete(0)}) as tenant:
        assert_steady(tenant, read(tenant))


def test_deletion_with_page_size_one_loses_nothing() -> None:
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
def test_reordered_ties_after_deletion_lose_nothing(
    kind: str, hours: tuple[int, ...], total: Any, earlier: int
) -> None:
    """The first of ``a b | c d e`` goes, and the server lists those of one instant anew: ``c b d e``."""
    held = [record(10 + n, START + timedelta(hours=n)) for n in range(earlier)]
    held += [record(n, START + timedelta(hours=hour)) for n, hour in zip((4, 2, 1, 3, 5), hours, strict=True)]
    change = both(lambda tenant: tenant.delete(4), lambda tenant: tenant.behave(ties="id"))
    with Tenant(held, Habits(cap=[earlier + 2, earlier + 3], total=total), before={2: change}) as tenant:
        got = keys(read(tenant, kind))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


def test_reordered_ties_at_the_end_lose_nothing() -> None:
    """The first of ``a b | c`` goes, and the server lists the others anew: ``c b``, so that the anchor comes alone."""
    held = [record(number, "2026-01-02T12:00:00Z") for number in (4, 2, 1)]
    change = both(lambda tenant: tenant.delete(4), lambda tenant: tenant.behave(ties="id"))
    with Tenant(held, Habits(cap=2, total="absent"), before={2: change}) as tenant:
        got = keys(read(tenant))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


@pytest.mark.parametrize("cap", [40, [40, 2, 40], [40, 3, 1, 40]])
def test_ties_over_a_page_end_need_one_pass(kind: str, cap: Any) -> None:
    """The next page begins before all of them."""
    held = [each | {"created_at": "2026-01-02T09:00:00Z"} if 35 <= n < 45 else each for n, each in enumerate(MANY)]
    with Tenant(held, Habits(cap=cap)) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))
        if cap == 40:
            assert tenant.seen[1].params["offset"] == "34"


def test_moved_last_record_loses_nothing() -> None:
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
def test_order_of_time_is_read_in_one_pass_under_changes(
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
                *(record(n, START + timedelta(hours=1 + n * 7919 % 2200 / 100)) for n in (next(numbers), next(numbers)))
            )

    habits = Habits(cap=cap, ignores={"order"}, default_order=order)
    with Tenant(MANY, habits, before=stir) as tenant:
        assert_promise(tenant, read(tenant, kind, connections=connections))
        assert [request.params["limit"] for request in tenant.seen].count("100000") == 0


def test_order_by_update_like_key_loses_nothing(kind: str) -> None:
    """Newest update first, which is the order of the keys; what is dismissed goes to the start, unread."""
    held = [
        record(200 - n, START + timedelta(minutes=n * 7 % 60), updated_at=stamp(END - timedelta(minutes=n)))
        for n in range(50)
    ]
    habits = Habits(cap=40, ignores={"order"}, default_order="-updated_at")
    with Tenant(held, habits, before={2: lambda tenant: tenant.dismiss(held[-1]["id"])}) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))


# --- sets that never hold still ---------------------------------------------------------------------------------------


def test_swaps_before_the_overlap_lose_nothing() -> None:
    def stir(tenant: Tenant, request: Request) -> None:
        if request.params["offset"] == "0":
            tenant.insert(record(1000 + request.number, "2026-01-02T00:00:01Z"))
        elif request.params["offset"] == "39":
            tenant.delete(1000 + request.number - 1)
            tenant.insert(record(2000 + request.number, "2026-01-02T00:00:02Z"))

    habits = Habits(cap=40, ignores={"order"}, default_order="created_at")
    with Tenant(MANY, habits, before=stir) as tenant:
        assert_steady(tenant, read(tenant), *(record(n, DAY) for n in [*range(1000, 1020), *range(2000, 2020)]))


@pytest.mark.parametrize("order", ["start_time", "updated_at", "-updated_at", "table"])
@pytest.mark.parametrize("cap", [15, 40, 50])  # the last of 50 holds two records, in some order whatever they are
def test_other_orders_need_two_passes(order: str, cap: int) -> None:
    mixed = sorted(MANY, key=lambda each: int(each["id"]) ** 2 % 101)
    with Tenant(mixed, Habits(cap=cap, ignores={"order"}, default_order=order)) as tenant:
        assert_steady(tenant, read(tenant))
        assert beginnings(tenant) >= 2


def test_pages_ordered_by_chance_lose_nothing(kind: str) -> None:
    """By id, each page comes by time; so many go before the second that some slip through."""
    hours = [*(number / 4 for number in range(1, 41)), *(number / 9 for number in range(1, 21))]
    held = [record(number, START + timedelta(hours=hour)) for number, hour in enumerate(hours, 1)]
    with Tenant(held, Habits(cap=40, **BY_ID), before={2: lambda tenant: tenant.delete(*range(1, 6))}) as tenant:
        assert_promise(tenant, read(tenant, kind))


def test_later_page_out_of_order_ends_overlap(kind: str) -> None:
    """The first page is in order of creation time by chance; a record of the second one moves to the start unread."""
    held = [
        each | {"start_time": stamp(START + timedelta(minutes=101 - n if n in (50, 51) else n))}
        for n, each in enumerate(day_of_records(DAY, 60))
    ]
    habits = Habits(cap=40, ignores={"order"}, default_order="start_time")
    moves = {2: lambda tenant: tenant.change(held[55]["id"], start_time=stamp(START - timedelta(days=1)))}
    with Tenant(held, habits, before=moves) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))


@pytest.mark.parametrize("order", ["created_at", "-created_at"])
def test_order_of_time_needs_one_pass(order: str) -> None:
    with Tenant(MANY, Habits(cap=40, ignores={"order"}, default_order=order)) as tenant:
        assert_steady(tenant, read(tenant))
        limits = [request.params["limit"] for request in tenant.seen if request.params["offset"] == "0"]
        # What does not come as it was asked for must show its start once more.
        assert limits == ["10000"] + ["100"] * (order == "-created_at")


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("count", [41, 100])
def test_update_of_unread_record_loses_nothing(kind: str, count: int, connections: int) -> None:
    """Newest update first, of records that were not updated before: what is dismissed goes to the start, unread."""
    held = [each | {"updated_at": each["created_at"]} for each in day_of_records(DAY, count)]
    habits = Habits(cap=40, ignores={"order"}, default_order="-updated_at")
    with Tenant(held, habits, before={2: lambda tenant: tenant.dismiss(held[0]["id"])}) as tenant:
        assert sorted(keys(read(tenant, kind, connections=connections))) == sorted(ids(held))


def test_update_of_first_record_hides_no_other() -> None:
    held = [each | {"updated_at": each["created_at"]} for each in day_of_records(DAY, 41)]
    habits = Habits(cap=40, ignores={"order"}, default_order="-updated_at")
    script = {2: lambda tenant: [tenant.dismiss(held[place]["id"]) for place in (0, -1)]}
    with Tenant(held, habits, before=script) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(held))


def test_start_with_moved_records_only_is_noticed() -> None:
    """The page that shows the start again is so small that it holds no record that was read."""
    held = [each | {"updated_at": each["created_at"]} for each in day_of_records(DAY, 43)]

    def script(tenant: Tenant, request: Request) -> None:
        tenant.behave(cap=2 if request.number > 2 and request.params["offset"] == "0" else 41)
        if request.number == 2:
            tenant.dismiss(held[0]["id"])
            tenant.dismiss(held[1]["id"])

    with Tenant(held, Habits(ignores={"order"}, default_order="-updated_at"), before=script) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(held))


@pytest.mark.parametrize("minute", [41, 1380], ids=["as new", "newer"])
def test_unread_record_that_moves_to_the_start_is_not_lost(kind: str, minute: int) -> None:
    """It is as new as the newest record or newer; what is read first was updated a day later, so it comes last."""
    times = [START + timedelta(minutes=number) for number in range(42)]
    old = [record(n, time) | {"updated_at": stamp(time + timedelta(days=1))} for n, time in enumerate(times)]
    time = START + timedelta(minutes=minute)
    held = [*old, record(99, time) | {"updated_at": stamp(time)}]
    habits = Habits(cap=41, ignores={"order"}, default_order="-updated_at")
    with Tenant(held, habits, before={2: lambda tenant: tenant.dismiss(99)}) as tenant:
        assert sorted(keys(read(tenant, kind))) == sorted(ids(held))


@pytest.mark.parametrize("connections", [1, 4])
def test_new_records_at_the_start_need_one_pass(kind: str, connections: int) -> None:
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


@pytest.mark.parametrize("total", ["true", "absent", "so_far", "page", "low", "high"])
@pytest.mark.parametrize("order", ["created_at", "id"])
def test_set_growing_at_its_end_fails_in_time(monkeypatch: pytest.MonkeyPatch, total: str, order: str) -> None:
    monkeypatch.setattr("airflow_provider_cloudlock.api.pagination.passes._SHORT_PAGES", 20)
    with (
        growing(total, ignores={"order"}, default_order=order) as tenant,
        pytest.raises(CloudlockDriftError, match=r"appended before each of 20 requests|reports a total of"),
    ):
        read(tenant)
    assert len(tenant.seen) < 400


@pytest.mark.parametrize("order", ["created_at", "id"])
def test_few_records_with_wrong_total_are_not_trusted(order: str) -> None:
    """The pages become as small as what is looked at again, and as many records go as are still to come."""
    five = [each | {"id": n} for n, each in enumerate(day_of_records(DAY, 5), 1)]
    script = {2: lambda tenant: tenant.delete(4), 3: lambda tenant: tenant.delete(2)}
    habits = Habits(cap=[3, 2], total="so_far", default_order=order, ignores={"order"})
    with Tenant(five, habits, before=script) as tenant:
        assert set(keys(read(tenant))) >= {"1", "3", "5"}


def test_many_small_pages_are_not_growth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_provider_cloudlock.api.pagination.passes._SHORT_PAGES", 20)
    with Tenant(MANY, Habits(cap=4)) as tenant:
        assert_steady(tenant, read(tenant))


@pytest.mark.parametrize("total", ["so_far", "page", "true", "absent"])
def test_small_pages_after_a_large_one_are_not_the_end(total: str) -> None:
    with Tenant(MANY, Habits(cap=[40, 5], total=total)) as tenant:
        assert sorted(keys(read(tenant))) == sorted(ids(MANY))


def test_swap_over_the_overlap_loses_nothing() -> None:
    """By ``updated_at``, one not read yet moves to the beginning and one read to the end: the first reading fits."""
    by_update = sorted(MANY, key=lambda each: instant(each["updated_at"]) or START)

    def swap(tenant: Tenant) -> None:
        tenant.change(by_update[60]["id"], updated_at="2026-01-01T00:00:00Z")
        tenant.change(by_update[5]["id"], updated_at="2026-01-09T00:00:00Z")

    habits = Habits(cap=40, ignores={"order"}, default_order="updated_at")
    with Tenant(MANY, habits, before={2: swap}) as tenant:
        assert_steady(tenant, read(tenant))


# --- an end that seems to be one --------------------------------------------------------------------------------------


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize("order", ["created_at", "-created_at"])
@pytest.mark.parametrize("cap", [20, 40, None])
def test_late_records_before_every_request_lose_nothing(cap: int | None, order: str, connections: int) -> None:
    """One more before every request, anywhere."""

    def late(tenant: Tenant, request: Request) -> None:
        if request.number > 1:
            tenant.insert(record(5000 + request.number, START + timedelta(seconds=request.number * 7919 % 86400)))

    habits = Habits(cap=cap, default_order=order, ignores={"order"})
    with Tenant(MANY, habits, before=late) as tenant:
        got = keys(read(tenant, connections=connections))
        assert len(got) == len(set(got))
        assert set(ids(MANY)) <= set(got)


def test_total_so_far_does_not_confirm_the_end() -> None:
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


def test_deletions_that_feign_the_end_lose_nothing() -> None:
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


def test_cut_pages_that_feign_the_end_lose_nothing() -> None:
    """Both pages are cut where the first one was: what lies behind it shows that."""
    caps = {"0": 36, "34": 2, "33": 3}
    held = day_of_records(DAY, 40)

    def script(tenant: Tenant, request: Request) -> None:
        tenant.behave(cap=caps.pop(request.params["offset"], 100))

    with Tenant(held, Habits(total="absent"), before=script) as tenant:
        assert set(ids(held)) <= set(keys(read(tenant)))


def test_deletion_with_cut_overlap_loses_nothing() -> None:
    habits = Habits(cap=(3, 2, 2, 100), total="absent")
    with Tenant(MANY[:4], habits, before={3: delete(0)}) as tenant:
        assert_steady(tenant, read(tenant))


def test_part_of_the_ties_is_not_the_overlap() -> None:
    """The first of ``a b c | d`` goes after pages too small for ``a b c``, and the others come as ``d b c``."""
    held = [record(9, START), *(record(number, START + timedelta(hours=1)) for number in (2, 5, 1))]
    change = both(lambda tenant: tenant.delete(9), lambda tenant: tenant.behave(ties="id"))
    with Tenant(held, Habits(cap=(3, 2, 2, 2, 2, 100), total="absent"), before={6: change}) as tenant:
        got = keys(read(tenant))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


def test_cut_page_of_ties_is_not_the_end() -> None:
    """The first of ``a b c | d`` goes while nobody looks, and what is asked for beyond ``c`` and once more is cut."""
    held = [record(9, START), *(record(number, START + timedelta(hours=1)) for number in (1, 2, 5))]
    habits = Habits(cap=(3, 3, 100, 2, 100), total="absent")
    with Tenant(held, habits, before={3: lambda tenant: tenant.delete(9)}) as tenant:
        got = keys(read(tenant))
        assert set(tenant.steady(DAY, NEXT)) <= set(got)


@pytest.mark.parametrize("kind", ["dicts", "arrow"])
def test_overlap_of_new_records_alone_is_widened(kind: str) -> None:
    """A record goes and another one comes just before the last one read, so that it alone is the overlap."""
    change = both(delete(0), insert(record(1001, START + timedelta(hours=9, minutes=25))))
    with Tenant(MANY, Habits(cap=40), before={2: change}) as tenant:
        result = read(tenant, kind)
        assert_steady(tenant, result, record(1001, START))
        assert result.proof == "anchored"
