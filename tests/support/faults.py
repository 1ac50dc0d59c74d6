"""Wrong answers, sent well: another status, other headers, another body.

Faults add up, the one that sends the answer coming last: ``edited(items=None) + gzipped() + chunked("middle")``.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from email.utils import format_datetime
from http.client import responses
from typing import Any

from .wire import Exchange

_HTML = "<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>\n"


@dataclass(frozen=True)
class Fault:
    """One misbehaviour, done once for each answer it is given to; of your own: ``Fault("name", act)``.

    :param act: changes the exchange, or sends something on it.
    """

    name: str
    act: Callable[[Exchange], None]

    def __add__(self, other: Fault) -> Fault:
        """Do this, then the other."""

        def act(exchange: Exchange) -> None:
            self.act(exchange)
            other.act(exchange)

        return Fault(f"{self.name} + {other.name}", act)


def responds(
    status: int,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    *,
    content_type: str = "application/json",
) -> Fault:
    """Answer with this status. No body given: a 2xx keeps the one it had, others carry ``{"message": ...}``.

    :param body: bytes and text go as they are, anything else as JSON.
    """

    def act(exchange: Exchange) -> None:
        keeps = body is None and 200 <= status < 300
        message = {"message": responses.get(status, "Unknown")}
        exchange.answer(status, exchange.body if keeps else message if body is None else body, content_type)
        exchange.headers |= headers or {}

    return Fault(f"responds({status})", act)


def throttled(retry_after: int | str | timedelta, *, status: int = 429) -> Fault:
    """Answer 429 with ``Retry-After``: text and numbers as they are, a timedelta as a date by the server's clock."""

    def act(exchange: Exchange) -> None:
        exchange.answer(status, {"message": "Too many requests"})
        if isinstance(retry_after, timedelta):
            exchange.headers["Retry-After"] = format_datetime(exchange.now + retry_after, usegmt=True)
        else:
            exchange.headers["Retry-After"] = str(retry_after)

    return Fault(f"throttled({retry_after})", act)


def html(status: int = 200, content_type: str = "text/html; charset=utf-8") -> Fault:
    """Answer with a sign-in page."""
    return responds(status, _HTML, content_type=content_type)


def redirects(location: str, status: int = 302) -> Fault:
    """Send the client elsewhere."""
    return responds(status, headers={"Location": location})


def echoes_token(status: int = 401) -> Fault:
    """Answer with an error that repeats the Authorization header of the request."""

    def act(exchange: Exchange) -> None:
        sent = exchange.request.headers.get("Authorization", "")
        exchange.answer(status, {"message": f"bad credentials {sent}", "token": sent.partition(" ")[2]})

    return Fault(f"echoes_token({status})", act)


def headed(**headers: str) -> Fault:
    """Add headers to the answer, written with ``_`` for ``-``: ``headed(Content_Type="text/plain")``."""

    def act(exchange: Exchange) -> None:
        exchange.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    return Fault(f"headed({', '.join(headers)})", act)


def edited(**changes: Any) -> Fault:
    """Set keys of the envelope, to a value or by what it was: ``edited(items=lambda items: items[:7], results=7)``."""

    def act(exchange: Exchange) -> None:
        envelope = exchange.envelope
        for name, change in changes.items():
            envelope[name] = change(envelope[name]) if callable(change) else change
        exchange.envelope = envelope

    return Fault(f"edited({', '.join(changes)})", act)


def without(*names: str) -> Fault:
    """Leave keys out of the envelope."""

    def act(exchange: Exchange) -> None:
        envelope = exchange.envelope
        for name in names:
            del envelope[name]
        exchange.envelope = envelope

    return Fault(f"without({', '.join(names)})", act)


def replaced(change: object) -> Fault:
    """Answer with other JSON: a value, or a function of the envelope."""

    def act(exchange: Exchange) -> None:
        exchange.envelope = change(exchange.envelope) if callable(change) else change

    return Fault("replaced", act)


def rewritten(change: bytes | Callable[[bytes], bytes]) -> Fault:
    """Answer with other bytes, correctly framed: ``rewritten(lambda body: body[:-1])``."""

    def act(exchange: Exchange) -> None:
        exchange.body = change(exchange.body) if callable(change) else change

    return Fault("rewritten", act)


def swapped(old: str, new: str | bytes) -> Fault:
    """Put other text for the first ``old`` of the body, which has no spaces: ``swapped('"id":7,', '"id":NaN,')``."""

    def act(exchange: Exchange) -> None:
        before, found, after = exchange.body.partition(old.encode())
        if not found:
            raise LookupError(f"nothing to swap: {old} is not in the body {exchange.body[:200]!r}")
        exchange.body = before + (new.encode() if isinstance(new, str) else new) + after

    return Fault(f"swapped({old})", act)


def gzipped(*, cut: bool = False) -> Fault:
    """Compress the body; ``cut`` ends the compressed stream half-way under a correct Content-Length."""

    def act(exchange: Exchange) -> None:
        exchange.headers["Content-Encoding"] = "gzip"
        exchange.body = gzip.compress(exchange.body, mtime=0)
        if cut:
            exchange.body = exchange.part(0.5)

    return Fault(f"gzipped({cut=})", act)
