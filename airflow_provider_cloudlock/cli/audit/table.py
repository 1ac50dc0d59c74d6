"""Audit as a table for the terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from airflow_provider_cloudlock.cli.audit.days import Day
from airflow_provider_cloudlock.cli.audit.report import Audit

_WIDTH = 100
#: Header, cell of a day, cell of the last line.
Column = tuple[str, Callable[[Day], str], str]

_PROOFS = {"single_response": "single", "anchored": "anchored", "identical_passes": "2 passes", None: "-"}


def as_table(audit: Audit) -> str:
    """Return an audit as a table, followed by its findings."""
    versions = ", ".join(map(str, audit.schema_versions))
    lines = [
        f"{audit.resource} in {audit.uri}" + f", schema version {versions}" * (len(audit.schema_versions) == 1),
        f"{audit.start} to {audit.last}, UTC days, audited {audit.made_at:%Y-%m-%d %H:%M} UTC",
        "",
        *_lines(columns(audit), audit.days),
        "",
        *_findings(audit),
        audit.summary,
    ]
    return "\n".join(lines)


def age_of(age: timedelta | None) -> str:
    """Format an age in its largest unit."""
    if age is None:
        return "-"
    for unit, length in (("d", timedelta(days=1)), ("h", timedelta(hours=1))):
        if age >= 2 * length:
            return f"{age // length} {unit}"
    return f"{age // timedelta(minutes=1)} m"


def proof_of(day: Day) -> str:
    """Return the short name of a day's proof."""
    return _PROOFS[day.proof]


def span_of(days: list[Day]) -> str:
    """Format a run of consecutive days."""
    return f"{days[0].day}" + f" to {days[-1].day}" * (len(days) > 1)


def api_of(day: Day) -> str:
    """Format Cloudlock's count and its difference from the lake."""
    if day.api_rows is None:
        return "-"
    return f"{day.api_rows}" + f" {day.api_more:+}" * bool(day.is_extracted and day.api_more)


def verdict_of(day: Day) -> str:
    """Format the first kind of finding and the number of other kinds."""
    first, *others = day.kinds or ("complete",)
    return first + f" +{len(others)}" * bool(others)


def columns(audit: Audit) -> list[Column]:
    """Return the columns of an audit."""
    complete = sum(day.is_whole for day in audit.days)
    found: list[Column] = [
        ("Day", lambda day: day.day.isoformat(), "all"),
        ("Rows", lambda day: _count(day.rows), _count(audit.rows)),
        ("Proof", proof_of, ""),
        ("Last extraction", lambda day: f"{day.extracted_at:%Y-%m-%d}" if day.extracted_at else "-", ""),
        ("Age", lambda day: age_of(audit.age(day)), ""),
        (
            "Vanished kept",
            lambda day: _count(day.vanished_kept if day.is_extracted else None),
            _count(audit.vanished_kept),
        ),
        ("Quaran- tined", lambda day: _count(day.quarantined if day.is_extracted else None), _count(audit.quarantined)),
    ]
    if len(audit.schema_versions) > 1:
        found.append(("Schema", lambda day: str(day.schema_version or "-"), ""))
    if audit.against_api:
        found.append(("At Cloudlock", api_of, _count(audit.api_rows)))
    found.append(("Verdict", verdict_of, f"{complete} complete"))
    return found


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)


def _lines(shown: list[Column], days: Iterable[Day]) -> Iterator[str]:
    """Yield the lines of a table with a header of two lines."""
    texts = []
    for header, of_day, of_all in shown:
        first, _, second = header.rpartition(" ")
        cells = [first, second, *map(of_day, days), of_all]
        width = max(map(len, cells))
        rule = "-" * width
        cells = [*cells[:2], rule, *cells[2:-1], rule, of_all]
        left = header in ("Day", "Verdict")
        texts.append([cell.ljust(width) if left else cell.rjust(width) for cell in cells])
    space = "  " if sum(len(column[0]) + 2 for column in texts) <= _WIDTH else " "
    return (space.join(line).rstrip() for line in zip(*texts, strict=True))


def _findings(audit: Audit) -> Iterator[str]:
    for days, finding in audit.found():
        text = f"{span_of(days)}  {finding.kind}: {finding.text}"
        yield from textwrap.wrap(text, _WIDTH, subsequent_indent=" " * 12, break_on_hyphens=False)
    if not audit.is_whole:
        yield ""
