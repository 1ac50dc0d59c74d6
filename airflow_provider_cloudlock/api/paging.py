"""A whole result set, with its proof: read until one reading is a proof, or two are the same."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Generic, Literal

from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.api.resources import Form, Query, Resource
from airflow_provider_cloudlock.api.walk import SetMovedError, Walk
from airflow_provider_cloudlock.exceptions import (
    CloudlockDriftError,
    CloudlockRequestError,
    CloudlockResponseError,
)
from airflow_provider_cloudlock.pages import P, PageFormat

log = logging.getLogger(__name__)

#: How often a set that moved is read before giving up.
_TRIES = 4


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


class _FormChanged(Exception):
    """The API refused the form of the request, a simpler one is left."""


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
        earlier: Walk[P] | None = None
        why = ""
        while tries:
            try:
                walk = self._walk(query, at_most, first=tries == _TRIES)
            except _FormChanged:
                earlier = None
                continue
            except SetMovedError as moved:
                why, earlier = str(moved), None
            else:
                if walk.is_proof or (earlier is not None and self._same(walk, earlier)):
                    return self._result(query, walk)
                why, earlier = "the records came in no certain order of time, and no two readings were the same", walk
            tries -= 1
            log.info("%s is read again: %s.", self._resource.name, why)
            halves = query.halves() if self._resource.bounds == "time" and 0 < tries < _TRIES - 1 else None
            if halves and earlier is None:
                left, right = (self._prove(half, None, tries) for half in halves)
                joined = _joined(left, right)
                if self._format.distinct(joined.pages) == sum(page.distinct for page in joined.pages):
                    return joined
                why = "a record moved from one half of the window to the other"
        raise CloudlockDriftError(
            f"The {self._resource.name} of this query could not be read as a whole: in {_TRIES} readings {why}. "
            "Nothing was kept. Try again later, when records come and go less."
        )

    def _walk(self, query: Query, at_most: int | None, *, first: bool) -> Walk[P]:
        size = self._page_size if first else self._resource.page_cap
        if first and at_most is not None and query.start is None and query.end is None:
            size = min(size, at_most)  # all that comes counts, so no more need come
        # What is known to have another status than the one asked for is not wanted, should the server send it.
        others = [status.casefold() for status in self._resource.statuses if query.status and status != query.status]
        walk: Walk[P] = Walk(
            ask=lambda offset: self._ask(query, offset, size),
            ask_beyond=lambda offset: self._ask_beyond(query, offset, size),
            select=lambda page: page.select(query.start, query.end, others[0] if others else None),
            start=query.offset,
        )
        walk.run(at_most)
        if self._format.distinct(walk.pages) != walk.kept:
            raise SetMovedError("a record came on two pages")
        return walk

    def _ask(self, query: Query, offset: int, size: int, *, wider: bool = True) -> P:
        try:
            return self._request(query, offset, size, wider=wider)
        except CloudlockRequestError as error:
            if error.status != 400 or not self._simplify(query, size):
                raise
            log.warning("%s A simpler form of the request is tried.", error)
            raise _FormChanged from error

    def _ask_beyond(self, query: Query, offset: int, size: int) -> int:
        """Tell how many records there are behind what should be the end; a refusal of the offset means none."""
        try:
            return self._request(query, offset, size).rows
        except CloudlockRequestError:
            return 0

    def _request(self, query: Query, offset: int, size: int, *, wider: bool = True) -> P:
        form = query.forms(self._resource)[self._step]
        parameters = query.parameters(self._resource, form, wider=wider)
        parameters |= {"limit": str(min(size, form.limit or size)), "offset": str(offset)}
        return self._client.get(self._resource.path, parameters, lambda body: self._checked(body, offset))

    def _simplify(self, query: Query, size: int) -> bool:
        """Go to the next form that asks differently; tell whether there is one."""
        forms = query.forms(self._resource)

        def written(form: Form) -> tuple[dict[str, str], int]:
            return query.parameters(self._resource, form), min(size, form.limit or size)

        for step, form in enumerate(forms):
            if step > self._step and written(form) != written(forms[self._step]):
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

    def _same(self, walk: Walk[P], earlier: Walk[P]) -> bool:
        return self._format.distinct([*walk.pages, *earlier.pages]) == walk.kept == earlier.kept

    def _result(self, query: Query, walk: Walk[P]) -> ResultSet[P]:
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
