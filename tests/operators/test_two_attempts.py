"""Two attempts at the same time: a stale one never undoes a later one."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockDriftError
from airflow_provider_cloudlock.lake import local, publish
from airflow_provider_cloudlock.lake.store import Store
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, OBJECT, RECEIPT, Lake, as_row, connection, hour, operator
from tests.support import Record, Tenant, day_of_records, ids, record

Overtaken = Callable[[list[Record], list[Record]], None]

OLD = day_of_records(DAY, 5)
NEW = [OLD[0] | {"status": "DISMISSED", "updated_at": "2026-01-09T00:00:00+00:00"}, *OLD[1:]]


@pytest.fixture
def overtaken(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Overtaken:
    """Run an attempt on an old set; while it reads, another one reads and publishes a new set."""

    def run(old: list[Record], new: list[Record]) -> None:
        def overtake(_: Tenant) -> None:
            operator(lake.destination, cloudlock_conn_id="other").execute({})

        with Tenant(new) as later, Tenant(old, before={2: overtake}) as tenant:
            monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(later))
            extract(tenant)

    return run


@pytest.mark.parametrize("published", [None, OLD[:3], OLD], ids=["nothing", "something else", "the same as before"])
def test_stale_attempt_fails_and_later_one_stays(
    extract: Extract, lake: Lake, overtaken: Overtaken, published: list[Record] | None
) -> None:
    if published is not None:
        with Tenant(published) as tenant:
            extract(tenant)
    with pytest.raises(CloudlockDriftError, match="published by another attempt"):
        overtaken(OLD, NEW)
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.receipt()["sha256"] == hashlib.sha256(lake.path(OBJECT).read_bytes()).hexdigest()
    with Tenant(NEW) as tenant:
        extract(tenant)  # the retry
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.files == [RECEIPT, OBJECT]


@pytest.mark.parametrize("published", [[], OLD], ids=["it wrote", "it changed nothing"])
def test_stale_attempt_does_not_replace_receipt(
    extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch, published: list[Record]
) -> None:
    with Tenant(published) as tenant:
        extract(tenant)
    write = Store.put_text_if
    with Tenant(NEW) as later, Tenant(OLD) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(later))

        def held_up(*receipt: Any) -> str:
            monkeypatch.setattr(Store, "put_text_if", write)
            operator(lake.destination, cloudlock_conn_id="other").execute({})
            return write(*receipt)

        monkeypatch.setattr(Store, "put_text_if", held_up)
        with pytest.raises(CloudlockDriftError, match="published by another attempt"):
            extract(tenant)
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.receipt()["sha256"] == hashlib.sha256(lake.path(OBJECT).read_bytes()).hexdigest()


def test_stale_attempt_writes_no_quarantine(extract: Extract, lake: Lake, overtaken: Overtaken) -> None:
    with pytest.raises(CloudlockDriftError, match="published by another attempt"):
        overtaken([*OLD, {"description": "no id"}], OLD)
    assert lake.files == [RECEIPT, OBJECT]


def test_later_attempt_without_change_does_not_fail_first(extract: Extract, lake: Lake, overtaken: Overtaken) -> None:
    with Tenant(OLD) as tenant:
        extract(tenant)
    overtaken(NEW, OLD)
    assert lake.rows() == [as_row(each) for each in NEW]


def test_later_attempt_with_same_records_does_not_fail_first(lake: Lake, overtaken: Overtaken) -> None:
    overtaken(NEW, NEW)
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.files == [RECEIPT, OBJECT]


def test_runs_with_a_day_in_common_leave_it_once(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """No run publishes before both have read and have looked at what is published."""
    records = [each for day in (DAY, NEXT, "2026-01-04") for each in day_of_records(day, 24)]
    gate = threading.Barrier(2, timeout=20)
    written = publish.write
    outcomes: list[object] = []

    def write(*args: Any) -> str:
        if args[3].day.isoformat() == NEXT:
            gate.wait()
        return written(*args)

    def run(after: str, before: str) -> None:
        try:
            outcomes.append(extract(tenant, after, before)["rows"])
        except CloudlockDriftError as error:
            outcomes.append(error)

    monkeypatch.setattr(publish, "write", write)
    with Tenant(records) as tenant:
        threads = [threading.Thread(target=run, args=each) for each in ((DAY, "2026-01-04"), (NEXT, "2026-01-05"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes == [48, 48]  # both found the same records
    assert Counter(lake.ids()) == Counter(ids(records))


def test_lock_separates_attempts_on_local_disk(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first waits between its last check and its write; the second waits for the first."""
    looked, go_on = threading.Event(), threading.Event()
    replaced = local.replace

    def replace(*args: Any) -> None:
        if not looked.is_set():
            looked.set()
            go_on.wait(20)
        replaced(*args)

    monkeypatch.setattr(local, "replace", replace)
    outcomes: list[Any] = []
    with Tenant(day_of_records(DAY, 24)) as tenant:
        first = threading.Thread(target=lambda: outcomes.append(extract(tenant)["rows"]))
        first.start()
        assert looked.wait(20)
        tenant.insert(record(99, hour(6.5)))

        def follow() -> None:
            with pytest.raises(CloudlockDriftError, match="published by another attempt"):
                extract(tenant)
            outcomes.append("outrun")

        second = threading.Thread(target=follow)
        second.start()
        second.join(0.5)
        assert second.is_alive()
        go_on.set()
        first.join()
        second.join()
    assert sorted(outcomes, key=str) == [24, "outrun"]
    assert len(lake.ids()) == 24
