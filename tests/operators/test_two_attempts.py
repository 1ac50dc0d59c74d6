"""Two attempts alive at once: one that was held up never undoes what came after it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockDriftError
from airflow_provider_cloudlock.lake.store import Store
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, OBJECT, RECEIPT, Lake, as_row, connection, operator
from tests.support import Record, Tenant, day_of_records

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
def test_the_later_one_stays(
    extract: Extract, lake: Lake, overtaken: Overtaken, published: list[Record] | None
) -> None:
    if published is not None:
        with Tenant(published) as tenant:
            extract(tenant)
    with pytest.raises(CloudlockDriftError, match="published by another attempt while this one was at work"):
        overtaken(OLD, NEW)
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.receipt()["sha256"] == hashlib.sha256(lake.path(OBJECT).read_bytes()).hexdigest()
    with Tenant(NEW) as tenant:
        extract(tenant)  # the retry
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.files == [RECEIPT, OBJECT]


@pytest.mark.parametrize("published", [[], OLD], ids=["it wrote", "it changed nothing"])
def test_one_that_is_held_up_before_its_receipt_does_not_speak_over_the_later_one(
    extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch, published: list[Record]
) -> None:
    with Tenant(published) as tenant:
        extract(tenant)
    write = Store.exchange_text
    with Tenant(NEW) as later, Tenant(OLD) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(later))

        def held_up(*receipt: Any) -> None:
            monkeypatch.setattr(Store, "exchange_text", write)
            operator(lake.destination, cloudlock_conn_id="other").execute({})
            write(*receipt)

        monkeypatch.setattr(Store, "exchange_text", held_up)
        with pytest.raises(CloudlockDriftError, match="published by another attempt"):
            extract(tenant)
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.receipt()["sha256"] == hashlib.sha256(lake.path(OBJECT).read_bytes()).hexdigest()


def test_one_that_is_overtaken_sets_nothing_apart(extract: Extract, lake: Lake, overtaken: Overtaken) -> None:
    with pytest.raises(CloudlockDriftError, match="published by another attempt"):
        overtaken([*OLD, {"description": "no id"}], OLD)
    assert lake.files == [RECEIPT, OBJECT]


def test_a_later_one_that_changes_nothing_is_no_hindrance(extract: Extract, lake: Lake, overtaken: Overtaken) -> None:
    with Tenant(OLD) as tenant:
        extract(tenant)
    overtaken(NEW, OLD)
    assert lake.rows() == [as_row(each) for each in NEW]


def test_a_later_one_that_found_the_same_is_no_hindrance(lake: Lake, overtaken: Overtaken) -> None:
    overtaken(NEW, NEW)
    assert lake.rows() == [as_row(each) for each in NEW]
    assert lake.files == [RECEIPT, OBJECT]
