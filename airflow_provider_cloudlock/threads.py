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
U = TypeVar("U")
_Queue = SimpleQueue[Callable[[], None] | None]


class Background:
    """A few threads that do work in the order in which it is submitted.

    The threads of an executor are waited for when the process ends, but a task that is told to stop must not wait for
    a server. So these may die at any moment, and what they do must be safe then.

    :param threads: the most that work concurrently.
    """

    def __init__(self, threads: int) -> None:
        self._most = threads
        self._futures: weakref.WeakSet[Future[Any]] = weakref.WeakSet()
        self._started = 0
        self._queue: _Queue = SimpleQueue()
        weakref.finalize(self, _end, self._queue)

    def start(self, work: Callable[[], T]) -> Future[T]:
        """Submit work."""
        future: Future[T] = Future()
        self._futures.add(future)
        self._queue.put(partial(_settle, future, work))
        in_progress = sum(not each.done() for each in self._futures)
        if self._started < min(in_progress, self._most):
            self._started += 1
            threading.Thread(target=_serve, args=(self._queue,), daemon=True).start()
        return future

    def map(self, work: Callable[[U], T], items: Iterable[U]) -> Iterator[tuple[U, T]]:
        """Yield items with the results of work on them, in their order.

        After a failure no work on later items is begun. Work in progress is waited for and its results are yielded
        before the first failure is raised.
        """
        failed: list[int] = []

        def unless_failed(number: int, item: U) -> T:
            if any(each < number for each in failed):
                raise _SkippedError
            try:
                return work(item)
            except BaseException:
                failed.append(number)
                raise

        futures = [(item, self.start(partial(unless_failed, number, item))) for number, item in enumerate(items)]
        errors: list[BaseException] = []
        for item, future in futures:
            error = future.exception()  # waits
            if error is None:
                yield item, future.result()
            elif not isinstance(error, _SkippedError):
                errors.append(error)
        if errors:
            raise errors[0]


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Start work in a thread of its own."""
    future: Future[T] = Future()
    threading.Thread(target=_settle, args=(future, work), daemon=True).start()
    return future


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items of an iterator, which works on the next one in the background while the last one is used."""
    background = Background(1)
    end: Any = object()
    upcoming = background.start(partial(next, items, end))
    while (item := upcoming.result()) is not end:
        upcoming = background.start(partial(next, items, end))
        yield item


class _SkippedError(Exception):
    """Work that was not begun after other work had failed."""


def _serve(queue: _Queue) -> None:
    while work := queue.get():
        work()
        del work  # it holds its result, which may be large
    queue.put(None)  # for the next thread


def _end(queue: _Queue) -> None:
    queue.put(None)


def _settle(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001 - it goes to whoever asks for the result
        future.set_exception(error)
