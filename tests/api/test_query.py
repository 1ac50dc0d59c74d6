"""How a query is written: its bounds, the forms it is requested in, and the ranges it is cut into."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.api.query import Form, Query
from airflow_provider_cloudlock.resources import RESOURCES, Bounds

THREATS = RESOURCES["threats"]
FULL, DATES = Form("full"), Form("dates", order=False, limit=100, dates=True)


def at(*fields: int) -> datetime:
    return datetime(2026, 1, *fields, tzinfo=UTC)  # type: ignore[misc,arg-type]


DAY = Query(start=at(2), end=at(3))
PART = Query(start=at(2, 6, 0, 0, 1), end=at(2, 6, 0, 0, 2))


@pytest.mark.parametrize(
    ("form", "query", "bounds"),
    [
        (FULL, DAY, ("2025-12-31T12:00:00", "2026-01-04T00:00:00")),
        (FULL, PART, ("2025-12-31T12:00:00", "2026-01-04T00:00:00")),
        (FULL, Query(start=at(1), end=at(1, 0, 0, 0, 1)), ("2025-12-30T12:00:00", "2026-01-03T00:00:00")),
        (DATES, DAY, ("2025-12-31", "2026-01-04")),
        (DATES, PART, ("2025-12-31", "2026-01-04")),
    ],
)
def test_parameters_bounds_are_wider_than_window(form: Form, query: Query, bounds: tuple[str, str]) -> None:
    parameters = query.parameters(THREATS, form)
    assert (parameters["created_after"], parameters["created_before"]) == bounds


@given(
    zone=st.integers(-12 * 60, 14 * 60).map(lambda minutes: timedelta(minutes=minutes)),
    start=st.integers(0, 3 * 86_400),
    length=st.integers(1, 3 * 86_400),
    dates=st.booleans(),
    compares=st.sampled_from(["instants", "local dates"]),
    reads=st.sampled_from(["local", "UTC"]),
)
@settings(max_examples=500, deadline=None)
def test_parameters_bounds_include_window_whatever_the_server_reads(
    zone: timedelta, start: int, length: int, dates: bool, compares: str, reads: str
) -> None:
    """A server of any time zone that excludes both bounds must still list the first and the last record."""
    query = Query(start=at(2) + timedelta(seconds=start), end=at(2) + timedelta(seconds=start + length))
    assert query.start is not None
    assert query.end is not None
    local = timezone(zone)
    parameters = query.parameters(THREATS, DATES if dates else FULL)
    after, before = (
        datetime.fromisoformat(parameters[name]).replace(tzinfo=local if reads == "local" else UTC)
        for name in ("created_after", "created_before")
    )
    for record in (query.start, query.end - timedelta(microseconds=1)):
        if compares == "instants":
            assert after < record < before
        else:
            assert after.astimezone(local).date() < record.astimezone(local).date() < before.astimezone(local).date()


def test_parameters_of_count_have_exact_bounds() -> None:
    parameters = Query(start=at(2), end=at(2, 6)).parameters(THREATS, FULL, widen=False)
    assert (parameters["created_after"], parameters["created_before"]) == ("2026-01-02T00:00:00", "2026-01-02T06:00:00")


def test_parameters_bounds_are_utc_from_any_zone() -> None:
    east = timezone(timedelta(hours=13))
    query = Query(start=at(2).astimezone(east), end=at(3).astimezone(east))
    assert query.parameters(THREATS, FULL) == DAY.parameters(THREATS, FULL)


@pytest.mark.parametrize("form", [FULL, DATES], ids=["full", "dates"])
def test_parameters_bounds_reach_the_edges_of_the_calendar(form: Form) -> None:
    ends = Query(start=datetime.min.replace(tzinfo=UTC), end=datetime.max.replace(tzinfo=UTC))
    parameters = ends.parameters(THREATS, form)
    assert parameters["created_after"].startswith("0001-01-01")
    assert parameters["created_before"].startswith("9999-12-31")


def test_parameters_have_the_names_and_units_of_the_vendor() -> None:
    query = replace(DAY, filters={"status": "Dismissed"}, lookback=30)
    assert query.parameters(THREATS, FULL) == {
        "order": "created_at",
        "created_after": "2025-12-31T12:00:00",
        "created_before": "2026-01-04T00:00:00",
        "status": "Dismissed",
        "start_time": "30",
    }
    assert Query().parameters(THREATS, FULL) == {"order": "created_at"}
    assert Query(order="-start_time").parameters(THREATS, DATES) == {"order": "-start_time"}


def test_parameters_leave_out_what_the_resource_lacks() -> None:
    resource = replace(THREATS, lookback=None, bounds=Bounds(before=None))
    parameters = replace(DAY, lookback=30).parameters(resource, FULL)
    assert parameters == {"order": "created_at", "created_after": "2025-12-31T12:00:00"}


def test_forms_go_from_most_precise_to_plainest() -> None:
    assert DAY.forms(THREATS) == (
        Form("full"),
        Form("no order", order=False),
        Form("limit 100", order=False, limit=100),
        Form("dates", order=False, limit=100, dates=True),
    )
    written = [DAY.parameters(THREATS, form) for form in DAY.forms(THREATS)]
    assert [set(parameters) for parameters in written] == [
        {"order", "created_after", "created_before"},
        *[{"created_after", "created_before"}] * 3,
    ]


def test_forms_leave_out_what_makes_no_difference() -> None:
    assert [form.name for form in Query().forms(THREATS)] == ["full", "no order", "limit 100"]
    assert [form.name for form in Query(order="-start_time").forms(THREATS)] == ["full", "limit 100"]
    assert [form.name for form in Query(start=at(2)).forms(THREATS)][-1] == "dates"
    assert [form.name for form in Query(end=at(2)).forms(THREATS)][-1] == "dates"


def test_selection_excludes_the_other_documented_values() -> None:
    query = replace(DAY, filters={"status": "Active"})
    assert query.selection(THREATS).excluded == {"status": {"dismissed"}}
    assert (query.selection(THREATS).start, query.selection(THREATS).end) == (at(2), at(3))


@pytest.mark.parametrize(
    ("days", "total", "lengths"),
    [
        (1, None, [1]),
        (31, 10**9, [31]),
        (32, None, [31, 1]),
        (365, None, [*[31] * 11, 24]),
        (365, 14_600, [365]),
        (365, 0, [365]),
        (365, 730_000, [*[50] * 7, 15]),
        (40, 10**9, [1] * 40),
    ],
)
def test_ranges_hold_about_a_hundred_thousand_records(days: int, total: int | None, lengths: list[int]) -> None:
    window = Query(start=at(1), end=at(1) + timedelta(days=days), filters={"status": "Active"})
    counts = []
    ranges = window.ranges(lambda: counts.append(1) or total)
    assert [len(each.days()) for each in ranges] == lengths
    assert len(counts) == (days > 31)
    assert ranges[0].start == window.start
    assert ranges[-1].end == window.end
    assert all(one.end == other.start for one, other in pairwise(ranges))
    assert {each.filters["status"] for each in ranges} == {"Active"}


def test_days_end_at_midnights_and_at_the_window() -> None:
    query = Query(start=at(2, 6), end=at(4, 1))
    assert [(each.start, each.end) for each in query.days()] == [
        (at(2, 6), at(3)),
        (at(3), at(4)),
        (at(4), at(4, 1)),
    ]
    assert Query(start=at(2)).days() == [Query(start=at(2))]
    assert Query(start=at(2)).ranges(lambda: 5) == [Query(start=at(2))]
