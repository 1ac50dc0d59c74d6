"""Pages with records that hold more or other values than declared: nothing is lost, and the order stays."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.resources import RESOURCES
from tests.lake.made_up import REPORTS
from tests.support import Record, day_of_records, record

DAY = "2026-01-02"
LAYOUT = Layout.of(RESOURCES["threats"])
#: Changes that make a record odd, or nearly.
ODDITIES: list[dict[str, Any]] = [
    {},
    {"new_field": 1},
    {"event_count": "13"},
    {"event_count": 13.5},
    {"event_count": 2**70},
    {"created_at": f"{DAY}T01:00:00.123456789Z"},
    {"updated_at": "2026-02-30T00:00:00Z"},
    {"updated_at": "yesterday"},
    {"users": "ada@example.com"},
    {"users": [{"email": "ada@example.com", "role": "x"}]},
    {"platforms": "okta"},
    {"description": "\ud800"},
    {"id": "text"},
    {"id": ""},
    {"id": None},
    {"id": 1.5},
    {"id": 2**64},
    {"created_at": None},
    {"created_at": None, "detected_at": f"{DAY}T02:00:00Z"},
    {"created_at": "2026-01-02"},
]


def body(*records: Any, **envelope: Any) -> bytes:
    return json.dumps({**envelope, "items": records}).encode()


def decode(data: bytes, layout: Layout = LAYOUT) -> ArrowPage:
    return ArrowFormat(layout).decode(data)


def keys(page: ArrowPage) -> list[str]:
    found: list[str] = page.received["key"].to_pylist()
    return found


def ordinary(count: int) -> list[Record]:
    return day_of_records(DAY, count)


def test_lenient_odd_records_lie_among_the_others() -> None:
    records: list[Record] = ordinary(500)
    records[7] |= {"new_field": 1}
    records[300] |= {"event_count": "13"}
    records[400] |= {"updated_at": "2026-02-30T00:00:00Z"}
    page = decode(body(*records, limit=500, total=900, results=500))
    assert page.echo.total == 900
    assert page.table["id"].to_pylist() == keys(page) == [str(each["id"]) for each in records]
    assert {n: extra for n, extra in enumerate(page.table["_extra"].to_pylist()) if extra} == {
        7: '{"new_field":1}',
        400: '{"updated_at":"2026-02-30T00:00:00Z"}',
    }
    assert page.table["event_count"][300].as_py() == 13


@pytest.mark.parametrize("extra", [{"next": "x"}, {"total": None, "page": {"items": [1]}}])
def test_lenient_unknown_envelope_field_is_ignored(extra: dict[str, Any]) -> None:
    page = decode(body(*ordinary(50), **extra))
    assert page.table.equals(decode(body(*ordinary(50))).table)


def test_lenient_mixed_id_types_become_text() -> None:
    records = [{**each, "id": str(each["id"])} if n % 3 else each for n, each in enumerate(ordinary(60))]
    page = decode(body(*records))
    assert page.table["id"].to_pylist() == [str(each["id"]) for each in records]


def test_lenient_unkept_records_keep_their_position() -> None:
    records: list[Record] = ordinary(6)
    records[1] |= {"id": ""}
    records[4] |= {"created_at": None}
    page = decode(body(*records))
    assert page.rows == 6
    assert page.table["id"].to_pylist() == [str(records[n]["id"]) for n in (0, 2, 3, 5)]
    assert [key[:1] == "\0" for key in keys(page)] == [False, True, False, False, True, False]
    assert [mark.created is None for mark in page.marks()] == [False, False, False, False, True, False]
    assert [each["id"] for each, _ in page.unkept.values()] == ["", records[4]["id"]]


ONE = json.dumps(record(1, DAY))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"x":1,"x":2,"items":[]}', "given twice"),
        ('{"items":[],"x":1,"items":[]}', "given twice"),
        ('{"items":[],"it\\u0065ms":[]}', "given twice"),
        ('{"x":1,"items":[{"id":1,"id":2}]}', "given twice"),
        ('{"x":1,"items":[' + ONE + ',{"users":[{"email":"a","email":"b"}]}]}', "given twice"),
        ('{"x":1,"items":[' + ONE + ",3]}", "not an object"),
        ('{"x":1,"items":[' + ONE + ",null]}", "not an object"),
        ('{"x":1,"items":[' + ONE + ",]}", "not valid JSON"),
        ('{"x":1,"items":[' + ONE + "]}x", "not valid JSON"),
        ('{"x":NaN,"items":[' + ONE + "]}", "not valid JSON"),
        ('{"x":1,"items":[{"id":NaN}]}', "not valid JSON"),
        ('{"x":1,"items":[' + ONE + ',{"id":1,"x":"\t"}]}', "not valid JSON"),
        ('{"x":1,"items":{"a":1}}', "no list"),
        ('{"x":1,"items":null}', "no list"),
        ('{"x":1}', "no list"),
        ('{"total":1.5,"items":[' + ONE + "]}", "'total' is not an integer"),
        ('{"error":"no","items":[' + ONE + "]}", "'error'"),
        ("[" + ONE + "]", "Expected a JSON object"),
        ('{"x":' + "[" * 100_000 + "]" * 100_000 + ',"items":[]}', "nested too deeply"),
    ],
)
def test_lenient_invalid_page_raises(text: str, message: str) -> None:
    with pytest.raises(CloudlockResponseError, match=message):
        decode(text.encode())


def test_lenient_invalid_utf8_raises() -> None:
    with pytest.raises(CloudlockResponseError, match="not valid JSON"):
        decode(body({**record(1, DAY), "x": "é"}).replace(b"\\u00e9", b"\xe9"))


def test_lenient_lone_surrogate_goes_into_extra() -> None:
    page = decode(body(record(1, DAY), {**record(2, DAY), "description": "\ud800"}))
    assert page.table["_extra"].to_pylist() == [None, '{"description":"\\ud800"}']


def test_lenient_byte_order_mark_is_ignored() -> None:
    assert decode(b"\xef\xbb\xbf" + body(record(1, DAY), x=1)).table["id"].to_pylist() == ["1"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ODDITIES), max_size=12), st.sampled_from([{}, {"x": 1}]))
def test_lenient_page_equals_its_records_decoded_alone(
    oddities: list[dict[str, Any]], envelope: dict[str, Any]
) -> None:
    records = [{**record(n, DAY), **oddity} for n, oddity in enumerate(oddities, 1)]
    # Different keys: duplicates within a page are merged.
    records = [each | ({"id": f"text{n}"} if each["id"] == "text" else {}) for n, each in enumerate(records)]
    records = [each | ({"id": 2**64 + n} if each["id"] == 2**64 else {}) for n, each in enumerate(records)]
    page = decode(body(*records, **envelope))
    alone = [decode(body(each)) for each in records]
    assert page.rows == len(records)
    assert page.table.to_pylist() == [row for each in alone for row in each.table.to_pylist()]
    assert page.marks() == tuple(mark for each in alone for mark in each.marks())
    assert dict(page.unkept) == {key: value for each in alone for key, value in each.unkept.items()}


def test_lenient_json_fields_are_kept_as_text() -> None:
    ordinary_record = {"number": 1, "made_at": f"{DAY}T00:00:00Z", "score": 0.5, "matrix": [[1]], "owner": {"age": 3}}
    page = decode(body(ordinary_record, {**ordinary_record, "number": 2, "details": {"a": 1}}), Layout.of(REPORTS))
    assert page.table["details"].to_pylist() == [None, '{"a":1}']
    assert page.table["score"].to_pylist() == [0.5, 0.5]


@pytest.mark.parametrize("score", [1.0000000000000002, -1e-300, 1e300, 1e99, 123456789.012345])
def test_lenient_float_that_arrow_may_round_is_exact(score: float) -> None:
    records = [{"number": number, "made_at": f"{DAY}T00:00:00Z", "score": score} for number in (1, 10**15)]
    page = decode(body(*records), Layout.of(REPORTS))
    assert page.table["score"].to_pylist() == [score, score]
    assert page.table["_extra"].null_count == 2
