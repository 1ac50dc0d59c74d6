"""Days to paths of objects, receipts and quarantine files, and back."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_cloudlock.lake.days import (
    common_prefix,
    day_of,
    object_path,
    partition,
    quarantine_path,
    receipt_path,
)

DAY = date(2026, 1, 2)
NAME = "created_date=2026-01-02/threats-2026-01-02.parquet"


def test_paths_of_day_name_resource_and_day() -> None:
    assert partition(DAY) == "created_date=2026-01-02"
    assert object_path("threats", DAY) == f"threats/{NAME}"
    assert receipt_path("threats", DAY) == "_receipts/threats/2026-01-02.json"
    assert quarantine_path("threats", DAY) == "_quarantine/threats/2026-01-02.jsonl"
    assert object_path("incidents", date(987, 1, 2)).startswith("incidents/created_date=0987-01-02/")


@given(st.sampled_from(["threats", "incidents"]), st.dates())
def test_day_of_object_path_returns_its_day(resource: str, day: date) -> None:
    folder, relative = object_path(resource, day).split("/", 1)
    assert folder == resource
    assert day_of(relative) == (day, f"{resource}-{day.isoformat()}.parquet")


@pytest.mark.parametrize(
    "name", [".threats-2026-01-02.parquet.12-ab.tmp", "part-0.parquet", "a/b.parquet", f"{NAME}\n"]
)
def test_day_of_foreign_file_returns_day_and_name(name: str) -> None:
    assert day_of(f"created_date=2026-01-02/{name}") == (DAY, name)


@pytest.mark.parametrize(
    "relative",
    [
        "part-0.parquet",
        "created_date=2026-01-02",
        "created_date=2026-01-02/",
        "created_date=2026-02-30/threats-2026-02-30.parquet",
        "created_date=2026-13-01/threats-2026-13-01.parquet",
        "created_date=20260102/threats-20260102.parquet",
        "created_date=2026-1-2/threats-2026-1-2.parquet",
        "created_date=__HIVE_DEFAULT_PARTITION__/a.parquet",
        "created_date=\u0662\u0660\u0662\u0666-01-02/a.parquet",
        f"/{NAME}",
        f"other/{NAME}",
        f"a{NAME}",
        "",
    ],
)
def test_day_of_path_outside_days_returns_none(relative: str) -> None:
    assert day_of(relative) is None


@given(st.dates(), st.lists(st.integers(0, 400), min_size=1, max_size=5))
def test_common_prefix_begins_every_partition(first: date, offsets: list[int]) -> None:
    days = [first + timedelta(days=n) for n in offsets if n <= (date.max - first).days] or [first]
    prefix = common_prefix([*map(partition, days)])
    assert all(partition(day).startswith(prefix) for day in days)
    assert len(days) > 1 or prefix == partition(days[0])


def test_common_prefix_is_as_long_as_possible() -> None:
    def prefix(other: date) -> str:
        return common_prefix([object_path("threats", other), object_path("threats", DAY)])

    assert prefix(DAY) == object_path("threats", DAY)
    assert prefix(date(2026, 1, 9)) == "threats/created_date=2026-01-0"
    assert prefix(date(2026, 1, 31)) == "threats/created_date=2026-01-"
    assert prefix(date(2025, 12, 31)) == "threats/created_date=202"
    assert prefix(date(999, 12, 31)) == "threats/created_date="
