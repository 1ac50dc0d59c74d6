"""An audit for the terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_provider_cloudlock.audit.inventory import Finding
from airflow_provider_cloudlock.audit.report import Audit
from airflow_provider_cloudlock.audit.table import age_of, as_table
from tests.audit.receipts import audited, publish
from tests.operators.lake import DAY, FOLDER, NEXT, Lake

THIRD = "2026-01-04"
WIDTH = 100


def lines(found: Audit) -> list[str]:
    """Return the table without what stands above it."""
    return as_table(found).splitlines()[3:]


def test_a_small_lake(lake: Lake) -> None:
    publish(lake, rows=40, vanished_kept=3, quarantined=2, proof="anchored")
    publish(lake, 0, 12, day=NEXT, rows=5)
    found = audited(lake, DAY, THIRD)
    extracted = found.days[0].extracted_at
    assert extracted is not None
    found = replace(found, made_at=extracted + timedelta(hours=50))
    assert as_table(found).splitlines() == [
        f"threats in {found.uri}, schema version 1",
        "2026-01-02 to 2026-01-03, UTC days, looked at 2026-01-11 05:04 UTC",
        "",
        "                                  Last       Vanished  Quaran-",
        "Day         Rows     Proof  extraction  Age      kept    tined  Verdict",
        "----------  ----  --------  ----------  ---  --------  -------  -------",
        "2026-01-02    40  anchored  2026-01-09  2 d         3        2  whole",
        "2026-01-03     5    single  2026-01-09  2 d         0        0  gap",
        "----------  ----  --------  ----------  ---  --------  -------  -------",
        "all           45                                    3        2  1 whole",
        "",
        "2026-01-03  gap: No object covers 12:00 to 24:00. Extract the day as a whole.",
        "",
        "Not whole: 1 day with gaps, of 2.",
    ]


def test_a_whole_lake_ends_with_one_sentence(lake: Lake) -> None:
    publish(lake)
    assert lines(audited(lake))[-2:] == ["", "The day is whole."]


def test_a_day_with_nothing(lake: Lake) -> None:
    publish(lake)
    assert lines(audited(lake, DAY, THIRD))[4].split() == [NEXT, "-", "-", "-", "-", "-", "-", "gap"]


@pytest.mark.parametrize("kind", ["API has more", "no receipt", "unreadable"])
def test_it_fits_the_terminal(lake: Lake, kind: str) -> None:
    """Two years, many rows, versions that differ, Cloudlock asked, and names without an end."""
    publish(lake, rows=0, schema_version=2)
    publish(lake, day=NEXT)
    name = "no-place-to-break-" * 11
    lake.write(f"{FOLDER}/{name}.parquet")
    found = audited(lake, "2024-01-02", THIRD)
    days = [
        *(
            replace(day, rows=123_456, slices=1, api_rows=123_456 + 7_890, proofs=("anchored",))
            for day in found.days[:-2]
        ),
        *(replace(day, rows=None, slices=0, api_rows=123_456) for day in found.days[-2:-1]),
        replace(found.days[-1], findings=(Finding(kind, "x " * 100), Finding("foreign", "y" * 250))),
    ]
    crowded = replace(found, days=tuple(days), against_api=True)
    text = lines(crowded)
    assert max(map(len, text)) <= WIDTH
    assert f"{kind} +1" in "\n".join(text)
    assert name[:60] in as_table(found)


def test_what_cloudlock_counts(lake: Lake) -> None:
    publish(lake, rows=40)
    publish(lake, day=NEXT, rows=7)
    found = audited(lake, DAY, "2026-01-06")
    counts = (41, 7, 9, None)
    days = tuple(replace(day, api_rows=count) for day, count in zip(found.days, counts, strict=True))
    text = lines(replace(found, days=days, against_api=True))
    column = text[1].index("Cloudlock")
    assert text[0][column : column + 9].strip() == "At"
    # What is not in the lake at all differs by all of it: no word more.
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
def test_ages(age: timedelta | None, text: str) -> None:
    assert age_of(age) == text
