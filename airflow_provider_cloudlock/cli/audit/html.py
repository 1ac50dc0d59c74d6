"""Audit as one self-contained HTML page: a calendar with a square per day, without scripts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from html import escape
from itertools import groupby, pairwise
from math import ceil, sqrt
from pathlib import Path

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.cli.audit.days import GAPS, Day
from airflow_provider_cloudlock.cli.audit.report import Audit
from airflow_provider_cloudlock.cli.audit.table import age_of, columns, span_of

_STYLE = Path(__file__).with_name("html.css")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_LEVELS = 5


def as_html(audit: Audit) -> str:
    """Return an audit as an HTML page."""
    title = f"Cloudlock {audit.resource}, {audit.start} to {audit.last}"
    months = [list(days) for _, days in groupby(audit.days, lambda day: (day.day.year, day.day.month))]
    body = [
        _head(audit),
        f'<main class="months" style="--months:{len(months)}">',
        *(_month(days, audit) for days in months),
        "</main>",
        _legend(audit),
        *_findings(audit),
        _figures(audit),
        _foot(audit),
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE.read_text(encoding='utf-8')}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def _head(audit: Audit) -> str:
    complete = sum(day.is_whole for day in audit.days)
    stats = [
        (_number(audit.rows), "rows"),
        (f"{_short(audit.bytes)}B", "of Parquet"),
        (age_of(max(filter(None, map(audit.age, audit.days)), default=None)), "oldest extraction"),
        (_number(audit.vanished_kept), "vanished, kept"),
        (_number(audit.quarantined), "quarantined"),
        (", ".join(map(str, audit.schema_versions)) or "-", "schema version"),
    ]
    if audit.against_api:
        stats.append(("-" if audit.api_rows is None else _number(audit.api_rows), "counted by Cloudlock"))
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for value, name in stats)
    return (
        f"<header>{_ring(complete, len(audit.days))}<div><p>Cloudlock {escape(audit.resource)} · {_date(audit.start)}"
        f" to {_date(audit.last)}</p><h1>{escape(audit.summary)}</h1><p class='uri'>{escape(audit.uri)}</p></div>"
        f"<dl>{cells}</dl></header>"
    )


def _ring(complete: int, days: int) -> str:
    """Draw the share of complete days. The circumference is 100."""
    share = 100 * complete / days
    return (
        f'<svg viewBox="0 0 40 40" role="img" aria-label="{complete} of {days} days are complete">'
        '<circle class="rest" cx="20" cy="20" r="15.9155"/>'
        f'<circle class="share" cx="20" cy="20" r="15.9155" stroke-dasharray="{share:.2f} 100"/>'
        f'<text x="20" y="19.5">{complete}</text><text x="20" y="25.5" class="of">of {days}</text></svg>'
    )


def _month(days: list[Day], audit: Audit) -> str:
    first = days[0].day.replace(day=1)
    known = {day.day: day for day in days}
    weeks = "".join(
        "<tr>" + "".join(_cell(each, first, known.get(each), audit) for each in week) + "</tr>"
        for week in _weeks(first)
    )
    rows = sum(day.rows or 0 for day in days)
    names = "".join(f'<th scope="col" abbr="{name}">{name[:2]}</th>' for name in _WEEKDAYS)
    return (
        f"<table><caption>{_MONTHS[first.month - 1]} {first.year} <span>{_number(rows)} rows</span></caption>"
        f"<thead><tr>{names}</tr></thead><tbody>{weeks}</tbody></table>"
    )


def _weeks(first: date) -> Iterator[list[date]]:
    """Yield the weeks of a month, Monday to Sunday, including days of the adjacent months."""
    monday = first - timedelta(days=first.weekday())
    while (monday.year, monday.month) <= (first.year, first.month):
        yield [monday + timedelta(days=n) for n in range(7)]
        monday += timedelta(days=7)


def _cell(each: date, first: date, day: Day | None, audit: Audit) -> str:
    if each.month != first.month:
        return "<td></td>"
    if day is None:
        return f'<td><div class="day out" aria-hidden="true"><b>{each.day}</b></div></td>'
    label = escape(_label(day, audit))
    content = f"<b>{each.day}</b><span>{'gap' if day.has_gap else _short(day.rows or 0)}</span>"
    if day.is_whole:
        kind = f"l{_level(day, audit)}"
        return f'<td><div class="day {kind}" role="img" aria-label="{label}" title="{label}">{content}</div></td>'
    kind = "gap" if day.has_gap else "odd"
    return f'<td><a class="day {kind}" href="#f{each}" aria-label="{label}" title="{label}">{content}</a></td>'


def _label(day: Day, audit: Audit) -> str:
    """Describe a day in text, for tooltips and screen readers."""
    verdict = "complete" if day.is_whole else ", ".join(day.kinds)
    lines = [f"{_WEEKDAYS[day.day.weekday()]}, {_date(day.day)}: {verdict}"]
    if day.extracted_at:
        rows = f"{_number(day.rows or 0)} rows"
        lines += [
            f"{rows}, proof: {(day.proof or 'none').replace('_', ' ')}",
            f"last extraction {day.extracted_at:%Y-%m-%d %H:%M}, {age_of(audit.age(day))} ago",
            f"{_number(day.vanished_kept)} vanished and kept, {_number(day.quarantined)} quarantined",
        ]
    if day.api_rows is not None:
        lines.append(f"Cloudlock counts {_number(day.api_rows)}")
    return "\n".join([*lines, *(finding.text for finding in day.findings)])


def _level(day: Day, audit: Audit) -> int:
    """Return the shade of a day: 0 without rows, else 1 to 5 by the square root of its share of the largest day."""
    return ceil(_LEVELS * sqrt((day.rows or 0) / _largest(audit)))


def _largest(audit: Audit) -> int:
    return max(1, *(day.rows or 0 for day in audit.days))


def _legend(audit: Audit) -> str:
    largest = _largest(audit)
    edges = [largest * level * level // _LEVELS**2 for level in range(_LEVELS + 1)]
    steps = [("l0", "complete, no rows")]
    steps += [
        (f"l{level}", f"{_number(low + 1)} to {_number(high)}" if high > low + 1 else _number(high))
        for level, (low, high) in enumerate(pairwise(edges), 1)
        if high > low
    ]
    steps += [("gap", "gap: rows are missing"), ("odd", "other finding"), ("out", "not audited")]
    items = "".join(f'<li><i class="day {kind}"></i>{text}</li>' for kind, text in steps)
    return f'<section class="legend" aria-label="Legend"><h2>Rows per day</h2><ul>{items}</ul></section>'


def _findings(audit: Audit) -> Iterator[str]:
    if audit.is_whole:
        return
    yield '<section class="findings"><h2>Findings</h2><ul>'
    for days, finding in audit.found():
        # The squares of the calendar link to the first finding of their day.
        anchors = "".join(f'<a id="f{day.day}"></a>' for day in days if day.findings[0] == finding)
        kind = "gap" if finding.kind in GAPS else "odd"
        yield (
            f'<li><b>{anchors}{span_of(days)}</b><em class="{kind}">{escape(finding.kind)}</em>'
            f"<span>{escape(finding.text)}</span></li>"
        )
    yield "</ul></section>"


def _figures(audit: Audit) -> str:
    shown = columns(audit)
    names = "".join(f'<th scope="col">{header.replace("- ", "")}</th>' for header, _, _ in shown)
    rows = ("".join(f"<td>{escape(of_day(day))}</td>" for _, of_day, _ in shown) for day in audit.days)
    return (
        '<details class="figures"><summary>All days as a table</summary>'
        f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"
        "</details>"
    )


def _foot(audit: Audit) -> str:
    return (
        f"<footer>Audited {audit.made_at:%Y-%m-%d %H:%M} UTC: {escape(audit.uri)}, receipts compared with the "
        f"{'content' if audit.verified else 'size'} of their objects. All days are UTC. "
        f"airflow-provider-cloudlock {__version__}</footer>"
    )


def _date(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _number(number: int) -> str:
    return f"{number:,}"


def _short(number: int) -> str:
    """Format a number in at most four characters, if it is below 10^12."""
    amount, units = float(number), ["", "k", "M", "G"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.{1 if units[0] and amount < 9.95 else 0}f}{units[0]}"
