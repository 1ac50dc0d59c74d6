"""What a made-up tenant holds at an instant."""

from __future__ import annotations

import datetime
import json
import threading
from bisect import bisect_left, bisect_right, insort_right
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
        self._changes = 0
        self._added = 0
        # While the clock stands still, a walk asks for the same rows page after page.
        self._selected = lru_cache(maxsize=8)(self._select)

    def page(self, query: Query, now: str) -> tuple[int, list[bytes]]:
        """Return how many anomalies a query matches, and those of its page.

        :param query: what is asked for
        :param now: the instant to answer for
        """
        rows = self._selected(replace(query, limit=0, offset=0), now, self._changes)
        page = rows[query.offset : query.offset + query.limit]
        return len(rows), [row.final if row.dismissed_at <= now else row.active for row in page]

    def dismiss(self, anomaly_id: int, reason: str | None, at: str, now: str) -> None:
        """Dismiss an anomaly, in place of any dismissal it had or was to have.

        :param anomaly_id: its id
        :param reason: why
        :param at: when
        :param now: the instant at which this is asked
        """
        row = self._find(anomaly_id, now)
        if at < row.created_at:
            raise ValueError(f"anomaly {anomaly_id} was created at {row.created_at}, after {at}")
        self._replace(row.id, _row(dismissed(json.loads(row.active), at, reason)))

    def add(self, created_at: str, now: str) -> Anomaly:
        """Add an active anomaly, with an id that none has had, and return it.

        :param created_at: its creation time
        :param now: the instant at which this is asked
        """
        if created_at > now:
            raise ValueError(f"created_at {created_at} is in the future (now {now})")
        day = datetime.date.fromisoformat(created_at[:10])
        if day < self.first_day or (self.last_day is not None and day > self.last_day):
            raise ValueError(f"{day} is not one of the sandbox's days, {self.first_day} to {self.last_day or 'today'}")
        with self._lock:
            self._added += 1
            number = self.per_day + self._added - 1
        if number >= IDS_PER_DAY:
            raise ValueError(f"a day holds at most {IDS_PER_DAY:,} anomalies")
        # Another seed, or it would repeat the fields of the day's first anomaly.
        (anomaly,) = iter_anomalies(day, 1, self._added + self.seed + 1)
        anomaly = undismissed(
            anomaly | {"id": day.toordinal() * IDS_PER_DAY + number, "created_at": created_at, "start_time": created_at}
        ) | {"end_time": None}
        self._replace(anomaly["id"], _row(anomaly))
        return anomaly

    def delete(self, anomaly_id: int, now: str) -> None:
        """Delete an anomaly.

        :param anomaly_id: its id
        :param now: the instant at which this is asked
        """
        self._replace(self._find(anomaly_id, now).id, None)

    def _find(self, anomaly_id: int, now: str) -> Row:
        ordinal = anomaly_id // IDS_PER_DAY
        for rows in self._days_between(ordinal, min(ordinal, _ordinal(now))):
            for row in rows:
                if row.id == anomaly_id and row.created_at <= now:
                    return row
        raise LookupError(f"the sandbox holds no anomaly {anomaly_id} at {now}")

    def _replace(self, anomaly_id: int, new: Row | None) -> None:
        """Put a row in the place of the one with an id, if there is one; None removes it."""
        day = datetime.date.fromordinal(anomaly_id // IDS_PER_DAY)
        self._day(day)
        with self._lock:
            rows = [row for row in self._days[day] if row.id != anomaly_id]  # concurrent readers keep their list
            if new is not None:
                insort_right(rows, new, key=attrgetter("created_at", "id"))
            self._days[day] = rows
            self._changes += 1

    def _select(self, query: Query, now: str, changes: int) -> list[Row]:
        """Return the rows a query matches, in its order; ``changes`` tells their states apart in the cache."""
        after = "" if query.created_after is None else instant(query.created_after)
        before = NEVER if query.created_before is None else instant(query.created_before)
        rows = self._created(after, before, now)
        if query.status == "ACTIVE":
            rows = [row for row in rows if row.dismissed_at > now]
        elif query.status == "DISMISSED":
            rows = [row for row in rows if row.dismissed_at <= now]
        # They come oldest first; sorting keeps that order among equals.
        if query.order == "id":
            rows.sort(key=attrgetter("id"))
        elif query.order == "start_time":
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
