"""Bodies to pages of dicts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from airflow_provider_cloudlock.api.envelope import RecordFormat, RecordPage
from airflow_provider_cloudlock.api.resources import THREATS
from airflow_provider_cloudlock.exceptions import CloudlockDataError, CloudlockResponseError
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo, Mark
from tests.support import day_of_records, instant, record

DAY = "2026-01-02"
FORMAT = RecordFormat(THREATS)


def utc(*fields: int) -> datetime:
    return datetime(2026, 1, *fields, tzinfo=UTC)  # type: ignore[misc,arg-type]


def page(*items: Any, **envelope: Any) -> RecordPage:
    return FORMAT.decode(json.dumps({**envelope, "items": items}).encode())


def test_a_page_holds_the_records_as_they_came() -> None:
    records = day_of_records(DAY, 4)
    got = page(*records, limit=50, offset=10, total=14, results=4)
    assert list(got.records.values()) == records
    assert got.echo == Echo(limit=50, offset=10, total=14, results=4)
    assert (got.rows, got.distinct) == (4, 4)
    assert got.first == Mark(str(records[0]["id"]), instant(records[0]["created_at"]))
    assert got.last == Mark(str(records[3]["id"]), instant(records[3]["created_at"]))


@pytest.mark.parametrize(
    ("hours", "ascending", "descending", "tail"),
    [
        ([], True, True, 0),
        ([1], True, True, 1),
        ([1, 2, 3], True, False, 2),
        ([3, 2, 1], False, True, 2),
        ([1, 3, 2], False, False, 2),
        ([2, 1, 3], False, False, 2),
        ([1, 1], True, True, 2),
        ([1, 1, 2, 3], True, False, 2),
        ([1, 2, 3, 3], True, False, 3),
        ([3, 2, 2, 1], False, True, 2),
    ],
)
def test_a_page_tells_its_order_in_time(hours: list[int], ascending: bool, descending: bool, tail: int) -> None:
    got = page(*(record(n, utc(2, hour)) for n, hour in enumerate(hours)))
    assert (got.ascending, got.descending, len(got.tail())) == (ascending, descending, tail)
    assert got.head(len(hours))[len(hours) - tail :] == got.tail()


def test_a_page_with_a_record_of_no_known_time_is_in_no_order() -> None:
    got = page(record(1, utc(2, 1)), record(2, utc(2, 2)) | {"created_at": "soon"}, record(3, utc(2, 3)))
    assert (got.ascending, got.descending) == (False, False)


def test_a_page_may_be_empty_and_its_envelope_bare() -> None:
    got = page()
    assert (got.rows, got.first, got.last, got.distinct) == (0, None, None, 0)
    assert got.echo == Echo()
    assert page(limit=None, total=None).echo == Echo()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "An object with a list of records"),
        ([{"id": 1}], "An object with a list of records"),
        (7, "An object with a list of records"),
        (None, "An object with a list of records"),
        ("items", "An object with a list of records"),
        ({}, "no list under 'items'"),
        ({"items": None}, "no list under 'items'"),
        ({"items": {}}, "no list under 'items'"),
        ({"items": "[]"}, "no list under 'items'"),
        ({"results": [{"id": 1}]}, "no list under 'items'"),
        ({"items": [None]}, "something that is not an object"),
        ({"items": [{"id": 1}, 2]}, "something that is not an object"),
        ({"items": [[]]}, "something that is not an object"),
        ({"error": "busy"}, "carries 'error'"),
        ({"message": "busy", "items": []}, "carries 'message'"),
        ({"errors": [{"code": 1}], "items": [{"id": 1}]}, "carries 'errors'"),
        ({"items": [], "total": "0"}, "'total' is not a whole number"),
        ({"items": [], "results": 0.0}, "'results' is not a whole number"),
        ({"items": [], "offset": False}, "'offset' is not a whole number"),
        ({"items": [], "limit": [20]}, "'limit' is not a whole number"),
    ],
)
def test_what_is_no_page(document: object, why: str) -> None:
    with pytest.raises(CloudlockResponseError, match=why):
        FORMAT.decode(json.dumps(document).encode())


def test_an_empty_error_beside_records_is_none() -> None:
    assert FORMAT.decode(b'{"items":[{"id":1}],"error":null,"message":"","errors":[]}').rows == 1


def test_ids_as_numbers_and_as_text_are_the_same_key() -> None:
    assert page({"id": 7}).first == page({"id": "7"}).first == Mark("7", None)


@pytest.mark.parametrize("nameless", [None, "", 1.5, True, [7], {"a": 1}])
def test_records_without_a_usable_key_are_told_apart_by_all_they_hold(nameless: object) -> None:
    first, second = {"id": nameless, "event_count": 1}, {"id": nameless, "event_count": 2}
    assert page(first, second).distinct == 2
    assert page(first, first).distinct == 1
    assert page(first).first != page(second).first
    assert page({"event_count": 1}, {"event_count": 2}).distinct == 2


def test_of_a_key_given_twice_the_newest_stays() -> None:
    old = record(1, DAY, updated_at="2026-01-02T01:00:00Z", event_count=1)
    new = old | {"updated_at": "2026-01-02T00:30:00-01:00", "event_count": 2}
    undated = old | {"updated_at": None, "event_count": 3}
    later = new | {"event_count": 4}
    for items, kept in [((old, new), 2), ((new, old), 2), ((new, undated), 2), ((undated, old), 1), ((new, later), 4)]:
        got = page(*items)
        assert (got.rows, got.distinct) == (2, 1)
        assert got.records["1"]["event_count"] == kept


def test_a_page_can_do_without_a_record() -> None:
    records = day_of_records(DAY, 3)
    got = page(*records)
    assert list(got.without(str(records[0]["id"])).records.values()) == records[1:]
    assert list(got.without("unknown").records.values()) == records
    assert got.distinct == 3


def test_a_page_tells_the_version_of_a_record() -> None:
    got = page(record(1, DAY, updated_at="2026-01-02T01:00:00Z"), record(2, DAY, updated_at=None))
    assert (got.version("1"), got.version("2"), got.version("3")) == (utc(2, 1), NEVER_UPDATED, None)
    assert got.versions() == [("1", utc(2, 1)), ("2", NEVER_UPDATED)]


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
def test_what_lies_in_a_window_lies_between_its_start_and_before_its_end(created: str, inside: bool) -> None:
    got = page(record(1, created))
    assert got.select(utc(2), utc(3), None).distinct == inside
    assert got.select(None, None, None).distinct == 1
    assert got.select(utc(1), utc(4), None).distinct == 1


def test_the_first_time_field_there_is_counts() -> None:
    inside, outside = "2026-01-02T12:00:00Z", "2026-01-05T12:00:00Z"
    cases: list[tuple[dict[str, Any], int]] = [
        ({"created_at": inside, "detected_at": outside}, 1),
        ({"created_at": None, "detected_at": inside}, 1),
        ({"detected_at": inside}, 1),
        ({"detected_at": outside}, 0),
    ]
    for times, kept in cases:
        assert page({"id": 1, **times}).select(utc(2), utc(3), None).distinct == kept


@pytest.mark.parametrize("created", [None, "soon", 1767323045, "2026-02-30"])
def test_a_record_without_a_time_is_no_part_of_a_window_and_no_reason_to_be_silent(created: object) -> None:
    got = page({"id": 7, "created_at": created})
    assert got.select(None, None, None).distinct == 1
    with pytest.raises(CloudlockDataError, match="the id 7 has no creation time"):
        got.select(utc(2), None, None)
    with pytest.raises(CloudlockDataError, match="the id 7 has no creation time"):
        got.select(None, utc(2), None)


def test_only_another_known_status_is_left_out() -> None:
    statuses: list[object] = ["ACTIVE", "Dismissed", "DISMISSED", "ARCHIVED", None, 3]
    got = page(*({"id": n, "status": status} for n, status in enumerate(statuses)))
    kept = got.select(None, None, "dismissed").records.values()
    assert [each["status"] for each in kept] == ["ACTIVE", "ARCHIVED", None, 3]


def test_different_keys_are_counted_over_pages() -> None:
    one, other = FORMAT.gather(), FORMAT.gather()
    assert (one.distinct(), one.count) == (0, 0)
    one.add(page({"id": 1}, {"id": 2}))
    other.add(page({"id": "2"}, {"id": 3}))
    assert (one.distinct(), one.distinct(other)) == (2, 3)
    one.join(other)
    assert (one.distinct(), one.count, [each["id"] for each in one]) == (3, 4, [1, 2, "2", 3])


def test_of_records_that_came_again_the_newest_versions_stay() -> None:
    gathered = FORMAT.gather()
    early, late = utc(2, 1).isoformat(), utc(2, 2).isoformat()
    gathered.add(page({"id": 1, "n": 1, "updated_at": late}, {"id": 2, "n": 2, "updated_at": early}, {"id": 3, "n": 3}))
    gathered.add(page({"id": 1, "n": 4, "updated_at": early}, {"id": "2", "n": 5, "updated_at": late}))
    gathered.add(page({"id": 3, "n": 6}, {"id": 4, "n": 7}))
    newest = gathered.newest()
    assert sorted(each["n"] for each in newest) == [1, 5, 6, 7]
    assert (newest.count, newest.distinct()) == (4, 4)


def test_versions_are_compared() -> None:
    one, other = FORMAT.gather(), FORMAT.gather()
    early, late = utc(2, 1).isoformat(), utc(2, 2).isoformat()
    one.add(page({"id": 1, "updated_at": early}, {"id": 2, "updated_at": early}, {"id": 3}, {"id": 4}))
    other.add(page({"id": 3}, {"id": "2", "updated_at": late}, {"id": 1, "updated_at": early}))
    assert dict(one.compared(other)) == {"1": True, "2": False, "3": True, "4": False}
    assert dict(other.compared(one)) == {"1": True, "2": False, "3": True}
    assert dict(FORMAT.gather().compared(one)) == {}
    assert set(dict(one.compared(FORMAT.gather())).values()) == {False}
