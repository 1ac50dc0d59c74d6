"""ArrowFormat: pages that are refused or accepted; declared and lenient decoding give the same."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.lake.decode import ArrowFormat, ArrowPage
from airflow_provider_cloudlock.lake.lenient import LenientRows
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.pages import Echo, Mark
from airflow_provider_cloudlock.resources import RESOURCES
from tests.lake.rebuilt import JSON, LIKELY, assert_rebuilt
from tests.support import day_of_records, instant, record

THREATS = RESOURCES["threats"]
LAYOUT = Layout.of(THREATS)
DAY = "2026-01-02"


def body(*records: Any, **envelope: Any) -> bytes:
    return json.dumps({**envelope, "items": records}).encode()


def decode(*records: Any, **envelope: Any) -> ArrowPage:
    return ArrowFormat(LAYOUT).decode(body(*records, **envelope))


def row(text: str) -> dict[str, Any]:
    """Return the row of a page with one record, given as JSON text."""
    page = ArrowFormat(LAYOUT).decode(b'{"items":[' + text.encode() + b"]}")
    assert page.table.num_rows == 1
    return dict(page.table.to_pylist()[0])


def test_decode_declared_page_skips_lenient_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LenientRows, "row", None)
    records = day_of_records(DAY, 50)
    page = decode(*records, limit=50, offset=3, total=200, results=50)
    assert page.echo == Echo(limit=50, offset=3, total=200, results=50)
    assert (page.rows, page.distinct) == (50, 50)
    assert page.marks() == tuple(
        Mark(str(each["id"]), instant(each["created_at"]), instant(each["updated_at"])) for each in records
    )
    assert page.table.schema.equals(LAYOUT.schema)
    assert page.table["_extra"].null_count == 50


def test_decode_numeric_and_text_ids_give_same_table() -> None:
    records = day_of_records(DAY, 5)
    page_format = ArrowFormat(LAYOUT)
    as_numbers = page_format.decode(body(*records))
    as_text = page_format.decode(body(*({**each, "id": str(each["id"])} for each in records)))
    again = page_format.decode(body(*records))
    mixed = page_format.decode(body({**records[0], "id": str(records[0]["id"])}, *records[1:]))
    assert as_numbers.table.equals(as_text.table)
    assert as_numbers.table.equals(again.table)
    assert as_numbers.table.equals(mixed.table)


def test_decode_declared_and_lenient_give_same_table() -> None:
    records = day_of_records(DAY, 20)
    fast = decode(*records)
    lenient = decode(*records, unknown_envelope_key=1)
    assert fast.table.equals(lenient.table)
    assert fast.received.equals(lenient.received)
    assert fast.ascending is lenient.ascending is True


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b" ",
        b"\n",
        b"null",
        b" null",
        b"5",
        b"[]",
        b'"items"',
        b"<html>login</html>",
        b"{}",
        b'{"items":null}',
        b'{"items":{}}',
        b'{"items":5}',
        b'{"items":[null]}',
        b'{"items":[5]}',
        b'{"items":[[]]}',
        b'{"limit":10}',
        b'{"items":[]} rubbish',
        b'{"items":[]}{"items":[]}',
        b'{"items":[]}\nnull',
        b'{"items":[]}\n{"items":[]}',
        b'{"items":[]',
        b'{"items":[],"items":[{"id":1}]}',
        b'{"items":[{"id":1,"id":2}]}',
        b'{"items":[{"users":[{"email":"a","email":"b"}]}]}',
        b'{"items":[{"new":{"a":1,"a":2}}]}',
        b'{"items":[{"event_count":NaN}]}',
        b'{"items":[{"new":Infinity}]}',
        b'{"items":[{"new":01}]}',
        b'{"items":[{"new":1,}]}',
        b'{"items":[{"description":"\xff"}]}',
        b'{"items":[{"description":"\xed\xa0\x80"}]}',
        b'{"items":[{"description":"a\nb"}]}',
        b'{"items":[],"limit":"many"}',
        b'{"items":[],"total":1.5}',
        b'{"items":[],"offset":true}',
        b'{"items":[],"message":"try later"}',
        b'{"items":[],"error":"busy"}',
        '{"items":[]}'.encode("utf-16"),
        b'{"items":[{"new":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
        b"[" * 1_000_000,
    ],
    ids=lambda value: repr(value[:40]),
)
def test_decode_invalid_page_raises(bad: bytes) -> None:
    with pytest.raises(CloudlockResponseError):
        ArrowFormat(LAYOUT).decode(bad)


def test_decode_bom_and_whitespace_are_accepted() -> None:
    plain = decode(*day_of_records(DAY, 3))
    pretty = json.dumps({"items": day_of_records(DAY, 3), "message": None, "took_ms": 5}, indent=2).encode()
    for odd in (b"\xef\xbb\xbf" + pretty, b"\r\n  " + pretty + b"\n"):
        assert ArrowFormat(LAYOUT).decode(odd).table.equals(plain.table)


def test_decode_unknown_fields_keep_every_digit() -> None:
    text = json.dumps(record(1, f"{DAY}T00:00:00Z"))[:-1]
    extra = '"z":0.1000000000000000055511151231257827,"a":{"n":123456789012345678901234567890,"l":[1e400,-0,null]}}'
    assert row(f"{text},{extra}")["_extra"] == (
        '{"a":{"l":[1e400,-0,null],"n":123456789012345678901234567890},"z":0.1000000000000000055511151231257827}'
    )


def test_decode_field_named_extra_goes_into_extra() -> None:
    assert row('{"id":1,"created_at":"2026-01-02","_extra":"mine"}')["_extra"] == '{"_extra":"mine"}'


@pytest.mark.parametrize("identity", ["null", '""', "1.5", "true", "[1]", '"\\ud800"'])
def test_decode_record_without_id_is_unkept(identity: str) -> None:
    page = ArrowFormat(LAYOUT).decode(b'{"items":[{"id":%s,"created_at":"2026-01-02"}]}' % identity.encode())
    assert (page.rows, page.table.num_rows, len(page.unkept)) == (1, 0, 1)


@pytest.mark.parametrize("created", ["null", '""', "1767322800", '"soon"', '"2026-02-30"'])
def test_decode_record_without_creation_time_is_unkept(created: str) -> None:
    page = ArrowFormat(LAYOUT).decode(b'{"items":[{"id":1,"created_at":%s}]}' % created.encode())
    assert (page.rows, page.table.num_rows, len(page.unkept)) == (1, 0, 1)
    assert [mark.created for mark in page.marks()] == [None]


def test_decode_large_integer_id_keeps_every_digit() -> None:
    assert (
        row('{"id":123456789012345678901234567890,"created_at":"2026-01-02"}')["id"] == "123456789012345678901234567890"
    )


FIELDS = st.sampled_from([*LAYOUT.schema.names, "new_field"]).filter(lambda name: name not in ("id", "created_at"))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(FIELDS, JSON | LIKELY, max_size=6), min_size=1, max_size=4))
def test_decode_every_record_can_be_rebuilt(records: list[dict[str, Any]]) -> None:
    records = [{"id": number, "created_at": f"{DAY}T00:00:00Z", **each} for number, each in enumerate(records)]
    page = decode(*records)
    assert page.distinct == len(records)
    for given_record, found in zip(records, page.table.to_pylist(), strict=True):
        assert_rebuilt(THREATS, given_record | {"id": str(given_record["id"])}, found)


def test_decode_concurrently_gives_same_tables() -> None:
    page_format = ArrowFormat(LAYOUT)
    numbers, texts = day_of_records(DAY, 200), [each | {"id": str(each["id"])} for each in day_of_records(DAY, 200)]
    bodies = [body(*numbers), body(*texts), body(*numbers, next="x"), body({**numbers[0], "x": 1}, *numbers[1:])]
    expected = [ArrowFormat(LAYOUT).decode(each).table for each in bodies]
    with ThreadPoolExecutor(4) as pool:
        found = [page.table for page in pool.map(page_format.decode, bodies * 10)]
    assert all(one.equals(other) for one, other in zip(found, expected * 10, strict=True))
    assert expected[3]["_extra"].to_pylist()[:2] == ['{"x":1}', None]
    assert pa.types.is_string(expected[3].schema.field("_extra").type)
