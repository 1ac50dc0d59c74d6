"""Work done in the background, by threads that do not outlive the process."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
_Queue = SimpleQueue[Callable[[], None] | None]


class Background:
    """A few threads that do work in the order in which it is given.

    The threads of an executor are waited for when the process ends; a task that is told to stop must not wait for a
    server. So nothing may be left undone by a thread that dies: these are to read, not to write.

    :param threads: the most that work at once.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._futures: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        self._started = 0
        self._queue: _Queue = SimpleQueue()
        weakref.finalize(self, _end, self._queue)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Have work done, as soon as a thread is free."""
        future: Future[T] = Future()
        self._futures.add(future)
        self._queue.put(partial(_settle, future, work))
        under_way = sum(not each.done() for each in self._futures)
        if self._started < min(under_way, self._most):
            self._started += 1
            threading.Thread(target=_serve, args=(self._queue,), daemon=True).start()
        return future


def one_ahead(works: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Give the results of works one after another, the next one under way while the last one is used."""
    futures = map(Background(1).start, works)
    upcoming = next(futures, None)
    while upcoming is not None:
        result = upcoming.result()
        upcoming = next(futures, None)
        yield result


def _serve(queue: _Queue) -> None:
    while work := queue.get():
        work()
        del work  # it holds what it made, which may be large
    queue.put(None)  # for the next thread


def _end(queue: _Queue) -> None:
    queue.put(None)


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it goes to whoever asks for the result
        future.set_exception(error)
