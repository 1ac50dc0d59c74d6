"""Which records a window gives, and into which objects."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import timezone
from airflow.sdk.exceptions import AirflowFailException

from tests.operators.conftest import Extract
from tests.operators.lake import (
    DAY,
    FOLDER,
    MICROSECOND,
    NEXT,
    OBJECT,
    RECEIPT,
    Lake,
    hour,
    instants,
    stem,
)
from tests.support import Habits, Tenant, day_of_records, ids, record

BEFORE, AFTER = "2026-01-01", "2026-01-04"
THREE_DAYS = [each for day in (BEFORE, DAY, NEXT) for each in day_of_records(day, 24)]


# --- exactly the window's records ----------------------------------------------------------------------------------


@pytest.mark.parametrize("granularity", ["microsecond", "second", "minute", "day"])
@pytest.mark.parametrize("inclusive", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize(
    "window",
    [
        (hour(0), hour(24)),
        (hour(6), hour(7)),
        (hour(6) + timedelta(microseconds=1500), hour(6) + timedelta(seconds=3, microseconds=999_999)),
    ],
    ids=["a day", "an hour", "fractions"],
)
def test_the_edges_are_the_records_own_whatever_the_server_compares(
    extract: Extract,
    lake: Lake,
    window: tuple[datetime, datetime],
    inclusive: tuple[bool, bool],
    granularity: Any,
) -> None:
    edges = [edge + n * MICROSECOND for edge in window for n in (-1, 0, 1)]
    far = [window[0] - timedelta(days=1), window[0] + MICROSECOND * 2, window[1] + timedelta(days=1)]
    after, before = inclusive
    for cuts in ("both", "bounds"):
        habits = Habits(after_inclusive=after, before_inclusive=before, granularity=granularity, cuts=cuts)
        with Tenant(instants([*edges, *far]), habits) as tenant:
            result = extract(tenant, *window, on_vanished="fail")
            assert lake.ids() == ids(tenant.window(*window))
            assert len(lake.ids()) == result["rows"] == 4


@pytest.mark.parametrize("refuses", ["order", "limit>100", "time_of_day", "seconds"])
@pytest.mark.parametrize("window", [(hour(0), hour(24)), (hour(6), hour(7))], ids=["a day", "an hour"])
def test_a_plainer_request_gives_the_same_records(
    extract: Extract, lake: Lake, refuses: str, window: tuple[datetime, datetime]
) -> None:
    moments = [edge + n * MICROSECOND for edge in window for n in (-1, 0, 1)]
    habits = Habits(refuses=[refuses], after_inclusive=False, granularity="day")
    with Tenant(instants(moments), habits) as tenant:
        extract(tenant, *window)
        assert lake.ids() == ids(tenant.window(*window))
        assert lake.receipt(f"_receipts/{FOLDER}/{stem(*window)}.json")["request_form"] != "full"


def test_bounds_that_the_server_does_not_heed_change_nothing(extract: Extract, lake: Lake) -> None:
    with Tenant(THREE_DAYS, Habits(ignores=["created_after", "created_before"])) as tenant:
        extract(tenant)
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
        assert lake.receipt()["outside_window"] == 48


# --- slices and their names -------------------------------------------------------------------------------------------


def test_ten_days_are_ten_objects(extract: Extract, lake: Lake) -> None:
    days = [datetime(2026, 1, 27, tzinfo=UTC) + timedelta(days=n) for n in range(12)]
    with Tenant([each for day in days for each in day_of_records(day.date(), 6)]) as tenant:
        result = extract(tenant, days[1], days[11])
        assert lake.objects == [
            f"created_date={start:%Y-%m-%d}/{stem(start, end)}.parquet" for start, end in pairwise(days[1:])
        ]
        for start, end in pairwise(days[1:]):
            assert lake.ids(f"created_date={start:%Y-%m-%d}/{stem(start, end)}.parquet") == ids(
                tenant.window(start, end)
            )
        assert lake.ids() == ids(tenant.window(days[1], days[11]))
    assert result["window"] == [days[1].isoformat(), days[11].isoformat()]
    assert result["rows"] == 60 == sum(each["rows"] for each in result["slices"])
    assert [each["path"] for each in result["slices"]] == [
        f"{lake.destination}/threats/{name}" for name in lake.objects
    ]
    assert [each["window"] for each in result["slices"]] == [
        [start.isoformat(), end.isoformat()] for start, end in pairwise(days[1:])
    ]


def test_hours_tile_a_day(extract: Extract, lake: Lake) -> None:
    on_the_hour = instants([hour(n) + k * MICROSECOND for n in range(24) for k in (-1, 0, 1)])
    with Tenant(on_the_hour) as tenant:
        rows = [extract(tenant, hour(n), hour(n + 1))["rows"] for n in range(24)]
        assert lake.objects == [f"{FOLDER}/{stem(hour(n), hour(n + 1))}.parquet" for n in range(24)]
        assert sorted(lake.ids()) == sorted(ids(tenant.window(DAY, NEXT)))
    assert rows == [3] * 23 + [2]


def test_edges_with_a_fraction_stand_in_the_name(extract: Extract, lake: Lake) -> None:
    middle = "2026-01-02T12:00:00.500000+00:00"
    with Tenant(instants([hour(12), middle, hour(13)])) as tenant:
        extract(tenant, DAY, "2026-01-02T12:00:00.5")
        extract(tenant, "2026-01-02T12:00:00.500000Z", NEXT)
        first = f"{FOLDER}/20260102T000000Z--20260102T120000.500000Z"
        second = f"{FOLDER}/20260102T120000.500000Z--20260103T000000Z"
        assert lake.objects == [f"{first}.parquet", f"{second}.parquet"]
        assert lake.ids(f"{first}.parquet") == ["1"]
        assert lake.ids(f"{second}.parquet") == ["2", "3"]
        extract(tenant)
    assert lake.files == [RECEIPT, OBJECT]


@pytest.mark.parametrize("change", [date(2026, 3, 8), date(2025, 11, 2)], ids=["23 hours", "25 hours"])
def test_days_of_new_york_tile_where_its_clocks_change(extract: Extract, lake: Lake, change: date) -> None:
    there = ZoneInfo("America/New_York")
    midnights = [datetime(change.year, change.month, change.day + n, tzinfo=there) for n in (-1, 0, 1, 2)]
    edges = [midnight.astimezone(UTC) + k * MICROSECOND for midnight in midnights for k in (-1, 0, 1)]
    utc_days = [datetime(change.year, change.month, change.day + n, tzinfo=UTC) for n in (-1, 0, 1, 2)]
    with Tenant(instants([*edges, *utc_days])) as tenant:
        for start, end in pairwise(midnights):
            extract(tenant, start, end)
        expected = ids(tenant.window(midnights[0].astimezone(UTC), midnights[-1].astimezone(UTC)))
    assert sorted(lake.ids()) == sorted(expected)
    for name in lake.objects:
        assert {f"created_date={row['created_at']:%Y-%m-%d}" for row in lake.rows(name)} <= {name.split("/")[0]}


@pytest.mark.parametrize(
    ("after", "before", "names"),
    [
        ("2024-02-29", "2024-03-01", ["created_date=2024-02-29/20240229T000000Z--20240301T000000Z.parquet"]),
        ("2025-12-31", "2026-01-01", ["created_date=2025-12-31/20251231T000000Z--20260101T000000Z.parquet"]),
        ("1970-01-01", "1970-01-02", ["created_date=1970-01-01/19700101T000000Z--19700102T000000Z.parquet"]),
        (
            "1969-12-31T23:59:59Z",
            "1970-01-01T00:00:01Z",
            [
                "created_date=1969-12-31/19691231T235959Z--19700101T000000Z.parquet",
                "created_date=1970-01-01/19700101T000000Z--19700101T000001Z.parquet",
            ],
        ),
    ],
)
def test_calendars_edges(extract: Extract, lake: Lake, after: str, before: str, names: list[str]) -> None:
    with Tenant(instants([f"{name[13:23]}T00:00:00Z" for name in names])) as tenant:
        extract(tenant, after, before)
        assert lake.objects == names


# --- one window over another ------------------------------------------------------------------------------------------


def test_a_day_supersedes_its_hours(extract: Extract, lake: Lake) -> None:
    windows = [(0, 6), (6, 7), (18, 24)]
    stems = [stem(hour(start), hour(end)) for start, end in windows]
    unkept = record(1, hour(6.5)) | {"id": None}
    with Tenant([*THREE_DAYS, unkept]) as tenant:
        extract(tenant, NEXT, AFTER)
        apart = lake.files
        for start, end in windows:
            extract(tenant, hour(start), hour(end), max_quarantined=1)
        assert lake.path(f"_quarantine/{FOLDER}/{stems[1]}.jsonl").exists()
        obsolete = {name: lake.path(name).read_bytes() for name in lake.files if name not in apart}
        assert len(obsolete) == 7

        tenant.delete(None)
        extract(tenant)
        assert lake.files == sorted([*apart, RECEIPT, OBJECT])
        assert lake.ids(OBJECT) == ids(tenant.window(DAY, NEXT))

        published = lake.snapshot(OBJECT)
        for name, data in obsolete.items():  # a crash after the day was published, before anything was removed
            lake.write(name, data)
        assert extract(tenant)["slices"][0]["changed"] is False
        assert lake.files == sorted([*apart, RECEIPT, OBJECT])
        assert lake.snapshot(OBJECT) == published


PUBLISHED = (hour(6), hour(18))


@pytest.mark.parametrize(
    ("after", "before", "new"),
    [
        (hour(9), hour(10), (hour(9), hour(10))),
        (hour(6), hour(7), (hour(6), hour(7))),
        (hour(17), hour(18), (hour(17), hour(18))),
        (hour(6), hour(18) - timedelta(seconds=1), (hour(6), hour(18) - timedelta(seconds=1))),
        (hour(0), hour(12), (hour(0), hour(12))),
        (hour(12), hour(24), (hour(12), hour(24))),
        (hour(-24), hour(7), (hour(0), hour(7))),
        (hour(17), hour(48), (hour(17), hour(24))),
    ],
)
def test_other_overlaps_are_refused_before_the_first_request(
    extract: Extract, lake: Lake, after: datetime, before: datetime, new: tuple[datetime, datetime]
) -> None:
    with Tenant(THREE_DAYS) as tenant:
        extract(tenant, *PUBLISHED)
        asked, held = len(tenant.seen), lake.snapshot()
        with pytest.raises(AirflowFailException) as refusal:
            extract(tenant, after, before)
        assert len(tenant.seen) == asked
    assert f"{lake.destination}/threats/{FOLDER}/{stem(*new)}.parquet" in str(refusal.value)
    assert f"{lake.destination}/threats/{FOLDER}/{stem(*PUBLISHED)}.parquet" in str(refusal.value)
    assert lake.snapshot() == held


def test_an_overlap_that_comes_about_meanwhile_is_refused_too(extract: Extract, lake: Lake) -> None:
    def another_run(tenant: Tenant) -> None:
        extract(tenant)

    with Tenant(THREE_DAYS, before={2: another_run}) as tenant:
        with pytest.raises(AirflowFailException, match="overlaps the published"):
            extract(tenant, hour(6), hour(7))
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
    assert lake.files == [RECEIPT, OBJECT]


def test_neighbours_are_no_overlap(extract: Extract, lake: Lake) -> None:
    with Tenant(THREE_DAYS) as tenant:
        extract(tenant, *PUBLISHED)
        extract(tenant, hour(0), hour(6))
        extract(tenant, hour(18), hour(24))
        assert len(lake.objects) == 3
        assert sorted(lake.ids()) == sorted(ids(tenant.window(DAY, NEXT)))


# --- where the window comes from --------------------------------------------------------------------------------------

INTERVAL = {"data_interval_start": timezone.parse(DAY), "data_interval_end": timezone.parse(NEXT)}
PARTITION = {"partition_date": timezone.parse(DAY), "partition_key": DAY}


@pytest.mark.parametrize(
    "context",
    [
        INTERVAL,
        PARTITION,
        {**INTERVAL, "partition_date": timezone.parse(AFTER)},
        {"partition_date": timezone.parse(DAY), "data_interval_start": None, "data_interval_end": None},
    ],
    ids=["data interval", "partition", "both", "a partition and no interval"],
)
def test_the_run_tells_the_window(extract: Extract, lake: Lake, context: dict[str, Any]) -> None:
    with Tenant(THREE_DAYS) as tenant:
        assert extract(tenant, None, None, context)["window"] == [hour(0).isoformat(), hour(24).isoformat()]
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
        assert lake.objects == [OBJECT]


@pytest.mark.parametrize("context", [INTERVAL, PARTITION], ids=["data interval", "partition"])
def test_a_window_given_outweighs_the_runs(extract: Extract, context: dict[str, Any]) -> None:
    with Tenant(THREE_DAYS) as tenant:
        assert extract(tenant, BEFORE, DAY, context)["window"] == [hour(-24).isoformat(), hour(0).isoformat()]


@pytest.mark.parametrize(
    ("after", "before"),
    [
        ("2026-01-02T00:00:00", "2026-01-03 00:00:00"),
        (" 2026-01-02 ", "20260103T000000Z"),
        ("2026-01-02T05:30:00+05:30", "2026-01-02T19:00:00-05:00"),
        (date(2026, 1, 2), datetime(2026, 1, 3)),
        (timezone.parse(DAY), timezone.parse("2026-01-03T01:00:00+01:00")),
    ],
)
def test_bounds_may_be_written_in_many_ways(extract: Extract, lake: Lake, after: Any, before: Any) -> None:
    with Tenant(THREE_DAYS) as tenant:
        assert extract(tenant, after, before)["window"] == [hour(0).isoformat(), hour(24).isoformat()]
        assert lake.objects == [OBJECT]


@pytest.mark.parametrize("days", [2, "2"], ids=["a number", "a rendered text"])
def test_days_before_the_window_are_refreshed(extract: Extract, lake: Lake, days: int | str) -> None:
    with Tenant(THREE_DAYS) as tenant:
        result = extract(tenant, NEXT, AFTER, refresh_days=days)
        assert result["window"] == [hour(-24).isoformat(), hour(48).isoformat()]
        assert lake.objects == [
            f"created_date={start:%Y-%m-%d}/{stem(start, end)}.parquet"
            for start, end in pairwise(hour(24 * n) for n in (-1, 0, 1, 2))
        ]
        assert lake.ids() == ids(tenant.window(BEFORE, AFTER))


# --- what is no window ------------------------------------------------------------------------------------------------

SOON = datetime.now(UTC) + timedelta(hours=1)
SAME = {"data_interval_start": timezone.parse(DAY), "data_interval_end": timezone.parse(DAY)}


@pytest.mark.parametrize(
    ("after", "before", "context", "says"),
    [
        (None, None, {}, "no data interval and no partition.*Give created_after and created_before"),
        (None, None, SAME, "is empty.*CronDataIntervalTimetable"),
        (DAY, DAY, {}, "is empty"),
        (DAY, DAY, INTERVAL, "is empty"),
        (NEXT, DAY, {}, "ends before it starts"),
        (DAY, SOON, {}, "still to come"),
        (DAY, "2999-01-01", {}, "still to come"),
        ("yesterday", NEXT, {}, "created_after='yesterday' is not a point in time"),
        (DAY, "2026-02-30", {}, "created_before='2026-02-30' is not a point in time"),
        (DAY, "", {}, "created_before='' is not a point in time"),
        (1767312000, NEXT, {}, "created_after=1767312000 is not a point in time"),
        ("0001-01-01T00:00:00+05:00", NEXT, {}, "outside the years"),
        (DAY, None, {}, "both created_after and created_before"),
        (None, NEXT, INTERVAL, "both created_after and created_before"),
        (None, None, {"data_interval_start": timezone.parse(DAY)}, "both created_after and created_before"),
    ],
)
def test_what_is_no_window_is_refused_before_the_first_request(
    extract: Extract, lake: Lake, after: Any, before: Any, context: dict[str, Any], says: str
) -> None:
    with Tenant(THREE_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match=f"(?s){says}"):
            extract(tenant, after, before, context)
        assert tenant.seen == []
    assert lake.files == []


@pytest.mark.parametrize("days", [-1, "-1", "x", "", "1.5", 1.5, None, True, "٣", "²", 10_000, "7 ", [7]])
def test_days_that_make_no_sense_are_refused_before_the_first_request(extract: Extract, lake: Lake, days: Any) -> None:
    with Tenant(THREE_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match=r"refresh_days=.* is not a whole number from 0 to 9999"):
            extract(tenant, refresh_days=days)
        assert tenant.seen == []


def test_days_that_reach_before_the_calendar_are_refused(extract: Extract, lake: Lake) -> None:
    with Tenant(THREE_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match="refresh_days"):
            extract(tenant, "0003-01-01", "0003-01-02", refresh_days=9999)
        assert tenant.seen == []


@pytest.mark.parametrize("after", [hour(5), hour(29)], ids=["hours", "days"])
def test_a_refresh_is_of_whole_days(extract: Extract, lake: Lake, after: datetime) -> None:
    """A window that does not begin at midnight comes after one like it."""
    step = timedelta(hours=1) if after == hour(5) else timedelta(days=1)
    with Tenant(THREE_DAYS) as tenant:
        for start in (after, after + step):
            result = extract(tenant, start, start + step, refresh_days=1)
            first = (start - timedelta(days=1)).replace(hour=0)
            assert result["window"] == [first.isoformat(), (start + step).isoformat()]
