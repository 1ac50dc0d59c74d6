"""Validated pages of one list endpoint, and those of one query on it."""

from __future__ import annotations

import logging
from functools import partial
from threading import Event
from typing import Any, Generic

from airflow_provider_cloudlock.api.budget import Budget, Spending
from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.api.prefetch import Prefetcher
from airflow_provider_cloudlock.api.query import Form, Query
from airflow_provider_cloudlock.exceptions import (
    CloudlockError,
    CloudlockRequestError,
    CloudlockResponseError,
    CloudlockUnavailableError,
)
from airflow_provider_cloudlock.pages import P, PageFormat
from airflow_provider_cloudlock.resources import Resource
from airflow_provider_cloudlock.threads import Background

log = logging.getLogger(__name__)

#: Offset and limit.
Request = tuple[int, int]

#: Statuses of a refused form: some servers answer 422 where others answer 400.
_REFUSED = (400, 422)


class Endpoint(Generic[P]):
    """Request pages of one resource, and remember which form of request the API accepts.

    :param client: sends the requests.
    :param resource: what is requested.
    :param page_format: decodes the pages.
    :param page_size: records per request.
    :param is_page_size_fixed: False if a page may be larger where that saves requests.
    :param connections: the most requests in flight.
    :param budget: what reading one range may cost.
    """

    def __init__(
        self,
        client: CloudlockClient,
        resource: Resource,
        page_format: PageFormat[P, Any],
        page_size: int,
        *,
        is_page_size_fixed: bool = True,
        connections: int = 1,
        budget: Budget | None = None,
    ) -> None:
        self.client = client
        self.resource = resource
        self.page_format = page_format
        self.page_size = page_size
        self.is_page_size_fixed = is_page_size_fixed
        self.background = Background(connections)
        #: Whether a response ever reported a ``total`` that counts more than its own page.
        self.has_counted = False
        self._connections = connections
        self._throttled = client.throttled
        self._budget = budget or Budget()
        self._step = 0
        self.renew_budget()

    def renew_budget(self) -> None:
        """Allow the whole budget again."""
        self._spending = Spending(self.client, self._budget)

    def page(
        self, query: Query, offset: int, limit: int, dropped: Event | None = None, *, widen: bool = True, tries: int = 0
    ) -> P:
        """Return one page.

        :param dropped: set when the page is no longer needed.
        :param widen: False to bound exactly the query's window.
        :param tries: how often to try, 0 for the client's number.
        :raises CloudlockError: if the API fails or refuses, or the budget is exhausted.
        """
        self._spending.check()
        form = self.form(query)
        parameters = query.parameters(self.resource, form, widen=widen)
        parameters |= {"limit": str(self._limit(form, limit)), "offset": str(offset)}
        page = self.client.get(self.resource.path, parameters, partial(self._checked, offset), dropped, tries)
        self.has_counted = self.has_counted or (page.echo.total or 0) > offset + page.rows
        return page

    def total(self, query: Query) -> int | None:
        """Return the API's own count of exactly this window, None if it gives none."""
        while True:
            try:
                return self.page(query, query.offset, 1, widen=False).echo.total
            except CloudlockRequestError as refusal:
                self.simplify(refusal, query, 1)

    def form(self, query: Query) -> Form:
        """Return the form of request in use."""
        return query.forms(self.resource)[self._step]

    def simplify(self, refusal: CloudlockRequestError, query: Query, limit: int) -> None:
        """Go to the next form that writes the request differently.

        :raises CloudlockRequestError: the refusal, if another form would not help or none is left.
        """
        forms = query.forms(self.resource)

        def written(form: Form) -> tuple[dict[str, str], int]:
            return query.parameters(self.resource, form), self._limit(form, limit)

        for step, form in enumerate(forms):
            if refusal.status in _REFUSED and step > self._step and written(form) != written(forms[self._step]):
                log.warning("%s Retrying with a simpler form of the request.", refusal)
                self._step = step
                return
        raise refusal

    def connections(self) -> int:
        """Return how many requests may be in flight: half as many after each response that says there were too many."""
        if self.client.throttled > self._throttled:
            self._throttled = self.client.throttled
            self._connections = max(1, self._connections // 2)
        return self._connections

    def _limit(self, form: Form, limit: int) -> int:
        return min(limit, form.limit or limit, self.resource.page_cap)

    def _checked(self, offset: int, body: bytes) -> P:
        page = self.page_format.decode(body)
        echo = page.echo
        if echo.results is not None and echo.results != page.rows:
            raise CloudlockResponseError(f"It reports {echo.results} results and contains {page.rows}.")
        if echo.offset is not None and echo.offset != offset:
            raise CloudlockResponseError(f"It begins at offset {echo.offset} instead of {offset}.")
        return page


class Source(Generic[P]):
    """The pages of one query, for one pass.

    :param endpoint: sends the requests.
    :param query: what is requested.
    :param at_most: number of records that are needed, None for all.
    :param is_first: False after a pass that failed. Then pages are requested one after another, and the largest ones
        unless the user set a size: the fewer the pages, the less can change between them.
    """

    def __init__(self, endpoint: Endpoint[P], query: Query, at_most: int | None, *, is_first: bool) -> None:
        self._endpoint, self._query, self._is_first = endpoint, query, is_first
        self.start = query.offset
        is_as_set = is_first or endpoint.is_page_size_fixed
        self.size = max(2, endpoint.page_size) if is_as_set else endpoint.resource.page_cap  # one cannot overlap
        if is_first and at_most is not None and query.start is None and query.end is None:
            self.size = min(self.size, at_most)  # every record that comes counts
        self._can_stretch = is_first and at_most is None and not endpoint.is_page_size_fixed
        self._prefetcher = Prefetcher[Request, P](
            lambda request, dropped: endpoint.page(query, *request, dropped), endpoint.background
        )

    def limit(self, offset: int, total: int | None) -> int:
        """Return the page size to request at an offset: the last page may be half as large again, to save a request."""
        size, stretched = self.size, self.size * 3 // 2
        form_limit = self._endpoint.form(self._query).limit or stretched
        is_last = self._can_stretch and size < (total or 0) - offset < stretched
        return min(stretched if is_last else size, form_limit)

    def page(self, request: Request, upcoming: list[Request]) -> P:
        """Return a page, and prefetch those that will probably be needed next."""
        return self._prefetcher.page(request, upcoming)

    def beyond(self, offset: int, total: int | None) -> P | None:
        """Return the page behind what should be the end, None if it is empty or refused.

        Some servers fail at such an offset. Then ``total`` must confirm the end.

        :raises CloudlockUnavailableError: if it does not.
        """
        try:
            page = self._endpoint.page(self._query, offset, self.size, tries=1)
        except CloudlockRequestError:
            return None
        except CloudlockError as error:
            is_broken = isinstance(error, CloudlockUnavailableError) and (error.status or 0) >= 500
            if is_broken and total == offset and self.counts():
                return None
            if not error.retryable:
                raise
            try:
                page = self._endpoint.page(self._query, offset, self.size)
            except CloudlockUnavailableError as final:
                raise CloudlockUnavailableError(
                    f"{final} The {offset} records before this offset may be all of them, but the reported total "
                    f"({total}) does not confirm that.",
                    final.status,
                    final.retry_after,
                ) from None
        return page if page.rows else None

    def counts(self) -> bool:
        """Whether the server's ``total`` counts more than the records of its page."""
        if not self._endpoint.has_counted:
            self._endpoint.page(self._query, self._query.offset, 1)
        return self._endpoint.has_counted

    def connections(self) -> int:
        """Return how many requests may be in flight."""
        return self._endpoint.connections() if self._is_first else 1

    def close(self) -> None:
        """Discard what is still in flight."""
        self._prefetcher.drop()
