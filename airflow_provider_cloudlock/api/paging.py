"""A whole result set, with its proof.

Offsets shift when records come or go between two requests, servers cap pages without a word, and ``total`` may mean
anything. So nothing the server says proves an end, and every step is tied to the one before: each request begins with
the last record already held, the anchor, which must come back first. The same walk serves pages of any kind.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Generic, Literal

from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.api.resources import Form, Query, Resource
from airflow_provider_cloudlock.exceptions import (
    CloudlockDriftError,
    CloudlockRequestError,
    CloudlockResponseError,
)
from airflow_provider_cloudlock.pages import P, PageFormat

log = logging.getLogger(__name__)

#: How often a set that moved is read before giving up.
_TRIES = 4
#: How often a page of nothing but the anchor may turn out not to be the end.
_STALLS = 3


@dataclass(frozen=True, slots=True)
class ResultSet(Generic[P]):
    """All records of a query.

    :param pages: the records, each key on one page only.
    :param proof: ``single_response``, or ``anchored`` for several pages.
    :param page_count: pages that carried records.
    :param duplicates: records that came twice within one page; one was kept.
    :param outside: records that came but were not asked for.
    :param reported_total: the API's own figure at the end, None when it gives none.
    :param request_form: the form of request that the API accepted.
    """

    pages: tuple[P, ...]
    proof: Literal["single_response", "anchored"]
    page_count: int
    duplicates: int
    outside: int
    reported_total: int | None
    request_form: str


class _SetMoved(Exception):
    """What was read does not fit together: the set changed, or the server is at odds with itself."""


class _FormChanged(Exception):
    """The API refused the form of the request, a simpler one is left."""


@dataclass(slots=True)
class _Walk(Generic[P]):
    """Pages as they are gathered."""

    pages: list[P]
    page_count: int = 0
    received: int = 0
    duplicates: int = 0
    ascending: bool = True
    total: int | None = None

    def add(self, page: P, kept: P) -> None:
        self.pages.append(kept)
        self.page_count += 1
        self.received += page.rows
        self.duplicates += page.rows - page.distinct
        self.ascending = self.ascending and page.ascending

    @property
    def kept(self) -> int:
        return sum(page.distinct for page in self.pages)


class Reader(Generic[P]):
    """Reads result sets of one resource, and remembers which form of request the API accepts.

    :param client: asks the API.
    :param resource: what to read.
    :param page_format: makes pages of the answers.
    :param page_size: records asked for in one request.
    """

    def __init__(self, client: CloudlockClient, resource: Resource, page_format: PageFormat[P], page_size: int) -> None:
        self._client = client
        self._resource = resource
        self._format = page_format
        self._page_size = page_size
        self._step = 0

    def read(self, query: Query, at_most: int | None = None) -> ResultSet[P]:
        """Read everything that a query gives, or its beginning.

        :param query: what to read.
        :param at_most: stop when so many records are held; what is held then is not proved to be all.
        :raises CloudlockDriftError: when the set kept moving.
        :raises CloudlockError: when the API fails or refuses.
        """
        return self._prove(query, at_most, _TRIES)

    def total(self, query: Query) -> int | None:
        """Ask for the API's own count, with one record."""
        while True:
            try:
                return self._ask(query, query.offset, 1, wider=False).echo.total
            except _FormChanged:
                continue

    def _prove(self, query: Query, at_most: int | None, tries: int) -> ResultSet[P]:
        """Walk until one walk is proved: in order and unbroken, in one response, or twice the same."""
        earlier: _Walk[P] | None = None
        why = ""
        while tries:
            size = self._page_size if tries == _TRIES else self._resource.page_cap
            if at_most is not None and query.start is None and query.end is None:
                size = min(size, at_most)  # all that comes counts, so no more need come
            try:
                walk = self._walk(query, size, at_most)
            except _FormChanged:
                earlier = None
                continue
            except _SetMoved as moved:
                why, earlier = str(moved), None
            else:
                if walk.page_count <= 1 or walk.ascending or (earlier is not None and self._same(walk, earlier)):
                    return self._result(query, walk)
                # Out of order, records may have changed places behind and before the anchor: one walk proves nothing.
                why, earlier = "the pages are not in order and two readings differ", walk
            tries -= 1
            log.info("%s is read again: %s.", self._resource.name, why)
            halves = query.halves() if earlier is None and self._resource.bounds == "time" and tries else None
            if halves and tries < _TRIES - 1:
                left, right = (self._prove(half, None, tries) for half in halves)
                return _joined(left, right)
        raise CloudlockDriftError(
            f"The {self._resource.name} of this query could not be read as a whole: in {_TRIES} readings {why}. "
            "Nothing was kept. Try again later, when records come and go less."
        )

    def _walk(self, query: Query, size: int, at_most: int | None) -> _Walk[P]:
        walk: _Walk[P] = _Walk([])
        page = self._ask(query, query.offset, size)
        walk.total = page.echo.total
        if page.rows == 0:
            again = self._ask(query, query.offset, size)
            if again.rows or (again.echo.total or 0) > query.offset:
                raise _SetMoved("an empty page was followed by records, or the total speaks of some")
            return walk
        walk.add(page, self._select(query, page))
        anchor, lasts, stalls = page.last, {page.last}, 0
        while at_most is None or walk.kept < at_most:
            position = query.offset + walk.received
            page = self._ask(query, position - 1, size)
            walk.total = page.echo.total
            if page.first != anchor:
                raise _SetMoved(
                    f"the record at offset {position - 1} was another one a moment later, or the server repeats a page"
                )
            if page.rows == 1:
                if self._is_end(query, walk, size):
                    break
                stalls += 1
                if stalls > _STALLS:
                    raise _SetMoved("the server gives one record a page, so that none can be tied to the next")
                continue
            if page.last in lasts:
                raise _SetMoved("the server repeats a page")
            rest = page.rest()
            walk.add(rest, self._select(query, rest))
            anchor = page.last
            lasts.add(anchor)
        if self._format.distinct(walk.pages) != walk.kept:
            raise _SetMoved("a record came on two pages")
        return walk

    def _is_end(self, query: Query, walk: _Walk[P], size: int) -> bool:
        """Whether nothing follows the anchor, which has just come alone.

        An honest total beside several records settles it. Without one, a server that now gives one record a page
        would look the same, so what lies beyond the anchor is asked for too.
        """
        position = query.offset + walk.received
        if walk.total is not None and walk.total > position:
            raise _SetMoved(f"{position} records came, but the total speaks of {walk.total}")
        if walk.page_count == 1 and walk.received > 1 and walk.total == position:
            return True
        return self._ask(query, position, size).rows == 0

    def _ask(self, query: Query, offset: int, size: int, *, wider: bool = True) -> P:
        form = query.forms(self._resource)[self._step]
        parameters = query.parameters(self._resource, form, wider=wider)
        parameters |= {"limit": str(min(size, form.limit or size)), "offset": str(offset)}
        try:
            return self._client.get(self._resource.path, parameters, lambda body: self._checked(body, offset))
        except CloudlockRequestError as error:
            if error.status != 400 or not self._simplify(query, form, size):
                raise
            log.warning("%s A simpler form of the request is tried.", error)
            raise _FormChanged from error

    def _simplify(self, query: Query, refused: Form, size: int) -> bool:
        """Go to the next form that asks differently; tell whether there is one."""

        def written(form: Form) -> tuple[dict[str, str], int]:
            return query.parameters(self._resource, form), min(size, form.limit or size)

        for step, form in enumerate(query.forms(self._resource)):
            if step > self._step and written(form) != written(refused):
                self._step = step
                return True
        return False

    def _checked(self, body: bytes, offset: int) -> P:
        page = self._format.decode(body)
        echo = page.echo
        if echo.results is not None and echo.results != page.rows:
            raise CloudlockResponseError(f"It announces {echo.results} records and holds {page.rows}.")
        if echo.offset is not None and echo.offset != offset:
            raise CloudlockResponseError(f"It says that it begins at offset {echo.offset}; {offset} was asked for.")
        return page

    def _select(self, query: Query, page: P) -> P:
        """Keep what lies in the window, and not what is known to have another status than the one asked for."""
        others = [status for status in self._resource.statuses if query.status and status != query.status]
        return page.select(query.start, query.end, others[0].casefold() if others else None)

    def _same(self, walk: _Walk[P], earlier: _Walk[P]) -> bool:
        return self._format.distinct([*walk.pages, *earlier.pages]) == walk.kept == earlier.kept

    def _result(self, query: Query, walk: _Walk[P]) -> ResultSet[P]:
        return ResultSet(
            pages=tuple(walk.pages),
            proof="anchored" if walk.page_count > 1 else "single_response",
            page_count=walk.page_count,
            duplicates=walk.duplicates,
            outside=walk.received - walk.duplicates - walk.kept,
            reported_total=walk.total,
            request_form=query.forms(self._resource)[self._step].name,
        )


def _joined(left: ResultSet[P], right: ResultSet[P]) -> ResultSet[P]:
    """Put the halves of a window together; each holds only what lies in it."""
    return ResultSet(
        pages=left.pages + right.pages,
        proof="anchored",
        page_count=left.page_count + right.page_count,
        duplicates=left.duplicates + right.duplicates,
        outside=left.outside + right.outside,
        reported_total=None,
        request_form=right.request_form,
    )
