"""Audit as a table for the terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_provider_cloudlock.cli.audit.inventory import Finding
from airflow_provider_cloudlock.cli.audit.report import Audit
from airflow_provider_cloudlock.cli.audit.table import age_of, as_table
from tests.cli.audit.receipts import audited, publish
from tests.operators.lake import DAY, FOLDER, NEXT, Lake

THIRD = "2026-01-04"
WIDTH = 100


def lines(found: Audit) -> list[str]:
    """Return the table without its heading."""
    return as_table(found).splitlines()[3:]


def test_as_table_lists_days_and_findings(lake: Lake) -> None:
    publish(lake, rows=40, vanished_kept=3, quarantined=2, proof="anchored")
    publish(lake, NEXT, until=12, rows=5, proof="identical_passes")
    found = audited(lake, DAY, THIRD)
    extracted = found.days[0].extracted_at
    assert extracted is not None
    found = replace(found, made_at=extracted + timedelta(hours=50))
    assert as_table(found).splitlines() == [
        f"threats in {found.uri}, schema version 1",
        "2026-01-02 to 2026-01-03, UTC days, audited 2026-01-11 05:04 UTC",
        "",
        "                                  Last       Vanished  Quaran-",
        "Day         Rows     Proof  extraction  Age      kept    tined  Verdict",
        "----------  ----  --------  ----------  ---  --------  -------  ----------",
        "2026-01-02    40  anchored  2026-01-09  2 d         3        2  complete",
        "2026-01-03     5  2 passes  2026-01-09  2 d         0        0  partial",
        "----------  ----  --------  ----------  ---  --------  -------  ----------",
        "all           45                                    3        2  1 complete",
        "",
        "2026-01-03  partial: The day was in progress when it was extracted, up to 2026-01-03T12:00:00+00:00.",
        "            Extract the day again.",
        "",
        "Not complete: 1 day with gaps, of 2.",
    ]


def test_as_table_complete_lake_ends_with_summary(lake: Lake) -> None:
    publish(lake)
    assert lines(audited(lake))[-2:] == ["", "The day is complete."]


def test_as_table_missing_day_has_dashes(lake: Lake) -> None:
    publish(lake)
    assert lines(audited(lake, DAY, THIRD))[4].split() == [NEXT, "-", "-", "-", "-", "-", "-", "gap"]


@pytest.mark.parametrize("kind", ["API has more", "no receipt", "unreadable"])
def test_as_table_is_at_most_100_wide(lake: Lake, kind: str) -> None:
    publish(lake, rows=0, schema_version=2)
    publish(lake, NEXT)
    name = "no-place-to-break-" * 11
    lake.write(f"{FOLDER}/{name}.parquet")
    found = audited(lake, "2024-01-02", THIRD)
    days = [
        *(replace(day, rows=123_456, api_rows=123_456 + 7_890, proof="anchored") for day in found.days[:-2]),
        *(replace(day, rows=None, api_rows=123_456) for day in found.days[-2:-1]),
        replace(found.days[-1], findings=(Finding(kind, "x " * 100), Finding("foreign", "y" * 250))),
    ]
    crowded = replace(found, days=tuple(days), against_api=True)
    text = lines(crowded)
    assert max(map(len, text)) <= WIDTH
    assert f"{kind} +1" in "\n".join(text)
    assert name[:60] in as_table(found)


def test_as_table_api_counts_show_differences(lake: Lake) -> None:
    publish(lake, rows=40)
    publish(lake, NEXT, rows=7)
    found = audited(lake, DAY, "2026-01-06")
    counts = (41, 7, 9, None)
    days = tuple(replace(day, api_rows=count) for day, count in zip(found.days, counts, strict=True))
    text = lines(replace(found, days=days, against_api=True))
    column = text[1].index("Cloudlock")
    assert text[0][column : column + 9].strip() == "At"
    # A day that is not in the lake has a count and no difference.
    assert [line[column - 2 : column + 9].split() for line in (*text[3:7], text[8])] == [
        ["41", "+1"],
        ["7"],
        ["9"],
        ["-"],
        ["-"],
    ]


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (None, "-"),
        (timedelta(0), "0 m"),
        (timedelta(hours=2, seconds=-1), "119 m"),
        (timedelta(hours=2), "2 h"),
        (timedelta(days=2, seconds=-1), "47 h"),
        (timedelta(days=2), "2 d"),
        (timedelta(days=800), "800 d"),
    ],
)
def test_age_of_uses_largest_unit(age: timedelta | None, text: str) -> None:
    assert age_of(age) == text
