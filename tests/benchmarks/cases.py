"""The cases: each case is a table, each entry a line of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta

from tests.benchmarks.peers import PEERS, SCRIPTS
from tests.benchmarks.server import FIRST

BEGINNING = datetime.combine(FIRST, time(), UTC)
PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Setting:
    """Options of a server: see its command line."""

    days: int
    rows: int
    page_cap: int = 100_000
    latency: float = 0.0
    odd: float = 0.0
    gzip: bool = False

    def options(self) -> list[str]:
        """Return the command line options."""
        named = {"days": self.days, "rows": self.rows, "page-cap": self.page_cap, "latency": self.latency}
        named["odd"] = self.odd
        written = [part for name, value in named.items() for part in (f"--{name}", str(value))]
        return [*written, "--gzip"] if self.gzip else written


@dataclass(frozen=True, slots=True)
class Entry:
    """One contender under one setting.

    :param label: name of the line.
    :param contender: name of the script.
    :param setting: options of the server.
    :param window: length of the window.
    :param start: start of the window.
    :param page: records per request.
    :param extra: further arguments of the script; for the provider the extra of its connection.
    :param again: whether it runs on the output of the entry before it.
    """

    label: str
    contender: str
    setting: Setting
    window: timedelta
    start: datetime = BEGINNING
    page: int = PAGE
    extra: dict[str, float] = field(default_factory=dict)
    again: bool = False

    def arguments(self, url: str, token: str, folder: str) -> list[str]:
        """Return the arguments of the script."""
        bounds = [self.start.isoformat(), (self.start + self.window).isoformat()]
        return [url, token, folder, *bounds, str(self.page), json.dumps(self.extra)]


@dataclass(frozen=True, slots=True)
class Case:
    """A table.

    :param title: title of the table.
    :param entries: its lines, run in this order in every round.
    :param overhead: whether it shows the time beside the requests, instead of figures per record.
    :param requests: whether it shows the number of requests.
    """

    title: str
    entries: list[Entry]
    overhead: bool = False
    requests: bool = False


def cases(scale: float, peer_scale: float) -> dict[str, Case]:
    """Return all cases by name.

    :param scale: factor on the records per day.
    :param peer_scale: the part of the window that other tools read in the large cases.
    """
    part = f"; other tools read the first {peer_scale * 100:g} % of the window" if peer_scale < 1 else ""
    day, large, few = (max(1, round(rows * scale)) for rows in (100_000, 1_000_000, 20_000))
    return {
        "one-day": Case(f"One day of {day:,} records, {PAGE:,} a page", _everybody(Setting(1, day), 1)),
        "ten-days": Case(
            f"Ten days of {day:,} records, {PAGE:,} a page{part}", _everybody(Setting(10, day), peer_scale)
        ),
        "million": Case(
            f"One day of {large:,} records, {PAGE:,} a page{part}", _everybody(Setting(1, large), peer_scale)
        ),
        "month": Case(f"Thirty days of {day:,} records, {PAGE:,} a page", _provider(Setting(30, day))),
        "page-caps": _page_caps(day),
        "latency": _latency(day, few),
        "odd": _odd(day),
        "gzip": Case(
            f"One day of {day:,} records, compressed on the wire (the server compresses each response)",
            [_entry(name, Setting(1, day, gzip=True)) for name in ("provider", "floor", "fetch_only")],
        ),
        "empty": _empty(),
    }


def _entry(contender: str, setting: Setting, label: str = "", **more: object) -> Entry:
    values = {"label": label or contender, "contender": contender, "setting": setting}
    return Entry(**{"window": timedelta(days=setting.days), **values, **more})  # type: ignore[arg-type]


def _provider(setting: Setting) -> list[Entry]:
    return [_entry("provider", setting), _entry("provider", setting, "provider, unchanged", again=True)]


def _everybody(setting: Setting, peer_scale: float) -> list[Entry]:
    whole = timedelta(days=setting.days)
    others = [name for name in SCRIPTS if name != "provider"]
    return _provider(setting) + [
        _entry(name, setting, window=whole * peer_scale if name in PEERS else whole) for name in others
    ]


def _page_caps(day: int) -> Case:
    entries = []
    for cap in (100, 1_000, 10_000, 100_000):
        setting = Setting(1, day, page_cap=cap)
        for name in ("provider", "floor", "plain_loop"):
            entries.append(_entry(name, setting, f"{name}, cap {cap:,}", page=max(cap, PAGE)))
    return Case(
        f"One day of {day:,} records, pages capped by the server (page size: {PAGE:,}, or the cap if that is more)",
        entries,
        requests=True,
    )


def _latency(day: int, few: int) -> Case:
    small, large = Setting(1, few, page_cap=100, latency=0.2), Setting(1, day, latency=0.2)
    tries = [
        (small, {"max_connections": 1}, "cap 100, 1 connection"),
        (small, {"max_connections": 4}, "cap 100, 4 connections"),
        (small, {"max_connections": 4, "requests_per_second": 10}, "cap 100, 4 connections, 10 a second"),
        (large, {"max_connections": 1}, f"{PAGE:,} a page, 1 connection"),
        (large, {"max_connections": 4}, f"{PAGE:,} a page, 4 connections"),
    ]
    return Case(
        f"200 ms before each response: {few:,} records with pages capped at 100, {day:,} with {PAGE:,} a page",
        [_entry("provider", setting, f"provider, {label}", extra=extra) for setting, extra, label in tries],
        requests=True,
    )


def _odd(day: int) -> Case:
    entries = []
    for odd in (0.0, 0.0001, 0.01, 1.0):
        for name in ("provider", "plain_loop"):
            entries.append(_entry(name, Setting(1, day, odd=odd), f"{name}, {odd * 100:g} % odd"))
    return Case(
        f"One day of {day:,} records, some of them odd: an unknown field, a number as text, a time with nine digits",
        entries,
    )


def _empty() -> Case:
    setting, later = Setting(1, 1), BEGINNING + timedelta(days=10)
    return Case(
        "Nothing to extract: what takes time beside the requests",
        [
            _entry(
                "provider",
                setting,
                f"provider, {days} empty {'day' if days == 1 else 'days'}",
                start=later,
                window=timedelta(days=days),
            )
            for days in (1, 31)
        ]
        + [_entry("fetch_only", setting, "fetch_only, 1 empty day", start=later, window=timedelta(days=1))],
        overhead=True,
    )
