"""Records without a usable id or creation time: they fail the task, or are kept apart in a quarantine file."""

from __future__ import annotations

import json
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockDataError
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, OBJECT, QUARANTINE, RECEIPT, Lake, hour, object_of, quarantine_of
from tests.support import Habits, Record, Tenant, day_of_records, ids, record, rewritten

AFTER = "2026-01-04"
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


def quarantined(lake: Lake, relative: str = QUARANTINE) -> list[Any]:
    """Return the records in a quarantine file."""
    return [json.loads(line) for line in lake.path(relative).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("unkept", UNKEPT.values(), ids=UNKEPT)
def test_quarantine_fails_task_by_default(extract: Extract, lake: Lake, unkept: Record) -> None:
    with (
        Tenant([*TEN, unkept]) as tenant,
        pytest.raises(AirflowFailException, match=rf"^1 records of {DAY} .* more than max_quarantined=0") as failure,
    ):
        extract(tenant)
    assert isinstance(failure.value.__cause__, CloudlockDataError)
    assert f"{lake.destination}/{QUARANTINE}" in str(failure.value)
    assert lake.files == [QUARANTINE]
    assert quarantined(lake) == [unkept]


@pytest.mark.parametrize("unkept", UNKEPT.values(), ids=UNKEPT)
def test_quarantine_allowed_is_removed_once_source_is_clean(extract: Extract, lake: Lake, unkept: Record) -> None:
    with Tenant([*TEN, unkept]) as tenant:
        (result,) = extract(tenant, max_quarantined=1)["slices"]
        assert (result["rows"], result["quarantined"]) == (10, 1)
        assert lake.ids() == ids(TEN)
        assert lake.receipt()["quarantined"] == 1
        assert quarantined(lake) == [unkept]
    with Tenant(TEN) as tenant:
        assert extract(tenant)["slices"][0]["quarantined"] == 0
    assert lake.files == [RECEIPT, OBJECT]


@pytest.mark.parametrize("is_published", [False, True], ids=["first", "published"])
def test_quarantine_of_failed_task_is_removed_once_clean(extract: Extract, lake: Lake, is_published: bool) -> None:
    if is_published:
        with Tenant(TEN) as tenant:
            extract(tenant)
    with Tenant([*TEN, UNKEPT["no id"]]) as tenant, pytest.raises(AirflowFailException):
        extract(tenant)
    assert quarantined(lake) == [UNKEPT["no id"]]
    with Tenant(TEN) as tenant:
        assert extract(tenant)["slices"][0]["quarantined"] == 0
    assert lake.files == [RECEIPT, OBJECT]
    assert lake.receipt()["rejected"] == 0


# --- ranges of several days -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unkept", [record(1, hour(30)) | {"created_at": None}, {}], ids=["no time", "nothing"])
def test_quarantine_without_time_is_of_first_day_of_range(extract: Extract, lake: Lake, unkept: Record) -> None:
    with Tenant([*TEN, *day_of_records(NEXT, 10), unkept]) as tenant:
        with pytest.raises(AirflowFailException, match=rf"^1 records of {DAY} .*{lake.destination}/{QUARANTINE}"):
            extract(tenant, DAY, AFTER)
        assert quarantined(lake) == [unkept]
        assert OBJECT not in lake.files
        slices = extract(tenant, DAY, AFTER, max_quarantined=1)["slices"]
    assert [(each["rows"], each["quarantined"]) for each in slices] == [(10, 1), (10, 0)]
    assert [name for name in lake.files if "_quarantine" in name] == [QUARANTINE]
    assert quarantined(lake) == [unkept]


@pytest.mark.parametrize("name", ["no id", "null id", "empty id", "fractional id"])
def test_quarantine_with_time_is_of_its_own_day(extract: Extract, lake: Lake, name: str) -> None:
    unkept = UNKEPT[name] | {"created_at": hour(30).isoformat()}
    with Tenant([*TEN, *day_of_records(NEXT, 10), unkept]) as tenant:
        with pytest.raises(AirflowFailException, match=rf"^1 records of {NEXT} .*{quarantine_of(NEXT)}"):
            extract(tenant, DAY, AFTER)
        assert lake.objects == [OBJECT]
        slices = extract(tenant, DAY, AFTER, max_quarantined=1)["slices"]
    assert [(each["rows"], each["quarantined"]) for each in slices] == [(10, 0), (10, 1)]
    assert quarantined(lake, quarantine_of(NEXT)) == [unkept]
    assert QUARANTINE not in lake.files


def test_quarantine_limit_counts_each_day_alone(extract: Extract, lake: Lake) -> None:
    unkept = [record(n, hour(6 + n * 12)) | {"id": None} for n in range(4)]
    with Tenant([*TEN, *day_of_records(NEXT, 10), *unkept]) as tenant:
        slices = extract(tenant, DAY, AFTER, max_quarantined=2)["slices"]
    assert [each["quarantined"] for each in slices] == [2, 2]
    assert [*quarantined(lake), *quarantined(lake, quarantine_of(NEXT))] == unkept


def test_quarantine_leaves_out_records_beyond_window(extract: Extract, lake: Lake) -> None:
    later = record(1, hour(30)) | {"id": None}
    with Tenant([*TEN, later]) as tenant:
        extract(tenant)
        assert lake.files == [RECEIPT, OBJECT]
        with pytest.raises(AirflowFailException):
            extract(tenant, NEXT, AFTER)
    assert lake.files == sorted([RECEIPT, OBJECT, quarantine_of(NEXT)])
    assert object_of(NEXT) not in lake.files


# --- which records, and how they are written --------------------------------------------------------------------------


@pytest.mark.parametrize("unkept", [{"id": ""}, {"id": None}, {"created_at": None}], ids=str)
def test_quarantine_among_ordinary_text_ids(extract: Extract, lake: Lake, unkept: dict[str, str | None]) -> None:
    others = [each | {"id": f"T{each['id']}"} for each in TEN]
    odd = record(1, hour(6)) | {"id": "T1"} | unkept
    with Tenant([*others, odd]) as tenant:
        (result,) = extract(tenant, max_quarantined=1)["slices"]
    assert (result["rows"], result["quarantined"]) == (10, 1)
    assert lake.ids() == ids(others)
    assert quarantined(lake) == [odd]


def test_quarantine_counts_each_record_once(extract: Extract, lake: Lake) -> None:
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


@pytest.mark.parametrize(("cap", "proof"), [(9, "anchored"), (3, "identical_passes")])
def test_quarantine_of_several_pages_keeps_order(extract: Extract, lake: Lake, cap: int, proof: str) -> None:
    unkept = [record(n, hour(n)) | {"id": None} for n in range(24)]
    with Tenant([*TEN, *unkept], Habits(cap=cap)) as tenant:
        (result,) = extract(tenant, max_quarantined=24)["slices"]
        assert (result["rows"], result["quarantined"], result["proof"]) == (10, 24, proof)
    assert quarantined(lake) == unkept
    assert lake.receipt()["duplicates"] == 0


def test_quarantine_tells_records_apart_by_unusable_id(extract: Extract, lake: Lake) -> None:
    with Tenant([record(1, hour(6)) | {"id": odd} for odd in (1.5, 2.5)]) as tenant:
        assert extract(tenant, max_quarantined=2)["slices"][0]["quarantined"] == 2
    assert [each["id"] for each in quarantined(lake)] == [1.5, 2.5]


def test_quarantine_of_later_failure_replaces_file_only(extract: Extract, lake: Lake) -> None:
    with Tenant([*TEN, UNKEPT["no id"], UNKEPT["empty id"]]) as tenant:
        extract(tenant, max_quarantined=2)
        before, receipt = lake.snapshot(OBJECT), lake.receipt()
        tenant.delete(*ids(TEN), "")
        with pytest.raises(AirflowFailException, match=r"^1 records"):
            extract(tenant)
    assert lake.snapshot(OBJECT) == before
    assert lake.receipt() == receipt | {"rejected": 1}
    assert quarantined(lake) == [UNKEPT["no id"]]


def test_quarantine_keeps_every_digit_and_character(extract: Extract, lake: Lake) -> None:
    odd = record(1, hour(6)) | {"id": None, "description": "\u0000 \U0001f600 \u202e\n", "x": 10**30 + 7}
    precise = rewritten(lambda body: body.replace(b'"event_count":2', b'"event_count":2.50e+07'))
    with Tenant([odd], faults=precise) as tenant:
        extract(tenant, max_quarantined=1)
    text = lake.path(QUARANTINE).read_text()
    assert text.count("\n") == 1
    assert '"event_count":2.50e+07' in text
    assert f'"x":{10**30 + 7}' in text
    assert json.loads(text)["description"] == odd["description"]


def test_unreadable_other_time_is_not_quarantined(extract: Extract, lake: Lake) -> None:
    odd: dict[str, Any] = record(1, hour(6)) | {"updated_at": 1767333600}
    with Tenant([odd]) as tenant:
        extract(tenant)
    (row,) = lake.rows()
    assert row["updated_at"] is None
    assert json.loads(row["_extra"]) == {"updated_at": 1767333600}
