"""Plan as a table for the terminal or a task log."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import datetime, time

from airflow_provider_cloudlock.cli.plan.report import Period, Plan, all_records

_WIDTH = 100


def as_table(plan: Plan) -> str:
    """Return a plan as a table, followed by its assumptions."""
    lines = [
        f"Plan for {plan.resource} with connection {plan.cloudlock_conn_id}, made {plan.made_at:%Y-%m-%d %H:%M} UTC",
        f"From {_bound(plan.start)} to {_bound(plan.end)} (exclusive), UTC",
        "",
        *_lines(plan),
        "",
        *(line for text in _notes(plan) for line in textwrap.wrap(text, _WIDTH)),
    ]
    return "\n".join(lines)


def _bound(instant: datetime) -> str:
    """Format a bound as a date, with its time unless it is midnight."""
    return str(instant.date()) if instant.time() == time.min else f"{instant:%Y-%m-%d %H:%M:%S}"


def _lines(plan: Plan) -> Iterator[str]:
    by_day = all(period.days == 1 for period in plan.periods)
    form = "%Y-%m-%d" if by_day else "%Y-%m"
    rows = [["Day" if by_day else "Month", "Days", "Records"]]
    rows += [[f"{period.start:{form}}", *_figures([period])] for period in plan.periods]
    rows.append(["all", *_figures(plan.periods)])
    if by_day:
        rows = [[label, records] for label, _, records in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    for label, *figures in [rows[0], rule, *rows[1:-1], rule, rows[-1]]:
        right = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
        yield "  ".join([label.ljust(widths[0]), *right])


def _figures(periods: Sequence[Period]) -> list[str]:
    records = all_records(periods)
    return [f"{sum(period.days for period in periods):,}", "unknown" if records is None else f"{records:,}"]


def _notes(plan: Plan) -> Iterator[str]:
    """Yield the assumptions of the estimate."""
    yield (
        f"At least {plan.requests:,} requests in one task, with pages of {plan.page_size:,} records. More are needed "
        "if Cloudlock returns smaller pages, or if records change meanwhile."
    )
    limit = f" (requests_per_second allows one every {plan.interval:.2g} s)" if plan.interval else ""
    yield (
        f"About {_duration(plan.seconds)} at {plan.seconds_per_request:.2g} s per request, as measured for the counts"
        f"{limit}. Large pages take longer. The rate limit of the connection applies to each task separately."
    )
    unknown = sum(period.days for period in plan.periods if period.records is None)
    if unknown:
        yield f"Cloudlock reported no count for {unknown:,} of {plan.days:,} days, which are taken to be empty."
    yield "The record counts are hints from Cloudlock. Only an extraction verifies its records."


def _duration(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
