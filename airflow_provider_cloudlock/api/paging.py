"""A whole result set, with its proof: read until one reading is a proof, or two are the same."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event
from typing import Any, Generic, Literal, TypeVar

from airflow_provider_cloudlock.api.ahead import Ahead
from airflow_provider_cloudlock.api.anchored import AnchoredWalk
from airflow_provider_cloudlock.api.budget import Budget, Spending
from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.api.listed import ListedWalk
from airflow_provider_cloudlock.api.ordered import KeyedWalk, OrderedWalk, UnorderedError
from airflow_provider_cloudlock.api.resources import Form, Query, Resource
from airflow_provider_cloudlock.api.walk import SetMovedError, Walk
from airflow_provider_cloudlock.exceptions import (
    CloudlockDriftError,
    CloudlockRequestError,
    CloudlockResponseError,
)
from airflow_provider_cloudlock.pages import G_co, Gathering, P, PageFormat
from airflow_provider_cloudlock.threads import Background

log = logging.getLogger(__name__)

G = TypeVar("G", bound=Gathering[Any])

_BUDGET = Budget()

#: How often a set that moved is read before giving up.
_TRIES = 4
#: How a set is read that turned out to come in no such order as one way of reading needs.
_NEXT_WAY: dict[type[Walk[Any]], type[Walk[Any]]] = {
    OrderedWalk: KeyedWalk,
    KeyedWalk: ListedWalk,
    ListedWalk: AnchoredWalk,
}


@dataclass(frozen=True, slots=True)
class ResultSet(Generic[G_co]):
    """All records of a query.

    :param records: each key once.
    :param proof: ``single_response``, or ``anchored`` for several pages.
    :param pages: how many carried records.
    :param duplicates: records that came twice within one page; one was kept.
    :param outside: records that came but were not asked for.
    :param reported_total: the API's own figure at the end, None when it gives none.
    :param request_form: the form of request that the API accepted.
    :param requests: that were sent, repeated ones included.
    :param retries: requests that repeated a failed one.
    :param server_date: the API's clock at the first answer of the reading, None when it does not say.
    :param clock_skew: seconds by which it was ahead of the worker's.
    """

    records: G_co
    proof: Literal["single_response", "anchored"]
    pages: int
    duplicates: int
    outside: int
    reported_total: int | None
    request_form: str
    requests: int = 0
    retries: int = 0
    server_date: datetime | None = None
    clock_skew: int | None = None


class _FormChanged(Exception):
    """The API refused the form of the request, a simpler one is left."""


class Reader(Generic[P, G_co]):
    """Reads result sets of one resource, and remembers which form of request the API accepts.

    :param client: asks the API.
    :param resource: what to read.
    :param page_format: makes pages of the answers.
    :param page_size: records asked for in one request.
    :param connections: the most requests under way at once.
    :param budget: what one result set may cost.
    """

    def __init__(
        self,
        client: CloudlockClient,
        resource: Resource,
        page_format: PageFormat[P, G_co],
        page_size: int,
        connections: int = 1,
        budget: Budget = _BUDGET,
    ) -> None:
        self._client = client
        self._resource = resource
        self._format = page_format
        self.page_size = page_size
        self._connections = connections
        self._background = Background(connections)
        self._budget = budget
        self._spending = Spending(client, budget)
        self._throttled = client.throttled
        self._step = 0

    def read(self, query: Query, at_most: int | None = None) -> ResultSet[G_co]:
        """Read everything that a query gives, or its beginning.

        :param query: what to read.
        :param at_most: stop when so many records are held; what is held then is not proved to be all.
        :raises CloudlockDriftError: when the set kept moving.
        :raises CloudlockUnavailableError: when it costs more than the budget.
        :raises CloudlockError: when the API fails or refuses.
        """
        requests, retries = self._client.requests, self._client.retries
        self._spending = Spending(self._client, self._budget)
        found = self._prove(query, at_most, _TRIES)
        return replace(
            found,
            requests=self._client.requests - requests,
            retries=self._client.retries - retries,
            clock_skew=self._client.clock_skew,
        )

    def total(self, query: Query) -> int | None:
        """Ask for the API's own count, with one record."""
        while True:
            try:
                return self._answer(query, query.offset, 1, wider=False).echo.total
            except CloudlockRequestError as error:
                self._simplify(error, query, 1)

    def _prove(self, query: Query, at_most: int | None, tries: int) -> ResultSet[G_co]:
        earlier: tuple[ResultSet[G_co], Walk[P]] | None = None
        why = ""
        way: type[Walk[P]] = OrderedWalk
        page: Any = None
        while tries:
            try:
                found, walk = self._walk(way, query, at_most, page, first=tries == _TRIES)
            except _FormChanged:
                earlier = page = None
                continue
            except SetMovedError as moved:
                if isinstance(moved, UnorderedError) and way in _NEXT_WAY:
                    way, page = _NEXT_WAY[way], moved.first
                    continue
                why, earlier = str(moved), None
                if way is AnchoredWalk and tries == _TRIES:
                    way = ListedWalk  # the pages are larger from now on
            else:
                proved = found if walk.is_proof else earlier and _proved(*earlier, found, walk)
                if proved:
                    return proved
                why = "the records came in no certain order of time, and no two readings were the same"
                earlier = found, walk
            page = None
            tries -= 1
            log.info("%s is read again: %s.", self._resource.name, why)
            halves = query.halves() if self._resource.bounds == "time" and 0 < tries < _TRIES - 1 else None
            if halves and earlier is None:
                left, right = (self._prove(half, None, tries) for half in halves)
                joined = _joined(left, right)
                if joined.records.distinct() == joined.records.count:
                    return joined
                why = "a record moved from one half of the window to the other"
        raise CloudlockDriftError(
            f"The {self._resource.name} of this query could not be read as a whole: in {_TRIES} readings {why}. "
            "Nothing was kept. Try again later, when records come and go less."
        )

    def _walk(
        self, way: type[Walk[P]], query: Query, at_most: int | None, page: P | None, *, first: bool
    ) -> tuple[ResultSet[G_co], Walk[P]]:
        """Read once; give what was found, and how.

        :param page: the first one, if it has been asked for already.
        :param first: whether nothing was read before.
        :raises SetMovedError: when the pages do not fit together, in the way in which they are read.
        :raises _FormChanged: when the API must be asked in another form.
        """
        size = self.page_size if first else self._resource.page_cap
        if first and at_most is not None and query.start is None and query.end is None:
            size = min(size, at_most)  # all that comes counts, so no more need come
        # What is known to have another status than the one asked for is not wanted, should the server send it.
        others = [status.casefold() for status in self._resource.statuses if query.status and status != query.status]
        ahead = Ahead(lambda offset, dropped: self._answer(query, offset, size, dropped), self._background)
        if page is None:
            self._client.earliest_date = None
        walk = way(
            ask=ahead.page,
            ask_beyond=lambda offset: self._beyond(query, offset, size),
            ask_one=lambda offset: self._answer(query, offset, 1),
            select=lambda page: page.select(query.start, query.end, others[0] if others else None),
            start=query.offset,
            records=self._format.gather(),
            connections=self._connections_now if first else lambda: 1,
        )
        try:
            walk.run(at_most, page)
        except CloudlockRequestError as error:
            self._simplify(error, query, size)
            raise _FormChanged from error
        finally:
            ahead.drop()
        records: Any = walk.records
        if records.distinct() != records.count:
            raise SetMovedError("a record came on two pages")
        found = ResultSet(
            records=records,
            proof="anchored" if walk.page_count > 1 else "single_response",
            pages=walk.page_count,
            duplicates=walk.duplicates,
            outside=walk.received - walk.duplicates - records.count,
            reported_total=walk.total,
            request_form=query.forms(self._resource)[self._step].name,
            server_date=self._client.earliest_date,
        )
        return found, walk

    def _connections_now(self) -> int:
        """How many requests may be under way: half as many whenever the server said that it was too much."""
        if self._client.throttled > self._throttled:
            self._throttled = self._client.throttled
            self._connections = max(1, self._connections // 2)
        return self._connections

    def _beyond(self, query: Query, offset: int, size: int) -> P | None:
        """Give the page behind what should be the end, None when there is none; a refusal of the offset means that."""
        try:
            page = self._answer(query, offset, size)
        except CloudlockRequestError:
            return None
        return page if page.rows else None

    def _answer(self, query: Query, offset: int, size: int, dropped: Event | None = None, *, wider: bool = True) -> P:
        self._spending.check()
        form = query.forms(self._resource)[self._step]
        parameters = query.parameters(self._resource, form, wider=wider)
        parameters |= {"limit": str(min(size, form.limit or size)), "offset": str(offset)}
        return self._client.get(self._resource.path, parameters, lambda body: self._checked(body, offset), dropped)

    def _simplify(self, refusal: CloudlockRequestError, query: Query, size: int) -> None:
        """Go to the next form that asks differently.

        :raises CloudlockRequestError: the refusal, when another form would not help or none is left.
        """
        forms = query.forms(self._resource)

        def written(form: Form) -> tuple[dict[str, str], int]:
            return query.parameters(self._resource, form), min(size, form.limit or size)

        for step, form in enumerate(forms):
            if refusal.status == 400 and step > self._step and written(form) != written(forms[self._step]):
                log.warning("%s A simpler form of the request is tried.", refusal)
                self._step = step
                return
        raise refusal

    def _checked(self, body: bytes, offset: int) -> P:
        page = self._format.decode(body)
        echo = page.echo
        if echo.results is not None and echo.results != page.rows:
            raise CloudlockResponseError(f"It announces {echo.results} records and holds {page.rows}.")
        if echo.offset is not None and echo.offset != offset:
            raise CloudlockResponseError(f"It says that it begins at offset {echo.offset}; {offset} was asked for.")
        return page


def _proved(
    earlier: ResultSet[G], earlier_walk: Walk[Any], found: ResultSet[G], walk: Walk[Any]
) -> ResultSet[G] | None:
    """Give what two readings in a row prove, None when they do not agree."""
    if isinstance(walk, ListedWalk) and isinstance(earlier_walk, ListedWalk):
        if not walk.follows(earlier_walk):
            return None
        found.records.join(earlier.records)  # each may hold what went while the other was under way
        return replace(found, records=found.records.newest())
    is_same = found.records.distinct(earlier.records) == found.records.count == earlier.records.count
    return found if is_same else None


def _joined(left: ResultSet[G], right: ResultSet[G]) -> ResultSet[G]:
    """Put the halves of a window together; each holds only what lies in it."""
    left.records.join(right.records)
    return ResultSet(
        records=left.records,
        proof="anchored",
        pages=left.pages + right.pages,
        duplicates=left.duplicates + right.duplicates,
        outside=left.outside + right.outside,
        reported_total=None,
        request_form=right.request_form,
        server_date=left.server_date,
    )
