"""Records that cannot be kept: without an id, or without a creation time."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockDataError
from tests.operators.conftest import Extract
from tests.operators.lake import (
    DAY,
    FOLDER,
    NEXT,
    OBJECT,
    QUARANTINE,
    RECEIPT,
    Lake,
    hour,
    stem,
)
from tests.support import Habits, Record, Tenant, day_of_records, ids, record, rewritten

TEN = day_of_records(DAY, 10)
UNKEPT: dict[str, Record] = {
    "no id": {name: value for name, value in record(1, hour(6)).items() if name != "id"},
    "null id": record(1, hour(6)) | {"id": None},
    "empty id": record(1, hour(6)) | {"id": ""},
    "fractional id": record(1, hour(6)) | {"id": 1.5},
    "boolean id": record(1, hour(6)) | {"id": True},
    "list for an id": record(1, hour(6)) | {"id": [1]},
    "no time": {name: value for name, value in record(1, hour(6)).items() if name != "created_at"},
    "null time": record(1, hour(6)) | {"created_at": None},
    "epoch time": record(1, hour(6)) | {"created_at": 1767333600},
    "epoch time as text": record(1, hour(6)) | {"created_at": "1767333600"},
    "no time at all": record(1, hour(6)) | {"created_at": "yesterday"},
    "unreadable time beside a good one": record(1, hour(6)) | {"created_at": "?", "detected_at": f"{DAY}T06:00:00Z"},
    "nothing": {},
    "unknown fields": {"x": {"y": [1, None, "z"]}},
}


@pytest.mark.parametrize("unkept", UNKEPT.values(), ids=UNKEPT)
def test_a_record_that_cannot_be_kept_fails_the_task_and_can_be_looked_at(
    extract: Extract, lake: Lake, unkept: Record
) -> None:
    with (
        Tenant([*TEN, unkept]) as tenant,
        pytest.raises(AirflowFailException, match=r"1 records of the slice .* more than max_quarantined=0") as failure,
    ):
        extract(tenant)
    assert isinstance(failure.value.__cause__, CloudlockDataError)
    assert f"{lake.destination}/threats/{QUARANTINE}" in str(failure.value)
    assert lake.files == [QUARANTINE]
    assert [json.loads(line) for line in lake.path(QUARANTINE).read_text().splitlines()] == [unkept]


@pytest.mark.parametrize("unkept", UNKEPT.values(), ids=UNKEPT)
def test_it_may_be_allowed_and_goes_when_the_source_is_clean(extract: Extract, lake: Lake, unkept: Record) -> None:
    with Tenant([*TEN, unkept]) as tenant:
        (result,) = extract(tenant, max_quarantined=1)["slices"]
        assert (result["rows"], result["quarantined"]) == (10, 1)
        assert lake.ids() == ids(TEN)
        assert lake.receipt()["quarantined"] == 1
        assert json.loads(lake.path(QUARANTINE).read_text()) == unkept
    with Tenant(TEN) as tenant:
        assert extract(tenant)["slices"][0]["quarantined"] == 0
    assert lake.files == [RECEIPT, OBJECT]


@pytest.mark.parametrize("unkept", [{"id": ""}, {"id": None}, {"created_at": None}], ids=str)
def test_one_among_records_that_have_all_else_in_order(
    extract: Extract, lake: Lake, unkept: dict[str, str | None]
) -> None:
    others = [each | {"id": f"T{each['id']}"} for each in TEN]
    odd = record(1, hour(6)) | {"id": "T1"} | unkept
    with Tenant([*others, odd]) as tenant:
        (result,) = extract(tenant, max_quarantined=1)["slices"]
    assert (result["rows"], result["quarantined"]) == (10, 1)
    assert lake.ids() == ids(others)
    assert json.loads(lake.path(QUARANTINE).read_text()) == odd


def test_every_one_counts(extract: Extract, lake: Lake) -> None:
    several = [each | {"description": str(n)} for n, each in enumerate(UNKEPT.values())]
    several = [each | {"id": n} if type(each.get("id")) is int else each for n, each in enumerate(several, 10)]
    with Tenant([*TEN, *several, *several]) as tenant:
        with pytest.raises(AirflowFailException, match=f"^{len(several)} records .*max_quarantined={len(several) - 1}"):
            extract(tenant, max_quarantined=len(several) - 1)
        lines = lake.path(QUARANTINE).read_text().splitlines()
        assert sorted(lines) == sorted(set(lines))
        assert len(lines) == len(several)
        assert extract(tenant, max_quarantined=len(several))["slices"][0]["quarantined"] == len(several)
        assert lake.receipt()["duplicates"] == len(several)


def test_they_may_stand_anywhere_in_any_page(extract: Extract, lake: Lake) -> None:
    unkept = [record(n, hour(n)) | {"id": None} for n in range(24)]
    with Tenant([*TEN, *unkept], Habits(cap=3)) as tenant:
        (result,) = extract(tenant, max_quarantined=24)["slices"]
        assert (result["rows"], result["quarantined"], result["proof"]) == (10, 24, "anchored")
    assert [json.loads(line) for line in lake.path(QUARANTINE).read_text().splitlines()] == unkept
    assert lake.receipt()["duplicates"] == 0


def test_records_that_differ_in_an_unusable_id_alone_all_count(extract: Extract, lake: Lake) -> None:
    with Tenant([record(1, hour(6)) | {"id": odd} for odd in (1.5, 2.5)]) as tenant:
        assert extract(tenant, max_quarantined=2)["slices"][0]["quarantined"] == 2
    assert [json.loads(line)["id"] for line in lake.path(QUARANTINE).read_text().splitlines()] == [1.5, 2.5]


def test_a_record_with_a_time_belongs_to_its_own_slice_alone(extract: Extract, lake: Lake) -> None:
    later = record(1, f"{NEXT}T06:00:00Z") | {"id": None}
    with Tenant([*TEN, later]) as tenant:
        extract(tenant)
        assert lake.files == [RECEIPT, OBJECT]
        with pytest.raises(AirflowFailException):
            extract(tenant, NEXT, "2026-01-04")
    assert lake.files == sorted([RECEIPT, OBJECT, f"_quarantine/created_date={NEXT}/{stem(hour(24), hour(48))}.jsonl"])


def test_a_failure_replaces_what_was_in_quarantine_and_nothing_else(extract: Extract, lake: Lake) -> None:
    with Tenant([*TEN, UNKEPT["no id"], UNKEPT["empty id"]]) as tenant:
        extract(tenant, max_quarantined=2)
        held = lake.snapshot(OBJECT, RECEIPT)
        tenant.delete(*ids(TEN), "")
        with pytest.raises(AirflowFailException, match=r"^1 records"):
            extract(tenant)
    assert lake.snapshot(OBJECT, RECEIPT) == held
    assert json.loads(lake.path(QUARANTINE).read_text()) == UNKEPT["no id"]


def test_every_digit_and_character_is_kept(extract: Extract, lake: Lake) -> None:
    odd = record(1, hour(6)) | {"id": None, "description": "\u0000 \U0001f600 \u202e\n", "x": 10**30 + 7}
    precise = rewritten(lambda body: body.replace(b'"event_count":2', b'"event_count":2.50e+07'))
    with Tenant([odd], faults=precise) as tenant:
        extract(tenant, max_quarantined=1)
    text = lake.path(QUARANTINE).read_text()
    assert text.count("\n") == 1
    assert '"event_count":2.50e+07' in text
    assert f'"x":{10**30 + 7}' in text
    assert json.loads(text)["description"] == odd["description"]


def test_files_of_an_hour_go_with_it(extract: Extract, lake: Lake) -> None:
    inside = f"_quarantine/{FOLDER}/{stem(hour(6), hour(7))}.jsonl"
    with Tenant([*TEN, UNKEPT["no id"]]) as tenant:
        extract(tenant, hour(6), hour(7), max_quarantined=1)
        assert lake.path(inside).exists()
        extract(tenant, max_quarantined=1)
    assert lake.files == sorted([RECEIPT, OBJECT, QUARANTINE])


def test_an_epoch_beside_a_good_time_is_kept_apart_in_the_row(extract: Extract, lake: Lake) -> None:
    odd: dict[str, Any] = record(1, hour(6)) | {"updated_at": 1767333600}
    with Tenant([odd]) as tenant:
        extract(tenant)
    (row,) = lake.rows()
    assert row["updated_at"] is None
    assert json.loads(row["_extra"]) == {"updated_at": 1767333600}
