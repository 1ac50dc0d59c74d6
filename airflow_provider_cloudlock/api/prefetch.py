"""Requests sent before their pages are needed, over several connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from airflow_provider_cloudlock.threads import Background

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Prefetcher(Generic[K, T]):
    """Fetch pages in the order in which they will probably be needed.

    :param fetch: sends a request, and gives up when the event is set; called from several threads.
    :param background: runs it ahead of time.
    """

    def __init__(self, fetch: Callable[[K, threading.Event], T], background: Background) -> None:
        self._fetch = fetch
        self._background = background
        self._in_progress: dict[K, Future[T]] = {}
        self._dropped = threading.Event()

    def page(self, request: K, upcoming: Sequence[K]) -> T:
        """Return the response to a request.

        :param request: what is needed now.
        :param upcoming: what will probably be needed next, fetched in the background.
        """
        if request not in self._in_progress:
            self.drop()  # the prediction was wrong
            if not upcoming:
                return self._fetch(request, self._dropped)
        for each in (request, *upcoming):
            if each not in self._in_progress:
                self._in_progress[each] = self._background.start(partial(self._fetch, each, self._dropped))
        return self._in_progress.pop(request).result()

    def drop(self) -> None:
        """Discard what is in progress: it sends no further request."""
        self._dropped.set()
        self._dropped = threading.Event()
        self._in_progress.clear()
