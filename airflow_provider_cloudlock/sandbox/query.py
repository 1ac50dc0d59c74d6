"""What a request for anomalies asks for, read strictly.

The parameters are Cisco's. Where its page leaves something open, the sandbox has made a choice:

* ``created_after`` is inclusive and ``created_before`` exclusive, both compared to the microsecond;
* a bound without a zone is UTC, and a bound without a time of day is midnight;
* without ``order`` the newest come first; among equals the id decides, and a leading ``-`` is the exact reverse;
* a parameter it does not know is refused, so that a misspelt filter does not quietly widen the answer.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.resources import resource_named

_RESOURCE = resource_named("threats")

MAX_LIMIT = _RESOURCE.page_cap
DEFAULT_LIMIT = 20

OrderKey = Literal["created_at", "updated_at", "start_time", "id"]
ORDER_KEYS: tuple[OrderKey, ...] = ("created_at", "updated_at", "start_time", "id")
PARAMETERS = ("limit", "offset", "start_time", "status", "created_after", "created_before", "order")

_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:\d{2})?)?",
    re.ASCII,
)


class BadParameter(ValueError):
    """The request asks for something that cannot be understood; its text is the answer's message."""


@dataclass(frozen=True, slots=True)
class Query:
    """One request for anomalies.

    :param limit: the most records to answer, already lowered to what the server allows
    :param offset: how many records to skip
    :param created_after: earliest instant of creation
    :param created_before: first instant after the last of creation
    :param status: ``ACTIVE``, ``DISMISSED`` or both
    :param order: the field to sort by
    :param descending: the largest first
    """

    limit: int = DEFAULT_LIMIT
    offset: int = 0
    created_after: datetime.datetime | None = None
    created_before: datetime.datetime | None = None
    status: str | None = None
    order: OrderKey = "created_at"
    descending: bool = True


def parse_query(parameters: Sequence[tuple[str, str]], now: datetime.datetime, page_cap: int = MAX_LIMIT) -> Query:
    """Read the parameters of a request.

    :param parameters: names and values as they came
    :param now: the instant from which ``start_time`` counts back
    :param page_cap: the most records the server puts into one answer
    """
    given = dict(parameters)
    if len(given) < len(parameters):
        raise BadParameter("A parameter was given twice.")
    if unknown := sorted(set(given) - set(PARAMETERS)):
        raise BadParameter(f"Unknown parameter {unknown[0]!r}. Known are: {', '.join(PARAMETERS)}.")
    limit = parse_whole(given, "limit", 1, MAX_LIMIT)
    after = parse_instant(given, "created_after")
    days = parse_whole(given, "start_time", 1, 36_500)
    if days is not None:
        back = now - datetime.timedelta(days=days)
        after = back if after is None else max(after, back)
    order, descending = _order(given)
    return Query(
        limit=min(DEFAULT_LIMIT if limit is None else limit, page_cap),
        offset=parse_whole(given, "offset", 0, 2**31 - 1) or 0,
        created_after=after,
        created_before=parse_instant(given, "created_before"),
        status=_status(given),
        order=order,
        descending=descending,
    )


def parse_whole(given: dict[str, str], name: str, low: int, high: int) -> int | None:
    """Read a whole number, None if it is not given."""
    text = given.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,15}", text) or not low <= int(text) <= high:
        raise BadParameter(f"{name} must be a whole number from {low} to {high}, not {text!r}.")
    return int(text)


def parse_instant(given: dict[str, str], name: str) -> datetime.datetime | None:
    """Read an instant, None if it is not given."""
    text = given.get(name)
    if text is None:
        return None
    refusal = BadParameter(
        f"{name} must be an instant such as 2026-01-31, 2026-01-31T16:55 or 2026-01-31T16:55:00.123456+00:00 "
        f"(with the plus sign sent as %2B), not {text!r}."
    )
    if not _INSTANT.fullmatch(text):
        raise refusal
    try:
        moment = datetime.datetime.fromisoformat(text)
        # A zone may push the first and the last day of the calendar out of it.
        return moment.replace(tzinfo=datetime.UTC) if moment.tzinfo is None else moment.astimezone(datetime.UTC)
    except (ValueError, OverflowError) as error:
        raise refusal from error


def _status(given: dict[str, str]) -> str | None:
    try:
        status = _RESOURCE.status_value(given.get("status"))
    except CloudlockConfigError as error:
        raise BadParameter(str(error)) from error
    return status and status.upper()


def _order(given: dict[str, str]) -> tuple[OrderKey, bool]:
    text = given.get("order", "-created_at")
    for key in ORDER_KEYS:
        if text in (key, f"-{key}"):
            return key, text.startswith("-")
    raise BadParameter(f"order must be one of {', '.join(ORDER_KEYS)}, with - before it for descending, not {text!r}.")
