"""A stand-in for the Cloudlock API that tests can script: see :class:`Tenant`."""

from __future__ import annotations

from .delivery import bomb, chunked, drips, hangs, hangs_up, resets, says, short_body, until_close
from .faults import (
    Fault,
    echoes_token,
    edited,
    gzipped,
    headed,
    html,
    redirects,
    replaced,
    responds,
    rewritten,
    swapped,
    throttled,
    without,
)
from .habits import Habits
from .records import Record, day_of_records, ids, instant, record, stamp
from .tenant import TOKEN, Tenant
from .wire import Exchange, GoneError, Request

__all__ = [
    "TOKEN",
    "Exchange",
    "Fault",
    "GoneError",
    "Habits",
    "Record",
    "Request",
    "Tenant",
    "bomb",
    "chunked",
    "day_of_records",
    "drips",
    "echoes_token",
    "edited",
    "gzipped",
    "hangs",
    "hangs_up",
    "headed",
    "html",
    "ids",
    "instant",
    "record",
    "redirects",
    "replaced",
    "resets",
    "responds",
    "rewritten",
    "says",
    "short_body",
    "stamp",
    "swapped",
    "throttled",
    "until_close",
    "without",
]
