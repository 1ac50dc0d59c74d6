"""A plan as people read it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.plan.report import Day, Plan
from airflow_provider_cloudlock.plan.table import as_table

FIRST = datetime(2026, 1, 30, tzinfo=UTC)
A_DAY = timedelta(days=1)


def of(*records: int | None, **options: Any) -> Plan:
    """Make a plan of days on end with so many records each."""
    days = (Day(FIRST + n * A_DAY, FIRST + (n + 1) * A_DAY, count, 3) for n, count in enumerate(records))
    settings: dict[str, Any] = {
        "resource": "threats",
        "cloudlock_conn_id": "cloudlock_default",
        "days": tuple(days),
        "page_size": 10_000,
        "interval": 0.0,
        "pace": 0.25,
        "made_at": datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC),
    }
    return Plan(**(settings | options))


def rows(plan: Plan) -> list[list[str]]:
    """Return the cells of the table, without header and rules."""
    lines = as_table(plan).splitlines()[5:]
    return [line.split() for line in lines[: lines.index("")] if not line.startswith("-")]


def test_a_line_for_each_day() -> None:
    assert as_table(of(1240, 0, 12)) == (
        "Plan for threats by cloudlock_default, made 2026-05-06 07:08 UTC\n"
        "From 2026-01-30 up to, and without, 2026-02-02 (UTC)\n"
        "\n"
        "Day         Records  Requests\n"
        "----------  -------  --------\n"
        "2026-01-30    1,240         3\n"
        "2026-01-31        0         3\n"
        "2026-02-01       12         3\n"
        "----------  -------  --------\n"
        "all           1,252         9\n"
        "\n"
        "At least 9 requests, in pages of 10,000 records; more if Cloudlock gives smaller pages, or the\n"
        "records change meanwhile.\n"
        "About 2 s for one task, an estimate: 0.25 s a request, the pace of the counts. Large pages take\n"
        "longer. Tasks that run at once share the time, and each has a budget of its own.\n"
        "The records are Cloudlock's own counts, and no proof: only an extraction proves how many there are."
    )


def test_thirty_one_days_still_have_a_line_each() -> None:
    assert len(rows(of(*[1] * 31))) == 32


def test_more_have_a_line_each_month() -> None:
    assert rows(of(*[10] * 32)) == [
        ["2026-01", "2", "20", "6"],
        ["2026-02", "28", "280", "84"],
        ["2026-03", "2", "20", "6"],
        ["all", "32", "320", "96"],
    ]


def test_what_is_not_known() -> None:
    plan = of(5, None)
    assert rows(plan) == [["2026-01-30", "5", "3"], ["2026-01-31", "unknown", "3"], ["all", "unknown", "6"]]
    assert "Cloudlock gave no count of 1 of 2 days: they are planned as if empty." in as_table(plan)
    assert "no count" not in as_table(of(5, 5))


def test_a_month_with_a_day_that_is_not_known() -> None:
    assert rows(of(*[None, 1, *[2] * 30])) == [
        ["2026-01", "2", "unknown", "6"],
        ["2026-02", "28", "56", "84"],
        ["2026-03", "2", "4", "6"],
        ["all", "32", "unknown", "96"],
    ]


def test_parts_of_days_are_told() -> None:
    days = (Day(FIRST + A_DAY / 4, FIRST + A_DAY, 1, 4), Day(FIRST + A_DAY, FIRST + A_DAY * 1.5, 1, 4))
    assert "From 2026-01-30 06:00:00 up to, and without, 2026-01-31 12:00:00 (UTC)" in as_table(of(days=days))


def test_the_budget_is_told() -> None:
    told = " ".join(as_table(of(1, interval=0.525)).split())
    assert "0.53 s a request, the pace of the counts (the connection's budget allows one every 0.53 s)." in told
    assert "budget allows" not in as_table(of(1))


@pytest.mark.parametrize(
    ("pace", "told"),
    [(0.01, "1 s"), (39, "117 s"), (40, "2 min"), (2399, "120 min"), (2400, "2.0 h"), (36_000, "30.0 h")],
)
def test_durations(pace: float, told: str) -> None:
    assert f"About {told} for one task" in as_table(of(1, pace=pace))


def test_it_stays_narrow() -> None:
    plan = of(*[123_456_789] * 1000, pace=1234.5, interval=1050.0)
    assert max(map(len, as_table(plan).splitlines())) <= 100
