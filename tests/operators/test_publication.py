"""What stands in the lake after a slice was extracted, once and again."""

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
    NAME,
    NEXT,
    OBJECT,
    RECEIPT,
    Lake,
    as_row,
    connection,
    hour,
    stem,
)
from tests.support import Fault, Habits, Request, Tenant, day_of_records, hangs_up, ids, record, resets, responds

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
ALL_FIELDS = {
    "resource", "window", "status", "path", "rows", "bytes", "sha256", "changed", "proof", "pages", "requests",
    "retries", "reported_total", "duplicates", "outside_window", "vanished_kept", "quarantined", "extracted_at",
    "server_date", "clock_skew", "schema_version", "provider_version", "request_form", "announced",
}  # fmt: skip


# --- once -------------------------------------------------------------------------------------------------------------


def test_every_field_of_every_record_stands_in_its_row_in_order_of_creation(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS, Habits(cap=10, default_order="-id")) as tenant:
        extract(tenant)
        assert lake.rows() == [as_row(each) for each in tenant.window(DAY, NEXT)]


def test_records_of_one_instant_stand_in_order_of_their_ids(extract: Extract, lake: Lake) -> None:
    with Tenant([record(n, hour(6)) for n in (10, 9, 100, 1)], Habits(ties="shuffled")) as tenant:
        extract(tenant)
        assert lake.ids() == ["1", "10", "100", "9"]


def test_the_receipt_agrees_with_the_object_and_with_the_server(extract: Extract, lake: Lake) -> None:
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
    assert receipt == {
        "resource": "threats",
        "window": [hour(0).isoformat(), hour(24).isoformat()],
        "status": None,
        "path": f"{lake.destination}/threats/{OBJECT}",
        "rows": pq.ParquetFile(lake.path(OBJECT)).metadata.num_rows,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "changed": True,
        "proof": "anchored",
        "pages": 2,
        "retries": 2,
        "reported_total": 27,
        "duplicates": 1,
        "outside_window": 1,
        "vanished_kept": 0,
        "quarantined": 1,
        "schema_version": 1,
        "provider_version": __version__,
        "request_form": "full",
        "announced": False,
    }
    names = ("window", "path", "rows", "bytes", "changed", "proof", "sha256", "vanished_kept", "quarantined")
    assert result["slices"] == [{name: receipt[name] for name in names}]
    assert next(row for row in lake.rows() if row["id"] == str(twice["id"])) == as_row(twice)
    assert len(lake.rows()) == 24


def test_each_slice_has_a_receipt_of_its_own(extract: Extract, lake: Lake) -> None:
    busy = [responds(503)]

    def on_the_second_day(request: Request) -> Fault | None:
        return busy.pop() if busy and request.params["created_after"] > DAY else None

    with Tenant([*TWO_DAYS, *day_of_records(AFTER, 5)], faults=on_the_second_day) as tenant:
        extract(tenant, DAY, "2026-01-05")
        receipts = [lake.receipt(name) for name in lake.files if name.startswith("_receipts/")]
        assert sum(each["requests"] for each in receipts) == len(tenant.seen)
    assert [set(each) for each in receipts] == [ALL_FIELDS] * 3
    assert [each["rows"] for each in receipts] == [24, 24, 5]
    assert [each["retries"] for each in receipts] == [0, 1, 0]


def test_a_day_without_records_is_a_typed_object_without_rows(extract: Extract, lake: Lake) -> None:
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


def test_the_result_is_small_plain_json(extract: Extract) -> None:
    with Tenant(day_of_records(DAY, 2000)) as tenant:
        small, large = extract(tenant, NEXT, AFTER), extract(tenant)
        month = extract(tenant, "2026-02-01", "2026-03-04")
    assert json.loads(json.dumps(large)) == large
    assert abs(len(json.dumps(large)) - len(json.dumps(small))) < 10
    assert len(json.dumps(month)) < 48 * 1024
    assert len(month["slices"]) == 31


def test_the_result_goes_into_the_event_of_every_outlet_asset(extract: Extract) -> None:
    first, second = Asset("threats"), Asset("threats-copy", uri="s3://lake/threats")
    events = OutletEventAccessors()
    with Tenant(TWO_DAYS) as tenant:
        result = extract(tenant, DAY, AFTER, {"outlet_events": events}, outlets=[first, second])
    assert result["rows"] == 48
    assert events[first].extra == events[second].extra == result


# --- again ------------------------------------------------------------------------------------------------------------


def test_what_did_not_change_is_not_written_again(extract: Extract, lake: Lake) -> None:
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


def test_a_dismissal_changes_its_own_slice_alone(extract: Extract, lake: Lake) -> None:
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


def test_a_late_record_arrives_with_the_next_run(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert extract(tenant)["rows"] == 24
        tenant.insert(record(1, hour(3)))
        assert extract(tenant)["rows"] == 25
        assert lake.rows() == [as_row(each) for each in tenant.window(DAY, NEXT)]


def test_the_same_records_give_the_same_bytes_in_any_process_at_any_time(extract: Extract, lake: Lake) -> None:
    code = (
        "import sys; from tests.operators.lake import operator; "
        "operator('file://' + sys.argv[1], on_vanished='drop').execute({})"
    )
    elsewhere = Lake(lake.folder.parent.with_name("elsewhere") / "threats")
    with Tenant(TWO_DAYS, Habits(cap=7, ties="shuffled")) as tenant:
        extract(tenant)
        here = lake.path(OBJECT).read_bytes()
        environment = os.environ | {
            "AIRFLOW_CONN_CLOUDLOCK_DEFAULT": connection(tenant),
            "TZ": "Asia/Kathmandu",
            "PYTHONHASHSEED": "7",
        }
        subprocess.run(
            [sys.executable, "-c", code, str(elsewhere.folder.parent)],
            check=True,
            env=environment,
            cwd=Path(__file__).parents[2],
        )
    assert elsewhere.path(OBJECT).read_bytes() == here


def test_the_bytes_do_not_tell_how_they_were_read(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        held = lake.path(OBJECT).read_bytes()
        lake.path(OBJECT).unlink()
        extract(tenant, page_size=3, max_quarantined=5, on_vanished="drop")
    assert lake.path(OBJECT).read_bytes() == held


def test_two_attempts_at_once_leave_one_object_and_its_receipt(extract: Extract, lake: Lake) -> None:
    def another_attempt(tenant: Tenant) -> None:
        tenant.insert(record(1, hour(3)))
        assert extract(tenant)["rows"] == 25

    with Tenant(TWO_DAYS, before={2: another_attempt}) as tenant:
        result = extract(tenant)
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
    assert lake.files == [RECEIPT, OBJECT]
    assert result["slices"][0]["sha256"] == lake.receipt()["sha256"]
    assert lake.receipt()["sha256"] == hashlib.sha256(lake.path(OBJECT).read_bytes()).hexdigest()


# --- records that vanish ----------------------------------------------------------------------------------------------


def test_vanished_records_are_kept(extract: Extract, lake: Lake) -> None:
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


def test_vanished_records_stand_among_the_others_and_their_news(extract: Extract, lake: Lake) -> None:
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


def test_vanished_records_fail_the_task_on_request(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        assert extract(tenant, on_vanished="fail")["rows"] == 24
        assert extract(tenant, on_vanished="fail")["slices"][0]["changed"] is False
        held = lake.snapshot()
        gone = ids(tenant.window(DAY, NEXT))[:3]
        tenant.delete(*gone)
        with pytest.raises(AirflowFailException, match=f"3 records of .*{NAME}.*'{gone[0]}'"):
            extract(tenant, on_vanished="fail")
    assert lake.snapshot() == held


@pytest.mark.parametrize("on_vanished", ["keep", "drop", "fail"])
def test_vanished_records_of_superseded_slices_count_too(extract: Extract, lake: Lake, on_vanished: str) -> None:
    with Tenant(TWO_DAYS) as tenant:
        for start in (0, 12):
            extract(tenant, hour(start), hour(start + 12))
        rows = [as_row(each) for each in tenant.window(DAY, NEXT)]
        held = lake.snapshot()
        tenant.delete(rows[3]["id"], rows[20]["id"])
        if on_vanished == "fail":
            with pytest.raises(AirflowFailException, match="2 records of"):
                extract(tenant, on_vanished=on_vanished)
            assert lake.snapshot() == held
            return
        (result,) = extract(tenant, on_vanished=on_vanished)["slices"]
        assert result["vanished_kept"] == (2 if on_vanished == "keep" else 0)
        assert lake.rows() == (rows if on_vanished == "keep" else [as_row(each) for each in tenant.window(DAY, NEXT)])
        assert lake.objects == [OBJECT]


@pytest.mark.parametrize("news", [{"updated_at": "2026-01-20T00:00:00+00:00"}, {}], ids=["dated", "undated"])
def test_a_vanished_record_that_a_crash_left_twice_is_kept_once_as_published_last(
    extract: Extract, lake: Lake, news: dict[str, str]
) -> None:
    half = f"{FOLDER}/{stem(hour(0), hour(12))}.parquet"
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, hour(0), hour(12))
        stale = lake.path(half).read_bytes()
        gone = tenant.window(DAY, NEXT)[2]["id"]
        tenant.change(gone, description="Edited", **news)
        extract(tenant)
        rows = lake.rows()
        lake.write(half, stale)
        tenant.delete(gone)
        assert extract(tenant)["slices"][0]["vanished_kept"] == 1
    assert lake.rows() == rows
    assert next(row for row in rows if row["id"] == str(gone))["description"] == "Edited"


# --- a status alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ignores", [(), ("status",)], ids=["filters", "does not"])
def test_a_status_alone(extract: Extract, lake: Lake, ignores: tuple[str, ...]) -> None:
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
@pytest.mark.parametrize("window", [(hour(0), hour(24)), (hour(6), hour(7))], ids=["the same slice", "a part of it"])
def test_one_filter_never_replaces_another(
    extract: Extract, lake: Lake, first: dict[str, Any], second: dict[str, Any], window: tuple[datetime, datetime]
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, *window, on_vanished="drop", **first)
        held = lake.snapshot()
        with pytest.raises(AirflowFailException, match="Give each filter a destination of its own") as refusal:
            extract(tenant, on_vanished="drop", **second)
    assert f"status={first.get('status')!r}" in str(refusal.value)
    assert f"status={second.get('status')!r}" in str(refusal.value)
    assert lake.snapshot() == held


# --- files that are there already -------------------------------------------------------------------------------------


def _parquet(path: Path, table: pa.Table) -> bytes:
    pq.write_table(table, path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["text", "empty", "cut", "foreign", "renamed", "retyped"])
@pytest.mark.parametrize("name", [OBJECT, f"{FOLDER}/{stem(hour(6), hour(7))}.parquet"], ids=["same slice", "inside"])
def test_an_object_that_is_not_ours_is_left_alone_and_named(
    extract: Extract, lake: Lake, tmp_path: Path, kind: str, name: str
) -> None:
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
        lake.write(name, damage[kind]())
        held = lake.snapshot()
        with pytest.raises(AirflowFailException, match="Move it away and run again") as refusal:
            extract(tenant)
    assert f"{lake.destination}/threats/{name}" in str(refusal.value)
    assert lake.snapshot() == held


def _damaged(path: Path, column: str) -> bytes:
    """Return a Parquet file with another byte in the first values of a column."""
    with pq.ParquetFile(path) as file:
        chunk = file.metadata.row_group(0).column(file.schema_arrow.names.index(column))
    data = bytearray(path.read_bytes())
    data[chunk.data_page_offset + chunk.total_compressed_size - 8] ^= 0xFF
    return bytes(data)


def test_a_damaged_object_is_replaced_when_no_record_is_lost_by_it(extract: Extract, lake: Lake) -> None:
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
def test_a_damaged_object_is_left_alone_when_records_are_only_there(extract: Extract, lake: Lake, column: str) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        lake.path(OBJECT).write_bytes(_damaged(lake.path(OBJECT), column))
        lake.path(RECEIPT).unlink()
        held = lake.snapshot()
        tenant.delete(TWO_DAYS[0]["id"])
        with pytest.raises(AirflowFailException, match="Move it away and run again"):
            extract(tenant)
    assert lake.snapshot() == held


def test_foreign_files_in_the_partition_are_left_alone(extract: Extract, lake: Lake) -> None:
    foreign = [
        "_SUCCESS",
        "part-0000.parquet",
        f"{NAME}.parquet.bak",
        f"copy-{NAME}.parquet",
        f"{stem(hour(6), hour(7))}.json",
        "20260102T060000Z--20260102T060000Z.parquet",
        "20260102T070000Z--20260102T060000Z.parquet",
        "20260132T000000Z--20260133T000000Z.parquet",
        "٢٠260102T060000Z--20260102T070000Z.parquet",
    ]
    for name in foreign:
        lake.write(f"{FOLDER}/{name}", b"someone else's")
    lake.write(f"{FOLDER}/nested/{stem(hour(6), hour(7))}.parquet", b"someone else's")
    held = lake.snapshot()
    with Tenant(TWO_DAYS) as tenant:
        for _ in range(2):
            extract(tenant)
            assert lake.ids(OBJECT) == ids(tenant.window(DAY, NEXT))
    assert lake.snapshot(*held) == held
    assert set(lake.files) == {*held, OBJECT, RECEIPT}


@pytest.mark.parametrize("name", ["copy-{}.parquet", "{}.parquet.bak", "{}.parquet\n", " {}.parquet", "{}.PARQUET"])
def test_what_is_only_named_alike_is_no_overlap(extract: Extract, lake: Lake, name: str) -> None:
    foreign = lake.write(f"{FOLDER}/{name.format(NAME)}", b"someone else's")
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, hour(6), hour(7))
        assert lake.ids(f"{FOLDER}/{stem(hour(6), hour(7))}.parquet") == ids(tenant.window(hour(6), hour(7)))
    assert foreign.read_bytes() == b"someone else's"


# --- failures on the way ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [responds(500), hangs_up()], ids=lambda fault: fault.name)
def test_a_failure_in_the_middle_leaves_nothing(
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


def test_a_failure_in_the_middle_leaves_what_was_there(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
    held = lake.snapshot()
    with (
        Tenant(day_of_records(DAY, 30), Habits(cap=10), faults={3: responds(403)}) as tenant,
        pytest.raises(AirflowFailException),
    ):
        extract(tenant)
    assert lake.snapshot() == held


def test_scratch_files_go_when_all_is_well(
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
