"""What a made-up tenant holds at an instant."""

from __future__ import annotations

import datetime
import json
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from airflow_provider_cloudlock.sandbox.anomalies import IDS_PER_DAY, Anomaly, dismissed, iter_anomalies, undismissed
from airflow_provider_cloudlock.sandbox.query import Query

# Instants are kept and compared as the API writes them: all of one width and in UTC, so they sort as text.
NEVER = "9999-12-31T23:59:59.999999+00:00"

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_created_at = attrgetter("created_at")


def utc(moment: datetime.datetime) -> datetime.datetime:
    """Return the instant in UTC; one without a zone is refused, since it would be read as local time."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} needs a time zone, such as datetime.UTC")
    return moment.astimezone(datetime.UTC)


def instant(moment: datetime.datetime) -> str:
    """Write an instant as the API does."""
    return utc(moment).isoformat(timespec="microseconds")


def _ordinal(written: str) -> int:
    return datetime.date.fromisoformat(written[:10]).toordinal()


class Row(NamedTuple):
    """An anomaly ready to be sent, before and after its dismissal, with what it is filtered and sorted by."""

    id: int
    created_at: str
    start_time: str
    dismissed_at: str
    active: bytes
    final: bytes


def _row(anomaly: Anomaly) -> Row:
    final = _to_json(anomaly).encode()
    is_dismissed = anomaly["dismissed_at"] is not None
    return Row(
        id=anomaly["id"],
        created_at=anomaly["created_at"],
        start_time=anomaly["start_time"],
        dismissed_at=anomaly["dismissed_at"] if is_dismissed else NEVER,
        active=_to_json(undismissed(anomaly)).encode() if is_dismissed else final,
        final=final,
    )


class Tenant:
    """The anomalies of a range of days.

    A day is made when it is first asked for, and kept ready to be sent.

    :param per_day: anomalies a day
    :param first_day: the first day that has any
    :param last_day: the last day that has any; None for no end
    :param seed: another seed, other anomalies
    """

    def __init__(self, per_day: int, first_day: datetime.date, last_day: datetime.date | None, seed: int) -> None:
        if not 0 <= per_day <= IDS_PER_DAY:
            raise ValueError(f"per_day must be from 0 to {IDS_PER_DAY:,}, not {per_day:,}")
        if last_day is not None and first_day > last_day:
            raise ValueError(f"first_day {first_day} is after last_day {last_day}")
        self.per_day = per_day
        self.first_day = first_day
        self.last_day = last_day
        self.seed = seed
        self._days: dict[datetime.date, list[Row]] = {}
        self._lock = threading.Lock()
        self._dismissals = 0
        # While the clock stands still, a walk asks for the same rows page after page.
        self._selected = lru_cache(maxsize=8)(self._select)

    def page(self, query: Query, now: str) -> tuple[int, list[bytes]]:
        """Return how many anomalies a query matches, and those of its page.

        :param query: what is asked for
        :param now: the instant to answer for
        """
        rows = self._selected(replace(query, limit=0, offset=0), now, self._dismissals)
        page = rows[query.offset : query.offset + query.limit]
        return len(rows), [row.final if row.dismissed_at <= now else row.active for row in page]

    def dismiss(self, anomaly_id: int, reason: str | None, at: str, now: str) -> None:
        """Dismiss an anomaly, in place of any dismissal it had or was to have.

        :param anomaly_id: its id
        :param reason: why
        :param at: when
        :param now: the instant at which this is asked
        """
        ordinal, position = divmod(anomaly_id, IDS_PER_DAY)
        rows = next(self._days_between(ordinal, min(ordinal, _ordinal(now))), [])
        if position >= len(rows) or rows[position].created_at > now:
            raise LookupError(f"the sandbox holds no anomaly {anomaly_id} at {now}")
        if at < rows[position].created_at:
            raise ValueError(f"anomaly {anomaly_id} was created at {rows[position].created_at}, after {at}")
        rows[position] = _row(dismissed(json.loads(rows[position].active), at, reason))
        self._dismissals += 1

    def _select(self, query: Query, now: str, dismissals: int) -> list[Row]:
        """Return the rows a query matches, in its order; ``dismissals`` tells their states apart in the cache."""
        after = "" if query.created_after is None else instant(query.created_after)
        before = NEVER if query.created_before is None else instant(query.created_before)
        rows = self._created(after, before, now)
        if query.status == "ACTIVE":
            rows = [row for row in rows if row.dismissed_at > now]
        elif query.status == "DISMISSED":
            rows = [row for row in rows if row.dismissed_at <= now]
        # They come oldest first, which is also the order of the ids; sorting keeps that among equals.
        if query.order == "start_time":
            rows.sort(key=attrgetter("start_time"))
        elif query.order == "updated_at":
            rows.sort(key=lambda row: row.dismissed_at if row.dismissed_at <= now else row.created_at)
        if query.descending:
            rows.reverse()
        return rows

    def _created(self, after: str, before: str, now: str) -> list[Row]:
        """Return the rows created in ``[after, before)``, and not later than now, oldest first."""
        found: list[Row] = []
        for rows in self._days_between(_ordinal(after) if after else 1, _ordinal(min(before, now))):
            stop = min(bisect_left(rows, before, key=_created_at), bisect_right(rows, now, key=_created_at))
            found += rows[bisect_left(rows, after, key=_created_at) : stop]
        return found

    def _days_between(self, first: int, last: int) -> Iterator[list[Row]]:
        """Yield the rows of each day from one ordinal to another, both included."""
        first = max(first, self.first_day.toordinal())
        last = last if self.last_day is None else min(last, self.last_day.toordinal())
        for ordinal in range(first, last + 1):
            yield self._day(datetime.date.fromordinal(ordinal))

    def _day(self, day: datetime.date) -> list[Row]:
        with self._lock:
            if day not in self._days:
                self._days[day] = [_row(anomaly) for anomaly in iter_anomalies(day, self.per_day, self.seed)]
            return self._days[day]
