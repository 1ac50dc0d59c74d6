"""The verdict on a day, from what lies in its folders."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.audit.receipts import EXTRACTED, audited, kinds, publish, publish_between, texts
from tests.operators.lake import DAY, FOLDER, MICROSECOND, NAME, NEXT, OBJECT, QUARANTINE, RECEIPT, Lake, hour

THIRD = "2026-01-04"


def test_a_whole_day(lake: Lake) -> None:
    publish(lake, rows=40, vanished_kept=3, quarantined=2, proof="anchored")
    found = audited(lake)
    (day,) = found.days
    assert found.is_whole
    assert day.is_whole
    assert (day.rows, day.slices, day.bytes, day.vanished_kept, day.quarantined) == (40, 1, 140, 3, 2)
    assert (day.proofs, day.schema_versions, day.gaps, day.overlaps) == (("anchored",), (1,), (), ())
    assert day.extracted_at is not None
    assert day.extracted_at.isoformat() == EXTRACTED
    assert found.age(day) == found.made_at - day.extracted_at
    assert found.summary == "The day is whole."


def test_an_empty_day_is_whole_and_a_day_without_slices_is_not(lake: Lake) -> None:
    publish(lake, rows=0)
    found = audited(lake, DAY, THIRD)
    assert [day.rows for day in found.days] == [0, None]
    assert kinds(found) == [(), ("gap",)]
    assert found.days[1].gaps[0].window == [f"{NEXT}T00:00:00+00:00", f"{THIRD}T00:00:00+00:00"]
    assert found.summary == "Not whole: 1 day with gaps, of 2."


def test_slices_that_meet_are_summed(lake: Lake) -> None:
    publish(lake, 0, 6, rows=1, extracted_at="2026-01-08T00:00:00+00:00")
    publish(lake, 6, 12.5, rows=2, proof="anchored", schema_version=2)
    publish(lake, 12.5, 24, rows=4)
    (day,) = audited(lake).days
    assert day.is_whole
    assert (day.rows, day.slices) == (7, 3)
    assert day.proofs == ("anchored", "single_response")
    assert day.schema_versions == (1, 2)
    assert day.extracted_at is not None
    assert day.extracted_at.isoformat() == "2026-01-08T00:00:00+00:00", "the day is as fresh as its stalest part"


def test_gaps_at_both_ends_and_between(lake: Lake) -> None:
    publish(lake, 6, 12)
    publish_between(lake, hour(12) + MICROSECOND, hour(18.5))
    found = audited(lake)
    assert kinds(found) == [("gap",)]
    assert [text.split(". ")[0] for text in texts(found)] == [
        "No object covers 00:00 to 06:00",
        "No object covers 12:00 to 12:00:00.000001",
        "No object covers 18:30 to 24:00",
    ]


def test_overlaps(lake: Lake) -> None:
    publish(lake, 0, 24)
    publish(lake, 6, 12)
    found = audited(lake)
    assert kinds(found) == [("overlap",)]
    assert [part.window for part in found.days[0].overlaps] == [[hour(6).isoformat(), hour(12).isoformat()]]
    assert "06:00 to 12:00" in texts(found)[0]


def test_a_missing_object_is_a_gap(lake: Lake) -> None:
    publish(lake, 0, 12, rows=30)
    publish(lake, 12, 24, rows=5)
    lake.path(f"{FOLDER}/20260102T000000Z--20260102T120000Z.parquet").unlink()
    found = audited(lake)
    assert kinds(found) == [("missing",)]
    assert found.days[0].has_gap
    assert found.days[0].rows == 5
    assert "30 rows" in texts(found)[0]


def test_an_object_of_another_size(lake: Lake) -> None:
    publish(lake)
    lake.write(OBJECT, b"short")
    found = audited(lake)
    assert kinds(found) == [("changed",)]
    assert not found.days[0].has_gap
    assert "has 5 bytes, its receipt speaks of 140" in texts(found)[0]


def test_an_object_without_a_receipt_is_told_from_a_gap(lake: Lake) -> None:
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
        (b'{"x":' * 100_000, "recursion"),
    ],
)
def test_receipts_that_are_none(lake: Lake, content: bytes, why: str) -> None:
    publish(lake)
    lake.write(RECEIPT, content)
    found = audited(lake)
    assert kinds(found) == [("unreadable",)]
    assert why.casefold() in texts(found)[0].casefold()
    assert NAME in texts(found)[0]


@pytest.mark.parametrize(
    "claims",
    [
        {"rows": -1},
        {"rows": True},
        {"rows": 1.5},
        {"rows": "40"},
        {"bytes": None},
        {"extracted_at": "2026-01-09T03:04:05"},
        {"extracted_at": "yesterday"},
        {"extracted_at": f"{DAY}T23:59:59+00:00"},
        {"proof": "hope"},
        {"status": "\x1b[31mActive"},
        {"resource": "incidents"},
        {"window": [f"{DAY}T00:00:00+00:00", f"{DAY}T12:00:00+00:00"]},
        {"window": []},
        {"path": f"file:///elsewhere/threats/{FOLDER}/another.parquet"},
        {"path": f"file:///elsewhere/incidents/{OBJECT}"},
    ],
)
def test_receipts_of_something_else(lake: Lake, claims: dict[str, Any]) -> None:
    publish(lake)
    lake.write(RECEIPT, json.dumps(lake.receipt() | claims).encode())
    found = audited(lake)
    assert kinds(found) == [("unreadable",)]
    assert found.days[0].rows is None


def test_later_receipts_may_say_more_and_lakes_may_be_moved(lake: Lake) -> None:
    publish(lake, path=f"s3://old@bucket/lake/threats/{OBJECT}", mood="good")
    assert audited(lake).is_whole


@pytest.mark.parametrize(
    "name",
    [
        f"_receipts/{FOLDER}/notes.txt",
        f"_receipts/{FOLDER}/{NAME}.json.bak",
        f"_receipts/{FOLDER}/20260103T000000Z--20260104T000000Z.json",
        f"_receipts/{FOLDER}/20260102T000000Z--20260104T000000Z.json",
        f"{FOLDER}/part-0001.parquet",
        f"{FOLDER}/20260103T000000Z--20260104T000000Z.parquet",
        f"{FOLDER}/bad\x1bname.parquet",
        f"{FOLDER}/20260102T000000.000000Z--20260103T000000Z.parquet",
        f"{FOLDER}-copy/{NAME}.parquet",
    ],
)
def test_foreign_files(lake: Lake, name: str) -> None:
    publish(lake)
    lake.write(name, b"what")
    found = audited(lake)
    assert kinds(found) == [("foreign",)]
    assert texts(found)[0].isprintable()


@pytest.mark.parametrize(
    "name", [f"{FOLDER}/.{NAME}.parquet.1-ab.tmp", f"{FOLDER}/_SUCCESS", f"_receipts/{FOLDER}/.{NAME}.json.1-ab.tmp"]
)
def test_files_that_no_reader_sees(lake: Lake, name: str) -> None:
    publish(lake)
    lake.write(name, b"what")
    assert audited(lake).is_whole


def test_records_set_apart_by_an_extraction_that_failed(lake: Lake) -> None:
    publish(lake)
    lake.write(QUARANTINE, b"{}\n")
    assert kinds(audited(lake)) == [("quarantine",)]
    publish(lake, quarantined=1)
    assert audited(lake).is_whole
    lake.write(QUARANTINE, b"{}\n{}\n")  # a later extraction set more apart, and published nothing
    assert kinds(audited(lake)) == [("quarantine",)]


def test_a_day_of_two_filters_is_not_whole(lake: Lake) -> None:
    publish(lake, 0, 12)
    publish(lake, 12, 24, status="Active")
    found = audited(lake)
    assert kinds(found) == [("filter",)]
    assert "what is Active and everything" in texts(found)[0]


def test_a_lake_of_one_filter_is_whole_and_one_of_two_is_not(lake: Lake) -> None:
    publish(lake, status="Active")
    publish(lake, day=NEXT, status="Active")
    assert audited(lake, DAY, THIRD).is_whole
    assert audited(lake, DAY, THIRD).summary == "All 2 days are whole, of what is Active."
    publish(lake, day=NEXT)
    found = audited(lake, DAY, THIRD)
    assert kinds(found) == [("filter",), ()]
    assert "Active" in texts(found)[0]


def test_days_on_end_with_one_finding_are_told_at_once(lake: Lake) -> None:
    publish(lake, day="2026-01-05")
    publish(lake, 0, 6, day="2026-01-07")
    found = audited(lake, DAY, "2026-01-09")
    assert [(len(days), days[0].day.day, finding.text[:12]) for days, finding in found.found()] == [
        (3, 2, "Nothing is i"),
        (1, 6, "Nothing is i"),
        (1, 7, "No object co"),
        (1, 8, "Nothing is i"),
    ]
    assert found.summary == "Not whole: 6 days with gaps, of 7."


def test_an_extraction_by_a_fast_clock_has_no_negative_age(lake: Lake) -> None:
    publish(lake, extracted_at="2999-01-01T00:00:00+00:00")
    found = audited(lake)
    assert found.age(found.days[0]) == timedelta(0)


def test_a_folder_that_cannot_be_listed_is_no_gap(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    publish(lake)
    listed = LocalFileSystem.ls

    def ls(self: LocalFileSystem, path: str, *args: Any, **options: Any) -> Any:
        if path.endswith(f"_receipts/{FOLDER}"):
            raise OSError(5, "Input/output error")
        return listed(self, path, *args, **options)

    monkeypatch.setattr(LocalFileSystem, "ls", ls)
    with pytest.raises(CloudlockUnavailableError, match=f"_receipts/{FOLDER} could not be listed"):
        audited(lake)
