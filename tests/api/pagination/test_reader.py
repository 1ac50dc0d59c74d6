"""Complete result sets of servers of every behaviour, while nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider_cloudlock.api.query import Query
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

TOTALS = ["true", "absent", "page", "low", "high", "zero", "null", "so_far"]


def assert_complete(tenant: Tenant, result: Any) -> None:
    """The promise: each record of the window, exactly once."""
    assert sorted(keys(result)) == sorted(ids(tenant.window(DAY, NEXT)))


# --- pages smaller than asked for -------------------------------------------------------------------------------------


@pytest.mark.parametrize("echo", ["announced", "silent", "lying"])
@pytest.mark.parametrize(
    ("cap", "count", "proof"),
    [
        (None, 60, "single_response"),
        (2, 20, "identical_passes"),
        (7, 40, "identical_passes"),
        (8, 40, "anchored"),
        (40, 100, "anchored"),
        (100, 250, "anchored"),
    ],
)
def test_read_with_cap_announced_or_not_is_complete(
    kind: str, cap: int | None, count: int, proof: str, echo: str
) -> None:
    habits = Habits(
        cap=cap, echo=() if echo == "silent" else ("limit", "offset", "results"), echo_asked=echo == "lying"
    )
    with Tenant(amid(day_of_records(DAY, count)), habits) as tenant:
        result = read(tenant, kind)
        assert_complete(tenant, result)
        assert result.proof == proof
        assert (result.duplicates, result.outside, result.request_form) == (0, 10, "full")
        assert result.reported_total == count + 10


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("cap", [[20, 7, 100, 2, 9], [2, 3, 5, 100], [60, 50]])
def test_read_with_changing_cap_is_complete(cap: Sequence[int], total: Any) -> None:
    with Tenant(amid(day_of_records(DAY, 78)), Habits(cap=cap, total=total)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="reports a total of 95"):
                read(tenant)
        else:
            assert_complete(tenant, read(tenant))


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("cap", [[1, 40], [40, 1, 40], [7, 1, 7, 1, 1, 7], [30, 1, 1, 1, 30]])
def test_cap_of_one_for_a_while_is_not_the_end(cap: Sequence[int], total: Any) -> None:
    with Tenant(day_of_records(DAY, 60), Habits(cap=cap, total=total)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="reports a total of 67"):
                read(tenant)
        else:
            assert_complete(tenant, read(tenant))


@pytest.mark.parametrize("cap", [[40, 1, 40], [9, 1, 9, 1, 1, 60]])
def test_cap_of_one_for_a_while_without_total_needs_one_pass(cap: Sequence[int]) -> None:
    with Tenant(day_of_records(DAY, 60), Habits(cap=cap, total="absent")) as tenant:
        assert_complete(tenant, read(tenant))
        assert [request.params["offset"] for request in tenant.seen].count("0") == 1


@pytest.mark.parametrize("total", TOTALS)
def test_read_of_one_record_per_page_fails(total: Any) -> None:
    with Tenant(day_of_records(DAY, 9), Habits(cap=1, total=total)) as tenant:
        with pytest.raises(CloudlockDriftError, match="could not be read completely in 4 passes"):
            read(tenant)
        assert len(tenant.seen) <= 50


@pytest.mark.parametrize("total", ["true", "absent"])
def test_read_with_page_size_one_uses_larger_pages(total: Any) -> None:
    with Tenant(day_of_records(DAY, 9), Habits(total=total)) as tenant:
        assert_complete(tenant, read(tenant, page_size=1))


@pytest.mark.parametrize("count", [0, 1, 2, 10, 11, 19, 20, 28, 29])
@pytest.mark.parametrize("way", ["asked", "capped"])
def test_read_at_multiples_of_page_size_is_complete(count: int, way: str) -> None:
    page_size, cap = (10, None) if way == "asked" else (1000, 10)
    with Tenant(day_of_records(DAY, count), Habits(cap=cap)) as tenant:
        result = read(tenant, page_size=page_size)
        assert_complete(tenant, result)
        assert result.proof == ("single_response" if count <= 10 else "anchored")


def test_read_of_one_page_takes_three_requests() -> None:
    with Tenant(amid(day_of_records(DAY, 250))) as tenant:
        read(tenant)
        assert [request.params["limit"] for request in tenant.seen] == ["10000"] * len(tenant.seen)
        assert len(tenant.seen) <= 3


def test_read_advances_by_records_received() -> None:
    with Tenant(day_of_records(DAY, 100), Habits(cap=[40, 10, 40])) as tenant:
        read(tenant, page_size=50)
        asked = [(request.params["limit"], request.params["offset"]) for request in tenant.seen]
    assert asked[:4] == [("50", "0"), ("50", "38"), ("50", "46"), ("50", "84")]


# --- what the envelope says, or does not ------------------------------------------------------------------------------


@pytest.mark.parametrize("total", TOTALS)
@pytest.mark.parametrize("cap", [None, 9])
def test_wrong_total_is_not_trusted(total: Any, cap: int | None) -> None:
    with Tenant(amid(day_of_records(DAY, 48)), Habits(total=total, cap=cap)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="lists 58 records and reports a total of 65"):
                read(tenant)
        else:
            assert_complete(tenant, read(tenant))


@pytest.mark.parametrize("total", TOTALS)
def test_empty_window_takes_two_requests(total: Any) -> None:
    with Tenant(habits=Habits(total=total)) as tenant:
        if total == "high":
            with pytest.raises(CloudlockDriftError, match="its total counts some"):
                read(tenant)
        else:
            result = read(tenant)
            assert (keys(result), result.proof, result.pages) == ([], "single_response", 0)
            assert [request.params["offset"] for request in tenant.seen] == ["0", "0"]


def test_envelope_of_items_alone_suffices(kind: str) -> None:
    habits = Habits(echo=(), total="absent", cap=40)
    with Tenant(amid(day_of_records(DAY, 100)), habits) as tenant:
        result = read(tenant, kind)
        assert_complete(tenant, result)
        assert result.reported_total is None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (edited(results=7), "reports 7 results and contains 40"),
        (edited(results=0), "reports 0 results and contains 40"),
        (edited(items=lambda items: items[:7]), "reports 40 results and contains 7"),
        (edited(offset=0), "begins at offset 0 instead of 38"),
        (edited(offset=40), "begins at offset 40 instead of 38"),
        (without("items"), "no list under 'items'"),
        (edited(items=None), "no list under 'items'"),
        (replaced({"error": "busy"}), "has 'error'"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_contradictory_envelope_is_retried_then_fails(kind: str, fault: Fault, words: str) -> None:
    records = amid(day_of_records(DAY, 100))
    with Tenant(records, Habits(cap=40), faults={2: fault}) as tenant:
        assert_complete(tenant, read(tenant, kind))
    later = lambda request: fault if request.params["offset"] != "0" else None  # noqa: E731
    with (
        Tenant(records, Habits(cap=40), faults=later) as tenant,
        pytest.raises(CloudlockResponseError, match=words),
    ):
        read(tenant, kind)
    assert len(tenant.seen) == 6


# --- parameters that are not heeded -----------------------------------------------------------------------------------


@pytest.mark.parametrize("page_size", [2, 10, 1000])
def test_read_with_ignored_limit_is_complete(page_size: int) -> None:
    with Tenant(amid(day_of_records(DAY, 70)), Habits(ignores={"limit"})) as tenant:
        assert_complete(tenant, read(tenant, page_size=page_size))


@pytest.mark.parametrize("count", [1, 2, 10, 70])
@pytest.mark.parametrize("habits", [{}, {"echo_asked": True}, {"echo": ()}, {"echo": (), "cap": 40, "total": "absent"}])
def test_ignored_offset_fails(count: int, habits: Any) -> None:
    with Tenant(day_of_records(DAY, count), Habits(ignores={"offset"}, **habits)) as tenant:
        with pytest.raises((CloudlockDriftError, CloudlockResponseError)):
            read(tenant)
        assert len(tenant.seen) <= 50


@pytest.mark.parametrize("order", ["-created_at", "id", "-updated_at"])
@pytest.mark.parametrize("cap", [None, 40, [40, 7, 40]])
def test_read_with_ignored_order_is_complete(kind: str, order: str, cap: Any) -> None:
    habits = Habits(ignores={"order"}, default_order=order, cap=cap)
    with Tenant(amid(day_of_records(DAY, 100)), habits) as tenant:
        assert_complete(tenant, read(tenant, kind))


def test_random_order_fails() -> None:
    habits = Habits(ignores={"order"}, default_order="shuffled", cap=40)
    with (
        Tenant(day_of_records(DAY, 100), habits) as tenant,
        pytest.raises(CloudlockDriftError, match="could not be read completely"),
    ):
        read(tenant)
    assert len(tenant.seen) <= 50


def test_read_with_ignored_bounds_is_complete(kind: str) -> None:
    days = [each for day in (BEFORE, DAY, NEXT, AFTER) for each in day_of_records(day, 30)]
    with Tenant(days, Habits(ignores={"created_after", "created_before"}, cap=40)) as tenant:
        result = read(tenant, kind)
        assert_complete(tenant, result)
        assert result.outside == 90


@pytest.mark.parametrize("ignored", [(), ("status",)])
@pytest.mark.parametrize("status", ["Active", "Dismissed"])
@pytest.mark.parametrize("cap", [None, 7])
def test_status_filter_holds_even_if_ignored(kind: str, status: str, ignored: Sequence[str], cap: int | None) -> None:
    with Tenant(amid(day_of_records(DAY, 60)), Habits(ignores=ignored, cap=cap)) as tenant:
        result = read(tenant, kind, query=replace(WINDOW, filters={"status": status}))
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
def test_refused_form_is_simplified_and_remembered(refuses: Sequence[str], form: str, cap: int | None) -> None:
    with (
        Tenant(amid(day_of_records(DAY, 150)), Habits(refuses=refuses, cap=cap)) as tenant,
        reader_of(tenant) as reader,
    ):
        result = reader.read(WINDOW)
        assert_complete(tenant, result)
        assert result.request_form == form
        first = len(tenant.seen)
        again = reader.read(WINDOW)
        assert_complete(tenant, again)
        assert again.request_form == form
        accepted = tenant.seen[-1].params
        later = tenant.seen[first:]
        assert all(set(request.params) == set(accepted) for request in later)
        assert all(int(request.params["limit"]) <= 100 for request in later) == (form in ("limit 100", "dates"))
        assert ("order" in accepted) == (form == "full")
        assert ("T" in accepted["created_after"]) == (form != "dates")


def test_form_refused_half_way_restarts_the_pass() -> None:
    with Tenant(
        amid(day_of_records(DAY, 100)), Habits(cap=40), before={3: lambda tenant: tenant.behave(refuses={"order"})}
    ) as tenant:
        result = read(tenant)
        assert_complete(tenant, result)
        assert result.request_form == "no order"
        assert tenant.seen[3].params["offset"] == "0"


def test_form_without_effect_is_skipped() -> None:
    """A form that would write the very same request is passed over."""
    with Tenant(day_of_records(DAY, 30), Habits(refuses={"order", "time_of_day"})) as tenant:
        assert_complete(tenant, read(tenant, page_size=50))
        assert [request.params["created_after"] for request in tenant.seen[:3]] == [
            "2025-12-31T12:00:00",
            "2025-12-31T12:00:00",
            "2025-12-31",
        ]


@pytest.mark.parametrize("total", ["true", "absent"])
@pytest.mark.parametrize("cap", [None, 7])
def test_refused_offset_beyond_the_end_is_the_end(total: Any, cap: int | None) -> None:
    with Tenant(day_of_records(DAY, 30), Habits(refuses={"offset>29"}, total=total, cap=cap)) as tenant:
        result = read(tenant)
        assert_complete(tenant, result)
        assert result.request_form == "full"


@pytest.mark.parametrize("query", [WINDOW, Query(), Query(order="-start_time"), Query(lookback=5)])
def test_last_refusal_is_raised(query: Query) -> None:
    with (
        Tenant(day_of_records(DAY, 9), Habits(refuses={"offset"})) as tenant,
        pytest.raises(CloudlockRequestError, match="status 400 and says: Invalid value for parameter 'offset'"),
    ):
        read(tenant, query=query)
    sent = [tuple(sorted(request.params.items())) for request in tenant.seen]
    assert len(set(sent)) == len(sent) <= 4


@pytest.mark.parametrize("status", [404, 409])
def test_only_400_and_422_refuse_the_form(status: int) -> None:
    with (
        Tenant(day_of_records(DAY, 9), faults=responds(status)) as tenant,
        pytest.raises(CloudlockRequestError, match=f"status {status}"),
    ):
        read(tenant)
    assert len(tenant.seen) == 1


def test_order_of_caller_is_never_dropped() -> None:
    query = replace(WINDOW, order="-start_time")
    with (
        Tenant(day_of_records(DAY, 9), Habits(refuses={"order"})) as tenant,
        pytest.raises(CloudlockRequestError, match="parameter 'order'"),
    ):
        read(tenant, query=query)
    with Tenant(day_of_records(DAY, 150), Habits(refuses={"limit>100"})) as tenant:
        result = read(tenant, query=query)
        assert_complete(tenant, result)
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
def test_bound_semantics_do_not_change_the_records(
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


def test_read_of_open_windows_is_complete(kind: str) -> None:
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
def test_read_of_many_records_of_one_instant_is_complete(kind: str, ties: Any, cap: int) -> None:
    alike = [record(n, "2026-01-02T12:00:00Z") for n in range(150, 0, -1)]
    with Tenant(amid(alike), Habits(cap=cap, ties=ties)) as tenant:
        assert_complete(tenant, read(tenant, kind))


def test_read_of_text_ids_is_complete(kind: str) -> None:
    named = [each | {"id": f"G8qz{each['id']}"} for each in day_of_records(DAY, 60)]
    with Tenant(named, Habits(cap=7)) as tenant:
        assert_complete(tenant, read(tenant, kind))


def test_key_twice_in_one_page_is_kept_once(kind: str) -> None:
    records = day_of_records(DAY, 20)
    newer = records[5] | {"updated_at": "2026-01-05T00:00:00+00:00", "description": "newer"}
    with Tenant([*records, newer]) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(records))
        assert (result.duplicates, result.outside) == (1, 0)
        assert [each["description"] for each in rows(result) if str(each["id"]) == str(newer["id"])] == ["newer"]


def test_key_twice_around_a_page_end_keeps_newest(kind: str) -> None:
    records = day_of_records(DAY, 20)
    newer = records[6] | {"updated_at": "2026-01-05T00:00:00+00:00", "description": "newer"}
    with Tenant([*records, newer], Habits(cap=7)) as tenant:
        result = read(tenant, kind)
        assert sorted(keys(result)) == sorted(ids(records))
        assert [each["description"] for each in rows(result) if str(each["id"]) == str(newer["id"])] == ["newer"]


@pytest.mark.parametrize(
    ("updated_at", "kept"), [("2026-01-09T00:00:00Z", "changed"), ("2020-01-01T00:00:00Z", "held")]
)
def test_overlap_keeps_newest_version(kind: str, updated_at: str, kept: str) -> None:
    records = [each | {"description": "held"} for each in day_of_records(DAY, 20)]
    change = {2: lambda tenant: tenant.change(records[8]["id"], updated_at=updated_at, description="changed")}
    with Tenant(records, Habits(cap=9), before=change) as tenant:
        assert [each["description"] for each in rows(read(tenant, kind)) if each["description"] != "held"] == (
            ["changed"] if kept == "changed" else []
        )


def test_key_on_two_following_pages_is_kept_once(kind: str) -> None:
    records = day_of_records(DAY, 30)
    with Tenant([*records, records[8] | {"created_at": records[12]["created_at"]}]) as tenant:
        result = read(tenant, kind, page_size=10)
        assert sorted(keys(result)) == sorted(ids(records))


@pytest.mark.parametrize("days", [1, 2])
def test_key_on_two_pages_far_apart_fails(kind: str, days: int) -> None:
    """A creation time never changes, so neither version can be trusted."""
    records = [each for day in (DAY, NEXT)[:days] for each in day_of_records(day, 60)]
    twin = records[20] | {"created_at": records[-2]["created_at"], "updated_at": "2026-01-09T00:00:00Z"}
    query = Query(start=START, end=START + timedelta(days=days))
    with (
        Tenant([*records, twin], Habits(cap=10)) as tenant,
        pytest.raises(CloudlockDriftError, match="a record came on two pages"),
    ):
        read(tenant, kind, query=query)


# --- pages that lead nowhere ------------------------------------------------------------------------------------------

EMPTY = edited(items=[], results=0)


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("total", ["true", "absent", "page"])
def test_passing_empty_page_is_not_the_end(kind: str, number: int, total: Any) -> None:
    with Tenant(day_of_records(DAY, 100), Habits(cap=40, total=total), faults={number: EMPTY}) as tenant:
        assert_complete(tenant, read(tenant, kind))


def test_empty_pages_against_total_are_not_the_end() -> None:
    with Tenant(day_of_records(DAY, 100), faults={1: EMPTY, 2: EMPTY}) as tenant:
        assert_complete(tenant, read(tenant))


@pytest.mark.parametrize("cap", [None, 40])
def test_lasting_empty_pages_fail(cap: int | None) -> None:
    later = lambda request: EMPTY if request.params["offset"] != "0" else None  # noqa: E731
    with (
        Tenant(day_of_records(DAY, 100), Habits(cap=cap, total="absent"), faults=later) as tenant,
        pytest.raises(CloudlockDriftError, match="in 4 passes"),
    ):
        read(tenant)
    assert len(tenant.seen) <= 80


@pytest.mark.parametrize("size", [1, 2, 7])
def test_short_page_is_not_the_end(kind: str, size: int) -> None:
    def short(exchange: Exchange) -> None:
        envelope = exchange.envelope
        exchange.envelope = envelope | {"items": envelope["items"][:size], "results": size}

    for total in ("true", "absent"):
        habits = Habits(cap=40, total=total)
        with Tenant(day_of_records(DAY, 100), habits, faults={2: Fault("short", short)}) as tenant:
            assert_complete(tenant, read(tenant, kind))


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
def test_repeated_page_is_noticed(kind: str, first: int, again: int) -> None:
    repeats = _Repeats(first, again)
    with Tenant(day_of_records(DAY, 100), Habits(cap=40, echo=("results",)), faults=repeats.faults) as tenant:
        assert_complete(tenant, read(tenant, kind))


@pytest.mark.parametrize("count", [10, 9, 5])
def test_circular_pages_fail(kind: str, count: int) -> None:
    records = day_of_records(DAY, count)

    def turn(exchange: Exchange) -> None:
        offset = int(exchange.request.params["offset"])
        exchange.envelope = {"items": [records[(offset + n) % count] for n in range(5)]}

    with (
        Tenant(faults=Fault("turn", turn)) as tenant,
        pytest.raises(CloudlockDriftError, match="the beginning of the set came again"),
    ):
        read(tenant, kind)
    assert len(tenant.seen) <= 6 * count


# --- the beginning of a set, and its size -----------------------------------------------------------------------------


def test_read_stops_when_enough() -> None:
    days = [each for day in (BEFORE, DAY, NEXT) for each in day_of_records(day, 100)]
    with Tenant(days, Habits(cap=40)) as tenant:
        got = keys(read(tenant, query=Query(), at_most=90))
        assert got[:90] == ids(days)[:90]
        assert len(tenant.seen) == 3
        assert [request.params["limit"] for request in tenant.seen] == ["90"] * 3
        got = keys(read(tenant, at_most=10))
        assert got[:10] == ids(tenant.window(DAY, NEXT))[:10]
        assert {request.params["limit"] for request in tenant.seen[3:]} == {"10000"}  # not all records count
        assert len(tenant.seen) == 6


@pytest.mark.parametrize("count", [3, 5])
def test_read_may_find_less_than_wanted(count: int) -> None:
    with Tenant(day_of_records(DAY, count)) as tenant:
        assert len(keys(read(tenant, query=Query(), at_most=5))) == count


@pytest.mark.parametrize("status", ["Active", "Dismissed"])
def test_read_of_one_record_with_ignored_status(status: str) -> None:
    with Tenant(day_of_records(DAY, 12), Habits(ignores={"status"})) as tenant:
        result = read(tenant, query=Query(filters={"status": status}), at_most=1)
        first = next(each for each in tenant.records if each["status"] == status.upper())
        assert keys(result)[:1] == ids([first])


@pytest.mark.parametrize("total", ["true", "absent", "null"])
def test_total_is_the_count_of_the_api(total: Any) -> None:
    with Tenant(amid(day_of_records(DAY, 30)), Habits(total=total)) as tenant, reader_of(tenant) as reader:
        assert reader.endpoint.total(WINDOW) == (30 if total == "true" else None)
        (request,) = tenant.seen
    assert (request.params["limit"], request.params["offset"]) == ("1", "0")
    assert (request.params["created_after"], request.params["created_before"]) == (
        f"{DAY}T00:00:00",
        f"{NEXT}T00:00:00",
    )


def test_total_uses_simpler_forms_too() -> None:
    habits = Habits(refuses={"order", "time_of_day"})
    with Tenant(amid(day_of_records(DAY, 30)), habits) as tenant, reader_of(tenant) as reader:
        assert reader.endpoint.total(WINDOW) == 30
        tenant.behave(refuses={"offset"})
        with pytest.raises(CloudlockRequestError, match="parameter 'offset'"):
            reader.endpoint.total(WINDOW)


def test_read_of_thousands_of_records_is_complete(kind: str) -> None:
    with Tenant(day_of_records(DAY, 3_210), Habits(cap=1000)) as tenant:
        result = read(tenant, kind)
        assert keys(result) == ids(tenant.records)
        offsets = [int(request.params["offset"]) for request in tenant.seen]
    assert all(later - earlier == 998 for earlier, later in pairwise(offsets[:4]))


def test_read_raises_errors_of_this_package() -> None:
    with (
        Tenant(day_of_records(DAY, 9), faults=responds(401)) as tenant,
        pytest.raises(CloudlockError) as error,
    ):
        read(tenant)
    assert len(tenant.seen) == 1
    assert not error.value.retryable
