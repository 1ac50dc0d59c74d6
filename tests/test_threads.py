"""Work in the background: in order, by few threads, for which the process does not wait."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError

import pytest

from airflow_provider_cloudlock.threads import Background, one_ahead

#: Longer than anything here takes.
LONG = 10.0


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What works wait for; opened in the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


class Bench:
    """Works that tell when they begin, and end when they are told to."""

    def __init__(self, gate: threading.Event) -> None:
        self._gate = gate
        self._lock = threading.Condition()
        self.begun: list[int] = []
        self.threads: set[threading.Thread] = set()
        self.at_once = self.most_at_once = 0

    def work(self, number: int) -> Callable[[], int]:
        def work() -> int:
            with self._lock:
                self.begun.append(number)
                self.threads.add(threading.current_thread())
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                self._lock.notify_all()
            assert self._gate.wait(LONG)
            with self._lock:
                self.at_once -= 1
            return number * 10

        return work

    def wait_for(self, count: int) -> None:
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.begun) >= count, LONG)


# --- Background -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_background_runs_as_many_at_once_as_it_may(threads: int, gate: threading.Event) -> None:
    bench = Bench(gate)
    background = Background(threads)
    futures = [background.start(bench.work(number)) for number in range(12)]
    bench.wait_for(threads)
    assert sorted(bench.begun) == list(range(threads))
    assert not any(future.done() for future in futures)
    gate.set()
    assert [future.result(LONG) for future in futures] == [number * 10 for number in range(12)]
    assert bench.most_at_once == len(bench.threads) == threads


def test_background_of_one_thread_keeps_order(gate: threading.Event) -> None:
    bench = Bench(gate)
    background = Background(1)
    futures = [background.start(bench.work(number)) for number in range(50)]
    gate.set()
    assert futures[-1].result(LONG) == 490
    assert bench.begun == list(range(50))


def test_background_reuses_an_idle_thread() -> None:
    background = Background(4)
    threads = {background.start(threading.current_thread).result(LONG) for _ in range(50)}
    assert len(threads) == 1


def test_threads_are_daemons_started_on_demand() -> None:
    before = threading.active_count()
    background = Background(4)
    assert threading.active_count() == before
    thread = background.start(threading.current_thread).result(LONG)
    assert thread.daemon
    assert thread is not threading.current_thread()


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError])
def test_error_is_raised_to_caller_and_thread_goes_on(kind: type[BaseException]) -> None:
    def fail() -> None:
        threads.append(threading.current_thread())
        raise kind("so it goes")

    threads: list[threading.Thread] = []
    background = Background(1)
    failed = background.start(fail)
    with pytest.raises(kind, match="so it goes"):
        failed.result(LONG)
    assert background.start(threading.current_thread).result(LONG) is threads[0]


def test_threads_end_with_their_background(gate: threading.Event) -> None:
    bench = Bench(gate)
    background = Background(4)
    futures = [background.start(bench.work(number)) for number in range(6)]
    bench.wait_for(4)
    del background
    gc.collect()
    assert all(thread.is_alive() for thread in bench.threads)
    gate.set()
    for thread in bench.threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert [future.result(0) for future in futures] == [0, 10, 20, 30, 40, 50]  # what was given is done


def test_idle_thread_keeps_nothing_of_its_last_work() -> None:
    class Large:
        """What a work made or held."""

    background = Background(1)
    held = Large()
    gone = threading.Event()
    weakref.finalize(held, gone.set)
    future = background.start(lambda held=held: None)
    future.result(LONG)
    del held, future
    gc.collect()
    assert gone.wait(LONG)


def test_process_does_not_wait_for_background_work() -> None:
    script = """
import threading
from airflow_provider_cloudlock.threads import Background, one_ahead
begun = threading.Event()
background = Background(2)
background.start(lambda: (begun.set(), threading.Event().wait(60)))
begun.wait()
def items():
    yield 1
    threading.Event().wait(60)
raise SystemExit(next(one_ahead(items())) + 6)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 7


# --- map --------------------------------------------------------------------------------------------------------------


def test_map_yields_items_with_results_in_order(gate: threading.Event) -> None:
    bench = Bench(gate)
    results = Background(4).map(lambda number: bench.work(number)(), range(12))
    threading.Timer(0.05, gate.set).start()
    assert list(results) == [(number, number * 10) for number in range(12)]
    assert bench.most_at_once == 4
    assert list(Background(4).map(str, [])) == []


def test_map_begins_nothing_after_a_failure(gate: threading.Event) -> None:
    """Work in progress is waited for, and its results are yielded."""
    bench = Bench(gate)

    def work(number: int) -> int:
        if number == 1:
            bench.wait_for(1)
            raise OSError("disk is full")
        return bench.work(number)()

    results = Background(2).map(work, range(6))
    threading.Timer(0.05, gate.set).start()
    assert next(results) == (0, 0)
    with pytest.raises(OSError, match="disk is full"):
        list(results)
    assert bench.begun == [0]


# --- one_ahead --------------------------------------------------------------------------------------------------------


def test_one_ahead_yields_items_in_order() -> None:
    assert list(one_ahead(iter(range(20)))) == list(range(20))
    assert list(one_ahead(iter([]))) == []
    assert list(one_ahead(iter([None, 0]))) == [None, 0]


def test_one_ahead_begins_when_it_is_used() -> None:
    begun: list[int] = []
    results = one_ahead(n for n in range(2) if not begun.append(n))
    assert begun == []
    assert next(results) == 0


def test_one_ahead_makes_exactly_one_item_ahead(gate: threading.Event) -> None:
    gate.set()
    bench = Bench(gate)
    for number, result in enumerate(one_ahead(bench.work(n)() for n in range(5))):
        assert result == number * 10
        bench.wait_for(min(number + 2, 5))
        assert bench.begun == list(range(min(number + 2, 5)))
    assert bench.most_at_once == 1
    assert len(bench.threads) == 1


def test_one_ahead_raises_error_in_place_of_its_item() -> None:
    failed = threading.Event()

    def items() -> Iterator[int]:
        yield 1
        failed.set()
        raise OSError("gone")

    results = one_ahead(items())
    assert next(results) == 1
    assert failed.wait(LONG)
    with pytest.raises(OSError, match="gone"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_one_ahead_left_early_ends_its_thread(gate: threading.Event) -> None:
    bench = Bench(gate)
    gate.set()
    results = one_ahead(bench.work(number)() for number in range(5))
    assert next(results) == 0
    bench.wait_for(2)
    del results
    gc.collect()
    for thread in bench.threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert bench.begun == [0, 1]
