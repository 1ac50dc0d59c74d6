"""Pages in which some records are odd: the ordinary ones are read together, in the order in which all came."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.api.resources import THREATS
from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.schemas import SCHEMAS, Layout
from tests.support import Record, day_of_records, record

DAY = "2026-01-02"
LAYOUT = Layout(SCHEMAS["threats"], THREATS.key, THREATS.time_fields)
#: What makes a record odd, or seem so.
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


def decode(data: bytes) -> ArrowPage:
    return ArrowFormat(LAYOUT).decode(data)


@pytest.fixture
def read_alone(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Record what is read by the strict parser: the rest of the envelope, and every record that is odd."""
    texts: list[bytes] = []
    loads = strict_json.loads

    def noted(text: bytes, *, exact: bool = False) -> Any:
        texts.append(text)
        return loads(text, exact=exact)

    monkeypatch.setattr(strict_json, "loads", noted)
    return texts


def ordinary(count: int) -> list[Record]:
    return day_of_records(DAY, count)


def test_only_the_odd_records_are_read_one_by_one(read_alone: list[bytes]) -> None:
    records: list[Record] = ordinary(500)
    records[7] |= {"new_field": 1}
    records[300] |= {"event_count": "13"}
    page = decode(body(*records, limit=500, total=900, results=500))
    assert page.echo.total == 900
    assert [json.loads(text).get("id", "envelope") for text in read_alone] == [
        "envelope",
        records[7]["id"],
        records[300]["id"],
    ]
    assert page.table["id"].to_pylist() == page.keys.to_pylist() == [str(each["id"]) for each in records]
    assert {n: extra for n, extra in enumerate(page.table["_extra"].to_pylist()) if extra} == {7: '{"new_field":1}'}
    assert page.table["event_count"][300].as_py() == 13


@pytest.mark.parametrize("extra", [{"next": "x"}, {"total": None, "page": {"items": [1]}}])
def test_an_odd_envelope_does_not_make_its_records_odd(read_alone: list[bytes], extra: dict[str, Any]) -> None:
    page = decode(body(*ordinary(50), **extra))
    assert page.rows == 50
    assert len(read_alone) == 1


def test_numbers_and_texts_as_ids_are_both_ordinary(read_alone: list[bytes]) -> None:
    records = [{**each, "id": str(each["id"])} if n % 3 else each for n, each in enumerate(ordinary(60))]
    page = decode(body(*records))
    assert page.table["id"].to_pylist() == [str(each["id"]) for each in records]
    assert len(read_alone) == 1


def test_a_record_that_only_seems_ordinary_is_narrowed_down(read_alone: list[bytes]) -> None:
    records: list[Record] = ordinary(1000)
    records[400] |= {"updated_at": "2026-02-30T00:00:00Z"}
    page = decode(body(*records))
    assert page.table["_extra"][400].as_py() == '{"updated_at":"2026-02-30T00:00:00Z"}'
    assert page.table["_extra"].null_count == 999
    assert page.table["id"].to_pylist() == [str(each["id"]) for each in records]
    assert len(read_alone) <= 33


def test_records_that_cannot_be_kept_keep_their_place() -> None:
    records: list[Record] = ordinary(6)
    records[1] |= {"id": ""}
    records[4] |= {"created_at": None}
    page = decode(body(*records))
    assert page.rows == 6
    assert page.table["id"].to_pylist() == [str(records[n]["id"]) for n in (0, 2, 3, 5)]
    assert [key[:1] == "\0" for key in page.keys.to_pylist()] == [False, True, False, False, True, False]
    assert [time is None for time in page.times.to_pylist()] == [False, False, False, False, True, False]
    assert [each["id"] for each, _ in page.unkept.values()] == ["", records[4]["id"]]


ONE = json.dumps(record(1, DAY))


@pytest.mark.parametrize(
    ("text", "words"),
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
        ('{"total":1.5,"items":[' + ONE + "]}", "'total' is not a whole number"),
        ('{"error":"no","items":[' + ONE + "]}", "'error'"),
        ("[" + ONE + "]", "An object"),
        ('{"x":' + "[" * 3000 + "]" * 3000 + ',"items":[]}', "nested too deeply"),
    ],
)
def test_what_is_no_page_is_refused(text: str, words: str) -> None:
    with pytest.raises(CloudlockResponseError, match=words):
        decode(text.encode())


def test_what_is_not_utf8_is_refused() -> None:
    with pytest.raises(CloudlockResponseError, match="not valid JSON"):
        decode(body({**record(1, DAY), "x": "é"}).replace(b"\\u00e9", b"\xe9"))


def test_a_page_with_half_a_surrogate_pair_is_read() -> None:
    page = decode(body(record(1, DAY), {**record(2, DAY), "description": "\ud800"}))
    assert page.table["_extra"].to_pylist() == [None, '{"description":"\\ud800"}']


def test_a_byte_order_mark_is_no_part_of_the_page() -> None:
    assert decode(b"\xef\xbb\xbf" + body(record(1, DAY), x=1)).keys.to_pylist() == ["1"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(ODDITIES), max_size=12), st.sampled_from([{}, {"x": 1}]))
def test_a_page_is_what_its_records_are_alone(oddities: list[dict[str, Any]], envelope: dict[str, Any]) -> None:
    records = [{**record(n, DAY), **oddity} for n, oddity in enumerate(oddities, 1)]
    # Only one of each key counts: what becomes of several is another matter.
    records = [each | ({"id": f"text{n}"} if each["id"] == "text" else {}) for n, each in enumerate(records)]
    records = [each | ({"id": 2**64 + n} if each["id"] == 2**64 else {}) for n, each in enumerate(records)]
    page = decode(body(*records, **envelope))
    alone = [decode(body(each)) for each in records]
    assert page.rows == len(records)
    assert page.table.to_pylist() == [row for each in alone for row in each.table.to_pylist()]
    assert page.keys.to_pylist() == [key for each in alone for key in each.keys.to_pylist()]
    assert page.times.to_pylist() == [time for each in alone for time in each.times.to_pylist()]
    assert dict(page.unkept) == {key: value for each in alone for key, value in each.unkept.items()}
