"""Lakes made by the operator."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.cli.audit.receipts import audited, kinds, texts
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, OBJECT, QUARANTINE, RECEIPT, Lake, hour
from tests.support import Habits, Tenant, day_of_records, record

THIRD = "2026-01-04"


def test_audit_extracted_days_are_complete(extract: Extract, lake: Lake) -> None:
    with Tenant([*day_of_records(DAY, 40), *day_of_records(NEXT, 30)], Habits(cap=20)) as tenant:
        extract(tenant, DAY, THIRD)
        tenant.delete(tenant.records[0]["id"])
        extract(tenant, DAY, NEXT)
    found = audited(lake, DAY, THIRD, verify=True)
    assert found.is_whole
    assert [(day.rows, day.vanished_kept, day.quarantined) for day in found.days] == [(40, 1, 0), (30, 0, 0)]
    assert (found.rows, found.vanished_kept) == (70, 1)
    assert found.days[0].proof == "anchored"
    receipt = lake.receipt()
    assert found.days[0].bytes == receipt["bytes"] == lake.path(OBJECT).stat().st_size


def test_audit_window_of_hours_is_complete_day(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 40)) as tenant:
        extract(tenant, DAY, hour(6))
    found = audited(lake, verify=True)
    assert found.is_whole
    assert found.rows == 40


def test_audit_partial_day_extracted_again_is_complete(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 40)) as tenant:
        extract(tenant)
        noon = hour(12).isoformat()
        receipt = lake.receipt() | {"window": [hour(0).isoformat(), noon], "until": noon}
        lake.write(RECEIPT, json.dumps(receipt).encode())  # as of an extraction at noon
        assert kinds(audited(lake, verify=True)) == [("partial",)]
        extract(tenant)
    assert audited(lake, verify=True).is_whole


def test_audit_rejected_day_is_gap_and_quarantine(extract: Extract, lake: Lake) -> None:
    with Tenant([*day_of_records(DAY, 4), record(9, hour(3)) | {"id": None}]) as tenant:
        with pytest.raises(AirflowFailException):
            extract(tenant)
        assert kinds(audited(lake)) == [("gap", "quarantine")]
        extract(tenant, max_quarantined=1)
    found = audited(lake)
    assert found.is_whole
    assert found.quarantined == 1


def test_audit_rejection_after_publication_is_finding(extract: Extract, lake: Lake) -> None:
    with Tenant([*day_of_records(DAY, 4), record(9, hour(3)) | {"id": None}]) as tenant:
        extract(tenant, max_quarantined=1)
        with pytest.raises(AirflowFailException):
            extract(tenant, max_quarantined=0)
        assert lake.path(QUARANTINE).read_bytes().count(b"\n") == 1, "as many as the receipt states"
        assert kinds(audited(lake)) == [("quarantine",)]
        extract(tenant, max_quarantined=1)
    assert audited(lake).is_whole


def test_verify_flipped_bit_is_changed(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 40)) as tenant:
        extract(tenant)
    data = bytearray(lake.path(OBJECT).read_bytes())
    data[len(data) // 3] ^= 1
    lake.write(OBJECT, bytes(data))
    assert audited(lake).is_whole, "of the same size"
    found = audited(lake, verify=True)
    assert kinds(found) == [("changed",)]
    assert "SHA-256" in texts(found)[0]


@pytest.mark.parametrize("rows", [39, 41])
def test_verify_other_row_count_is_changed(extract: Extract, lake: Lake, rows: int) -> None:
    with Tenant(day_of_records(DAY, 40)) as tenant:
        extract(tenant)
    lake.write(RECEIPT, json.dumps(lake.receipt() | {"rows": rows}).encode())
    assert audited(lake).is_whole
    found = audited(lake, verify=True)
    assert f"has 40 rows, and its receipt states {rows}" in texts(found)[0]


def test_verify_invalid_parquet_is_changed(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 40)) as tenant:
        extract(tenant)
    data = b"PAR1 no more"
    fields = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    lake.write(OBJECT, data)
    lake.write(RECEIPT, json.dumps(lake.receipt() | fields).encode())
    assert "cannot be read" in texts(audited(lake, verify=True))[0]


def test_audit_writes_nothing(extract: Extract, lake: Lake, tmp_path: Path) -> None:
    with Tenant(day_of_records(DAY, 40)) as tenant:
        extract(tenant)
    before = lake.snapshot()
    found = audited(lake, "2026-01-01", THIRD, verify=True)
    assert lake.snapshot() == before
    assert pq.ParquetFile(lake.path(OBJECT)).metadata.num_rows == found.rows
    assert asdict(found)["days"][1]["rows"] == 40
