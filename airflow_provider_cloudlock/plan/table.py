"""A plan for the terminal, or the log of a task."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime, time
from itertools import groupby

from airflow_provider_cloudlock.plan.report import Day, Plan, all_records

_WIDTH = 100
#: So many days have a line each; of more, each month has one.
_DAYS = 31


def as_table(plan: Plan) -> str:
    """Lay a plan out as a table, with what it rests on below it."""
    lines = [
        f"Plan for {plan.resource} by {plan.cloudlock_conn_id}, made {plan.made_at:%Y-%m-%d %H:%M} UTC",
        f"From {_edge(plan.start)} up to, and without, {_edge(plan.end)} (UTC)",
        "",
        *_laid_out(plan),
        "",
        *(line for text in _notes(plan) for line in textwrap.wrap(text, _WIDTH)),
    ]
    return "\n".join(lines)


def _edge(instant: datetime) -> str:
    """Write a bound as a date, with the time where it is no midnight."""
    return str(instant.date()) if instant.time() == time.min else f"{instant:%Y-%m-%d %H:%M:%S}"


def _laid_out(plan: Plan) -> Iterator[str]:
    by_month = len(plan.days) > _DAYS
    rows = [["Month" if by_month else "Day", "Days", "Records", "Requests"]]
    rows += [
        [label, *_figures(list(days))]
        for label, days in groupby(plan.days, lambda day: f"{day.start:{'%Y-%m' if by_month else '%Y-%m-%d'}}")
    ]
    rows.append(["all", *_figures(plan.days)])
    if not by_month:
        rows = [[label, *figures] for label, _, *figures in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * width for width in widths]
    for label, *figures in [rows[0], rule, *rows[1:-1], rule, rows[-1]]:
        right = (figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True))
        yield "  ".join([label.ljust(widths[0]), *right])


def _figures(days: list[Day] | tuple[Day, ...]) -> list[str]:
    records = all_records(days)
    return [
        f"{len(days):,}",
        "unknown" if records is None else f"{records:,}",
        f"{sum(day.requests for day in days):,}",
    ]


def _notes(plan: Plan) -> Iterator[str]:
    """Tell what the figures rest on."""
    yield (
        f"At least {plan.requests:,} requests, in pages of {plan.page_size:,} records; more if Cloudlock gives smaller "
        "pages, or the records change meanwhile."
    )
    budget = f" (the connection's budget allows one every {plan.interval:.2g} s)" if plan.interval else ""
    yield (
        f"About {_duration(plan.seconds)} for one task, an estimate: {plan.seconds_per_request:.2g} s a request, the "
        f"pace of the counts{budget}. Large pages take longer. Tasks that run at once share the time, and each has a "
        "budget of its own."
    )
    unknown = sum(day.records is None for day in plan.days)
    if unknown:
        yield f"Cloudlock gave no count of {unknown:,} of {len(plan.days):,} days: they are planned as if empty."
    yield "The records are Cloudlock's own counts, and no proof: only an extraction proves how many there are."


def _duration(seconds: float) -> str:
    """Write a duration in the unit that fits."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
