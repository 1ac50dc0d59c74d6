"""Plan as a table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.cli.plan.report import Period, Plan
from airflow_provider_cloudlock.cli.plan.table import as_table

FIRST = datetime(2026, 1, 30, tzinfo=UTC)
A_DAY = timedelta(days=1)


def of(*records: int | None, **options: Any) -> Plan:
    """Make a plan of consecutive days with these counts."""
    settings: dict[str, Any] = {
        "resource": "threats",
        "cloudlock_conn_id": "cloudlock_default",
        "periods": tuple(Period(FIRST + n * A_DAY, FIRST + (n + 1) * A_DAY, each) for n, each in enumerate(records)),
        "page_size": 10_000,
        "requests": 9,
        "interval": 0.0,
        "pace": 0.25,
        "made_at": datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC),
    }
    return Plan(**(settings | options))


def months(*records: int | None) -> tuple[Period, ...]:
    """Make periods from 30 January on, one per month."""
    edges = [FIRST, *(datetime(2026, 2 + n, 1, tzinfo=UTC) for n in range(len(records)))]
    return tuple(Period(edges[n], edges[n + 1], each) for n, each in enumerate(records))


def rows(plan: Plan) -> list[list[str]]:
    """Return the cells of the table, without header and rules."""
    lines = as_table(plan).splitlines()[5:]
    return [line.split() for line in lines[: lines.index("")] if not line.startswith("-")]


def test_as_table_lists_days_and_assumptions() -> None:
    assert as_table(of(1240, 0, 12)) == (
        "Plan for threats with connection cloudlock_default, made 2026-05-06 07:08 UTC\n"
        "From 2026-01-30 to 2026-02-02 (exclusive), UTC\n"
        "\n"
        "Day         Records\n"
        "----------  -------\n"
        "2026-01-30    1,240\n"
        "2026-01-31        0\n"
        "2026-02-01       12\n"
        "----------  -------\n"
        "all           1,252\n"
        "\n"
        "At least 9 requests in one task, with pages of 10,000 records. More are needed if Cloudlock returns\n"
        "smaller pages, or if records change meanwhile.\n"
        "About 2 s at 0.25 s per request, as measured for the counts. Large pages take longer. The rate limit\n"
        "of the connection applies to each task separately.\n"
        "The record counts are hints from Cloudlock. Only an extraction verifies its records."
    )


def test_as_table_lists_months() -> None:
    plan = of(periods=months(20, 280, 20))
    assert as_table(plan).splitlines()[3] == "Month    Days  Records"
    assert rows(plan) == [
        ["2026-01", "2", "20"],
        ["2026-02", "28", "280"],
        ["2026-03", "31", "20"],
        ["all", "61", "320"],
    ]


def test_as_table_unknown_day_makes_sum_unknown() -> None:
    plan = of(5, None)
    assert rows(plan) == [["2026-01-30", "5"], ["2026-01-31", "unknown"], ["all", "unknown"]]
    assert "Cloudlock reported no count for 1 of 2 days, which are taken to be empty." in as_table(plan)
    assert "no count" not in as_table(of(5, 5))


def test_as_table_unknown_month_makes_sum_unknown() -> None:
    plan = of(periods=months(None, 56, 4))
    assert rows(plan) == [
        ["2026-01", "2", "unknown"],
        ["2026-02", "28", "56"],
        ["2026-03", "31", "4"],
        ["all", "61", "unknown"],
    ]
    assert "no count for 2 of 61 days" in as_table(plan)


def test_as_table_bounds_within_days_have_times() -> None:
    periods = (Period(FIRST + A_DAY / 4, FIRST + A_DAY, 1), Period(FIRST + A_DAY, FIRST + A_DAY * 1.5, 1))
    assert "From 2026-01-30 06:00:00 to 2026-01-31 12:00:00 (exclusive), UTC" in as_table(of(periods=periods))


def test_as_table_shows_rate_limit() -> None:
    text = " ".join(as_table(of(1, interval=0.525)).split())
    assert "0.53 s per request, as measured for the counts (requests_per_second allows one every 0.53 s)." in text
    assert "requests_per_second" not in as_table(of(1))


@pytest.mark.parametrize(
    ("pace", "text"),
    [(0.01, "1 s"), (13, "117 s"), (14, "2 min"), (799, "120 min"), (800, "2.0 h"), (12_000, "30.0 h")],
)
def test_as_table_duration_uses_fitting_unit(pace: float, text: str) -> None:
    assert f"About {text} at" in as_table(of(1, pace=pace))


def test_as_table_is_at_most_100_wide() -> None:
    plan = of(*[123_456_789] * 1000, pace=1234.5, interval=1050.0, requests=123_456_789, page_size=100_000)
    assert max(map(len, as_table(plan).splitlines())) <= 100
