"""An audit for the wall: a page of HTML with a calendar, a square a day. It needs nothing else, and no script."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from html import escape
from itertools import groupby, pairwise
from math import ceil, sqrt
from pathlib import Path

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.audit.days import Day
from airflow_provider_cloudlock.audit.report import Audit
from airflow_provider_cloudlock.audit.table import age_of, columns, span_of

_STYLE = Path(__file__).with_name("wall.css")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_LEVELS = 5


def as_html(audit: Audit) -> str:
    """Write an audit as a page."""
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
    whole = sum(day.is_whole for day in audit.days)
    stats = [
        (_plain(audit.rows), "rows"),
        (f"{_short(audit.bytes)}B", "of Parquet"),
        (age_of(max(filter(None, map(audit.age, audit.days)), default=None)), "oldest refresh"),
        (_plain(audit.vanished_kept), "vanished at Cloudlock, kept"),
        (_plain(audit.quarantined), "quarantined"),
        (", ".join(map(str, audit.schema_versions)) or "-", "schema version"),
    ]
    if audit.against_api:
        stats.append(("-" if audit.api_rows is None else _plain(audit.api_rows), "counted by Cloudlock"))
    cells = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for value, name in stats)
    return (
        f"<header>{_ring(whole, len(audit.days))}<div><p>Cloudlock {escape(audit.resource)} · {_long(audit.start)} to "
        f"{_long(audit.last)}</p><h1>{escape(audit.summary)}</h1><p class='uri'>{escape(audit.uri)}</p></div>"
        f"<dl>{cells}</dl></header>"
    )


def _ring(whole: int, days: int) -> str:
    """Draw the share of whole days. The circle's length is 100."""
    share = 100 * whole / days
    return (
        f'<svg viewBox="0 0 40 40" role="img" aria-label="{whole} of {days} days are whole">'
        '<circle class="rest" cx="20" cy="20" r="15.9155"/>'
        f'<circle class="share" cx="20" cy="20" r="15.9155" stroke-dasharray="{share:.2f} 100"/>'
        f'<text x="20" y="19.5">{whole}</text><text x="20" y="25.5" class="of">of {days}</text></svg>'
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
        f"<table><caption>{_MONTHS[first.month - 1]} {first.year} <span>{_plain(rows)} rows</span></caption>"
        f"<thead><tr>{names}</tr></thead><tbody>{weeks}</tbody></table>"
    )


def _weeks(first: date) -> Iterator[list[date]]:
    """Give the weeks of a month, from Monday to Sunday, with the days of its neighbours."""
    monday = first - timedelta(days=first.weekday())
    while (monday.year, monday.month) <= (first.year, first.month):
        yield [monday + timedelta(days=n) for n in range(7)]
        monday += timedelta(days=7)


def _cell(each: date, first: date, day: Day | None, audit: Audit) -> str:
    if each.month != first.month:
        return "<td></td>"
    if day is None:
        return f'<td><div class="day out" aria-hidden="true"><b>{each.day}</b></div></td>'
    label = escape(_told(day, audit))
    content = f"<b>{each.day}</b><span>{'gap' if day.has_gap else _short(day.rows or 0)}</span>"
    if day.is_whole:
        kind = f"l{_level(day, audit)}"
        return f'<td><div class="day {kind}" role="img" aria-label="{label}" title="{label}">{content}</div></td>'
    kind = "gap" if day.has_gap else "odd"
    return f'<td><a class="day {kind}" href="#f{each}" aria-label="{label}" title="{label}">{content}</a></td>'


def _told(day: Day, audit: Audit) -> str:
    """Tell all about a day."""
    lines = [f"{_WEEKDAYS[day.day.weekday()]}, {_long(day.day)}: {'whole' if day.is_whole else ', '.join(day.kinds)}"]
    if day.extracted_at:
        rows = f"{_plain(day.rows or 0)} rows"
        lines += [
            f"{rows}, proof: {' and '.join(proof.replace('_', ' ') for proof in day.proofs)}",
            f"last extraction {day.extracted_at:%Y-%m-%d %H:%M}, {age_of(audit.age(day))} ago",
            f"vanished and kept {day.vanished_kept}, quarantined {day.quarantined}",
        ]
    if day.api_rows is not None:
        lines.append(f"Cloudlock counts {_plain(day.api_rows)}")
    return "\n".join([*lines, *(finding.text for finding in day.findings)])


def _level(day: Day, audit: Audit) -> int:
    """Tell how dark a day is: 0 without rows, else 1 to 5 by the root of its share of the largest day."""
    return ceil(_LEVELS * sqrt((day.rows or 0) / _most(audit)))


def _most(audit: Audit) -> int:
    return max(1, *(day.rows or 0 for day in audit.days))


def _legend(audit: Audit) -> str:
    most = _most(audit)
    edges = [most * level * level // _LEVELS**2 for level in range(_LEVELS + 1)]
    steps = [("l0", "no rows, and whole")]
    steps += [
        (f"l{level}", f"{_plain(low + 1)} to {_plain(high)}" if high > low + 1 else _plain(high))
        for level, (low, high) in enumerate(pairwise(edges), 1)
        if high > low
    ]
    steps += [("gap", "gap: rows are missing"), ("odd", "something else was found"), ("out", "not asked for")]
    items = "".join(f'<li><i class="day {kind}"></i>{text}</li>' for kind, text in steps)
    return f'<section class="legend" aria-label="Legend"><h2>Rows a day</h2><ul>{items}</ul></section>'


def _findings(audit: Audit) -> Iterator[str]:
    if audit.is_whole:
        return
    yield '<section class="findings"><h2>What was found</h2><ul>'
    for days, finding in audit.found():
        # The squares of the calendar lead to a day's first finding.
        anchors = "".join(f'<a id="f{day.day}"></a>' for day in days if day.findings[0] == finding)
        kind = "gap" if finding.kind in ("gap", "missing") else "odd"
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
        '<details class="figures"><summary>All days in figures</summary>'
        f"<table><thead><tr>{names}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"
        "</details>"
    )


def _foot(audit: Audit) -> str:
    return (
        f"<footer>Made {audit.made_at:%Y-%m-%d %H:%M} UTC from the receipts in {escape(audit.uri)}"
        f"{', every object read again' * audit.verified}, by airflow-provider-cloudlock {__version__}. "
        "All days are UTC.</footer>"
    )


def _long(day: date) -> str:
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def _plain(number: int) -> str:
    return f"{number:,}"


def _short(number: int) -> str:
    """Write a number in four characters."""
    amount, units = float(number), ["", "k", "M", "G"]
    while amount >= 999.5 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.{1 if units[0] and amount < 9.95 else 0}f}{units[0]}"
