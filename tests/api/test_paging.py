"""Whole result sets of servers of every habit, as long as the set holds still."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_cloudlock.api.resources import THREATS, Query
from airflow_provider_cloudlock.exceptions import (
    CloudlockDriftError,
    CloudlockError,
    CloudlockRequestError,
    CloudlockResponseError,
)
from tests.api.reading import AFTER, BEFORE, DAY, END, NEXT, START, WINDOW, amid, keys, read, reader_of, rows
from tests.support import (
    Exchange,
    Fault,
    Habits,
    Tenant,
    day_of_records,
    edited,
    ids,
    record,
    replaced,
    responds,
    without,
)

TIMED = replace(THREATS, bounds="time")
TOTALS = ["true", "absent", "page", "low", "high", "zero", "null", "so_far"]


def assert_whole(tenant: Tenant, result: Any) -> None:
    """The promise: each record of the window, exactly once."""
    assert sorted(keys(result)) == sorted(ids(tenant.window(DAY, NEXT)))


# --- pages smaller than asked for -------------------------------------------------------------------------------------


@pytest.mark.parametrize("echo", ["announced", "silent", "lying"])
@pytest.mark.parametrize(("cap", "count"), [(None, 60), (2, 20), (7, 40), (40, 100), (100, 250)])
def test_a_cap_of_any_size_announced_or_not(kind: str, cap: int | None, count: int, echo: str) -> None:
    habits = Habits(
        cap=cap, echo=() if echo == "silent" else ("limit", "offset", "results"), echo_asked=echo == "lying"
    )
    with Tenant(amid(day_of_records(DAY, count)), habits) as tenant:
        result = read(tenant, kind)
        assert_whole(tenant, result)
        assert result.proof == ("single_response" if cap is None else "anchored")
        assert (result.duplicates, result.outside, result.request_form) == (0, 2, "full")
        assert result.reported_total == count + 2


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("cap", [[20, 7, 100, 2, 9], [2, 3, 5, 100], [60, 50]])
def test_a_cap_that_changes(cap: Sequence[int], total: Any) -> None:
    with Tenant(amid(day_of_records(DAY, 78)), Habits(cap=cap, total=total)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="the total speaks of 87"):
                read(tenant)
        else:
            assert_whole(tenant, read(tenant))


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("cap", [[1, 40], [40, 1, 40], [7, 1, 7, 1, 1, 7], [30, 1, 1, 1, 30]])
def test_a_cap_that_falls_to_one_for_a_while_is_no_end(cap: Sequence[int], total: Any) -> None:
    with Tenant(day_of_records(DAY, 60), Habits(cap=cap, total=total)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="the total speaks of 67"):
                read(tenant)
        else:
            assert_whole(tenant, read(tenant))


@pytest.mark.parametrize("cap", [[40, 1, 40], [7, 1, 7, 1, 1, 60]])
def test_without_a_total_a_cap_of_one_for_a_while_costs_no_second_reading(cap: Sequence[int]) -> None:
    with Tenant(day_of_records(DAY, 60), Habits(cap=cap, total="absent")) as tenant:
        assert_whole(tenant, read(tenant))
        assert [request.params["offset"] for request in tenant.seen].count("0") == 1


@pytest.mark.parametrize("total", TOTALS)
def test_one_record_a_page_cannot_be_tied_to_the_next(total: Any) -> None:
    with Tenant(day_of_records(DAY, 9), Habits(cap=1, total=total)) as tenant:
        with pytest.raises(CloudlockDriftError, match="could not be read as a whole: in 4 readings"):
            read(tenant)
        assert len(tenant.seen) <= 50


@pytest.mark.parametrize("total", ["true", "absent"])
def test_pages_of_one_by_our_own_wish_are_made_larger(total: Any) -> None:
    with Tenant(day_of_records(DAY, 9), Habits(total=total)) as tenant:
        assert_whole(tenant, read(tenant, page_size=1))


@pytest.mark.parametrize("count", [0, 1, 2, 10, 11, 19, 20, 28, 29])
@pytest.mark.parametrize("way", ["asked", "capped"])
def test_multiples_of_the_page_and_one_beside_them(count: int, way: str) -> None:
    page_size, cap = (10, None) if way == "asked" else (1000, 10)
    with Tenant(day_of_records(DAY, count), Habits(cap=cap)) as tenant:
        result = read(tenant, page_size=page_size)
        assert_whole(tenant, result)
        assert result.proof == ("single_response" if count <= 10 else "anchored")


def test_a_window_of_one_page_costs_few_requests() -> None:
    with Tenant(amid(day_of_records(DAY, 250))) as tenant:
        read(tenant)
        assert [request.params["limit"] for request in tenant.seen] == ["10000"] * len(tenant.seen)
        assert len(tenant.seen) <= 3


def test_pages_are_as_large_as_told_and_advance_by_what_came() -> None:
    with Tenant(day_of_records(DAY, 100), Habits(cap=[40, 10, 40])) as tenant:
        read(tenant, page_size=50)
        asked = [(request.params["limit"], request.params["offset"]) for request in tenant.seen]
    assert asked[:4] == [("50", "0"), ("50", "38"), ("50", "46"), ("50", "84")]


# --- what the envelope says, or does not ------------------------------------------------------------------------------


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("cap", [None, 9])
def test_the_total_proves_nothing_and_may_only_contradict(total: Any, cap: int | None) -> None:
    with Tenant(amid(day_of_records(DAY, 48)), Habits(total=total, cap=cap)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="50 records came, but the total speaks of 57"):
                read(tenant)
        else:
            assert_whole(tenant, read(tenant))


@pytest.mark.parametrize("total", TOTALS)
def test_an_empty_window_is_empty_whatever_the_total(total: Any) -> None:
    with Tenant(habits=Habits(total=total)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="the total speaks of some"):
                read(tenant)
        else:
            result = read(tenant)
            assert (keys(result), result.proof, result.pages) == ([], "single_response", 0)
            assert [request.params["offset"] for request in tenant.seen] == ["0", "0"]


def test_the_smallest_envelope_will_do(kind: str) -> None:
    habits = Habits(echo=(), total="absent", cap=40)
    with Tenant(amid(day_of_records(DAY, 100)), habits) as tenant:
        result = read(tenant, kind)
        assert_whole(tenant, result)
        assert result.reported_total is None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (edited(results=7), "announces 7 records and holds 40"),
        (edited(results=0), "announces 0 records and holds 40"),
        (edited(items=lambda items: items[:7]), "announces 40 records and holds 7"),
        (edited(offset=0), "begins at offset 0; 38 was asked for"),
        (edited(offset=40), "begins at offset 40; 38 was asked for"),
        (without("items"), "no list under 'items'"),
        (edited(items=None), "no list under 'items'"),
        (replaced({"error": "busy"}), "carries 'error'"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_page_at_odds_with_its_envelope_is_asked_for_again_and_then_an_error(
    kind: str, fault: Fault, words: str
) -> None:
    records = amid(day_of_records(DAY, 100))
    with Tenant(records, Habits(cap=40), faults={2: fault}) as tenant:
        assert_whole(tenant, read(tenant, kind))
    later = lambda request: fault if request.params["offset"] != "0" else None  # noqa: E731
    with (
        Tenant(records, Habits(cap=40), faults=later) as tenant,
        pytest.raises(CloudlockResponseError, match=words),
    ):
        read(tenant, kind)
    assert len(tenant.seen) == 6


# --- parameters that are not heeded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [2, 10, 1000])
def test_a_limit_that_is_ignored(page_size: int) -> None:
    with Tenant(amid(day_of_records(DAY, 70)), Habits(ignores={"limit"})) as tenant:
        assert_whole(tenant, read(tenant, page_size=page_size))


@pytest.mark.parametrize("count", [1, 2, 10, 70])
@pytest.mark.parametrize("habits", [{}, {"echo_asked": True}, {"echo": ()}, {"echo": (), "cap": 40, "total": "absent"}])
def test_an_offset_that_is_ignored_is_an_error_and_never_an_end(count: int, habits: Any) -> None:
    with Tenant(day_of_records(DAY, count), Habits(ignores={"offset"}, **habits)) as tenant:
        with pytest.raises((CloudlockDriftError, CloudlockResponseError)):
            read(tenant)
        assert len(tenant.seen) <= 50


@pytest.mark.parametrize("order", ["-created_at", "id", "-updated_at"])
@pytest.mark.parametrize("cap", [None, 40, [40, 7, 40]])
def test_an_order_that_is_ignored(kind: str, order: str, cap: Any) -> None:
    habits = Habits(ignores={"order"}, default_order=order, cap=cap)
    with Tenant(amid(day_of_records(DAY, 100)), habits) as tenant:
        assert_whole(tenant, read(tenant, kind))


def test_a_server_without_any_order_is_an_error() -> None:
    habits = Habits(ignores={"order"}, default_order="shuffled", cap=40)
    with (
        Tenant(day_of_records(DAY, 100), habits) as tenant,
        pytest.raises(CloudlockDriftError, match=r"in another order than a moment before|should have come before"),
    ):
        read(tenant)
    assert len(tenant.seen) <= 50


def test_bounds_that_are_ignored(kind: str) -> None:
    days = [each for day in (BEFORE, DAY, NEXT, AFTER) for each in day_of_records(day, 30)]
    with Tenant(days, Habits(ignores={"created_after", "created_before"}, cap=40)) as tenant:
        result = read(tenant, kind)
        assert_whole(tenant, result)
        assert result.outside == 90


@pytest.mark.parametrize("ignored", [(), ("status",)])
@pytest.mark.parametrize("status", ["Active", "Dismissed"])
@pytest.mark.parametrize("cap", [None, 7])
def test_a_status_heeded_or_not(kind: str, status: str, ignored: Sequence[str], cap: int | None) -> None:
    with Tenant(amid(day_of_records(DAY, 60)), Habits(ignores=ignored, cap=cap)) as tenant:
        result = read(tenant, kind, query=replace(WINDOW, status=status))
        expected = [each for each in tenant.window(DAY, NEXT) if each["status"] == status.upper()]
        assert sorted(keys(result)) == sorted(ids(expected))
        assert 0 < len(expected) < 60


# --- parameters that are refused --------------------------------------------------------------------------------------


@pytest.mark.parametrize("cap", [None, 40])
@pytest.mark.parametrize(
    ("refuses", "form"),
    [
        ((), "full"),
        (("order",), "no order"),
        (("order=created_at",), "no order"),
        (("limit>100",), "limit 100"),
        (("order", "limit>100"), "limit 100"),
        (("time_of_day",), "dates"),
        (("order", "limit>100", "time_of_day"), "dates"),
        (("seconds",), "dates"),
        (("zone", "fraction"), "full"),
    ],
)
def test_a_refused_form_gives_way_to_a_simpler_one_that_is_remembered(
    refuses: Sequence[str], form: str, cap: int | None
) -> None:
    with (
        Tenant(amid(day_of_records(DAY, 150)), Habits(refuses=refuses, cap=cap)) as tenant,
        reader_of(tenant) as reader,
    ):
        result = reader.read(WINDOW)
        assert_whole(tenant, result)
        assert result.request_form == form
        first = len(tenant.seen)
        again = reader.read(WINDOW)
        assert_whole(tenant, again)
        assert again.request_form == form
        accepted = tenant.seen[-1].params
        later = tenant.seen[first:]
        assert all(set(request.params) == set(accepted) for request in later)
        assert all(int(request.params["limit"]) <= 100 for request in later) == (form in ("limit 100", "dates"))
        assert ("order" in accepted) == (form == "full")
        assert ("T" in accepted["created_after"]) == (form != "dates")


def test_a_form_that_is_refused_half_way_starts_the_walk_anew() -> None:
    with Tenant(
        amid(day_of_records(DAY, 100)), Habits(cap=40), before={3: lambda tenant: tenant.behave(refuses={"order"})}
    ) as tenant:
        result = read(tenant)
        assert_whole(tenant, result)
        assert result.request_form == "no order"
        assert tenant.seen[3].params["offset"] == "0"


def test_small_pages_are_not_offered_as_smaller_ones() -> None:
    """A form that would write the very same request is passed over."""
    with Tenant(day_of_records(DAY, 30), Habits(refuses={"order", "time_of_day"})) as tenant:
        assert_whole(tenant, read(tenant, page_size=50))
        assert [request.params["created_after"] for request in tenant.seen[:3]] == [
            "2026-01-01T23:59:59",
            "2026-01-01T23:59:59",
            "2026-01-01",
        ]


@pytest.mark.parametrize("total", ["true", "absent"])
@pytest.mark.parametrize("cap", [None, 7])
def test_an_offset_beyond_the_end_may_be_refused(total: Any, cap: int | None) -> None:
    with Tenant(day_of_records(DAY, 30), Habits(refuses={"offset>29"}, total=total, cap=cap)) as tenant:
        result = read(tenant)
        assert_whole(tenant, result)
        assert result.request_form == "full"


@pytest.mark.parametrize("query", [WINDOW, Query(), Query(order="-start_time"), Query(start_time=5)])
def test_when_no_form_is_left_the_servers_words_are_raised(query: Query) -> None:
    with (
        Tenant(day_of_records(DAY, 9), Habits(refuses={"offset"})) as tenant,
        pytest.raises(CloudlockRequestError, match="status 400 and says: Invalid value for parameter 'offset'"),
    ):
        read(tenant, query=query)
    sent = [tuple(sorted(request.params.items())) for request in tenant.seen]
    assert len(set(sent)) == len(sent) <= 4


@pytest.mark.parametrize("status", [404, 409, 422])
def test_only_a_400_speaks_of_the_form(status: int) -> None:
    with (
        Tenant(day_of_records(DAY, 9), faults=responds(status)) as tenant,
        pytest.raises(CloudlockRequestError, match=f"status {status}"),
    ):
        read(tenant)
    assert len(tenant.seen) == 1


def test_the_callers_own_order_is_never_dropped() -> None:
    query = replace(WINDOW, order="-start_time")
    with (
        Tenant(day_of_records(DAY, 9), Habits(refuses={"order"})) as tenant,
        pytest.raises(CloudlockRequestError, match="parameter 'order'"),
    ):
        read(tenant, query=query)
    with Tenant(day_of_records(DAY, 150), Habits(refuses={"limit>100"})) as tenant:
        result = read(tenant, query=query)
        assert_whole(tenant, result)
        assert result.request_form == "limit 100"
        assert {request.params["order"] for request in tenant.seen} == {"-start_time"}


# --- edges of the window ----------------------------------------------------------------------------------------------

MICROSECOND = timedelta(microseconds=1)


def around(*edges: datetime) -> list[Any]:
    """Make records on some instants and next to them."""
    steps = [timedelta(days=-1), timedelta(seconds=-1), -MICROSECOND, timedelta(), MICROSECOND, timedelta(seconds=1)]
    moments = sorted({edge + step for edge in edges for step in [*steps, timedelta(minutes=1), timedelta(days=1)]})
    return [record(n, moment) for n, moment in enumerate(moments, 1)]


@pytest.mark.parametrize("granularity", ["microsecond", "second", "minute", "day"])
@pytest.mark.parametrize("cuts", ["both", "bounds"])
@pytest.mark.parametrize(("kind", "refuses"), [("dicts", ()), ("arrow", ()), ("dicts", ("time_of_day",))])
def test_bounds_compared_in_any_way_give_the_same_records(
    kind: str, granularity: Any, cuts: Any, refuses: Sequence[str]
) -> None:
    part = Query(start=START + timedelta(hours=6), end=START + timedelta(hours=6, seconds=3) + MICROSECOND)
    for query in (WINDOW, part):
        assert query.start is not None
        assert query.end is not None
        for inclusive in (True, False):
            habits = Habits(
                after_inclusive=inclusive,
                before_inclusive=inclusive,
                granularity=granularity,
                cuts=cuts,
                refuses=refuses,
            )
            with Tenant(around(query.start, query.end), habits) as tenant:
                result = read(tenant, kind, query=query)
                assert sorted(keys(result)) == sorted(ids(tenant.window(query.start, query.end)))


@pytest.mark.parametrize("granularity", ["microsecond", "second"])
@pytest.mark.parametrize("inclusive", [True, False])
def test_bounds_with_a_time_of_day_are_compared_in_any_way_too(granularity: Any, inclusive: bool) -> None:
    query = Query(start=START + timedelta(hours=6), end=START + timedelta(hours=6, seconds=3) + MICROSECOND)
    assert query.start is not None
    assert query.end is not None
    habits = Habits(after_inclusive=inclusive, before_inclusive=inclusive, granularity=granularity)
    with Tenant(around(query.start, query.end), habits) as tenant:
        result = read(tenant, resource=TIMED, query=query)
        assert keys(result) == ids(tenant.window(query.start, query.end))
        assert tenant.seen[0].params["created_before"] == "2026-01-02T06:00:05"


def test_open_windows(kind: str) -> None:
    days = [each for day in (BEFORE, DAY, NEXT) for each in day_of_records(day, 30)]
    with Tenant(days, Habits(cap=40)) as tenant:
        assert keys(read(tenant, kind, query=Query())) == ids(days)
        assert keys(read(tenant, kind, query=Query(start=START))) == ids(days[30:])
        assert keys(read(tenant, kind, query=Query(end=END))) == ids(days[:60])
        assert keys(read(tenant, kind, query=Query(offset=25))) == ids(days[25:])
        assert keys(read(tenant, kind, query=Query(offset=90))) == []


# --- records that look alike ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["table", "id"])
@pytest.mark.parametrize("cap", [100, 23])
def test_many_records_of_one_instant(kind: str, ties: Any, cap: int) -> None:
    alike = [record(n, "2026-01-02T12:00:00Z") for n in range(150, 0, -1)]
    with Tenant(amid(alike), Habits(cap=cap, ties=ties)) as tenant:
        assert_whole(tenant, read(tenant, kind))


def test_ids_that_are_texts(kind: str) -> None:
    named = [each | {"id": f"G8qz{each['id']}"} for each in day_of_records(DAY, 60)]
    with Tenant(named, Habits(cap=7)) as tenant:
        assert_whole(tenant, read(tenant, kind))


def test_a_key_given_twice_in_one_page_is_kept_once(kind: str) -> None:
    records = day_of_records(DAY, 20)
    newer = records[5] | {"updated_at": "2026-01-05T00:00:00+00:00", "description": "newer"}
    with Tenant([*records, newer]) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(records))
        assert (result.duplicates, result.outside) == (1, 0)
        assert [each["description"] for each in rows(result) if str(each["id"]) == str(newer["id"])] == ["newer"]


def test_the_newest_of_a_key_given_twice_stays_also_where_a_page_ends_between_the_two(kind: str) -> None:
    records = day_of_records(DAY, 20)
    newer = records[6] | {"updated_at": "2026-01-05T00:00:00+00:00", "description": "newer"}
    with Tenant([*records, newer], Habits(cap=7)) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(records))
        assert [each["description"] for each in rows(result) if str(each["id"]) == str(newer["id"])] == ["newer"]


@pytest.mark.parametrize(
    ("updated_at", "kept"), [("2026-01-09T00:00:00Z", "changed"), ("2020-01-01T00:00:00Z", "held")]
)
def test_of_an_anchor_that_changed_the_newer_version_stays(kind: str, updated_at: str, kept: str) -> None:
    records = [each | {"description": "held"} for each in day_of_records(DAY, 20)]
    change = {2: lambda tenant: tenant.change(records[6]["id"], updated_at=updated_at, description="changed")}
    with Tenant(records, Habits(cap=7), before=change) as tenant:
        assert [each["description"] for each in rows(read(tenant, kind)) if each["description"] != "held"] == (
            ["changed"] if kept == "changed" else []
        )


def test_a_key_on_two_pages_is_a_set_that_moved(kind: str) -> None:
    records = day_of_records(DAY, 30)
    with Tenant([*records, records[2] | {"created_at": records[28]["created_at"]}]) as tenant:
        result = read(tenant, kind, page_size=10)
        assert sorted(keys(result)) == sorted(ids(records))
        assert result.proof == "single_response"
        tenant.behave(cap=10)
        with pytest.raises(CloudlockDriftError, match="a record came on two pages"):
            read(tenant, kind)


# --- pages that lead nowhere ------------------------------------------------------------------------------------------

EMPTY = edited(items=[], results=0)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("total", ["true", "absent", "page"])
def test_an_empty_page_that_passes_is_no_end(kind: str, number: int, total: Any) -> None:
    with Tenant(day_of_records(DAY, 100), Habits(cap=40, total=total), faults={number: EMPTY}) as tenant:
        assert_whole(tenant, read(tenant, kind))


def test_two_empty_pages_against_a_total_are_no_end() -> None:
    with Tenant(day_of_records(DAY, 100), faults={1: EMPTY, 2: EMPTY}) as tenant:
        assert_whole(tenant, read(tenant))


@pytest.mark.parametrize("cap", [None, 40])
def test_empty_pages_that_stay_are_an_error(cap: int | None) -> None:
    later = lambda request: EMPTY if request.params["offset"] != "0" else None  # noqa: E731
    with (
        Tenant(day_of_records(DAY, 100), Habits(cap=cap, total="absent"), faults=later) as tenant,
        pytest.raises(CloudlockDriftError, match="4 readings"),
    ):
        read(tenant)
    assert len(tenant.seen) <= 80


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_short_page_is_no_end(kind: str, size: int) -> None:
    def short(exchange: Exchange) -> None:
        envelope = exchange.envelope
        exchange.envelope = envelope | {"items": envelope["items"][:size], "results": size}

    for total in ("true", "absent"):
        habits = Habits(cap=40, total=total)
        with Tenant(day_of_records(DAY, 100), habits, faults={2: Fault("short", short)}) as tenant:
            assert_whole(tenant, read(tenant, kind))


class _Repeats:
    """Answers one request with the page of an earlier one."""

    def __init__(self, first: int, again: int) -> None:
        self._bodies: dict[int, bytes] = {}
        self.faults = {first: Fault("remember", self._remember), again: Fault("repeat", self._repeat)}
        self._first = first

    def _remember(self, exchange: Exchange) -> None:
        self._bodies[self._first] = exchange.body

    def _repeat(self, exchange: Exchange) -> None:
        exchange.body = self._bodies[self._first]


@pytest.mark.parametrize(("first", "again"), [(1, 2), (1, 3), (2, 3)])
def test_a_page_that_is_repeated_is_noticed(kind: str, first: int, again: int) -> None:
    repeats = _Repeats(first, again)
    with Tenant(day_of_records(DAY, 100), Habits(cap=40, echo=("results",)), faults=repeats.faults) as tenant:
        assert_whole(tenant, read(tenant, kind))


@pytest.mark.parametrize("count", [10, 9, 5])
def test_pages_that_run_in_a_circle_come_to_an_end(kind: str, count: int) -> None:
    records = day_of_records(DAY, count)

    def turn(exchange: Exchange) -> None:
        offset = int(exchange.request.params["offset"])
        exchange.envelope = {"items": [records[(offset + n) % count] for n in range(5)]}

    with (
        Tenant(faults=Fault("turn", turn)) as tenant,
        pytest.raises(CloudlockDriftError, match="the server repeats a page"),
    ):
        read(tenant, kind)
    assert len(tenant.seen) <= 6 * count


# --- the beginning of a set, and its size -----------------------------------------------------------------------------


def test_no_more_is_read_than_wanted() -> None:
    days = [each for day in (BEFORE, DAY, NEXT) for each in day_of_records(day, 100)]
    with Tenant(days, Habits(cap=40)) as tenant:
        got = keys(read(tenant, query=Query(), at_most=90))
        assert got[:90] == ids(days)[:90]
        assert len(tenant.seen) == 3
        assert [request.params["limit"] for request in tenant.seen] == ["90"] * 3
        got = keys(read(tenant, at_most=10))
        assert got[:10] == ids(tenant.window(DAY, NEXT))[:10]
        assert len(tenant.seen) == 4
        assert tenant.seen[3].params["limit"] == "10000"  # it may hold records that do not count


@pytest.mark.parametrize("count", [3, 5])
def test_what_was_wanted_may_be_more_than_there_is(count: int) -> None:
    with Tenant(day_of_records(DAY, count)) as tenant:
        assert len(keys(read(tenant, query=Query(), at_most=5))) == count


@pytest.mark.parametrize("status", ["Active", "Dismissed"])
def test_one_record_is_wanted_of_a_server_that_ignores_the_status(status: str) -> None:
    with Tenant(day_of_records(DAY, 12), Habits(ignores={"status"})) as tenant:
        result = read(tenant, query=Query(status=status), at_most=1)
        first = next(each for each in tenant.records if each["status"] == status.upper())
        assert keys(result)[:1] == ids([first])


@pytest.mark.parametrize("total", ["true", "absent", "null"])
def test_the_apis_own_count(total: Any) -> None:
    with Tenant(amid(day_of_records(DAY, 30)), Habits(total=total)) as tenant, reader_of(tenant) as reader:
        assert reader.total(WINDOW) == (30 if total == "true" else None)
        (request,) = tenant.seen
    assert (request.params["limit"], request.params["offset"]) == ("1", "0")
    assert (request.params["created_after"], request.params["created_before"]) == (
        f"{DAY}T00:00:00",
        f"{NEXT}T00:00:00",
    )


def test_a_count_gives_way_to_simpler_forms_too() -> None:
    habits = Habits(refuses={"order", "time_of_day"})
    with Tenant(amid(day_of_records(DAY, 30)), habits) as tenant, reader_of(tenant) as reader:
        assert reader.total(WINDOW) == 40  # dates a day wider; a plan, not a proof
        tenant.behave(refuses={"offset"})
        with pytest.raises(CloudlockRequestError, match="parameter 'offset'"):
            reader.total(WINDOW)


def test_thousands_of_records(kind: str) -> None:
    with Tenant(day_of_records(DAY, 3_210), Habits(cap=1000)) as tenant:
        result = read(tenant, kind)
        assert keys(result) == ids(tenant.records)
        offsets = [int(request.params["offset"]) for request in tenant.seen]
    assert all(later - earlier == 998 for earlier, later in pairwise(offsets[:4]))


def test_every_error_of_a_read_is_one_of_ours() -> None:
    with (
        Tenant(day_of_records(DAY, 9), faults=responds(401)) as tenant,
        pytest.raises(CloudlockError) as error,
    ):
        read(tenant)
    assert len(tenant.seen) == 1
    assert not error.value.retryable
