"""Runs over any windows, in any order: the lake holds what one run over all of them leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.instants import dates_of
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, MICROSECOND, NEXT, Lake, hour, instants, object_of, receipt_of
from tests.support import Habits, Record, Tenant, day_of_records, ids, record

Window = tuple[datetime, datetime]

DAYS = 4
#: Where windows begin and end: midnights, and times of each precision.
EDGES = sorted(
    hour(24 * n) + each
    for n in range(DAYS)
    for each in (timedelta(), MICROSECOND, timedelta(hours=6, milliseconds=500), timedelta(hours=24) - MICROSECOND)
)
#: Records at every edge and beside it, so that one that comes twice or is left out is noticed.
RECORDS = instants(sorted({edge + n * MICROSECOND for edge in EDGES for n in (-1, 0, 1)}))

SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],  # to find a smaller example takes longer than to read one
    "suppress_health_check": list(HealthCheck),
}


def local_days(zone: str, first: date, days: int) -> list[Window]:
    """Return the data intervals of ``CronDataIntervalTimetable("0 0 * * *", timezone=zone)``."""
    there = ZoneInfo(zone)
    midnights = [datetime.combine(first + timedelta(days=n), time(), there) for n in range(days + 1)]
    return list(pairwise(midnight.astimezone(UTC) for midnight in midnights))


def contents(lake: Lake) -> dict[str, bytes]:
    """Return the objects of a lake."""
    return {name: lake.path(name).read_bytes() for name in lake.objects}


@pytest.fixture
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Lakes without anything in them."""

    def made() -> Iterator[Lake]:
        while True:
            yield Lake(tmp_path_factory.mktemp("lake"))

    return made()


# --- windows of other zones and lengths -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("Europe/Berlin", date(2026, 1, 10)),
        ("Europe/Berlin", date(2026, 3, 27)),
        ("America/New_York", date(2026, 3, 6)),
        ("America/New_York", date(2025, 10, 31)),
        ("Asia/Kathmandu", date(2026, 1, 10)),
    ],
    ids=["Berlin", "Berlin 23 hours", "New York 23 hours", "New York 25 hours", "Kathmandu"],
)
def test_days_of_other_zones_backfilled_and_cleared(
    extract: Extract, lakes: Iterator[Lake], zone: str, first: date
) -> None:
    """Backfill a week with ``refresh_days=2``, then clear two old runs."""
    windows = local_days(zone, first, 5)
    days = [first + timedelta(days=n) for n in range(-3, 7)]
    at_once, by_runs = next(lakes), next(lakes)
    with Tenant([each for day in days for each in day_of_records(day, 48)]) as tenant:
        extract(tenant, windows[0][0] - timedelta(days=2), windows[-1][1], destination=at_once.destination)
        for window in [*windows, windows[1], windows[0]]:
            extract(tenant, *window, refresh_days=2, on_vanished="fail", destination=by_runs.destination)
    assert contents(by_runs) == contents(at_once)


def test_hourly_runs_leave_the_day_once(extract: Extract, lake: Lake) -> None:
    with Tenant(instants([hour(n) + k * MICROSECOND for n in range(24) for k in (-1, 0, 1)])) as tenant:
        results = [extract(tenant, hour(n), hour(n + 1)) for n in range(24)]
        assert lake.objects == [object_of(DAY)]
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
    assert [each["slices"][0]["changed"] for each in results] == [True] + [False] * 23


# --- a day in progress ------------------------------------------------------------------------------------------------


def test_day_in_progress_is_extracted_until_end_of_window(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 24)) as tenant:
        with time_machine.travel(hour(12.5)):
            result = extract(tenant, hour(0), hour(12))
            assert lake.ids() == ids(tenant.window(hour(0), hour(12)))
        assert lake.receipt()["until"] == hour(12).isoformat()
        assert result["slices"][0]["window"] == [hour(0).isoformat(), hour(12).isoformat()]

        with time_machine.travel(hour(24.1)):
            extract(tenant, hour(0), hour(12))
            assert lake.ids() == ids(tenant.window(DAY, NEXT))
        assert lake.receipt()["until"] is None


def test_day_in_progress_is_not_extracted_less_far_than_before(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 24)) as tenant, time_machine.travel(hour(18.5)):
        extract(tenant, hour(0), hour(18))
        held = lake.snapshot(object_of(DAY))
        extract(tenant, hour(6), hour(7), on_vanished="fail")
        assert lake.receipt()["until"] == hour(18).isoformat()
        assert lake.snapshot(object_of(DAY)) == held


def test_refreshed_day_in_progress_of_other_zone(extract: Extract, lakes: Iterator[Lake]) -> None:
    """A day of New York ends at 5 o'clock UTC, when the UTC day is in progress."""
    at_once, by_runs = next(lakes), next(lakes)
    windows = local_days("America/New_York", date(2026, 1, 1), 2)
    with Tenant([each for n in range(-1, 3) for each in day_of_records(hour(24 * n).date(), 24)]) as tenant:
        for window in windows:
            with time_machine.travel(window[1] + timedelta(minutes=1)):
                extract(tenant, *window, refresh_days=1, on_vanished="fail", destination=by_runs.destination)
        with time_machine.travel(windows[-1][1] + timedelta(minutes=1)):
            start = windows[0][0].replace(hour=0) - timedelta(days=1)
            extract(tenant, start, windows[-1][1], destination=at_once.destination)
        extract(tenant, *windows[-1], on_vanished="fail", destination=by_runs.destination)
        extract(tenant, *windows[-1], destination=at_once.destination)
    assert contents(by_runs) == contents(at_once)


def test_window_in_the_future_is_refused(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 24)) as tenant, time_machine.travel(hour(12)):
        with pytest.raises(AirflowFailException, match="still to come"):
            extract(tenant)
        assert tenant.seen == []
    assert lake.files == []


# --- any order --------------------------------------------------------------------------------------------------------

EDGE_SETS = st.sets(st.sampled_from(EDGES[1:]), max_size=6)


@given(edges=EDGE_SETS, data=st.data(), cap=st.sampled_from([None, 7]))
@settings(max_examples=12, **SETTINGS)
def test_windows_in_any_order_give_the_same_lake(
    extract: Extract, lakes: Iterator[Lake], edges: set[datetime], data: st.DataObject, cap: int | None
) -> None:
    at_once, by_runs = next(lakes), next(lakes)
    windows = list(pairwise(sorted({hour(0), hour(24 * DAYS)} | edges)))
    again = data.draw(st.lists(st.sampled_from(windows), max_size=2))
    with Tenant(RECORDS, Habits(cap=cap)) as tenant:
        extract(tenant, hour(0), hour(24 * DAYS), destination=at_once.destination)
        for window in data.draw(st.permutations(windows + again)):
            extract(tenant, *window, destination=by_runs.destination, on_vanished="fail")
        assert by_runs.ids() == ids(tenant.window(hour(0), hour(24 * DAYS)))
    assert contents(by_runs) == contents(at_once)


# --- days in progress, records that vanish, filters that change -------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One task.

    :param after: hours that pass before it.
    :param goes: place of the record that is deleted before it, None for none.
    :param comes: hours before the run when a record is created that is not listed until then, None for none.
    """

    window: Window
    after: float
    on_vanished: str
    status: str | None
    goes: int | None
    comes: float | None


@dataclass(frozen=True)
class Held:
    """What is published of a day."""

    status: str | None
    until: datetime
    keys: frozenset[str]


@dataclass
class Model:
    """What a lake holds by the documentation."""

    held: dict[str, Held] = field(default_factory=dict)

    def run(self, run: Run, records: list[Record], now: datetime) -> dict[str, Held | None] | None:
        """Return what each day of a window holds afterwards, None for days that fail; None if the run is refused."""
        if run.window[1] > now:
            return None
        return {f"{day}": self._day(f"{day}", run, records, now) for day in dates_of(*run.window)}

    def _day(self, day: str, run: Run, records: list[Record], now: datetime) -> Held | None:
        before = self.held.get(day)
        end = hour(24, day)
        until = end if end <= now else max(run.window[1], before.until if before else run.window[1])
        found = frozenset(
            key
            for key, each in zip(ids(records), records, strict=True)
            if hour(0, day) <= datetime.fromisoformat(each["created_at"]) < until
            and run.status in (None, str(each["status"]).capitalize())
        )
        if before is not None:
            if before.status != run.status or (run.on_vanished == "fail" and before.keys - found):
                return None
            if run.on_vanished == "keep":
                found |= before.keys
        return Held(run.status, until, found)


WINDOWS = st.sets(st.sampled_from(EDGES), min_size=2, max_size=2).map(lambda pair: (min(pair), max(pair)))
FILTERS = st.sampled_from(
    [(None, "keep"), (None, "keep"), (None, "drop"), (None, "fail"), ("Active", "drop"), ("Dismissed", "fail")]
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Draw a task."""
    status, on_vanished = draw(FILTERS)
    return Run(
        draw(WINDOWS),
        draw(st.sampled_from([0, 1, 5, 12.25, 24])),
        on_vanished,
        status,
        draw(st.none() | st.integers(0, len(RECORDS) - 9)),
        draw(st.none() | st.sampled_from([0.5, 3, 30])),
    )


@given(st.lists(runs(), min_size=3, max_size=7))
@settings(max_examples=30, **SETTINGS)
def test_runs_one_after_another_leave_what_is_documented(
    extract: Extract, lakes: Iterator[Lake], tasks: list[Run]
) -> None:
    lake, model, now = next(lakes), Model(), hour(20)
    with Tenant(RECORDS) as tenant:
        for number, task in enumerate(tasks):
            now += timedelta(hours=task.after)
            with time_machine.travel(now):
                if task.goes is not None:
                    tenant.delete(tenant.records[task.goes % len(tenant.records)]["id"])
                if task.comes is not None:
                    tenant.insert(record(900 + number, now - timedelta(hours=task.comes)))
                expected = model.run(task, list(tenant.records), now)
                options = {"on_vanished": task.on_vanished, "status": task.status, "destination": lake.destination}
                if expected is None or None in expected.values():
                    with pytest.raises(AirflowFailException):
                        extract(tenant, *task.window, **options)
                else:
                    extract(tenant, *task.window, **options)
            found = {day: _held(lake, day) for day in _days(lake)}
            for day in {*found, *model.held}:
                after = (expected or {}).get(day)
                # A run that fails has published some of its days.
                allowed = {model.held.get(day), after} if expected and None in expected.values() else {after}
                assert found.get(day) in (allowed if expected and day in expected else {model.held.get(day)})
            model.held = found
            receipts = [receipt_of(day) for day in found]
            assert lake.files == sorted([*lake.objects, *receipts])


def _days(lake: Lake) -> list[str]:
    return [name.rpartition("threats-")[2].removesuffix(".parquet") for name in lake.objects]


def _held(lake: Lake, day: str) -> Held:
    receipt: Mapping[str, Any] = lake.receipt(receipt_of(day))
    until = hour(24, day) if receipt["until"] is None else datetime.fromisoformat(receipt["until"])
    keys = lake.ids(object_of(day))
    assert len(keys) == len(set(keys)) == receipt["rows"]
    return Held(receipt["status"], until, frozenset(keys))
