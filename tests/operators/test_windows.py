"""Which records a window gives, and into which objects."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.dataset as ds
import pytest
from airflow.sdk import CronPartitionTimetable, timezone
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, MICROSECOND, NEXT, OBJECT, Lake, hour, instants, object_of, receipt_of
from tests.support import Habits, Tenant, day_of_records, ids, record

BEFORE, AFTER = "2026-01-01", "2026-01-04"
THREE_DAYS = [each for day in (BEFORE, DAY, NEXT) for each in day_of_records(day, 24)]


# --- exactly the records of its days ---------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Kiritimati"])
@pytest.mark.parametrize("granularity", ["microsecond", "second", "minute", "day"])
@pytest.mark.parametrize("inclusive", [(True, True), (True, False), (False, True), (False, False)])
def test_window_does_not_depend_on_how_server_reads_bounds(
    extract: Extract, lake: Lake, inclusive: tuple[bool, bool], granularity: Any, zone: str
) -> None:
    edges = [edge + n * MICROSECOND for edge in (hour(0), hour(24)) for n in (-1, 0, 1)]
    others = [hour(-24), hour(12), hour(23), hour(48)]
    after, before = inclusive
    for cuts in ("both", "bounds"):
        habits = Habits(after_inclusive=after, before_inclusive=before, granularity=granularity, cuts=cuts, zone=zone)
        with Tenant(instants([*edges, *others]), habits) as tenant:
            result = extract(tenant, on_vanished="fail")
            assert lake.ids() == ids(tenant.window(DAY, NEXT))
            assert len(lake.ids()) == result["rows"] == 5


@pytest.mark.parametrize("refuses", ["order", "limit>100", "time_of_day", "seconds"])
def test_simpler_request_form_gives_same_records(extract: Extract, lake: Lake, refuses: str) -> None:
    moments = [edge + n * MICROSECOND for edge in (hour(0), hour(24)) for n in (-1, 0, 1)]
    habits = Habits(refuses=[refuses], after_inclusive=False, granularity="day")
    with Tenant(instants(moments), habits) as tenant:
        extract(tenant)
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
        assert lake.receipt()["request_form"] != "full"


def test_ignored_bounds_change_nothing(extract: Extract, lake: Lake) -> None:
    with Tenant(THREE_DAYS, Habits(ignores=["created_after", "created_before"])) as tenant:
        extract(tenant)
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
        assert lake.receipt()["outside_window"] == 48


# --- days and their objects -------------------------------------------------------------------------------------------


def test_ten_days_are_ten_objects(extract: Extract, lake: Lake) -> None:
    days = [datetime(2026, 1, 27, tzinfo=UTC) + timedelta(days=n) for n in range(12)]
    with Tenant([each for day in days for each in day_of_records(day.date(), 6)]) as tenant:
        result = extract(tenant, days[1], days[11])
        assert lake.objects == [object_of(f"{day:%Y-%m-%d}") for day in days[1:11]]
        for start, end in pairwise(days[1:]):
            assert lake.ids(object_of(f"{start:%Y-%m-%d}")) == ids(tenant.window(start, end))
        assert lake.ids() == ids(tenant.window(days[1], days[11]))
    assert result["window"] == [days[1].isoformat(), days[11].isoformat()]
    assert result["rows"] == 60 == sum(each["rows"] for each in result["slices"])
    assert [each["path"] for each in result["slices"]] == [f"{lake.destination}/{name}" for name in lake.objects]
    assert [each["window"] for each in result["slices"]] == [
        [start.isoformat(), end.isoformat()] for start, end in pairwise(days[1:])
    ]


@pytest.mark.parametrize(
    ("after", "before", "days"),
    [
        (hour(6), hour(7), [DAY]),
        (hour(23), hour(24), [DAY]),
        (hour(24) - MICROSECOND, hour(24), [DAY]),
        (hour(24) - MICROSECOND, hour(24) + MICROSECOND, [DAY, NEXT]),
        (hour(5), hour(29), [DAY, NEXT]),
        (hour(-1), hour(24), [BEFORE, DAY]),
    ],
)
def test_past_days_are_extracted_whole(
    extract: Extract, lake: Lake, after: datetime, before: datetime, days: list[str]
) -> None:
    with Tenant(THREE_DAYS) as tenant:
        result = extract(tenant, after, before)
        assert lake.objects == [object_of(day) for day in days]
        assert [each["rows"] for each in result["slices"]] == [24] * len(days)
        assert lake.receipt(receipt_of(days[-1]))["until"] is None


@pytest.mark.parametrize(("total", "ends"), [("true", [0, 32]), ("absent", [0, 31, 32]), ("null", [0, 31, 32])])
def test_range_without_total_is_not_longer_than_31_days(
    extract: Extract, lake: Lake, total: Any, ends: list[int]
) -> None:
    with Tenant(day_of_records(DAY, 5), Habits(total=total)) as tenant:
        extract(tenant, DAY, "2026-02-03")
        ranges = {tuple(lake.receipt(name)["range"]) for name in lake.files if name.startswith("_receipts")}
    assert ranges == {tuple(hour(24 * day).isoformat() for day in pair) for pair in pairwise(ends)}


@pytest.mark.parametrize("day", ["2024-02-29", "2025-12-31", "1970-01-01", "1969-12-31"])
def test_calendar_edges(extract: Extract, lake: Lake, day: str) -> None:
    following = date.fromisoformat(day) + timedelta(days=1)
    with Tenant(instants([hour(-1, day), hour(0, day), hour(23.99, day), hour(24, day)])) as tenant:
        extract(tenant, day, following)
    assert lake.objects == [object_of(day)]
    assert lake.ids() == ["2", "3"]


def test_folder_of_resource_is_one_table_for_every_reader(extract: Extract, lake: Lake) -> None:
    """Receipts, quarantine and staging are outside the folder, and no reader needs a pattern of file names."""
    with Tenant([*THREE_DAYS, record(99, hour(5)) | {"id": None}]) as tenant:
        extract(tenant, BEFORE, AFTER, max_quarantined=1)
    folder = lake.path("threats")
    expected = sorted(lake.ids())
    assert len(expected) == 72
    assert sorted(pl.scan_parquet(folder).collect()["id"]) == expected
    assert sorted(ds.dataset(folder, partitioning="hive").to_table()["id"].to_pylist()) == expected
    assert sorted(pd.read_parquet(folder)["id"]) == expected
    rows = duckdb.sql(f"SELECT id, created_date FROM read_parquet('{folder}/*/*.parquet')").fetchall()
    assert sorted(key for key, _ in rows) == expected
    assert {f"{day}" for _, day in rows} == {BEFORE, DAY, NEXT}


# --- where the window comes from --------------------------------------------------------------------------------------

INTERVAL = {"data_interval_start": timezone.parse(DAY), "data_interval_end": timezone.parse(NEXT)}


def partition(expression: str, zone: str, start: datetime | str) -> dict[str, Any]:
    """Return the context of a run of a DAG that is scheduled by partitions."""
    timetable = CronPartitionTimetable(expression, timezone=zone)
    return {
        "partition_date": timezone.parse(str(start)),
        "partition_key": str(start),
        "dag": SimpleNamespace(timetable=timetable),
    }


PARTITION = partition("0 0 * * *", "UTC", DAY)


@pytest.mark.parametrize(
    "context",
    [
        INTERVAL,
        PARTITION,
        {**INTERVAL, "partition_date": timezone.parse(AFTER)},
        {**PARTITION, "data_interval_start": None, "data_interval_end": None},
    ],
    ids=["data interval", "partition", "both", "a partition and no interval"],
)
def test_window_is_that_of_run(extract: Extract, lake: Lake, context: dict[str, Any]) -> None:
    with Tenant(THREE_DAYS) as tenant:
        assert extract(tenant, None, None, context)["window"] == [hour(0).isoformat(), hour(24).isoformat()]
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
        assert lake.objects == [OBJECT]


@pytest.mark.parametrize(
    ("expression", "zone", "start", "end"),
    [
        ("0 0 * * 1", "UTC", "2025-12-29", "2026-01-05"),
        ("0 0 1 * *", "UTC", "2025-02-01", "2025-03-01"),
        ("0 0 * * *", "America/New_York", "2025-11-02T04:00:00Z", "2025-11-03T05:00:00Z"),
        ("0 0 * * *", "America/New_York", "2025-03-09T05:00:00Z", "2025-03-10T04:00:00Z"),
        ("0 * * * *", "UTC", "2026-01-02T05:00:00Z", "2026-01-02T06:00:00Z"),
    ],
    ids=["weekly", "monthly", "25 hours", "23 hours", "hourly"],
)
def test_partition_is_extracted_to_its_end(
    extract: Extract, lake: Lake, expression: str, zone: str, start: str, end: str
) -> None:
    with Tenant() as tenant:
        result = extract(tenant, None, None, partition(expression, zone, start))
    first, last = timezone.parse(start), timezone.parse(end)
    assert result["window"] == [first.isoformat(), last.isoformat()]
    days = (last - MICROSECOND).date() - first.date()
    assert len(lake.objects) == days.days + 1


def partition_by_key(expression: str, zone: str, key_format: str, key: str) -> dict[str, Any]:
    """Return the context of a run of a DAG that is scheduled by partitions, as Airflow 3.2 has it."""
    timetable = CronPartitionTimetable(expression, timezone=zone, key_format=key_format)
    return {"dag_run": SimpleNamespace(partition_key=key), "dag": SimpleNamespace(timetable=timetable)}


@pytest.mark.parametrize(
    ("expression", "zone", "key_format", "key", "start", "end"),
    [
        ("0 0 * * *", "UTC", "%Y-%m-%d", DAY, hour(0), hour(24)),
        ("@daily", "UTC", "%Y-%m-%dT%H:%M:%S", f"{DAY}T00:00:00", hour(0), hour(24)),
        ("@quarterly", "UTC", "%Y-%m-%d", "2025-07-01", hour(0, "2025-07-01"), hour(0, "2025-10-01")),
        ("0 0 1 * *", "UTC", "%Y-%m", "2025-02", hour(0, "2025-02-01"), hour(0, "2025-03-01")),
        ("0 0 * * *", "Asia/Tokyo", "%Y-%m-%d", "2026-01-01", hour(-9), hour(15)),
        ("0 0 * * *", "America/New_York", "%Y-%m-%dT%H", "2025-11-02T04", hour(4, "2025-11-02"), hour(5, "2025-11-03")),
        ("0 * * * *", "UTC", "%Y%m%d%H%z", "2026010205+0000", hour(5), hour(6)),
    ],
)
def test_partition_date_is_read_from_its_key(
    extract: Extract, expression: str, zone: str, key_format: str, key: str, start: datetime, end: datetime
) -> None:
    with Tenant() as tenant:
        result = extract(tenant, None, None, partition_by_key(expression, zone, key_format, key))
    assert result["window"] == [start.isoformat(), end.isoformat()]


@pytest.mark.parametrize(
    ("expression", "key_format", "key"),
    [
        ("0 0 * * *", "%Y-%m-%d", "eu-west"),
        ("0 0 * * *", "%m-%d", "01-02"),
        ("0 0 * * *", "%Y-%m-%dT%H", "2026-01-02T05"),
        ("0 * * * *", "%Y-%m-%d", DAY),
        ("0 0 * * *", "%Y-%m", "2026-01"),
        ("0 0 * * *", "%Y-%m-%d", "0001-01-01"),
        ("0 0 * * *", "%Y-%m-%d", "9999-12-31"),
    ],
)
def test_partition_key_without_one_date_is_refused(
    extract: Extract, expression: str, key_format: str, key: str
) -> None:
    with Tenant() as tenant:
        with pytest.raises(AirflowFailException, match=f"partition '{key}' .*key_format='{key_format}'"):
            extract(tenant, None, None, partition_by_key(expression, "UTC", key_format, key))
        assert tenant.seen == []


@pytest.mark.parametrize("context", [INTERVAL, PARTITION], ids=["data interval", "partition"])
def test_given_window_takes_precedence(extract: Extract, context: dict[str, Any]) -> None:
    with Tenant(THREE_DAYS) as tenant:
        assert extract(tenant, BEFORE, DAY, context)["window"] == [hour(-24).isoformat(), hour(0).isoformat()]


@pytest.mark.parametrize(
    ("after", "before"),
    [
        ("2026-01-02T00:00:00", "2026-01-03 00:00:00"),
        (" 2026-01-02 ", "20260103T000000Z"),
        ("2026-01-02T05:30:00+05:30", "2026-01-02T19:00:00-05:00"),
        (date(2026, 1, 2), datetime(2026, 1, 3)),
        (20260102, 20260103),
        (timezone.parse(DAY), timezone.parse("2026-01-03T01:00:00+01:00")),
    ],
)
def test_bounds_are_accepted_in_many_forms(extract: Extract, lake: Lake, after: Any, before: Any) -> None:
    with Tenant(THREE_DAYS) as tenant:
        assert extract(tenant, after, before)["window"] == [hour(0).isoformat(), hour(24).isoformat()]
        assert lake.objects == [OBJECT]


@pytest.mark.parametrize("days", [2, "2"], ids=["a number", "a rendered text"])
def test_refresh_days_before_window_are_extracted(extract: Extract, lake: Lake, days: int | str) -> None:
    with Tenant(THREE_DAYS) as tenant:
        result = extract(tenant, NEXT, AFTER, refresh_days=days)
        assert result["window"] == [hour(-24).isoformat(), hour(48).isoformat()]
        assert lake.objects == [object_of(day) for day in (BEFORE, DAY, NEXT)]
        assert lake.ids() == ids(tenant.window(BEFORE, AFTER))


# --- what is no window ------------------------------------------------------------------------------------------------

SOON = datetime.now(UTC) + timedelta(hours=1)
SAME = {"data_interval_start": timezone.parse(DAY), "data_interval_end": timezone.parse(DAY)}


@pytest.mark.parametrize(
    ("after", "before", "context", "says"),
    [
        (None, None, {}, "no data interval and no partition.*Give created_after and created_before"),
        (None, None, SAME, "is empty.*CronDataIntervalTimetable"),
        (DAY, DAY, {}, "is empty. Give an end that is later than the start.$"),
        (DAY, DAY, INTERVAL, "is empty. Give an end that is later than the start.$"),
        (NEXT, DAY, {}, "ends before it starts. Give an end that is later than the start.$"),
        (DAY, SOON, {}, "still to come"),
        (DAY, "2999-01-01", {}, "still to come"),
        ("yesterday", NEXT, {}, "created_after='yesterday' is not a point in time"),
        (DAY, "2026-02-30", {}, "created_before='2026-02-30' is not a point in time"),
        (DAY, "", {}, "both created_after and created_before"),
        ("None", NEXT, INTERVAL, "both created_after and created_before"),
        (1767312000, NEXT, {}, "created_after=1767312000 is not a point in time"),
        ("0001-01-01T00:00:00+05:00", NEXT, {}, "outside the years"),
        (DAY, None, {}, "both created_after and created_before"),
        (None, NEXT, INTERVAL, "both created_after and created_before"),
        (20260230, NEXT, {}, "created_after=20260230 is not a point in time"),
        (20260102.0, NEXT, {}, "created_after=20260102.0 is not a point in time"),
        (True, NEXT, {}, "created_after=True is not a point in time"),
        (None, None, {"partition_date": timezone.parse(DAY), "partition_key": DAY}, "how long its period is"),
    ],
)
def test_invalid_window_is_refused_before_first_request(
    extract: Extract, lake: Lake, after: Any, before: Any, context: dict[str, Any], says: str
) -> None:
    with Tenant(THREE_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match=f"(?s){says}"):
            extract(tenant, after, before, context)
        assert tenant.seen == []
    assert lake.files == []


@pytest.mark.parametrize("days", [-1, "-1", "x", "1.5", 1.5, True, "٣", "²", 10_000, "7 ", [7]])
def test_invalid_refresh_days_are_refused_before_request(extract: Extract, lake: Lake, days: Any) -> None:
    with Tenant(THREE_DAYS) as tenant:
        refused = pytest.raises((CloudlockConfigError, AirflowFailException), match=r"refresh_days=.* from 0 to 9999")
        with refused:
            extract(tenant, refresh_days=days)
        assert tenant.seen == []


def test_refresh_days_before_year_1_are_refused(extract: Extract, lake: Lake) -> None:
    with Tenant(THREE_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match="refresh_days"):
            extract(tenant, "0003-01-01", "0003-01-02", refresh_days=9999)
        assert tenant.seen == []
