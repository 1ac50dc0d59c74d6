"""Work done in the background, in a thread that does not outlive the process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def in_background(work: Callable[[], T]) -> Future[T]:
    """Start work in a thread of its own.

    The threads of an executor are waited for when the process ends; a task that is told to stop must not wait for a
    server. So nothing may be left undone by a thread that dies: these here read, they do not write.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it goes to whoever asks for the result
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def one_ahead(works: Iterable[Callable[[], T]]) -> Iterator[T]:
    """Give the results of works one after another, the next one under way while the last one is used."""
    futures = map(in_background, works)
    upcoming = next(futures, None)
    while upcoming is not None:
        result = upcoming.result()
        upcoming = next(futures, None)
        yield result
