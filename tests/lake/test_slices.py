"""Windows to slices to names, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cloudlock.lake.slices import Slice, slices_of

INSTANTS = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda instant: instant.replace(tzinfo=UTC))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_name_and_partition() -> None:
    day = Slice(at("2026-01-02"), at("2026-01-03"))
    assert day.partition == "created_date=2026-01-02"
    assert day.name == "20260102T000000Z--20260103T000000Z"
    assert Slice(at("2026-01-02"), at("2026-01-02T00:00:00.500000")).name == "20260102T000000Z--20260102T000000.500000Z"


def test_a_window_is_cut_at_utc_midnights() -> None:
    cut = slices_of(at("2026-02-27T06:00"), at("2026-03-02T00:00:01"))
    assert [each.name for each in cut] == [
        "20260227T060000Z--20260228T000000Z",
        "20260228T000000Z--20260301T000000Z",
        "20260301T000000Z--20260302T000000Z",
        "20260302T000000Z--20260302T000001Z",
    ]


@given(INSTANTS, st.timedeltas(timedelta(microseconds=1), timedelta(days=9)))
def test_slices_tile_their_window_and_are_told_from_their_names(start: datetime, length: timedelta) -> None:
    end = min(start + length, datetime.max.replace(tzinfo=UTC))
    cut = slices_of(start, end)
    assert [each.start for each in cut[1:]] == [each.end for each in cut[:-1]]
    assert (cut[0].start, cut[-1].end) == (start, end)
    for each in cut:
        assert each.end <= each.start.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        assert Slice.named(f"{each.name}.parquet") == each


@pytest.mark.parametrize(
    "name",
    [
        "part-0.parquet",
        ".20260102T000000Z--20260103T000000Z.parquet.12-ab.tmp",
        "20260102T000000Z--20260103T000000Z.json",
        "20260103T000000Z--20260102T000000Z.parquet",
        "20260102T000000Z--20260102T000000Z.parquet",
        "20261302T000000Z--20261303T000000Z.parquet",
        "20260102T000000--20260103T000000.parquet",
        "",
    ],
)
def test_foreign_names_are_told_apart(name: str) -> None:
    assert Slice.named(name) is None


def test_holds_and_overlaps() -> None:
    day = Slice(at("2026-01-02"), at("2026-01-03"))
    hour = Slice(at("2026-01-02T23:00"), at("2026-01-03"))
    next_day = Slice(at("2026-01-03"), at("2026-01-04"))
    assert day.holds(hour)
    assert not hour.holds(day)
    assert day.overlaps(hour)
    assert hour.overlaps(day)
    assert not day.overlaps(next_day)
    assert not next_day.overlaps(hour)
