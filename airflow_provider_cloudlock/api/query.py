"""What to request of a resource, and the forms in which a request can be written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import MappingProxyType

from airflow_provider_cloudlock.instants import dates_of, day_after, midnight
from airflow_provider_cloudlock.pages import Selection
from airflow_provider_cloudlock.resources import Resource

#: How much wider than the window the API is asked. The vendor documents neither the time zone in which it reads the
#: bounds (12 hours behind UTC to 14 ahead), nor whether they are inclusive, nor whether it compares times or dates. A
#: server 12 hours behind that compares dates and excludes the one given needs 36 hours before the window's first
#: midnight; a server 14 hours ahead that does the same needs 24 hours behind its last.
_MARGIN_BEFORE = timedelta(hours=36)
_MARGIN_BEHIND = timedelta(hours=24)

#: A window of so many days is one range. A longer one is cut by the number of its records, if the API reports one.
RANGE_DAYS = 31
_RANGE_RECORDS = 100_000


@dataclass(frozen=True, slots=True)
class Form:
    """A way of writing a request. If the API refuses one, the next simpler form is tried.

    :param name: name in the receipt. The steps add up, so it is that of the last step taken.
    :param order: whether to send the sort key of the resource.
    :param limit: largest page size, None for the page cap of the resource.
    :param dates: whether to send bounds as dates.
    """

    name: str
    order: bool = True
    limit: int | None = None
    dates: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What to request of a resource.

    :param start: first instant of the window on the creation time, None if it is open.
    :param end: first instant after the window, None if it is open.
    :param filters: values of filters by query parameter, as the vendor writes them.
    :param lookback: number of days to look back.
    :param order: sort key chosen by the caller, None for oldest first.
    :param offset: records to skip at the server.
    """

    start: datetime | None = None
    end: datetime | None = None
    filters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    lookback: int | None = None
    order: str | None = None
    offset: int = 0

    def forms(self, resource: Resource) -> tuple[Form, ...]:
        """Return the forms of this query, from the most precise to the most plainly documented."""
        steps = [Form("full", order=self.order is None)]
        if self.order is None:
            steps.append(Form("no order", order=False))
        steps.append(Form("limit 100", order=False, limit=resource.plain_page))
        if self.start is not None or self.end is not None:
            steps.append(Form("dates", order=False, limit=resource.plain_page, dates=True))
        return tuple(steps)

    def parameters(self, resource: Resource, form: Form, *, widen: bool = True) -> dict[str, str]:
        """Return the query parameters, without ``limit`` and ``offset``.

        :param resource: what is requested.
        :param form: how the request is written.
        :param widen: whether to ask wider than the window, so that no record of it can be missing whatever the server
            makes of the bounds; the caller keeps records by their own creation time. False for a count.
        """
        parameters = dict(self.filters)
        order = self.order or (resource.order if form.order else None)
        if order is not None:
            parameters["order"] = order
        for name, bound in zip((resource.bounds.after, resource.bounds.before), self._bounds(widen), strict=True):
            if name is not None and bound is not None:
                text = bound.astimezone(UTC).replace(tzinfo=None)
                parameters[name] = text.date().isoformat() if form.dates else text.isoformat(timespec="seconds")
        if resource.lookback is not None and self.lookback is not None:
            parameters[resource.lookback] = str(self.lookback)
        return parameters

    def selection(self, resource: Resource) -> Selection:
        """Return what the query asks for, to be kept of what the server sends."""
        excluded = {}
        for parameter, value in self.filters.items():
            known = resource.filter(parameter)
            if known is not None:
                excluded[known.field] = {each.casefold() for each in known.values if each != value}
        return Selection(self.start, self.end, excluded)

    def days(self) -> list[Query]:
        """Return a query for each UTC day of the window; this one alone if the window is open."""
        return self._cut(1)

    def ranges(self, count: Callable[[], int | None]) -> list[Query]:
        """Cut the window into the ranges that are fetched together.

        :param count: returns the number of records, None if that is not known. It is a hint: a range that holds more
            is read all the same.
        """
        days = 0 if self.start is None or self.end is None else len(dates_of(self.start, self.end))
        if days <= RANGE_DAYS:
            return [self]
        total = count()
        return self._cut(RANGE_DAYS if total is None else max(1, min(days, _RANGE_RECORDS * days // max(total, 1))))

    def _cut(self, days: int) -> list[Query]:
        if self.start is None or self.end is None:
            return [self]
        first, length = midnight(self.start), len(dates_of(self.start, self.end))
        inner = [first + timedelta(days=n) for n in range(days, length, days)]
        return [replace(self, start=a, end=b) for a, b in pairwise([self.start, *inner, self.end])]

    def _bounds(self, widen: bool) -> tuple[datetime | None, datetime | None]:
        if not widen:
            return self.start, self.end
        return (
            None if self.start is None else _moved(midnight(self.start), -_MARGIN_BEFORE),
            None if self.end is None else _moved(day_after(self.end), _MARGIN_BEHIND),
        )


def _moved(instant: datetime, by: timedelta) -> datetime:
    try:
        return instant + by
    except OverflowError:  # the edge of the calendar: no record lies beyond
        return instant
