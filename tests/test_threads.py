"""Work in the background: in order, by few threads, which nothing waits for."""

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
def test_so_many_work_at_once_and_no_more(threads: int, gate: threading.Event) -> None:
    bench = Bench(gate)
    background = Background(threads)
    futures = [background.start(bench.work(number)) for number in range(12)]
    bench.wait_for(threads)
    assert sorted(bench.begun) == list(range(threads))
    assert not any(future.done() for future in futures)
    gate.set()
    assert [future.result(LONG) for future in futures] == [number * 10 for number in range(12)]
    assert bench.most_at_once == len(bench.threads) == threads


def test_one_thread_works_in_the_order_given(gate: threading.Event) -> None:
    bench = Bench(gate)
    background = Background(1)
    futures = [background.start(bench.work(number)) for number in range(50)]
    gate.set()
    assert futures[-1].result(LONG) == 490
    assert bench.begun == list(range(50))


def test_works_one_after_another_need_one_thread() -> None:
    background = Background(4)
    threads = {background.start(threading.current_thread).result(LONG) for _ in range(50)}
    assert len(threads) == 1


def test_threads_are_daemons_and_none_is_started_for_nothing() -> None:
    before = threading.active_count()
    background = Background(4)
    assert threading.active_count() == before
    thread = background.start(threading.current_thread).result(LONG)
    assert thread.daemon
    assert thread is not threading.current_thread()


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit, CancelledError])
def test_an_error_reaches_who_asks_and_the_thread_goes_on(kind: type[BaseException]) -> None:
    def fail() -> None:
        threads.append(threading.current_thread())
        raise kind("so it goes")

    threads: list[threading.Thread] = []
    background = Background(1)
    failed = background.start(fail)
    with pytest.raises(kind, match="so it goes"):
        failed.result(LONG)
    assert background.start(threading.current_thread).result(LONG) is threads[0]


def test_threads_end_when_nobody_can_give_them_work(gate: threading.Event) -> None:
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


def test_a_thread_that_waits_for_work_keeps_nothing_of_the_last() -> None:
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


def test_the_process_does_not_wait_for_them() -> None:
    script = """
import threading
from airflow_provider_cloudlock.threads import Background, one_ahead
begun = threading.Event()
background = Background(2)
background.start(lambda: (begun.set(), threading.Event().wait(60)))
begun.wait()
ahead = one_ahead(iter([lambda: 1, threading.Event().wait]))
raise SystemExit(next(ahead) + 6)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=30, check=False).returncode == 7


# --- one_ahead --------------------------------------------------------------------------------------------------------


def test_results_come_in_order() -> None:
    assert list(one_ahead(lambda n=n: n * n for n in range(20))) == [n * n for n in range(20)]
    assert list(one_ahead([])) == []
    assert list(one_ahead([lambda: None, lambda: 0])) == [None, 0]


def test_nothing_begins_before_it_is_asked_for() -> None:
    def works() -> Iterator[Callable[[], int]]:
        asked.append("first")
        yield lambda: 1

    asked: list[str] = []
    results = one_ahead(works())
    assert asked == []
    assert next(results) == 1
    assert asked == ["first"]


def test_the_next_one_is_under_way_while_the_last_is_used_and_not_two(gate: threading.Event) -> None:
    gate.set()
    bench = Bench(gate)
    taken: list[int] = []

    def works() -> Iterator[Callable[[], int]]:
        for number in range(5):
            taken.append(number)
            yield bench.work(number)

    for number, result in enumerate(one_ahead(works())):
        assert result == number * 10
        assert taken == list(range(min(number + 2, 5)))
        bench.wait_for(len(taken))
        assert bench.begun == taken
    assert bench.most_at_once == 1
    assert len(bench.threads) == 1


def test_the_next_one_does_not_begin_before_the_last_is_there(gate: threading.Event) -> None:
    bench = Bench(gate)
    results = one_ahead([bench.work(0), bench.work(1)])
    threading.Timer(0.05, gate.set).start()
    assert next(results) == 0
    bench.wait_for(2)
    assert bench.most_at_once == 1


def test_an_error_comes_when_its_result_is_asked_for_and_nothing_after_it() -> None:
    def fail() -> int:
        failed.set()
        raise OSError("gone")

    failed = threading.Event()
    begun: list[int] = []
    results = one_ahead([lambda: 1, fail, lambda: begun.append(3)])
    assert next(results) == 1
    assert failed.wait(LONG)  # it has failed, and nobody was told yet
    with pytest.raises(OSError, match="gone"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)
    assert begun == []


def test_leaving_early_ends_the_thread(gate: threading.Event) -> None:
    bench = Bench(gate)
    gate.set()
    results = one_ahead(bench.work(number) for number in range(5))
    assert next(results) == 0
    bench.wait_for(2)
    del results
    gc.collect()
    for thread in bench.threads:
        thread.join(LONG)
        assert not thread.is_alive()
    assert bench.begun == [0, 1]
