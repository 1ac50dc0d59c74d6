"""What is in the lake after a day was extracted, once and again."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import Asset
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.operators.conftest import Extract
from tests.operators.lake import (
    DAY,
    FOLDER,
    NEXT,
    OBJECT,
    RECEIPT,
    Lake,
    as_row,
    connection,
    hour,
    receipt_of,
)
from tests.support import Fault, Habits, Tenant, day_of_records, hangs_up, ids, record, resets, responds

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
ALL_FIELDS = {
    "resource", "tenant", "window", "until", "status", "path", "uri", "rows", "bytes", "sha256", "previous_sha256",
    "version", "changed", "proof", "range", "pages", "requests", "retries", "reported_total", "duplicates",
    "outside_window", "vanished_kept", "quarantined", "rejected", "extracted_at", "server_date", "clock_skew",
    "schema_version", "provider_version", "request_form", "announced",
}  # fmt: skip


# --- once -------------------------------------------------------------------------------------------------------------


def test_rows_hold_every_field_in_order_of_creation(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS, Habits(cap=10, default_order="-id")) as tenant:
        extract(tenant)
        assert lake.rows() == [as_row(each) for each in tenant.window(DAY, NEXT)]


def test_rows_of_one_instant_are_in_order_of_id(extract: Extract, lake: Lake) -> None:
    with Tenant([record(n, hour(6)) for n in (10, 9, 100, 1)], Habits(ties="shuffled")) as tenant:
        extract(tenant)
        assert lake.ids() == ["1", "10", "100", "9"]


def test_receipt_agrees_with_object_and_server(extract: Extract, lake: Lake) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    twice = TWO_DAYS[3] | {"status": "DISMISSED", "updated_at": "2026-01-09T00:00:00+00:00"}
    unkept = record(1, hour(5)) | {"id": None}
    with Tenant([*TWO_DAYS, twice, unkept], Habits(cap=20), faults={2: responds(503), 4: resets()}) as tenant:
        result = extract(tenant, max_quarantined=1)
        receipt = lake.receipt()
        assert receipt["requests"] == len(tenant.seen)
    data = lake.path(OBJECT).read_bytes()
    clock = [datetime.fromisoformat(receipt.pop(name)) for name in ("extracted_at", "server_date")]
    assert all(before <= moment <= datetime.now(UTC) for moment in clock)
    assert receipt.pop("requests") > receipt["pages"]
    assert receipt.pop("clock_skew") in (-1, 0)
    assert receipt.pop("version")
    assert receipt == {
        "resource": "threats",
        "tenant": "acme",
        "window": [hour(0).isoformat(), hour(24).isoformat()],
        "until": None,
        "range": [hour(0).isoformat(), hour(24).isoformat()],
        "status": None,
        "path": f"{lake.destination}/{OBJECT}",
        "uri": f"{lake.destination}/{OBJECT}",
        "rows": pq.ParquetFile(lake.path(OBJECT)).metadata.num_rows,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "previous_sha256": None,
        "changed": True,
        "proof": "anchored",
        "pages": 3,
        "retries": 2,
        "reported_total": 50,
        "duplicates": 1,
        "outside_window": 24,
        "vanished_kept": 0,
        "quarantined": 1,
        "rejected": 0,
        "schema_version": 1,
        "provider_version": __version__,
        "request_form": "full",
        "announced": False,
    }
    names = ("window", "path", "uri", "rows", "bytes", "changed", "proof", "sha256", "vanished_kept", "quarantined")
    assert result["slices"] == [{name: receipt[name] for name in names}]
    assert next(row for row in lake.rows() if row["id"] == str(twice["id"])) == as_row(twice)
    assert len(lake.rows()) == 24


def test_receipts_of_range_share_its_requests(extract: Extract, lake: Lake) -> None:
    with Tenant([*TWO_DAYS, *day_of_records(AFTER, 5)], faults={2: responds(503)}) as tenant:
        extract(tenant, DAY, "2026-01-05")
        receipts = [lake.receipt(receipt_of(day)) for day in (DAY, NEXT, AFTER)]
        assert {each["requests"] for each in receipts} == {len(tenant.seen)}
    assert [set(each) for each in receipts] == [ALL_FIELDS] * 3
    assert [each["rows"] for each in receipts] == [24, 24, 5]
    assert [each["retries"] for each in receipts] == [1] * 3
    assert {tuple(each["range"]) for each in receipts} == {(hour(0).isoformat(), hour(72).isoformat())}


def test_replaced_object_is_named_in_receipt(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        first = lake.receipt()["sha256"]
        extract(tenant)
        assert lake.receipt()["previous_sha256"] is None
        tenant.insert(record(77, hour(3)))
        extract(tenant)
    assert lake.receipt()["previous_sha256"] == first


def test_empty_day_is_typed_object_without_rows(extract: Extract, lake: Lake) -> None:
    with Tenant(day_of_records(DAY, 5)) as tenant:
        extract(tenant)
        full = pq.read_schema(lake.path(OBJECT))
        lake.path(OBJECT).unlink()
        tenant.delete(*ids(tenant.records))
        result = extract(tenant)
    assert lake.rows() == []
    empty = pq.read_schema(lake.path(OBJECT))
    assert empty.equals(full)
    assert empty.field("created_at").type == pa.timestamp("us", tz="UTC")
    assert result["rows"] == lake.receipt()["rows"] == 0
    assert result["slices"][0]["changed"] is True
    assert lake.receipt()["proof"] == "single_response"
    with Tenant() as tenant:
        assert extract(tenant)["slices"][0]["changed"] is False


# --- what the task hands on -------------------------------------------------------------------------------------------


def test_result_is_small_plain_json(extract: Extract) -> None:
    with Tenant(day_of_records(DAY, 2000)) as tenant:
        small, large = extract(tenant, NEXT, AFTER), extract(tenant)
        month = extract(tenant, "2026-02-01", "2026-03-04")
    assert json.loads(json.dumps(large)) == large
    assert abs(len(json.dumps(large)) - len(json.dumps(small))) < 10
    assert len(json.dumps(month)) < 48 * 1024
    assert len(month["slices"]) == 31


def test_result_is_extra_of_event_of_every_outlet(extract: Extract) -> None:
    first, second = Asset("threats"), Asset("threats-copy", uri="s3://lake/threats")
    events = OutletEventAccessors()
    with Tenant(TWO_DAYS) as tenant:
        result = extract(tenant, DAY, AFTER, {"outlet_events": events}, outlets=[first, second])
    assert result["rows"] == 48
    assert events[first].extra == events[second].extra == result


# --- again ------------------------------------------------------------------------------------------------------------


def test_unchanged_object_is_not_written_again(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        first = extract(tenant, DAY, AFTER)
        held = lake.snapshot(*lake.objects)
        receipts = {name for name in lake.files if name.startswith("_receipts")}
        for name in receipts:
            lake.path(name).unlink()
        tenant.behave(default_order="shuffled", ties="shuffled", cap=7, total="absent")
        second = extract(tenant, DAY, AFTER)
    assert [each["changed"] for each in first["slices"]] == [True, True]
    assert [each["changed"] for each in second["slices"]] == [False, False]
    for each in (*first["slices"], *second["slices"]):
        del each["changed"], each["proof"]
    assert second == first
    assert lake.snapshot(*lake.objects) == held
    assert set(lake.files) == {*held, *receipts}
    assert [lake.receipt(name)["changed"] for name in receipts] == [False, False]


def test_dismissal_changes_object_of_its_day_only(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, AFTER)
        untouched = lake.snapshot(OBJECT)
        dismissed = next(each for each in tenant.window(NEXT, AFTER) if each["status"] == "ACTIVE")["id"]
        tenant.dismiss(dismissed)
        assert [each["changed"] for each in extract(tenant, DAY, AFTER)["slices"]] == [False, True]
        assert lake.rows() == [as_row(each) for each in tenant.window(DAY, AFTER)]
    (row,) = (row for row in lake.rows() if row["id"] == str(dismissed))
    assert row["status"] == "DISMISSED"
    assert lake.snapshot(OBJECT) == untouched


def test_late_record_arrives_with_next_run(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert extract(tenant)["rows"] == 24
        tenant.insert(record(1, hour(3)))
        assert extract(tenant)["rows"] == 25
        assert lake.rows() == [as_row(each) for each in tenant.window(DAY, NEXT)]


def test_same_records_give_same_bytes_in_any_process(extract: Extract, lake: Lake) -> None:
    code = (
        "import sys; from tests.operators.lake import operator; "
        "operator('file://' + sys.argv[1], on_vanished='drop').execute({})"
    )
    elsewhere = Lake(lake.folder.with_name("elsewhere"))
    with Tenant(TWO_DAYS, Habits(cap=7, ties="shuffled")) as tenant:
        extract(tenant)
        here = lake.path(OBJECT).read_bytes()
        environment = os.environ | {
            "AIRFLOW_CONN_CLOUDLOCK_DEFAULT": connection(tenant),
            "TZ": "Asia/Kathmandu",
            "PYTHONHASHSEED": "7",
        }
        subprocess.run(
            [sys.executable, "-c", code, str(elsewhere.folder)],
            check=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
    assert elsewhere.path(OBJECT).read_bytes() == here


def test_bytes_do_not_depend_on_options_of_reading(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        held = lake.path(OBJECT).read_bytes()
        lake.path(OBJECT).unlink()
        extract(tenant, page_size=3, max_quarantined=5, on_vanished="drop")
    assert lake.path(OBJECT).read_bytes() == held


# --- records that vanish ----------------------------------------------------------------------------------------------


def test_vanished_records_are_kept_by_default(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        rows = lake.rows()
        held = lake.snapshot(OBJECT)
        tenant.delete(*ids(tenant.window(DAY, NEXT))[:3])
        for _ in range(2):
            result = extract(tenant)
            assert (result["rows"], result["slices"][0]["vanished_kept"], result["slices"][0]["changed"]) == (
                24,
                3,
                False,
            )
            assert lake.receipt()["vanished_kept"] == 3
            assert lake.rows() == rows
        assert lake.snapshot(OBJECT) == held
        tenant.delete(*ids(tenant.window(DAY, NEXT)))
        assert extract(tenant)["slices"][0]["vanished_kept"] == 24
        assert lake.rows() == rows


def test_vanished_records_are_kept_beside_changed_ones(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        first, second, *_ = tenant.window(DAY, NEXT)
        tenant.delete(first["id"])
        tenant.change(second["id"], description="Edited")
        tenant.insert(record(1, hour(0.5)))
        assert extract(tenant)["slices"][0]["vanished_kept"] == 1
        assert lake.rows()[0] == as_row(first)
        assert lake.rows()[1:] == [as_row(each) for each in tenant.window(DAY, NEXT)]


def test_vanished_records_are_dropped_on_request(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        tenant.delete(*ids(tenant.window(DAY, NEXT))[:3])
        (result,) = extract(tenant, on_vanished="drop")["slices"]
        assert (result["rows"], result["vanished_kept"], result["changed"]) == (21, 0, True)
        assert lake.rows() == [as_row(each) for each in tenant.window(DAY, NEXT)]


def test_vanished_records_fail_task_on_request(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert extract(tenant, on_vanished="fail")["rows"] == 24
        assert extract(tenant, on_vanished="fail")["slices"][0]["changed"] is False
        held = lake.snapshot()
        gone = ids(tenant.window(DAY, NEXT))[:3]
        tenant.delete(*gone)
        with pytest.raises(AirflowFailException, match=f"3 records of .*{OBJECT}.*'{gone[0]}'"):
            extract(tenant, on_vanished="fail")
    assert lake.snapshot() == held


# --- a status alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ignores", [(), ("status",)], ids=["filters", "does not"])
def test_status_extracts_only_its_records(extract: Extract, lake: Lake, ignores: tuple[str, ...]) -> None:
    with Tenant(TWO_DAYS, Habits(ignores=ignores)) as tenant:
        result = extract(tenant, status="dismissed", on_vanished="drop")
        assert lake.rows() == [as_row(each) for each in tenant.window(DAY, NEXT) if each["status"] == "DISMISSED"]
        assert lake.receipt()["status"] == "Dismissed"
        assert result["rows"] == 8
        assert {each.params["status"] for each in tenant.seen} == {"Dismissed"}
        assert extract(tenant, status="Dismissed", on_vanished="fail")["slices"][0]["changed"] is False


@pytest.mark.parametrize(
    ("first", "second"),
    [({}, {"status": "Active"}), ({"status": "Active"}, {}), ({"status": "Active"}, {"status": "Dismissed"})],
)
def test_object_of_other_filter_is_never_replaced(
    extract: Extract, lake: Lake, first: dict[str, Any], second: dict[str, Any]
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, **first)
        held = lake.snapshot()
        with pytest.raises(AirflowFailException, match="Give each filter a destination of its own") as refusal:
            extract(tenant, **second)
    assert f"status={first.get('status')!r}" in str(refusal.value)
    assert f"status={second.get('status')!r}" in str(refusal.value)
    assert lake.snapshot() == held


# --- files that are there already -------------------------------------------------------------------------------------


def _parquet(path: Path, table: pa.Table) -> bytes:
    pq.write_table(table, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "foreign", "renamed", "retyped"])
def test_foreign_object_is_left_alone_and_named(extract: Extract, lake: Lake, tmp_path: Path, kind: str) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        good, table = lake.path(OBJECT).read_bytes(), pq.read_table(lake.path(OBJECT))
        lake.path(OBJECT).unlink()
        lake.path(RECEIPT).unlink()
        damage: dict[str, Callable[[], bytes]] = {
            "text": lambda: b"not Parquet",
            "empty": lambda: b"",
            "cut": lambda: good[:-20],
            "foreign": lambda: _parquet(tmp_path / "foreign", pa.table({"a": [1, 2]})),
            "renamed": lambda: _parquet(tmp_path / "renamed", table.rename_columns(["ID", *table.column_names[1:]])),
            "retyped": lambda: _parquet(
                tmp_path / "retyped", table.set_column(14, "event_count", table["event_count"].cast(pa.int32()))
            ),
        }
        lake.write(OBJECT, damage[kind]())
        held = lake.snapshot()
        with pytest.raises(AirflowFailException, match="Move it away and run again") as refusal:
            extract(tenant)
    assert f"{lake.destination}/{OBJECT}" in str(refusal.value)
    assert lake.snapshot() == held


def _damaged(path: Path, column: str) -> bytes:
    """Return a Parquet file with another byte in the first values of a column."""
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(file.schema_arrow.names.index(column))
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 8] ^= 0xFF
    return bytes(data)


def test_damaged_object_is_replaced_if_no_record_is_lost(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        good = lake.path(OBJECT).read_bytes()
        tenant.insert(record(77, hour(3)))
        lake.path(OBJECT).write_bytes(_damaged(lake.path(OBJECT), "event_count"))
        extract(tenant)
        tenant.delete(77)
        extract(tenant, on_vanished="drop")
    assert lake.path(OBJECT).read_bytes() == good


@pytest.mark.parametrize("column", ["id", "event_count"])
def test_damaged_object_with_vanished_records_is_left_alone(extract: Extract, lake: Lake, column: str) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        lake.path(OBJECT).write_bytes(_damaged(lake.path(OBJECT), column))
        lake.path(RECEIPT).unlink()
        held = lake.snapshot()
        tenant.delete(TWO_DAYS[0]["id"])
        with pytest.raises(AirflowFailException, match="Move it away and run again"):
            extract(tenant)
    assert lake.snapshot() == held


def test_foreign_files_are_left_alone(extract: Extract, lake: Lake) -> None:
    foreign = [
        f"{FOLDER}/_SUCCESS",
        f"{FOLDER}/part-0000.parquet",
        f"{OBJECT}.bak",
        f"{FOLDER}/copy-threats-{DAY}.parquet",
        f"{FOLDER}/nested/threats-{DAY}.parquet",
        f"threats/threats-{DAY}.parquet",
        f"{RECEIPT}.bak",
    ]
    for name in foreign:
        lake.write(name, b"someone else's")
    held = lake.snapshot()
    with Tenant(TWO_DAYS) as tenant:
        for _ in range(2):
            extract(tenant)
            assert lake.ids(OBJECT) == ids(tenant.window(DAY, NEXT))
    assert lake.snapshot(*held) == held
    assert set(lake.files) == {*held, OBJECT, RECEIPT}


# --- failures on the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [responds(500), hangs_up()], ids=lambda fault: fault.name)
def test_failure_while_reading_leaves_nothing(
    extract: Extract, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Fault
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    habits = Habits(cap=10)
    with (
        Tenant(
            TWO_DAYS, habits, faults=lambda request: fault if int(request.params["offset"]) > 10 else None
        ) as tenant,
        pytest.raises(CloudlockUnavailableError),
    ):
        extract(tenant)
    assert lake.files == []
    assert list(scratch.iterdir()) == []


def test_failure_while_reading_leaves_published_day(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
    held = lake.snapshot()
    with (
        Tenant(day_of_records(DAY, 30), Habits(cap=10), faults={3: responds(403)}) as tenant,
        pytest.raises(AirflowFailException),
    ):
        extract(tenant)
    assert lake.snapshot() == held


def test_scratch_files_are_removed_after_success(
    extract: Extract, lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        extract(tenant)
    assert list(scratch.iterdir()) == []
    assert lake.files == [RECEIPT, OBJECT]
