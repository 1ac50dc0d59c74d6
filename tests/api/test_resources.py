"""How a query is written: its bounds, and the forms it is asked in."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airflow_provider_cloudlock.api.resources import RESOURCES, THREATS, Form, Query, Resource, resource_named
from airflow_provider_cloudlock.exceptions import CloudlockConfigError

TIMED = replace(THREATS, name="incidents", path="incidents", bounds="time")
FULL, DATES = Form("full"), Form("dates", order=False, limit=100, dates=True)


def at(*fields: int) -> datetime:
    return datetime(2026, 1, *fields, tzinfo=UTC)  # type: ignore[misc,arg-type]


DAY = Query(start=at(2), end=at(3))
PART = Query(start=at(2, 6, 0, 0, 1), end=at(2, 6, 0, 0, 2))


@pytest.mark.parametrize(
    ("resource", "form", "query", "bounds"),
    [
        (THREATS, FULL, DAY, ("2026-01-01T23:59:59", "2026-01-03T00:00:01")),
        (THREATS, FULL, PART, ("2026-01-01T23:59:59", "2026-01-03T00:00:01")),
        (THREATS, FULL, Query(start=at(1), end=at(1, 0, 0, 0, 1)), ("2025-12-31T23:59:59", "2026-01-02T00:00:01")),
        (THREATS, DATES, DAY, ("2026-01-01", "2026-01-04")),
        (THREATS, DATES, PART, ("2026-01-01", "2026-01-04")),
        (TIMED, FULL, DAY, ("2026-01-01T23:59:59", "2026-01-03T00:00:01")),
        (TIMED, FULL, PART, ("2026-01-02T05:59:59", "2026-01-02T06:00:02")),
        (TIMED, DATES, PART, ("2026-01-01", "2026-01-04")),
    ],
)
def test_bounds_are_asked_for_wider_than_the_window(
    resource: Resource, form: Form, query: Query, bounds: tuple[str, str]
) -> None:
    parameters = query.parameters(resource, form)
    assert (parameters["created_after"], parameters["created_before"]) == bounds


@pytest.mark.parametrize("resource", [THREATS, TIMED], ids=["date", "time"])
def test_bounds_of_a_count_are_written_as_they_are(resource: Resource) -> None:
    parameters = Query(start=at(2), end=at(2, 6)).parameters(resource, FULL, wider=False)
    assert (parameters["created_after"], parameters["created_before"]) == ("2026-01-02T00:00:00", "2026-01-02T06:00:00")
    fraction = PART.parameters(resource, FULL, wider=False)
    assert (fraction["created_after"], fraction["created_before"]) == ("2026-01-02T06:00:00", "2026-01-02T06:00:01")


def test_bounds_are_utc_whatever_zone_they_came_in() -> None:
    east = timezone(timedelta(hours=13))
    query = Query(start=at(2).astimezone(east), end=at(3).astimezone(east))
    assert query.parameters(TIMED, FULL) == DAY.parameters(TIMED, FULL)


@pytest.mark.parametrize("form", [FULL, DATES], ids=["full", "dates"])
@pytest.mark.parametrize("resource", [THREATS, TIMED], ids=["date", "time"])
def test_the_edges_of_the_calendar_can_be_asked_for(resource: Resource, form: Form) -> None:
    ends = Query(start=datetime.min.replace(tzinfo=UTC), end=datetime.max.replace(tzinfo=UTC))
    parameters = ends.parameters(resource, form)
    assert parameters["created_after"].startswith("0001-01-01")
    assert parameters["created_before"].startswith("9999-12-31")


def test_every_parameter_has_the_name_and_the_unit_of_the_vendor() -> None:
    query = replace(DAY, status="Dismissed", start_time=30)
    assert query.parameters(THREATS, FULL) == {
        "order": "created_at",
        "created_after": "2026-01-01T23:59:59",
        "created_before": "2026-01-03T00:00:01",
        "status": "Dismissed",
        "start_time": "30",
    }
    assert Query().parameters(THREATS, FULL) == {"order": "created_at"}
    assert Query(order="-start_time").parameters(THREATS, DATES) == {"order": "-start_time"}


def test_forms_add_up_from_the_best_to_the_plainest() -> None:
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


def test_halves_meet_in_the_middle() -> None:
    left, right = DAY.halves() or (None, None)
    assert left == Query(start=at(2), end=at(2, 12))
    assert right == Query(start=at(2, 12), end=at(3))
    odd = replace(DAY, end=at(2, 0, 0, 3, 500_000), status="Active")
    left, right = odd.halves() or (None, None)
    assert left == replace(odd, end=at(2, 0, 0, 1))
    assert right == replace(odd, start=at(2, 0, 0, 1))


def test_what_is_open_or_too_short_has_no_halves() -> None:
    for query in (Query(), Query(start=at(2)), Query(end=at(2)), replace(DAY, end=at(2, 0, 0, 1, 999_999))):
        assert query.halves() is None
    assert replace(DAY, end=at(2, 0, 0, 2)).halves() is not None


def test_the_catalogue() -> None:
    assert resource_named("threats") is THREATS is RESOURCES["threats"]
    assert (THREATS.page_cap, THREATS.plain_page, THREATS.bounds) == (100_000, 100, "date")
    for unknown in ("Threats", "", None, ["threats"]):
        with pytest.raises(CloudlockConfigError, match=r"is not known\. Known resources: threats"):
            resource_named(unknown)
