"""Pages asked for before they are needed, over several connections."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Generic, TypeVar

from airflow_provider_cloudlock.threads import Background

T = TypeVar("T")


class Ahead(Generic[T]):
    """Asks for pages in the order in which they should be needed.

    :param ask: gives the page at an offset, and stops when the event is set; called by several threads at once.
    :param background: where it is called ahead.
    """

    def __init__(self, ask: Callable[[int, threading.Event], T], background: Background) -> None:
        self._ask = ask
        self._background = background
        self._under_way: dict[int, Future[T]] = {}
        self._dropped = threading.Event()

    def page(self, offset: int, following: Sequence[int]) -> T:
        """Give the page at an offset.

        :param offset: of the page that is needed now.
        :param following: offsets that should be needed next; asked for in the background.
        """
        if offset not in self._under_way:
            self.drop()  # the pages came otherwise than was foreseen
            if not following:
                return self._ask(offset, self._dropped)
        for each in (offset, *following):
            if each not in self._under_way:
                self._under_way[each] = self._background.start(partial(self._ask, each, self._dropped))
        return self._under_way.pop(offset).result()

    def drop(self) -> None:
        """Give up what is under way: it sends nothing more, and nobody waits for it."""
        self._dropped.set()
        self._dropped = threading.Event()
        self._under_way.clear()
