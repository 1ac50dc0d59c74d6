"""Estimate of an extraction's cost, for the command line and for tasks."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import ceil
from statistics import median
from typing import Any

from airflow_provider_cloudlock.api.query import RANGE_DAYS, Query
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook
from airflow_provider_cloudlock.instants import dates_of, midnight, parse_bound
from airflow_provider_cloudlock.resources import resource_named

log = logging.getLogger(__name__)

#: Longest window that is counted by day. A longer one is counted by month: a year takes 12 or 13 requests.
_DAYS = 14


@dataclass(frozen=True, slots=True)
class Period:
    """A day or a month of the window.

    :param start: first instant.
    :param end: first instant after it.
    :param records: Cloudlock's count, None if it reports none.
    """

    start: datetime
    end: datetime
    records: int | None

    @property
    def days(self) -> int:
        """Number of UTC days that the period touches."""
        return len(dates_of(self.start, self.end))

    def as_json(self) -> dict[str, Any]:
        """Return the period as JSON types."""
        return {"window": [self.start.isoformat(), self.end.isoformat()], "days": self.days, "records": self.records}


@dataclass(frozen=True, slots=True)
class Plan:
    """Estimated cost of an extraction in one task.

    :param resource: name of the resource.
    :param cloudlock_conn_id: the connection to Cloudlock.
    :param periods: record counts by day or month.
    :param page_size: records per request.
    :param requests: minimum number of requests to read all ranges and verify that they are complete.
    :param interval: seconds between two requests under the connection's ``requests_per_second``, 0 without it.
    :param pace: median duration of a count request in seconds, rate limiting included.
    :param made_at: time of the plan.
    """

    resource: str
    cloudlock_conn_id: str
    periods: tuple[Period, ...]
    page_size: int
    requests: int
    interval: float
    pace: float
    made_at: datetime

    @property
    def start(self) -> datetime:
        """First instant of the window."""
        return self.periods[0].start

    @property
    def end(self) -> datetime:
        """First instant after the window."""
        return self.periods[-1].end

    @property
    def days(self) -> int:
        """Number of UTC days."""
        return sum(period.days for period in self.periods)

    @property
    def records(self) -> int | None:
        """Sum of Cloudlock's counts, None if a period has none."""
        return all_records(self.periods)

    @property
    def seconds_per_request(self) -> float:
        """Median duration of a count request, but at least the interval of the rate limit."""
        return max(self.interval, self.pace)

    @property
    def seconds(self) -> float:
        """Estimated duration of one task that sends its requests one after another."""
        return self.requests * self.seconds_per_request

    def as_json(self) -> dict[str, Any]:
        """Return the plan as JSON types."""
        return {
            "resource": self.resource,
            "connection": self.cloudlock_conn_id,
            "window": [self.start.isoformat(), self.end.isoformat()],
            "made_at": self.made_at.isoformat(),
            "page_size": self.page_size,
            "days": self.days,
            "records": self.records,
            "requests_at_least": self.requests,
            "estimated_seconds": round(self.seconds, 3),
            "seconds_per_request": round(self.seconds_per_request, 3),
            "budget_seconds_per_request": round(self.interval, 3) or None,
            "periods": [period.as_json() for period in self.periods],
        }


def plan(
    start: str | date,
    end: str | date,
    *,
    resource: str = "threats",
    cloudlock_conn_id: str = CloudlockHook.default_conn_name,
    page_size: int | None = None,
) -> Plan:
    """Count the records of a window and estimate the cost of its extraction in one task.

    One request is sent per day for up to 14 days, else one per month. The counts are hints: the vendor does not
    document the granularity of the bounds, and only an extraction verifies its records.

    :param start: first instant of the window; UTC if it has no zone. A date means its midnight.
    :param end: first instant after the window.
    :param resource: name of the resource.
    :param cloudlock_conn_id: the connection to Cloudlock.
    :param page_size: records per request, None for the connection's page size, else 10,000.
    :raises CloudlockConfigError: if an argument is invalid.
    :raises CloudlockError: if Cloudlock does not respond, or refuses.
    """
    from airflow_provider_cloudlock.api.records import RecordFormat

    first, last = parse_bound("from", start), parse_bound("to", end)
    _check(first, last)
    found = resource_named(resource)
    hook = CloudlockHook(cloudlock_conn_id)
    periods, seconds = [], []
    with closing(hook.client) as client:
        endpoint = hook.reader(found, RecordFormat(found), page_size).endpoint
        for after, before in _periods(first, last):
            began = time.monotonic()
            records = hook.count(resource, created_after=after, created_before=before)
            seconds.append(time.monotonic() - began)
            periods.append(Period(after, before, records))
            shown = "an unknown number of" if records is None else f"{records:,}"
            log.info("From %s to %s: %s records", _written(after), _written(before), shown)
    size = endpoint.page_size
    # The reader makes the last page up to half as large again if that saves a request.
    last_page = size if endpoint.is_page_size_fixed else min(size * 3 // 2 - 1, found.page_cap)
    requests = _requests(Query(first, last), periods, size, last_page)
    now = datetime.now(UTC)
    return Plan(resource, cloudlock_conn_id, tuple(periods), size, requests, client.interval, median(seconds), now)


def _check(start: datetime, end: datetime) -> None:
    """Raise if a window is empty, inverted or not over yet."""
    if start >= end:
        raise CloudlockConfigError(
            f"from={_written(start)} is not before to={_written(end)}, and to is exclusive. For one day, give the day "
            "after it as to."
        )
    now = datetime.now(UTC)
    if end > now:
        raise CloudlockConfigError(
            f"to={_written(end)} is in the future, and records may yet be added before it. Give to={now.date()} (UTC) "
            "or earlier; to is exclusive."
        )


def _written(instant: datetime) -> str:
    return str(instant.date()) if instant == midnight(instant) else instant.isoformat()


def _periods(start: datetime, end: datetime) -> Iterable[tuple[datetime, datetime]]:
    """Split a window at every UTC midnight, or at the beginning of every month."""
    is_short = len(dates_of(start, end)) <= _DAYS
    while start < end:
        day = midnight(start)
        behind = day + timedelta(days=1) if is_short else (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield start, min(behind, end)
        start = behind


def _requests(window: Query, periods: Sequence[Period], page_size: int, last_page: int) -> int:
    """Return the minimum number of requests to extract a window. Periods without a count are taken to be empty."""
    known = sum(period.records or 0 for period in periods)
    lengths = [len(range_.days()) for range_ in window.ranges(lambda: all_records(periods))]
    shares = (ceil(known * length / sum(lengths)) for length in lengths)
    is_counted = len(window.days()) > RANGE_DAYS  # the number of records decides the ranges of a long window
    return is_counted + sum(requests_for(share, page_size, last_page, is_counted=is_counted) for share in shares)


def requests_for(records: int, page_size: int, last_page: int | None = None, *, is_counted: bool = False) -> int:
    """Return the minimum number of requests to read a range and verify that it is complete.

    This holds for a server that returns full pages, oldest first, and a true total. More requests are needed if the
    server caps pages or reports no total, and for the records of adjacent days, which are requested as well.

    :param records: number of records in the range.
    :param page_size: records per request.
    :param last_page: maximum size of the last page, if it may be larger than the others.
    :param is_counted: whether the records were counted before: if they are few, or come in no order of creation time,
        that saves the request that verifies the total.
    """
    if not records:
        return 2  # an empty page is requested twice
    if records <= page_size:
        return 3 - is_counted  # the page, its last two records again or the total, and the offset behind them
    # Each further page repeats the last two records of the previous one. The end is one more request.
    further = ceil((records - (last_page or page_size)) / max(1, page_size - 2))
    return 1 + max(1, further) + 1


def all_records(periods: Iterable[Period]) -> int | None:
    """Return the sum of the counts, None if a period has none."""
    counts = [period.records for period in periods]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
