"""The catalogue: what the vendor documents of each list endpoint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal

from airflow_provider_cloudlock.exceptions import CloudlockConfigError

#: Records asked for in one request when neither the caller nor the connection says.
DEFAULT_PAGE_SIZE = 10_000
#: Requests under way at once, likewise.
DEFAULT_CONNECTIONS = 4


@dataclass(frozen=True, slots=True)
class Resource:
    """One list endpoint.

    :param name: name in this package and in the lake.
    :param path: path below the API's base URL.
    :param page_cap: the most records of one page, by the vendor's page.
    :param plain_page: the page size that the vendor documents for every list.
    :param order: sort key that gives the oldest record first and never changes for a record.
    :param bounds: how finely the vendor documents ``created_after`` and ``created_before``: a date, or a time.
    :param key: field that identifies a record.
    :param time_fields: fields with the creation time, the first one present counts.
    :param statuses: values of the ``status`` filter.
    """

    name: str
    path: str
    page_cap: int
    plain_page: int
    order: str
    bounds: Literal["date", "time"]
    key: str
    time_fields: tuple[str, ...]
    statuses: tuple[str, ...]


#: Anomalies. The page maximum, the filters and their values are those of the vendor's page "Anomalies Endpoint".
#: Its field table names only ``detected_at``, its sample response only ``created_at``.
THREATS = Resource(
    name="threats",
    path="threats",
    page_cap=100_000,
    plain_page=100,
    order="created_at",
    bounds="date",
    key="id",
    time_fields=("created_at", "detected_at"),
    statuses=("Active", "Dismissed"),
)

RESOURCES = {THREATS.name: THREATS}


def resource_named(name: object) -> Resource:
    """Look a resource up.

    :raises CloudlockConfigError: when there is none of that name.
    """
    resource = RESOURCES.get(name) if isinstance(name, str) else None
    if resource is None:
        raise CloudlockConfigError(f"resource={name!r} is not known. Known resources: {', '.join(RESOURCES)}.")
    return resource


@dataclass(frozen=True, slots=True)
class Form:
    """How a request is written. Where the API refuses one form, the next simpler one is tried.

    :param name: what the receipt calls it; the steps add up, so this is the last one taken.
    :param order: whether our own sort key is sent.
    :param limit: ceiling of the page size, None when the resource's own counts.
    :param dates: whether bounds are sent as dates, a day wider.
    """

    name: str
    order: bool = True
    limit: int | None = None
    dates: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """What to read of a resource, in the vendor's own terms.

    :param start: first instant of the window on the creation time, None when it is open.
    :param end: first instant after the window, None when it is open.
    :param status: one of the resource's statuses, as the vendor writes it.
    :param start_time: how many days to look back.
    :param order: the caller's sort key; None for oldest first.
    :param offset: records to skip at the server.
    """

    start: datetime | None = None
    end: datetime | None = None
    status: str | None = None
    start_time: int | None = None
    order: str | None = None
    offset: int = 0

    def forms(self, resource: Resource) -> tuple[Form, ...]:
        """Forms of this query, from the one that serves best to the most plainly documented one."""
        steps = [Form("full", order=self.order is None)]
        if self.order is None:
            steps.append(Form("no order", order=False))
        steps.append(Form("limit 100", order=False, limit=resource.plain_page))
        if self.start is not None or self.end is not None:
            steps.append(Form("dates", order=False, limit=resource.plain_page, dates=True))
        return tuple(steps)

    def halves(self) -> tuple[Query, Query] | None:
        """Cut the window in two, None when it is open or too short to be cut."""
        if self.start is None or self.end is None or self.end - self.start < timedelta(seconds=2):
            return None
        middle = (self.start + (self.end - self.start) / 2).replace(microsecond=0)
        return replace(self, end=middle), replace(self, start=middle)

    def parameters(self, resource: Resource, form: Form, *, wider: bool = True) -> dict[str, str]:
        """Write the query's filters and order; paging adds ``limit`` and ``offset``.

        The window is asked for wider than it is, since the vendor says neither whether its bounds are inclusive nor
        how finely they compare: the caller keeps what lies inside by the records' own times.

        :param resource: what is asked for.
        :param form: how the API accepts to be asked.
        :param wider: False to write the bounds as they are, for a count.
        """
        parameters = {}
        order = self.order or (resource.order if form.order else None)
        if order is not None:
            parameters["order"] = order
        if self.start is not None:
            parameters["created_after"] = _bound(self.start, -1, resource, form, wider)
        if self.end is not None:
            parameters["created_before"] = _bound(self.end, +1, resource, form, wider)
        if self.status is not None:
            parameters["status"] = self.status
        if self.start_time is not None:
            parameters["start_time"] = str(self.start_time)
        return parameters


def _bound(instant: datetime, direction: int, resource: Resource, form: Form, wider: bool) -> str:
    """Write a bound as UTC; moved outwards to the edge of its day where bounds are dates, then by a second or a day."""
    moved = instant.replace(microsecond=0)
    unit = margin = timedelta(seconds=1)
    if form.dates or (wider and resource.bounds == "date"):
        moved = instant.replace(hour=0, minute=0, second=0, microsecond=0)
        unit = timedelta(days=1)
    if form.dates:
        margin = timedelta(days=1)
    elif not wider:
        margin = timedelta(0)
    try:
        if direction > 0 and moved != instant:
            moved += unit
        moved += direction * margin
    except OverflowError:  # the edge of the calendar: there is nothing beyond to ask for
        pass
    moved = moved.astimezone(UTC).replace(tzinfo=None)
    return moved.date().isoformat() if form.dates else moved.isoformat(timespec="seconds")
