"""Faults while a window is read, the same for every tool."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from tests.support import (
    Exchange,
    Fault,
    Habits,
    Record,
    Request,
    Tenant,
    chunked,
    day_of_records,
    echoes_token,
    edited,
    html,
    instant,
    record,
    replaced,
    responds,
    short_body,
    throttled,
    until_close,
)

DAY, NEXT = "2026-01-02", "2026-01-03"
SIGN_IN = "/sign-in"

_RETRY_AFTER = 2


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """A fault.

    Every tool requests the oldest records first. "Page 2" is the response to the second request: the fault is injected
    once, and a retry gets a correct response. If records are inserted or deleted, pages are capped at 100 records, so
    that a larger page does not help.

    :param title: name of the line in the table.
    :param rows: records of the window.
    :param page: records per request.
    :param habits: permanent behaviour of the server.
    :param fault: returns the fault to inject into the response to a request.
    :param change: changes records before a request is served.
    """

    title: str
    rows: int = 250
    page: int = 100
    habits: Habits = field(default_factory=Habits)
    fault: Callable[[Request], Fault | None] = lambda request: None
    change: Callable[[Tenant, Request], object] = lambda tenant, request: None

    def server(self) -> Tenant:
        """Return a new server, not started yet."""
        return Tenant(day_of_records(DAY, self.rows), self.habits, faults=self.fault, before=self.change)


def troubles() -> dict[str, Trouble]:
    """Return all faults by name."""
    capped = Habits(cap=100)
    newest_first = Habits(cap=100, ignores={"order"}, default_order="-created_at")
    error = {"error": {"code": "INTERNAL", "message": "Please try again later"}}
    late, new = _arrivals(0), _arrivals(24 * 3600 - 60)
    return {
        "none": Trouble(title="nothing"),
        "cap": Trouble(title="page size 1,000, the server gives 100 (250 records)", page=1_000, habits=capped),
        "cap-long": Trouble(
            title="page size 1,000, the server gives 100 (2,500 records)", rows=2_500, page=1_000, habits=capped
        ),
        "inserted": Trouble(
            title="10 records are added at the start between two pages",
            habits=capped,
            change=_once(2, _insert(late)),
        ),
        "inserted-newest-first": Trouble(
            title="10 new records at the start; the server ignores `order`, newest first",
            habits=newest_first,
            change=_once(2, _insert(new)),
        ),
        "deleted": Trouble(
            title="10 records at the start are deleted between two pages", habits=capped, change=_once(2, _delete_head)
        ),
        "error-object": Trouble(title="page 2 is an error object, status 200", fault=_on(replaced(error), 2)),
        "items-null": Trouble(title="page 2: `items` is null", fault=_on(edited(items=None), 2)),
        "empty": Trouble(title="page 2 is empty", fault=_on(edited(items=[], results=0), 2)),
        "short": Trouble(
            title="page 2 is short (7 records)", fault=_on(edited(items=lambda items: items[:7], results=7), 2)
        ),
        "again": Trouble(title="page 2 is page 1 again", change=_page_again),
        "no-offset": Trouble(title="the server ignores `offset`", habits=Habits(ignores={"offset"})),
        "total-low": Trouble(title="`total` is half the number of records", habits=Habits(total="low")),
        "total-page": Trouble(title="`total` counts the page alone", habits=Habits(total="page")),
        "total-absent": Trouble(title="there is no `total`", habits=Habits(total="absent")),
        "html-1": Trouble(title="page 1 is HTML, status 200", fault=_on(html(), 1)),
        "html-2": Trouble(title="page 2 is HTML, status 200", fault=_on(html(), 2)),
        "short-body": Trouble(title="page 2: body shorter than `Content-Length`", fault=_on(short_body(), 2)),
        "cut-chunks": Trouble(title="page 2: chunked body, truncated", fault=_on(chunked("middle"), 2)),
        "cut-close": Trouble(title="page 2: body without a length, truncated", fault=_on(until_close(0.5), 2)),
        "429-seconds": Trouble(title="page 2: 429, `Retry-After` in seconds", fault=_on(throttled(_RETRY_AFTER), 2)),
        "429-date": Trouble(
            title="page 2: 429, `Retry-After` as a date", fault=_on(throttled(timedelta(seconds=_RETRY_AFTER)), 2)
        ),
        "503": Trouble(title="page 2: 503, twice", fault=_on(responds(503), 2, 3)),
        "401": Trouble(
            title="401 from page 2 on; the response repeats the token",
            fault=lambda request: echoes_token() if request.number >= 2 else None,
        ),
        "redirect": Trouble(title="page 2: redirect to a sign-in page on another host", fault=_sign_in),
    }


def _on(fault: Fault, *numbers: int) -> Callable[[Request], Fault | None]:
    return lambda request: fault if request.number in numbers else None


def _once(number: int, change: Callable[[Tenant], object]) -> Callable[[Tenant, Request], object]:
    return lambda tenant, request: change(tenant) if request.number == number else None


def _arrivals(second: int) -> list[Record]:
    """Make ten records a second apart, from this second of the day on."""
    start = instant(DAY)
    assert start is not None
    return [record(n, start + timedelta(seconds=second + n)) for n in range(1, 11)]


def _insert(records: list[Record]) -> Callable[[Tenant], object]:
    return lambda tenant: tenant.insert(*records)


def _delete_head(tenant: Tenant) -> None:
    tenant.delete(*(each["id"] for each in tenant.window(DAY, NEXT)[:10]))


def _page_again(tenant: Tenant, request: Request) -> None:
    tenant.behave(ignores={"offset"} if request.number == 2 else ())


def _sign_in(request: Request) -> Fault | None:
    """Send the second request to the same server under another name, where everything is a sign-in page."""
    if request.path == SIGN_IN:
        return html()
    return Fault("another host", _redirect) if request.number == 2 else None


def _redirect(exchange: Exchange) -> None:
    port = exchange.request.headers["Host"].rpartition(":")[2]
    more: dict[str, Any] = {"Location": f"http://localhost:{port}{SIGN_IN}"}
    responds(302, headers=more).act(exchange)
