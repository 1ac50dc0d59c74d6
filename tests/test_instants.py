"""Instants as records carry them and as users write them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import timezone as airflow_timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.instants import (
    check_window,
    dates_of,
    day_after,
    midnight,
    parse_bound,
    parse_record_time,
)


def utc(*fields: int) -> datetime:
    return datetime(*fields, tzinfo=UTC)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-09-19T03:16:50.016438+00:00", utc(2020, 9, 19, 3, 16, 50, 16438)),
        ("2018-06-23T15:18:09.000Z", utc(2018, 6, 23, 15, 18, 9)),
        ("2018-06-23T17:03:12+02:00", utc(2018, 6, 23, 15, 3, 12)),
        ("2018-06-23T17:03:12-0530", utc(2018, 6, 23, 22, 33, 12)),
        ("2018-06-23T17:03:12+02", utc(2018, 6, 23, 15, 3, 12)),
        ("2017-02-27 20:18:38.799158", utc(2017, 2, 27, 20, 18, 38, 799158)),
        ("2017-02-27T20:18:38.5", utc(2017, 2, 27, 20, 18, 38, 500000)),
        ("2021-01-18T16:55", utc(2021, 1, 18, 16, 55)),
        ("2021-01-18", utc(2021, 1, 18)),
        ("2024-02-29T23:59:59.999999Z", utc(2024, 2, 29, 23, 59, 59, 999999)),
        ("1969-12-31T23:59:59.000001Z", utc(1969, 12, 31, 23, 59, 59, 1)),
        ("2106-02-07T06:28:16Z", utc(2106, 2, 7, 6, 28, 16)),
    ],
)
def test_record_time_is_parsed(text: str, expected: datetime) -> None:
    assert parse_record_time(text) == (expected, True)


@pytest.mark.parametrize(
    ("text", "exact"),
    [("2026-01-02T03:04:05.123456000Z", True), ("2026-01-02T03:04:05.1234567Z", False)],
)
def test_finer_digits_are_cut_and_reported(text: str, exact: bool) -> None:
    assert parse_record_time(text) == (utc(2026, 1, 2, 3, 4, 5, 123456), exact)


@pytest.mark.parametrize(
    "value",
    [
        None,
        1767323045,
        True,
        "",
        "soon",
        "2026-01-02T03:04:05Z\n",
        " 2026-01-02",
        "2026-02-30",
        "2026-01-02T25:00:00",
        "2026-01-02T03:04:60Z",
        "2026-01-02T03:04.5Z",
        "2026-01-02T03:04:05.Z",
        "2026-W01-5",
        "20260102T030405Z",
        "2026-01-02T03:04:05,5Z",
        "٢٠٢٦-01-02",
        "2026-01-02T03:04:05.123456٣Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-01:00",
        "2026-01-02T03:04:05+25:00",
    ],
)
def test_invalid_record_time_is_none(value: object) -> None:
    assert parse_record_time(value) is None


@given(st.datetimes(), st.sampled_from(["Z", "", "+00:00", "+13:45", "-09:30"]))
@settings(max_examples=200, deadline=None)
def test_record_time_round_trips(moment: datetime, zone: str) -> None:
    parsed = parse_record_time(moment.isoformat() + zone)
    try:
        offset = datetime.fromisoformat(moment.isoformat() + (zone or "Z"))
        assert parsed == (offset.astimezone(UTC), True)
    except OverflowError:
        assert parsed is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-01-02", utc(2026, 1, 2)),
        (" 2026-01-02T06:00 ", utc(2026, 1, 2, 6)),
        ("2026-01-02T06:00:00+02:00", utc(2026, 1, 2, 4)),
        ("2026-01-02T06:00:00.000001Z", utc(2026, 1, 2, 6, 0, 0, 1)),
        (date(2026, 1, 2), utc(2026, 1, 2)),
        (datetime(2026, 1, 2, 6), utc(2026, 1, 2, 6)),
        (datetime(2026, 7, 2, 6, tzinfo=ZoneInfo("America/New_York")), utc(2026, 7, 2, 10)),
        (airflow_timezone.parse("2026-01-02T06:00:00Z"), utc(2026, 1, 2, 6)),
    ],
)
def test_bound_is_parsed(value: object, expected: datetime) -> None:
    bound = parse_bound("created_after", value)
    assert bound == expected
    assert bound.tzinfo is UTC
    assert type(bound) is datetime


@pytest.mark.parametrize("value", ["", "yesterday", "{{ ds }}", "2026-13-01", 2026010, None, 1.5, ["2026-01-02"]])
def test_invalid_bound_is_refused_by_name(value: object) -> None:
    with pytest.raises(CloudlockConfigError, match=r"created_after=.* is not a point in time.*2026-01-02T06:00:00"):
        parse_bound("created_after", value)


def test_bound_beyond_calendar_is_refused() -> None:
    with pytest.raises(CloudlockConfigError, match="lies outside the years"):
        parse_bound("created_before", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))))


def test_check_window_accepts_past_and_open_windows() -> None:
    now = datetime.now(UTC)
    for start, end in [(None, None), (now, None), (None, now), (now - timedelta(microseconds=1), now)]:
        check_window(start, end)


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (utc(2026, 1, 2), utc(2026, 1, 2), "is empty. Give an end that is later than the start"),
        (utc(2026, 1, 2), utc(2026, 1, 1), "ends before it starts"),
        (None, datetime.now(UTC) + timedelta(days=2), "still to come"),
        (utc(2026, 1, 2), utc(9999, 1, 1), "still to come"),
    ],
)
def test_check_window_refuses_empty_inverted_and_future(start: Any, end: Any, words: str) -> None:
    with pytest.raises(CloudlockConfigError, match=words):
        check_window(start, end)


def test_dates_of_window_are_utc_days_it_touches() -> None:
    start, end = utc(2024, 2, 28, 22, 0, 0, 1), utc(2024, 3, 1, 0, 0, 0, 1)
    assert dates_of(start, end) == [date(2024, 2, 28), date(2024, 2, 29), date(2024, 3, 1)]
    assert dates_of(utc(2026, 1, 2), utc(2026, 1, 3)) == [date(2026, 1, 2)]
    there = timezone(timedelta(hours=9))
    assert dates_of(datetime(2026, 1, 2, tzinfo=there), datetime(2026, 1, 2, 9, tzinfo=there)) == [date(2026, 1, 1)]


@given(
    st.datetimes(datetime(2025, 12, 20), datetime(2026, 1, 5)), st.timedeltas(timedelta(microseconds=1), timedelta(9))
)
@settings(max_examples=100, deadline=None)
def test_whole_days_hold_the_window_and_no_day_more(start: datetime, length: timedelta) -> None:
    first, end = start.replace(tzinfo=UTC), start.replace(tzinfo=UTC) + length
    days = dates_of(first, end)
    assert midnight(first) <= first < midnight(first) + timedelta(days=1)
    assert day_after(end) - timedelta(days=1) < end <= day_after(end)
    assert len(days) == (day_after(end) - midnight(first)) // timedelta(days=1)
    assert days == [first.date() + timedelta(days=n) for n in range(len(days))]


def test_day_after_last_day_of_calendar_is_its_end() -> None:
    assert day_after(utc(9999, 12, 31, 5)) == datetime.max.replace(tzinfo=UTC)
    assert day_after(utc(9999, 12, 31)) == utc(9999, 12, 31)
