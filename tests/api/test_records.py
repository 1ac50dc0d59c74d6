"""Bodies to pages of dicts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_cloudlock.api.records import Record, RecordFormat, RecordPage
from airflow_provider_cloudlock.exceptions import CloudlockDataError, CloudlockResponseError
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo, Mark, Selection
from airflow_provider_cloudlock.resources import RESOURCES
from tests.support import day_of_records, instant, record

DAY = "2026-01-02"
FORMAT = RecordFormat(RESOURCES["threats"])
EVERYTHING = Selection(None, None, {})


def utc(*fields: int) -> datetime:
    return datetime(2026, 1, *fields, tzinfo=UTC)  # type: ignore[misc,arg-type]


def page(*items: Any, **envelope: Any) -> RecordPage:
    return FORMAT.decode(json.dumps({**envelope, "items": items}).encode())


def held(got: RecordPage) -> list[Record]:
    """Return the records of a page."""
    return [each for _, each in got.records.values()]


def between(start: datetime | None, end: datetime | None) -> Selection:
    """Select a window."""
    return Selection(start, end, {})


def test_page_holds_records_in_order_received() -> None:
    records = day_of_records(DAY, 4)
    got = page(*records, limit=50, offset=10, total=14, results=4)
    assert held(got) == records
    assert got.echo == Echo(limit=50, offset=10, total=14, results=4)
    assert (got.rows, got.distinct) == (4, 4)
    marks = tuple(
        Mark(str(each["id"]), instant(each["created_at"]), instant(each["updated_at"]) or NEVER_UPDATED)
        for each in records
    )
    assert got.marks() == marks
    assert (got.marks(1, 3), got.marks(3), got.marks(0, 9)) == (marks[1:3], marks[3:], marks)


@pytest.mark.parametrize(
    ("hours", "ascending", "descending"),
    [
        ([], True, True),
        ([1], True, True),
        ([1, 2, 3], True, False),
        ([3, 2, 1], False, True),
        ([1, 3, 2], False, False),
        ([1, 1], True, True),
        ([1, 1, 2, 3], True, False),
        ([3, 2, 2, 1], False, True),
    ],
)
def test_page_reports_its_order_in_time(hours: list[int], ascending: bool, descending: bool) -> None:
    got = page(*(record(n, utc(2, hour)) for n, hour in enumerate(hours)))
    assert (got.ascending, got.descending) == (ascending, descending)
    for hour in set(hours):
        assert got.keys_created_at(utc(2, hour)) == {str(n) for n, other in enumerate(hours) if other == hour}


def test_page_with_unknown_time_is_in_no_order() -> None:
    got = page(record(1, utc(2, 1)), record(2, utc(2, 2)) | {"created_at": "soon"}, record(3, utc(2, 3)))
    assert (got.ascending, got.descending) == (False, False)


def test_page_may_be_empty_and_envelope_bare() -> None:
    got = page()
    assert (got.rows, got.marks(), got.distinct) == (0, (), 0)
    assert got.echo == Echo()
    assert page(limit=None, total=None).echo == Echo()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "Expected a JSON object with a list of records"),
        ([{"id": 1}], "Expected a JSON object with a list of records"),
        (7, "Expected a JSON object with a list of records"),
        (None, "Expected a JSON object with a list of records"),
        ("items", "Expected a JSON object with a list of records"),
        ({}, "no list under 'items'"),
        ({"items": None}, "no list under 'items'"),
        ({"items": {}}, "no list under 'items'"),
        ({"items": "[]"}, "no list under 'items'"),
        ({"results": [{"id": 1}]}, "no list under 'items'"),
        ({"items": [None]}, "a value that is not an object"),
        ({"items": [{"id": 1}, 2]}, "a value that is not an object"),
        ({"items": [[]]}, "a value that is not an object"),
        ({"error": "busy"}, "has 'error'"),
        ({"message": "busy", "items": []}, "has 'message'"),
        ({"errors": [{"code": 1}], "items": [{"id": 1}]}, "has 'errors'"),
        ({"items": [], "total": "0"}, "'total' is not an integer"),
        ({"items": [], "results": 0.0}, "'results' is not an integer"),
        ({"items": [], "offset": False}, "'offset' is not an integer"),
        ({"items": [], "limit": [20]}, "'limit' is not an integer"),
    ],
)
def test_invalid_page_is_refused(document: object, why: str) -> None:
    with pytest.raises(CloudlockResponseError, match=why):
        FORMAT.decode(json.dumps(document).encode())


def test_empty_error_beside_records_is_ignored() -> None:
    assert FORMAT.decode(b'{"items":[{"id":1}],"error":null,"message":"","errors":[]}').rows == 1


def test_key_of_number_and_text_is_the_same() -> None:
    assert page({"id": 7}).marks() == page({"id": "7"}).marks() == (Mark("7", None, NEVER_UPDATED),)


@pytest.mark.parametrize("nameless", [None, "", 1.5, True, [7], {"a": 1}])
def test_records_without_key_differ_by_content(nameless: object) -> None:
    first, second = {"id": nameless, "event_count": 1}, {"id": nameless, "event_count": 2}
    assert page(first, second).distinct == 2
    assert page(first, first).distinct == 1
    assert page(first).marks() != page(second).marks()
    assert page({"event_count": 1}, {"event_count": 2}).distinct == 2


def test_duplicate_key_keeps_newest_version() -> None:
    old = record(1, DAY, updated_at="2026-01-02T01:00:00Z", event_count=1)
    new = old | {"updated_at": "2026-01-02T00:30:00-01:00", "event_count": 2}
    undated = old | {"updated_at": None, "event_count": 3}
    later = new | {"event_count": 4}
    for items, kept in [((old, new), 2), ((new, old), 2), ((new, undated), 2), ((undated, old), 1), ((new, later), 4)]:
        got = page(*items)
        assert (got.rows, got.distinct) == (2, 1)
        assert held(got)[0]["event_count"] == kept


@pytest.mark.parametrize(
    ("earlier", "later", "kept"),
    [
        ("01", "02", "later"),
        ("02", "01", "earlier"),
        ("01", "01", "later"),
        (None, "01", "later"),
        (None, None, "later"),
    ],
)
def test_reconcile_keeps_newest_version_of_common_records(earlier: str | None, later: str | None, kept: str) -> None:
    one, other = day_of_records(DAY, 3), day_of_records(DAY, 3)
    for name, version, each in (("earlier", earlier, one[2]), ("later", later, other[0])):
        each |= {"id": 9, "updated_at": version and f"{DAY}T{version}:00:00Z", "description": name}
    first, second = page(*other).reconcile(page(*one))
    both = [*held(first), *held(second)]
    assert [each["description"] for each in both if each["id"] == 9] == [kept]
    assert (first.rows, second.rows) == (3, 3)


@pytest.mark.parametrize(
    ("created", "inside"),
    [
        ("2026-01-01T23:59:59.999999Z", False),
        ("2026-01-02T00:00:00Z", True),
        ("2026-01-02T00:59:59+01:00", False),
        ("2026-01-02", True),
        ("2026-01-02T23:59:59.999999Z", True),
        ("2026-01-03T00:00:00Z", False),
        ("2026-01-02T23:30:00-01:00", False),
    ],
)
def test_select_keeps_half_open_window(created: str, inside: bool) -> None:
    got = page(record(1, created))
    assert got.select(between(utc(2), utc(3))).distinct == inside
    assert got.select(EVERYTHING).distinct == 1
    assert got.select(between(utc(1), utc(4))).distinct == 1


def test_select_uses_first_time_field_present() -> None:
    inside, outside = "2026-01-02T12:00:00Z", "2026-01-05T12:00:00Z"
    cases: list[tuple[dict[str, Any], int]] = [
        ({"created_at": inside, "detected_at": outside}, 1),
        ({"created_at": None, "detected_at": inside}, 1),
        ({"detected_at": inside}, 1),
        ({"detected_at": outside}, 0),
    ]
    for times, kept in cases:
        assert page({"id": 1, **times}).select(between(utc(2), utc(3))).distinct == kept


@pytest.mark.parametrize("created", [None, "soon", 1767323045, "2026-02-30"])
def test_select_by_window_fails_for_unknown_time(created: object) -> None:
    got = page({"id": 7, "created_at": created})
    assert got.select(EVERYTHING).distinct == 1
    with pytest.raises(CloudlockDataError, match="the id 7 has no readable creation time"):
        got.select(between(utc(2), None))
    with pytest.raises(CloudlockDataError, match="the id 7 has no readable creation time"):
        got.select(between(None, utc(2)))


def test_select_drops_documented_other_values_only() -> None:
    statuses: list[object] = ["ACTIVE", "Dismissed", "DISMISSED", "ARCHIVED", None, 3]
    got = page(*({"id": n, "status": status} for n, status in enumerate(statuses)))
    kept = held(got.select(Selection(None, None, {"status": {"dismissed"}})))
    assert [each["status"] for each in kept] == ["ACTIVE", "ARCHIVED", None, 3]


def test_collector_counts_different_keys_over_pages() -> None:
    collector = FORMAT.collector()
    assert (collector.distinct(), collector.count) == (0, 0)
    collector.add(page({"id": 1}, {"id": 2}))
    collector.add(page({"id": "2"}, {"id": 3}))
    assert (collector.distinct(), collector.count, [each["id"] for each in collector]) == (3, 4, [1, 2, "2", 3])
