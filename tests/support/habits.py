"""How a tenant answers a list request: everything the vendor's documents leave open, each as a choice."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Literal, get_args
from zoneinfo import ZoneInfo

from .records import Record, instant
from .table import Table, View

Total = Literal["true", "absent", "page", "low", "high", "zero", "null", "so_far"]
Granularity = Literal["microsecond", "second", "minute", "day"]

_PARAMETERS = frozenset({"limit", "offset", "order", "status", "start_time", "created_after", "created_before"})
_BOUNDS = ("created_after", "created_before")
_ORDERS = frozenset({"id", "created_at", "updated_at", "start_time"})
_BOUND_SHAPES = {
    "time_of_day": re.compile(r"\d[T ]\d"),
    "seconds": re.compile(r":\d\d:\d\d"),
    "fraction": re.compile(r"\.\d"),
    "zone": re.compile(r":\d.*(Z|[+-]\d\d:?\d\d)$"),
}
_RULE = re.compile(r"(?P<name>\w+)(?:=(?P<value>.+)|>(?P<most>\d+))?")
_FINER: dict[str, dict[str, Any]] = {
    "microsecond": {},
    "second": {"microsecond": 0},
    "minute": {"microsecond": 0, "second": 0},
    "day": {"microsecond": 0, "second": 0, "minute": 0, "hour": 0},
}
_TOTALS: dict[str, Callable[[int, int, int], int | None]] = {
    "true": lambda found, offset, shown: found,
    "page": lambda found, offset, shown: shown,
    "low": lambda found, offset, shown: found // 2,
    "high": lambda found, offset, shown: found + 7,
    "zero": lambda found, offset, shown: 0,
    "null": lambda found, offset, shown: None,
    "so_far": lambda found, offset, shown: offset + shown,
}


class RefusalError(Exception):
    """The server will not serve this request; its text is what the client is told."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Habits:
    """How this server behaves. Two objects are never equal, so that one serves as the name of what it remembers.

    :param cap: most records in a page, whatever is asked; a sequence goes by request number, its last value stays.
    :param default_limit: records in a page when no ``limit`` is sent.
    :param echo: which of ``limit``, ``offset``, ``results`` the envelope has.
    :param echo_asked: echo the ``limit`` and ``offset`` that were sent, not those applied.
    :param total: what ``total`` says: ``low`` is half the truth, ``high`` seven more, ``so_far`` is offset + results.
    :param after_inclusive: a record at the instant ``created_after`` is in.
    :param before_inclusive: a record at the instant ``created_before`` is in.
    :param granularity: how finely bounds are compared; what is finer is cut off.
    :param zone: time zone in which it reads the bounds, whatever zone they name, and cuts times.
    :param cuts: whether that cuts ``both`` the bound and the record's time, or the ``bounds`` alone.
    :param default_order: when no ``order`` is sent; ``table`` is that of the table, at whose end new ones are put,
        ``shuffled`` is a new order for every request.
    :param ties: how records equal in the order follow each other; ``shuffled`` is anew for every request.
    :param ignores: parameters it accepts without heeding them.
    :param refuses: what it answers with 400: ``order`` (whenever sent), ``order=created_at`` (this value),
        ``limit>100``; and for the bounds ``time_of_day``, ``seconds``, ``fraction``, ``zone``.
    :param ascii_only: write text beyond ASCII as escapes, not as UTF-8.
    :param clock: how far the ``Date`` header is ahead of the truth; None sends no such header.
    """

    cap: int | Sequence[int] | Callable[[int], int] | None = None
    default_limit: int = 20
    echo: Collection[str] = ("limit", "offset", "results")
    echo_asked: bool = False
    total: Total = "true"
    after_inclusive: bool = True
    before_inclusive: bool = False
    granularity: Granularity = "microsecond"
    zone: str = "UTC"
    cuts: Literal["both", "bounds"] = "both"
    default_order: str = "-created_at"
    ties: Literal["table", "id", "shuffled"] = "table"
    ignores: Collection[str] = ()
    refuses: Collection[str] = ()
    ascii_only: bool = False
    clock: timedelta | None = timedelta()

    def __post_init__(self) -> None:
        """Refuse words that mean nothing: a habit misspelt would be a test that tests nothing."""
        orders = _ORDERS | {f"-{order}" for order in _ORDERS} | {"shuffled", "table"}
        _check("echo", self.echo, ("limit", "offset", "results"))
        _check("total", [self.total], get_args(Total))
        _check("granularity", [self.granularity], _FINER)
        _check("cuts", [self.cuts], ("both", "bounds"))
        _check("default_order", [self.default_order], orders)
        _check("ties", [self.ties], ("table", "id", "shuffled"))
        _check("ignores", self.ignores, _PARAMETERS)
        names = [match["name"] if (match := _RULE.fullmatch(rule)) else rule for rule in self.refuses]
        _check("refuses", names, _PARAMETERS | _BOUND_SHAPES.keys())

    def page_cap(self, number: int) -> int | None:
        """Return the most records it gives in answer to the request of this number, counted from one."""
        if isinstance(self.cap, Sequence):
            return self.cap[min(number, len(self.cap)) - 1]
        return self.cap(number) if callable(self.cap) else self.cap


def answer(params: Mapping[str, str], table: Table, habits: Habits, number: int, now: datetime) -> dict[str, Any]:
    """Return the envelope a tenant of these habits gives to these parameters.

    :raises RefusalError: when it would say 400.
    """
    for rule in habits.refuses:
        if name := _offender(rule, params):
            raise RefusalError(f"Invalid value for parameter '{name}'")
    asked = _paging(params, habits)
    heard = {name: value for name, value in params.items() if name not in habits.ignores}
    applied = _paging(heard, habits)
    if (cap := habits.page_cap(number)) is not None:
        applied["limit"] = min(applied["limit"], cap)
    found = _found(table, heard, habits, number, now)
    items = found[applied["offset"] : applied["offset"] + applied["limit"]]

    envelope: dict[str, Any] = asked if habits.echo_asked else dict(applied)
    if habits.total != "absent":
        envelope["total"] = _TOTALS[habits.total](len(found), applied["offset"], len(items))
    envelope["results"] = len(items)
    for name in {"limit", "offset", "results"}.difference(habits.echo):
        del envelope[name]
    return envelope | {"items": items}


def _check(option: str, given: Iterable[str], known: Iterable[str]) -> None:
    if unknown := set(given).difference(known):
        raise ValueError(f"Habits.{option} knows {', '.join(sorted(known))}; not {', '.join(sorted(unknown))}")


def _offender(rule: str, params: Mapping[str, str]) -> str | None:
    """Return the name of the parameter that breaks a rule of ``Habits.refuses``."""
    if shape := _BOUND_SHAPES.get(rule):
        return next((name for name in _BOUNDS if shape.search(params.get(name, ""))), None)
    match = _RULE.fullmatch(rule)
    if match is None or (sent := params.get(match["name"])) is None:
        return None
    if match["most"] is not None:
        broken = _whole(params, match["name"], 0, least=0) > int(match["most"])
    else:
        broken = match["value"] in (None, sent)
    return match["name"] if broken else None


def _paging(params: Mapping[str, str], habits: Habits) -> dict[str, int]:
    return {
        "limit": _whole(params, "limit", habits.default_limit, least=1),
        "offset": _whole(params, "offset", 0, least=0),
    }


def _whole(params: Mapping[str, str], name: str, default: int, least: int) -> int:
    text = params.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise RefusalError(f"Parameter '{name}' must be a whole number from {least}, not '{text}'")
    return int(text)


def _found(table: Table, heard: Mapping[str, str], habits: Habits, number: int, now: datetime) -> View:
    """Return the whole result set in its order."""
    filters = {name: heard[name] for name in (*_BOUNDS, "status", "start_time") if name in heard}
    order = heard.get("order", habits.default_order)
    if order not in ("shuffled", "table") and order.removeprefix("-") not in _ORDERS:
        raise RefusalError(f"Parameter 'order' does not know '{order}'")
    tests = [_test(name, value, habits, now) for name, value in filters.items()]
    asked = (habits, *filters.items())
    matching = table.view(asked, lambda records: [r for r in records if all(test(r) for test in tests)])
    if order == "shuffled":
        return _shuffled(matching, number)
    if order == "table":
        return matching
    if habits.ties == "shuffled":
        return _ordered(_shuffled(matching, number), order)
    by_id = habits.ties == "id"
    return table.view((*asked, order), lambda _: _ordered(_ordered(matching, "id") if by_id else matching, order))


def _test(name: str, value: str, habits: Habits, now: datetime) -> Callable[[Record], bool]:
    """Return whether a record passes a filter. One without a readable time passes all that ask for a time."""
    if name == "status":
        return lambda r: str(r.get("status")).upper() == value.upper()
    if name == "start_time":
        since = now - timedelta(days=_whole({name: value}, name, 0, least=0))
        return lambda r: (instant(r.get("start_time")) or since) >= since
    bound = instant(value)
    if bound is None:
        raise RefusalError(f"Parameter '{name}' must be an ISO date, not '{value}'")
    zone = ZoneInfo(habits.zone)
    edge = _cut(bound.astimezone(UTC).replace(tzinfo=zone), habits.granularity, zone)
    fine = habits.granularity if habits.cuts == "both" else "microsecond"
    compare = {
        ("created_after", True): operator.ge,
        ("created_after", False): operator.gt,
        ("created_before", True): operator.le,
        ("created_before", False): operator.lt,
    }[name, habits.after_inclusive if name == "created_after" else habits.before_inclusive]

    def passes(record: Record) -> bool:
        created = instant(record.get("created_at"))
        return created is None or compare(_cut(created, fine, zone), edge)

    return passes


def _cut(moment: datetime, granularity: Granularity, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(**_FINER[granularity]).astimezone(UTC)


def _ordered(records: Iterable[Record], order: str) -> View:
    return tuple(sorted(records, key=_sort_key(order.removeprefix("-")), reverse=order.startswith("-")))


def _sort_key(field: str) -> Callable[[Record], Any]:
    if field == "id":
        return lambda r: (0, r["id"], "") if isinstance(r.get("id"), int) else (1, 0, str(r.get("id")))
    unreadable = datetime.min.replace(tzinfo=UTC)
    return lambda r: instant(r.get(field)) or unreadable


def _shuffled(records: Iterable[Record], number: int) -> View:
    mixed = list(records)
    Random(number).shuffle(mixed)
    return tuple(mixed)
