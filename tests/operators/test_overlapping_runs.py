"""Runs at the same time over windows that overlap: no record twice, and none gone, behind green tasks."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockDriftError
from airflow_provider_cloudlock.lake import local, publish
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, Lake, hour
from tests.support import Tenant, day_of_records, record

RECORDS = day_of_records(DAY, 24)
WHOLE = (DAY, NEXT)
HOUR = (hour(6), hour(7))
Window = tuple[Any, Any]


def at_once(extract: Extract, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, windows: list[Window]) -> list[Any]:
    """Run the operator over windows, none of which is published before all have looked at what overlaps."""
    gate = threading.Barrier(len(windows), timeout=20)
    written = publish.write
    outcomes: list[Any] = []

    def write(*args: Any, **options: Any) -> None:
        gate.wait()
        written(*args, **options)

    def run(window: Window) -> None:
        try:
            outcomes.append(extract(tenant, *window)["rows"])
        except Exception as error:  # noqa: BLE001 - it is what is looked at
            outcomes.append(error)

    monkeypatch.setattr(publish, "write", write)
    threads = [threading.Thread(target=run, args=(window,)) for window in windows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.setattr(publish, "write", written)
    return outcomes


def test_a_day_and_an_hour_of_it(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(RECORDS) as tenant:
        outcomes = at_once(extract, tenant, monkeypatch, [WHOLE, HOUR])
        assert any(isinstance(each, Exception) for each in outcomes)
        assert extract(tenant, *WHOLE)["rows"] == 24  # the retry, or the next run of the day
    assert Counter(lake.ids()) == Counter(str(each["id"]) for each in RECORDS)


def test_two_parts_that_overlap(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(RECORDS) as tenant:
        outcomes = at_once(extract, tenant, monkeypatch, [(hour(0), hour(13)), (hour(10), hour(24))])
    failed = [each for each in outcomes if isinstance(each, Exception)]
    assert failed
    assert all(isinstance(each, AirflowFailException) for each in failed)
    assert "overlaps the published" in str(failed[0])
    assert max(Counter(lake.ids()).values(), default=1) == 1


def test_an_hour_published_while_its_day_is_made_is_not_removed(
    extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    late = record(99, hour(6.5))
    written = publish.write

    def write(spool: Any, local: Any, slice_: Any, *args: Any) -> None:
        if slice_.end - slice_.start > hour(2) - hour(0) and not any(each["id"] == 99 for each in tenant.records):
            tenant.insert(late)
            assert extract(tenant, *HOUR)["rows"] == 2
        written(spool, local, slice_, *args)

    with Tenant(RECORDS) as tenant:
        extract(tenant, *HOUR)
        monkeypatch.setattr(publish, "write", write)
        with pytest.raises(CloudlockDriftError, match="was published by another run while"):
            extract(tenant, *WHOLE)
        assert "99" in lake.ids()
        assert extract(tenant, *WHOLE)["rows"] == 25
    assert Counter(lake.ids()) == Counter([*(str(each["id"]) for each in RECORDS), "99"])


def test_a_lock_keeps_two_attempts_apart_on_a_local_disk(
    extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is held up between its last look and its write; the other one waits for it."""
    looked, go_on = threading.Event(), threading.Event()
    replaced = local.replace

    def replace(*args: Any) -> None:
        if not looked.is_set():
            looked.set()
            go_on.wait(20)
        replaced(*args)

    monkeypatch.setattr(local, "replace", replace)
    outcomes: list[Any] = []
    with Tenant(RECORDS) as tenant:
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
