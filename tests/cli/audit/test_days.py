"""Verdict on a day, by the files of a lake."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockUnavailableError
from tests.cli.audit.receipts import EXTRACTED, audited, kinds, publish, texts
from tests.operators.lake import DAY, FOLDER, NEXT, OBJECT, QUARANTINE, RECEIPT, Lake, hour

THIRD = "2026-01-04"


def test_audit_whole_day_is_complete(lake: Lake) -> None:
    publish(lake, rows=40, vanished_kept=3, quarantined=2, proof="anchored")
    found = audited(lake)
    (day,) = found.days
    assert found.is_whole
    assert day.is_whole
    assert (day.rows, day.bytes, day.vanished_kept, day.quarantined) == (40, 140, 3, 2)
    assert (day.proof, day.schema_version, day.tenant, day.until) == ("anchored", 1, "acme", None)
    assert day.extracted_at is not None
    assert day.extracted_at.isoformat() == EXTRACTED
    assert found.age(day) == found.made_at - day.extracted_at
    assert found.summary == "The day is complete."


@pytest.mark.parametrize("proof", ["single_response", "anchored", "identical_passes"])
def test_audit_every_proof_is_complete(lake: Lake, proof: str) -> None:
    publish(lake, proof=proof)
    assert [day.proof for day in audited(lake).days] == [proof]
    assert audited(lake).is_whole


def test_audit_empty_day_is_complete_missing_day_is_gap(lake: Lake) -> None:
    publish(lake, rows=0)
    found = audited(lake, DAY, THIRD)
    assert [day.rows for day in found.days] == [0, None]
    assert kinds(found) == [(), ("gap",)]
    assert found.days[1].has_gap
    assert found.summary == "Not complete: 1 day with gaps, of 2."


@pytest.mark.parametrize("until", [0.5, 12, 23.9999])
def test_audit_until_of_past_day_is_partial(lake: Lake, until: float) -> None:
    publish(lake, until=until, extracted_at=hour(until).isoformat())
    publish(lake, NEXT)
    found = audited(lake, DAY, THIRD)
    (first, second) = found.days
    assert kinds(found) == [("partial",), ()]
    assert first.has_gap
    assert (first.rows, first.until, second.until) == (40, hour(until).isoformat(), None)
    assert f"up to {hour(until).isoformat()}. Extract the day again." in texts(found)[0]
    assert found.summary == "Not complete: 1 day with gaps, of 2."


def test_audit_until_without_object_is_missing_only(lake: Lake) -> None:
    publish(lake, until=12)
    lake.path(OBJECT).unlink()
    assert kinds(audited(lake)) == [("missing",)]


def test_audit_missing_object_is_gap(lake: Lake) -> None:
    publish(lake, rows=30)
    lake.path(OBJECT).unlink()
    found = audited(lake)
    assert kinds(found) == [("missing",)]
    assert found.days[0].has_gap
    assert found.days[0].rows is None
    assert "30 rows" in texts(found)[0]


def test_audit_object_of_other_size_is_changed(lake: Lake) -> None:
    publish(lake)
    lake.write(OBJECT, b"short")
    found = audited(lake)
    assert kinds(found) == [("changed",)]
    assert not found.days[0].has_gap
    assert "has 5 bytes, and its receipt states 140" in texts(found)[0]


def test_audit_object_without_receipt_is_not_gap(lake: Lake) -> None:
    publish(lake)
    lake.path(RECEIPT).unlink()
    found = audited(lake)
    assert kinds(found) == [("no receipt",)]
    assert not found.days[0].has_gap
    assert found.days[0].rows is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "Input data was truncated"),
        (b'{"resource": "threats"', "Input data was truncated"),
        (b"\xff\xfe", "malformed"),
        (b'{"resource": "\xff"}', "invalid"),
        (b"[]", "Expected `object`"),
        (b"{}", "missing required field"),
        (b'{"x":' * 100_000, "is not valid"),  # a recursion error, or the missing end, depending on Python
    ],
)
def test_audit_malformed_receipt_is_unreadable(lake: Lake, content: bytes, why: str) -> None:
    publish(lake)
    lake.write(RECEIPT, content)
    found = audited(lake)
    assert kinds(found) == [("unreadable",)]
    assert why.casefold() in texts(found)[0].casefold()
    assert RECEIPT in texts(found)[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"rows": -1},
        {"rows": True},
        {"rows": 1.5},
        {"rows": "40"},
        {"bytes": None},
        {"rejected": -1},
        {"tenant": None},
        {"extracted_at": "2026-01-09T03:04:05"},
        {"extracted_at": "yesterday"},
        {"extracted_at": f"{DAY}T23:59:59+00:00"},
        {"proof": "hope"},
        {"status": "\x1b[31mActive"},
        {"resource": "incidents"},
        {"window": [f"{DAY}T00:00:00+00:00", f"{DAY}T12:00:00+00:00"]},
        {"window": [f"{NEXT}T00:00:00+00:00", f"{THIRD}T00:00:00+00:00"]},
        {"window": []},
        {"until": "noon"},
        {"until": f"{DAY}T12:00:00"},
        {"until": f"{DAY}T12:00:00+00:00"},
        {"path": f"file:///elsewhere/{FOLDER}/another.parquet"},
        {"path": f"file:///elsewhere/incidents/{OBJECT.removeprefix('threats/')}"},
    ],
)
def test_audit_receipt_of_something_else_is_unreadable(lake: Lake, fields: dict[str, Any]) -> None:
    publish(lake)
    lake.write(RECEIPT, json.dumps(lake.receipt() | fields).encode())
    found = audited(lake)
    assert kinds(found) == [("unreadable",)]
    assert found.days[0].rows is None


@pytest.mark.parametrize("until", [f"{DAY}T00:00:00+00:00", "2026-01-01T12:00:00+00:00", f"{NEXT}T00:00:01+00:00"])
def test_audit_until_outside_day_is_unreadable(lake: Lake, until: str) -> None:
    publish(lake, window=[f"{DAY}T00:00:00+00:00", until])
    lake.write(RECEIPT, json.dumps(lake.receipt() | {"until": until}).encode())
    assert kinds(audited(lake)) == [("unreadable",)]


def test_audit_naive_until_is_unreadable(lake: Lake) -> None:
    until = f"{DAY}T12:00:00"
    publish(lake, window=[f"{DAY}T00:00:00+00:00", until])
    lake.write(RECEIPT, json.dumps(lake.receipt() | {"until": until}).encode())
    assert kinds(audited(lake)) == [("unreadable",)]


def test_audit_unknown_fields_and_moved_lake_are_complete(lake: Lake) -> None:
    publish(lake, path=f"s3://old@bucket/lake/{OBJECT}", mood="good")
    assert audited(lake).is_whole


@pytest.mark.parametrize(
    "name",
    [
        f"{FOLDER}/part-0001.parquet",
        f"{FOLDER}/notes.txt",
        f"{FOLDER}/threats-{NEXT}.parquet",
        f"{FOLDER}/incidents-{DAY}.parquet",
        f"{FOLDER}/bad\x1bname.parquet",
        f"{FOLDER}/20260102T000000Z--20260103T000000Z.parquet",
        f"{FOLDER}/more/threats-{DAY}.parquet",
        f"{FOLDER}-copy/threats-{DAY}.parquet",
        f"threats/threats-{DAY}.parquet",
        "threats/created_date=2026-13-01/a.parquet",
        f"_receipts/threats/{DAY}.json.bak",
        f"_receipts/threats/created_date={DAY}/{DAY}.json",
        "_receipts/threats/2026-W01-5.json",
        "_receipts/threats/notes.txt",
    ],
)
def test_audit_foreign_file_is_finding(lake: Lake, name: str) -> None:
    publish(lake)
    lake.write(name, b"what")
    found = audited(lake)
    assert kinds(found) == [("foreign",)]
    assert not found.days[0].has_gap
    assert texts(found)[0].isprintable()


@pytest.mark.parametrize("day", [DAY, NEXT, "2026-01-09"])
def test_audit_foreign_file_is_finding_of_its_day(lake: Lake, day: str) -> None:
    for each in (DAY, NEXT):
        publish(lake, each)
    lake.write(f"threats/created_date={day}/a.parquet")
    lake.write(f"_receipts/threats/{day}.json~")
    found = audited(lake, DAY, THIRD)
    assert kinds(found) == [("foreign",) if each == day else () for each in (DAY, NEXT)]
    assert len(texts(found)) == (2 if day in (DAY, NEXT) else 0)


def test_audit_foreign_file_of_no_day_is_on_first_day(lake: Lake) -> None:
    for each in (DAY, NEXT):
        publish(lake, each)
    lake.write("threats/export.csv")
    found = audited(lake, DAY, THIRD)
    assert kinds(found) == [("foreign",), ()]
    assert "export.csv" in texts(found)[0]


@pytest.mark.parametrize(
    "name",
    [
        f"{FOLDER}/.threats-{DAY}.parquet.1-ab.tmp",
        f"{FOLDER}/_SUCCESS",
        f"_receipts/threats/.{DAY}.json.1-ab.tmp",
        f"_receipts/threats/.threats-{DAY}.parquet.1-ab.tmp",
        f"_receipts/threats/{NEXT}.json",
        f"_receipts/incidents/{DAY}.json",
        f"incidents/created_date={DAY}/incidents-{DAY}.parquet",
        f"threats_changes/created_date={DAY}/0123456789abcdef.parquet",
        "notes.txt",
    ],
)
def test_audit_hidden_and_unrelated_files_are_ignored(lake: Lake, name: str) -> None:
    publish(lake)
    lake.write(name, b"what")
    assert audited(lake).is_whole


def test_audit_rejected_records_are_quarantine_finding(lake: Lake) -> None:
    publish(lake)
    lake.write(QUARANTINE, b"{}\n")
    assert kinds(audited(lake)) == [("quarantine",)]
    publish(lake, quarantined=1)
    assert audited(lake).is_whole
    publish(lake, quarantined=1, rejected=1)  # a later extraction rejected as many
    assert kinds(audited(lake)) == [("quarantine",)]
    publish(lake, quarantined=1)
    lake.write(QUARANTINE, b"{}\n{}\n")  # a later extraction rejected more, and did not note it in the receipt
    assert kinds(audited(lake)) == [("quarantine",)]


def test_audit_one_filter_is_complete_two_are_not(lake: Lake) -> None:
    publish(lake, status="Active")
    publish(lake, NEXT, status="Active")
    assert audited(lake, DAY, THIRD).is_whole
    assert audited(lake, DAY, THIRD).summary == "All 2 days are complete for status=Active."
    publish(lake, NEXT)
    found = audited(lake, DAY, THIRD)
    assert kinds(found) == [("filter",), ()]
    assert "Active" in texts(found)[0]


def test_audit_days_of_other_tenant_are_findings(lake: Lake) -> None:
    for day, tenant in ((DAY, "acme"), (NEXT, "globex{}"), (THIRD, "acme")):
        publish(lake, day, tenant=tenant)
    found = audited(lake, DAY, "2026-01-05")
    assert kinds(found) == [(), ("tenant",), ()]
    assert texts(found)[0].startswith("Extracted from the tenant 'globex{}', most days from 'acme'.")


def test_found_consecutive_days_share_one_finding(lake: Lake) -> None:
    publish(lake, "2026-01-05")
    publish(lake, "2026-01-07", until=6)
    found = audited(lake, DAY, "2026-01-09")
    assert [(len(days), days[0].day.day, finding.text[:12]) for days, finding in found.found()] == [
        (3, 2, "Not extracte"),
        (1, 6, "Not extracte"),
        (1, 7, "The day was "),
        (1, 8, "Not extracte"),
    ]
    assert found.summary == "Not complete: 6 days with gaps, of 7."


def test_age_of_future_extraction_is_zero(lake: Lake) -> None:
    publish(lake, extracted_at="2999-01-01T00:00:00+00:00")
    found = audited(lake)
    assert found.age(found.days[0]) == timedelta(0)


@pytest.mark.parametrize("folder", ["_receipts/threats", FOLDER, "threats", "_quarantine/threats"])
@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(5, "Input/output error"), CloudlockUnavailableError),
        (PermissionError(13, "Permission denied"), CloudlockConfigError),
    ],
)
def test_audit_unlistable_folder_raises(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, folder: str, error: OSError, raised: type[Exception]
) -> None:
    from fsspec.implementations.local import LocalFileSystem

    publish(lake)
    listed = LocalFileSystem.ls

    def ls(self: LocalFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith(f"/{folder}"):
            raise error
        return listed(self, path, *args, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", ls)
    with pytest.raises(raised, match=f"{folder.removesuffix(f'/created_date={DAY}')} could not be listed"):
        audited(lake)


def test_audit_folder_removed_meanwhile_is_missing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    for day in (DAY, NEXT):
        publish(lake, day)
    listed = LocalFileSystem.ls

    def ls(self: LocalFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith(f"/{FOLDER}"):
            raise FileNotFoundError(2, "No such file or directory")
        return listed(self, path, *args, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", ls)
    assert kinds(audited(lake, DAY, THIRD)) == [("missing",), ()]
