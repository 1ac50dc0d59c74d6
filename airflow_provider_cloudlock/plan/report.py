"""The plan as a whole: a range of days, and what it should cost to read them. For use in a task too."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import ceil
from statistics import median
from typing import Any

from airflow_provider_cloudlock.api.ordered import LOOKS
from airflow_provider_cloudlock.api.resources import resource_named
from airflow_provider_cloudlock.api.walk import SMALL
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook
from airflow_provider_cloudlock.instants import check_window, days_of, parse_bound


@dataclass(frozen=True, slots=True)
class Day:
    """What Cloudlock says of one UTC day, or of the part of it that the window has.

    :param start: first instant.
    :param end: first instant after it.
    :param records: Cloudlock's own count, None when it gives none.
    :param requests: the fewest that read it and prove it whole.
    """

    start: datetime
    end: datetime
    records: int | None
    requests: int

    def as_json(self) -> dict[str, Any]:
        """Write it with the types of JSON."""
        return {
            "day": self.start.date().isoformat(),
            "window": [self.start.isoformat(), self.end.isoformat()],
            "records": self.records,
            "requests": self.requests,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What an extraction should have before it.

    :param resource: what is to be read.
    :param cloudlock_conn_id: the connection it is read by.
    :param days: counts.
    :param page_size: records asked for in one request.
    :param interval: seconds that the connection's ``requests_per_second`` keeps two requests apart, 0 without it.
    :param pace: seconds that one count took, waits for its turn included: the one in the middle of all.
    :param made_at: when.
    """

    resource: str
    cloudlock_conn_id: str
    days: tuple[Day, ...]
    page_size: int
    interval: float
    pace: float
    made_at: datetime

    @property
    def start(self) -> datetime:
        """First instant of the window."""
        return self.days[0].start

    @property
    def end(self) -> datetime:
        """First instant after the window."""
        return self.days[-1].end

    @property
    def records(self) -> int | None:
        """All that Cloudlock counts, None when it gives no count of some day."""
        return all_records(self.days)

    @property
    def requests(self) -> int:
        """The fewest that read all days and prove each of them whole."""
        return sum(day.requests for day in self.days)

    @property
    def seconds_per_request(self) -> float:
        """The pace of the counts, but never faster than the budget allows."""
        return max(self.interval, self.pace)

    @property
    def seconds(self) -> float:
        """An estimate for one task that sends one request after another."""
        return self.requests * self.seconds_per_request

    def as_json(self) -> dict[str, Any]:
        """Write it with the types of JSON."""
        return {
            "resource": self.resource,
            "connection": self.cloudlock_conn_id,
            "window": [self.start.isoformat(), self.end.isoformat()],
            "made_at": self.made_at.isoformat(),
            "page_size": self.page_size,
            "records": self.records,
            "requests_at_least": self.requests,
            "estimated_seconds": round(self.seconds, 3),
            "seconds_per_request": round(self.seconds_per_request, 3),
            "budget_seconds_per_request": round(self.interval, 3) or None,
            "days": [day.as_json() for day in self.days],
        }


def plan(
    start: str | date,
    end: str | date,
    *,
    resource: str = "threats",
    cloudlock_conn_id: str = CloudlockHook.default_conn_name,
    page_size: int | None = None,
) -> Plan:
    """Tell what Cloudlock says that a window holds, and what it should cost to read it: one request for each UTC day.

    The counts are Cloudlock's claims: they prove nothing, and how finely it compares the bounds is not documented. Nor
    is it known whether it gives as many records in a page as it is asked for.

    :param start: first instant of the window; a date for a whole day, and without a zone it is UTC.
    :param end: first instant after the window, such as the first day that is not read any more.
    :param resource: what is to be read.
    :param cloudlock_conn_id: the connection to Cloudlock.
    :param page_size: records asked for in one request, None for what the connection says, else 10,000.
    :raises CloudlockConfigError: when a parameter makes no sense.
    :raises CloudlockError: when Cloudlock does not answer, or refuses.
    """
    from airflow_provider_cloudlock.api.envelope import RecordFormat

    first, last = parse_bound("from", start), parse_bound("to", end)
    check_window(first, last)
    found = resource_named(resource)
    hook = CloudlockHook(cloudlock_conn_id)
    days, seconds = [], []
    with closing(hook.client) as client:
        size = hook.reader(found, RecordFormat(found), page_size).page_size
        for after, before in days_of(first, last):
            began = time.monotonic()
            records = hook.count(resource, created_after=after, created_before=before)
            seconds.append(time.monotonic() - began)
            days.append(Day(after, before, records, requests_for(records, size)))
    return Plan(resource, cloudlock_conn_id, tuple(days), size, client.interval, median(seconds), datetime.now(UTC))


def requests_for(records: int | None, page_size: int) -> int:
    """Tell how few requests read a day and prove it whole.

    So many go to a server that gives full pages, oldest first, and says the true total. One that caps its pages or
    gives no total needs more, and so may records of one time, or within a second of the day.

    :param records: of the day, None when it is not known: then it may be empty.
    :param page_size: records asked for in one request.
    """
    if not records:
        return 2  # an empty answer is asked for twice
    if records == 1:
        return 5  # it cannot be told from the last one of more: the look at it and beyond it comes twice
    if records <= page_size:
        # The page, its last records again, and a look beyond them; of few the total is asked for once more, and two
        # look the same as the last records of more.
        return 3 + (records < SMALL) + (records == 2)
    # A page begins with the two records that the one before ended with.
    further_pages = ceil((records - page_size) / max(1, page_size - 2))
    # In the end the last records and a look beyond them, twice; more often where pages are very small.
    return 1 + further_pages + 2 * (LOOKS if page_size >= SMALL else 2 * LOOKS)


def all_records(days: Iterable[Day]) -> int | None:
    """Add the counts of some days up, None when there is none of some day."""
    counts = [day.records for day in days]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
