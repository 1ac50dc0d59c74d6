"""ArrowPage: marks, order, selection and reconciliation of overlapping pages."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Selection
from airflow_provider_cloudlock.resources import RESOURCES
from tests.support import instant, record

LAYOUT = Layout.of(RESOURCES["threats"])
DAY = "2026-01-02"
NAMELESS = {"id": None, "created_at": DAY}


def hour(number: int) -> datetime:
    return datetime(2026, 1, 2, number, tzinfo=UTC)


def page_of(*records: Any) -> ArrowPage:
    return ArrowFormat(LAYOUT).decode(json.dumps({"items": records}).encode())


def ids(page: ArrowPage) -> list[str]:
    found: list[str] = page.table["id"].to_pylist()
    return found


# --- marks and order --------------------------------------------------------------------------------------------------


def test_marks_tell_every_record_as_received() -> None:
    old = record(1, DAY, updated_at=f"{DAY}T01:00:00Z")
    new = old | {"updated_at": f"{DAY}T02:00:00Z"}
    page = page_of(new, NAMELESS, record(2, DAY, updated_at=None), old)
    keys = [mark.key for mark in page.marks()]
    assert (keys[0], keys[2], keys[3]) == ("1", "2", "1")
    assert keys[1].startswith("\0")
    updated = [mark.updated for mark in page.marks()]
    assert updated == [instant(new["updated_at"]), NEVER_UPDATED, NEVER_UPDATED, instant(old["updated_at"])]
    assert [mark.created for mark in page.marks()] == [hour(0)] * 4
    assert list(page_of().marks()) == []


def test_marks_of_part_are_slice_of_marks() -> None:
    page = page_of(*(record(n, DAY) for n in range(5)))
    marks = tuple(page.marks())
    assert len(marks) == 5
    for start, stop in ((0, 2), (3, None), (1, 4), (4, 9), (7, 9), (3, 1), (0, 0)):
        assert tuple(page.marks(start, stop)) == marks[start:stop], (start, stop)


def test_keys_created_at_instant_include_unkept_records() -> None:
    page = page_of(record(1, DAY), NAMELESS, record(2, f"{DAY}T01:00:00Z"), record(3, DAY), {"id": 4})
    marks = page.marks()
    assert page.keys_created_at(hour(0)) == {"1", marks[1].key, "3"}
    assert page.keys_created_at(hour(1)) == {"2"}
    assert page.keys_created_at(hour(2)) == set()


def test_order_compares_creation_times() -> None:
    early, late = record(1, f"{DAY}T01:00:00Z"), record(2, f"{DAY}T02:00:00Z")
    expected = {
        (): (True, True),
        ("early",): (True, True),
        ("early", "late"): (True, False),
        ("late", "early"): (False, True),
        ("early", "early", "late"): (True, False),
        ("late", "early", "early"): (False, True),
        ("early", "late", "early"): (False, False),
        ("early", "early", "early"): (True, True),
    }
    for names, order in expected.items():
        page = page_of(*({"early": early, "late": late}[name] for name in names))
        assert (page.ascending, page.descending) == order, names


@pytest.mark.parametrize("unreadable", [None, "soon"])
def test_order_with_unreadable_creation_time_is_none(unreadable: str | None) -> None:
    page = page_of(record(1, DAY), record(2, DAY) | {"created_at": unreadable})
    assert (page.ascending, page.descending) == (False, False)


# --- duplicates -------------------------------------------------------------------------------------------------------


def test_page_duplicate_key_keeps_newest_update() -> None:
    older, newer = (record(7, DAY, updated_at=f"{DAY}T0{hour}:00:00Z") for hour in (1, 2))
    for pair in ((older, newer), (newer, older)):
        page = page_of(record(6, DAY), *pair, record(8, DAY))
        assert (page.rows, page.distinct) == (4, 3)
        assert ids(page) == ["6", "7", "8"]
        assert page.table["updated_at"].to_pylist()[1] == hour(2)


def test_page_duplicate_key_prefers_any_update_to_none() -> None:
    never, once = record(7, DAY, updated_at=None, event_count=1), record(7, DAY, updated_at=DAY, event_count=2)
    for pair in ((never, once), (once, never)):
        assert page_of(*pair).table["event_count"].to_pylist() == [2]


def test_page_equal_duplicates_keep_later_position() -> None:
    one, other = (record(7, DAY, updated_at=DAY, event_count=n) for n in (1, 2))
    page = page_of(one, record(6, DAY), other)
    assert ids(page) == ["6", "7"]
    assert page.table["event_count"].to_pylist()[1] == 2


# --- selection --------------------------------------------------------------------------------------------------------


def test_select_keeps_half_open_window_and_drops_excluded() -> None:
    statuses = ["ACTIVE", "Dismissed", "ACTIVE", None, "ARCHIVED", "ACTIVE"]
    page = page_of(*(record(n, hour(n), status=status) for n, status in enumerate(statuses)))
    assert ids(page.select(Selection(hour(1), hour(5), {}))) == ["1", "2", "3", "4"]
    assert ids(page.select(Selection(hour(1), hour(5), {"status": {"dismissed"}}))) == ["2", "3", "4"]
    assert ids(page.select(Selection(None, hour(1), {}))) == ["0"]
    assert ids(page.select(Selection(hour(5), None, {}))) == ["5"]
    assert ids(page.select(Selection(None, None, {}))) == ids(page)


def test_select_uses_detection_time_without_creation_time() -> None:
    page = page_of({"id": 1, "detected_at": f"{DAY}T10:00:00Z"}, record(2, f"{DAY}T11:00:00Z"))
    assert ids(page.select(Selection(hour(10), hour(11), {}))) == ["1"]


def test_select_keeps_unkept_records_that_may_belong() -> None:
    nameless = [NAMELESS | {"created_at": f"{DAY}T0{n}:00:00Z"} for n in range(4)]
    timeless = {"id": 9, "created_at": "soon"}
    selected = page_of(*nameless, timeless).select(Selection(hour(1), hour(3), {}))
    assert [each for each, _ in selected.unkept.values()] == [*nameless[1:3], timeless]


# --- overlapping pages ------------------------------------------------------------------------------------------------


def test_reconcile_keeps_newest_version_on_its_page() -> None:
    one, two = record(1, DAY, updated_at=f"{DAY}T01:00:00Z"), record(2, DAY, updated_at=None)
    newer_one = one | {"updated_at": f"{DAY}T02:00:00Z"}
    earlier, later = page_of(newer_one, two, NAMELESS), page_of(one, two, NAMELESS, record(3, DAY))
    before, after = later.reconcile(earlier)
    assert (ids(before), ids(after)) == (["1"], ["2", "3"])
    assert before.table["updated_at"].to_pylist() == [hour(2)]
    assert (len(before.unkept), len(after.unkept)) == (0, 1)
    before, after = earlier.reconcile(later)
    assert (ids(before), ids(after)) == (["3"], ["1", "2"])
    assert (before.rows, after.rows) == (4, 3)  # the records received do not change


def test_reconcile_disjoint_pages_changes_nothing() -> None:
    earlier, later = page_of(record(1, DAY), NAMELESS), page_of(record(2, DAY))
    before, after = later.reconcile(earlier)
    assert before.table.equals(earlier.table)
    assert after.table.equals(later.table)
    assert before.unkept == earlier.unkept
    before, after = page_of().reconcile(earlier)
    assert (ids(before), ids(after)) == (["1"], [])


VERSIONS = st.dictionaries(st.integers(0, 9), st.none() | st.integers(0, 3), max_size=8)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(earlier=VERSIONS, later=VERSIONS, orders=st.tuples(st.randoms(), st.randoms()))
def test_reconcile_leaves_each_record_once(
    earlier: dict[int, int | None], later: dict[int, int | None], orders: tuple[Any, Any]
) -> None:
    pages = []
    for versions, order in zip((earlier, later), orders, strict=True):
        keys = list(versions)
        order.shuffle(keys)
        written = {key: None if at is None else f"{DAY}T0{at}:00:00Z" for key, at in versions.items()}
        pages.append(page_of(*(record(key, DAY, updated_at=written[key]) for key in keys)))
    before, after = pages[1].reconcile(pages[0])
    rows = before.table.to_pylist() + after.table.to_pylist()
    found = {row["id"]: row["updated_at"] for row in rows}
    assert len(rows) == len(found) == len(earlier.keys() | later.keys())
    for key, updated in found.items():
        versions = [each[int(key)] for each in (earlier, later) if int(key) in each]
        newest = max((version for version in versions if version is not None), default=None)
        assert updated == (None if newest is None else hour(newest))
