"""Bodies to pages of Arrow: what is refused, what is kept, and that both ways of reading agree."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.lake.decode import ArrowFormat, ArrowPage
from airflow_provider_cloudlock.lake.odd import OddReader
from airflow_provider_cloudlock.lake.schemas import SCHEMAS, Layout
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo
from tests.support import day_of_records, instant, record

LAYOUT = Layout(SCHEMAS["threats"], "id", ("created_at", "detected_at"))
DAY = "2026-01-02"


def body(*records: Any, **envelope: Any) -> bytes:
    return json.dumps({**envelope, "items": records}).encode()


def decode(*records: Any, **envelope: Any) -> ArrowPage:
    return ArrowFormat(LAYOUT).decode(body(*records, **envelope))


def row(text: str) -> dict[str, Any]:
    """The one row of a page whose one record is given as JSON text."""
    page = ArrowFormat(LAYOUT).decode(b'{"items":[' + text.encode() + b"]}")
    assert page.table.num_rows == 1
    return dict(page.table.to_pylist()[0])


def test_well_formed_page_is_read_in_one_pass_without_dicts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OddReader, "read", None)
    records = day_of_records(DAY, 50)
    page = decode(*records, limit=50, offset=3, total=200, results=50)
    assert page.echo == Echo(limit=50, offset=3, total=200, results=50)
    assert (page.rows, page.distinct) == (50, 50)
    assert page.first == (str(records[0]["id"]), instant(records[0]["created_at"]))
    assert page.last == (str(records[-1]["id"]), instant(records[-1]["created_at"]))
    assert page.table.schema.equals(SCHEMAS["threats"])
    assert page.table["_extra"].null_count == 50


def test_ids_as_numbers_and_as_text_give_the_same_table() -> None:
    records = day_of_records(DAY, 5)
    page_format = ArrowFormat(LAYOUT)
    as_numbers = page_format.decode(body(*records))
    as_text = page_format.decode(body(*({**each, "id": str(each["id"])} for each in records)))
    again = page_format.decode(body(*records))
    mixed = page_format.decode(body({**records[0], "id": str(records[0]["id"])}, *records[1:]))
    assert as_numbers.table.equals(as_text.table)
    assert as_numbers.table.equals(again.table)
    assert as_numbers.table.equals(mixed.table)


def test_both_ways_of_reading_agree_on_well_formed_records() -> None:
    records = day_of_records(DAY, 20)
    fast = decode(*records)
    odd = decode(*records, unknown_envelope_key=1)
    assert fast.table.equals(odd.table)
    assert fast.ascending is odd.ascending is True


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
def test_what_is_no_page_is_refused(bad: bytes) -> None:
    with pytest.raises(CloudlockResponseError):
        ArrowFormat(LAYOUT).decode(bad)


def test_what_is_a_page_though_oddly_written() -> None:
    plain = decode(*day_of_records(DAY, 3))
    pretty = json.dumps({"items": day_of_records(DAY, 3), "message": None, "took_ms": 5}, indent=2).encode()
    for odd in (b"\xef\xbb\xbf" + pretty, b"\r\n  " + pretty + b"\n"):
        assert ArrowFormat(LAYOUT).decode(odd).table.equals(plain.table)


def test_unknown_fields_are_kept_with_every_digit() -> None:
    text = json.dumps(record(1, f"{DAY}T00:00:00Z"))[:-1]
    extra = '"z":0.1000000000000000055511151231257827,"a":{"n":123456789012345678901234567890,"l":[1e400,-0,null]}}'
    assert row(f"{text},{extra}")["_extra"] == (
        '{"a":{"l":[1e400,-0,null],"n":123456789012345678901234567890},"z":0.1000000000000000055511151231257827}'
    )


def test_a_field_called_like_our_own_column_is_unknown_too() -> None:
    assert row('{"id":1,"created_at":"2026-01-02","_extra":"mine"}')["_extra"] == '{"_extra":"mine"}'


@pytest.mark.parametrize(
    ("field", "text", "value", "extra"),
    [
        ("event_count", '"13"', 13, None),
        ("event_count", "13.0", 13, None),
        ("event_count", "1.3e1", 13, None),
        ("event_count", '"-7"', -7, None),
        ("event_count", "13.5", None, "13.5"),
        ("event_count", '"013"', None, '"013"'),
        ("event_count", '"many"', None, '"many"'),
        ("event_count", "true", None, "true"),
        ("event_count", "9223372036854775807", 2**63 - 1, None),
        ("event_count", "9223372036854775808", None, "9223372036854775808"),
        ("event_count", "1e999999999", None, "1e999999999"),
        ("platforms", '"office365"', ["office365"], None),
        ("platforms", '["a",null]', ["a", None], None),
        ("platforms", "[]", [], None),
        ("platforms", '["a",5]', None, '["a",5]'),
        ("locations", '{"country":"MY"}', None, '{"country":"MY"}'),
        ("locations", '"Washington, DC"', ["Washington, DC"], None),
        ("users", '"ada@example.com"', [{"display_name": None, "email": "ada@example.com"}], None),
        (
            "users",
            '"a@example.com, b@example.com"',
            [{"display_name": None, "email": "a@example.com"}, {"display_name": None, "email": "b@example.com"}],
            None,
        ),
        ("users", '"Ada Sample"', None, '"Ada Sample"'),
        ("users", '["a@example.com",null]', [{"display_name": None, "email": "a@example.com"}, None], None),
        ("users", '{"email":"a@example.com"}', [{"display_name": None, "email": "a@example.com"}], None),
        (
            "users",
            '[{"email":"a@example.com","phone":"1"}]',
            [{"display_name": None, "email": "a@example.com"}],
            '[{"email":"a@example.com","phone":"1"}]',
        ),
        ("users", '[{"email":5}]', None, '[{"email":5}]'),
        ("users", "[5]", None, "[5]"),
        ("description", "5", None, "5"),
        ("description", '"\\ud800"', None, '"\\ud800"'),
        ("description", '"\\u0000\\ud83d\\ude00"', "\0\N{GRINNING FACE}", None),
        ("suspicious_ip", '["203.0.113.9"]', None, '["203.0.113.9"]'),
        ("end_time", '"2026-01-02T03:04:05.1234567Z"', datetime(2026, 1, 2, 3, 4, 5, 123456, UTC), True),
        ("end_time", '"2026-01-02T03:04:05.123456000Z"', datetime(2026, 1, 2, 3, 4, 5, 123456, UTC), None),
        ("end_time", '"2026-01-02 03:04:05.1"', datetime(2026, 1, 2, 3, 4, 5, 100000, UTC), None),
        ("end_time", '"2026-01-02T03:04:05+02:00"', datetime(2026, 1, 2, 1, 4, 5, 0, UTC), None),
        ("end_time", "1767322800", None, "1767322800"),
        ("end_time", '"2026-02-30T00:00:00Z"', None, '"2026-02-30T00:00:00Z"'),
        ("end_time", '""', None, '""'),
        ("end_time", '"soon"', None, '"soon"'),
    ],
)
def test_values_that_do_not_fit_are_coerced_without_loss_or_set_apart(
    field: str, text: str, value: Any, extra: str | bool | None
) -> None:
    found = row(f'{{"id":1,"created_at":"2026-01-02T00:00:00Z","{field}":{text}}}')
    assert found[field] == value
    expected = text if extra is True else extra
    assert found["_extra"] == (None if expected is None else f'{{"{field}":{expected}}}')


@pytest.mark.parametrize("identity", ["null", '""', "1.5", "true", "[1]", '"\\ud800"'])
def test_a_record_without_a_usable_id_is_set_aside(identity: str) -> None:
    page = ArrowFormat(LAYOUT).decode(b'{"items":[{"id":%s,"created_at":"2026-01-02"}]}' % identity.encode())
    assert (page.rows, page.table.num_rows, len(page.unkept)) == (1, 0, 1)


@pytest.mark.parametrize("created", ["null", '""', "1767322800", '"soon"', '"2026-02-30"'])
def test_a_record_without_a_readable_creation_time_is_set_aside(created: str) -> None:
    page = ArrowFormat(LAYOUT).decode(b'{"items":[{"id":1,"created_at":%s}]}' % created.encode())
    assert (page.rows, page.table.num_rows, len(page.unkept)) == (1, 0, 1)
    assert page.first == page.last
    assert page.first is not None
    assert page.first.created is None


def test_a_large_whole_number_is_an_id_to_the_last_digit() -> None:
    assert (
        row('{"id":123456789012345678901234567890,"created_at":"2026-01-02"}')["id"] == "123456789012345678901234567890"
    )


def test_the_detection_counts_as_creation_where_there_is_no_other() -> None:
    page = decode({"id": 1, "detected_at": "2026-01-02T10:00:00Z"}, record(2, "2026-01-02T11:00:00Z"))
    inside = page.select(datetime(2026, 1, 2, 10, tzinfo=UTC), datetime(2026, 1, 2, 11, tzinfo=UTC), None)
    assert inside.table["id"].to_pylist() == ["1"]


def test_a_key_that_comes_twice_is_held_once_with_the_newest_update() -> None:
    older, newer = (record(7, f"{DAY}T00:00:00Z", updated_at=f"{DAY}T0{hour}:00:00Z") for hour in (1, 2))
    for pair in ((older, newer), (newer, older)):
        page = decode(record(6, f"{DAY}T00:00:00Z"), *pair, record(8, f"{DAY}T00:00:00Z"))
        assert (page.rows, page.distinct) == (4, 3)
        assert page.table["id"].to_pylist() == ["6", "7", "8"]
        assert page.table["updated_at"].to_pylist()[1] == datetime(2026, 1, 2, 2, tzinfo=UTC)


def test_a_record_can_be_looked_up_and_left_out() -> None:
    one, two, three = record(1, f"{DAY}T01:00:00Z"), record(2, DAY, updated_at=None), {"id": None, "created_at": DAY}
    page = decode(one, two, three)
    assert page.last is not None
    odd = page.last.key
    assert page.version("1") == instant(one["updated_at"])
    assert page.version("2") == page.version(odd) == NEVER_UPDATED
    assert page.version("3") is None
    assert page.without("1").table["id"].to_pylist() == ["2"]
    assert page.without("2").table["id"].to_pylist() == ["1"]
    assert page.without(odd).unkept == {}
    assert page.without("3").distinct == 3


def test_keys_and_versions_are_told_as_they_came() -> None:
    old = record(1, DAY, updated_at=f"{DAY}T01:00:00Z")
    new = old | {"updated_at": f"{DAY}T02:00:00Z"}
    page = decode(new, {"id": None, "created_at": DAY}, record(2, DAY, updated_at=None), old)
    keys = [mark.key for mark in page.head(4)]
    newest = instant(new["updated_at"])
    assert page.versions() == list(zip(keys, (newest, NEVER_UPDATED, NEVER_UPDATED, newest), strict=True))
    assert (keys[0], keys[2], keys[3]) == ("1", "2", "1")
    assert decode().versions() == []


def test_select_keeps_the_half_open_window_and_drops_the_other_status() -> None:
    records = [
        record(number, f"{DAY}T0{number}:00:00Z", status=status)
        for number, status in enumerate(["ACTIVE", "Dismissed", "ACTIVE", None, "ARCHIVED", "ACTIVE"])
    ]
    page = decode(*records)
    hours = [datetime(2026, 1, 2, hour, tzinfo=UTC) for hour in (1, 5)]
    assert page.select(*hours, None).table["id"].to_pylist() == ["1", "2", "3", "4"]
    assert page.select(*hours, "dismissed").table["id"].to_pylist() == ["2", "3", "4"]
    assert page.select(None, hours[0], None).table["id"].to_pylist() == ["0"]
    assert page.select(hours[1], None, None).table["id"].to_pylist() == ["5"]


def test_distinct_counts_keys_over_pages() -> None:
    one, other = ArrowFormat(LAYOUT).gather(), ArrowFormat(LAYOUT).gather()
    assert (one.distinct(), one.count) == (0, 0)
    one.add(decode(record(1, DAY), record(2, DAY)))
    other.add(decode(record(2, DAY), {"id": None}))
    assert (one.distinct(), other.distinct(), one.distinct(other)) == (2, 2, 3)
    one.join(other)
    assert (one.distinct(), one.count, one.keys.to_pylist()) == (3, 4, ["1", "2", "2"])


def test_order_is_told_by_creation() -> None:
    early, late = record(1, f"{DAY}T01:00:00Z"), record(2, f"{DAY}T02:00:00Z")
    told = {
        (): (True, True, 0),
        ("early",): (True, True, 1),
        ("early", "late"): (True, False, 2),
        ("late", "early"): (False, True, 2),
        ("early", "early", "late"): (True, False, 2),
        ("late", "early", "early"): (False, True, 3),
        ("early", "late", "early"): (False, False, 2),
        ("early", "early", "early"): (True, True, 3),
    }
    for names, expected in told.items():
        page = decode(*({"early": early, "late": late}[name] for name in names))
        assert (page.ascending, page.descending, len(page.tail())) == expected, names
        assert page.head(5)[-len(page.tail()) :] == page.tail() or not names


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from([*SCHEMAS["threats"].names, "new_field"]).filter(lambda name: name not in ("id", "created_at"))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=6), min_size=1, max_size=4))
def test_every_record_can_be_rebuilt(records: list[dict[str, Any]]) -> None:
    records = [{"id": number, "created_at": f"{DAY}T00:00:00Z", **each} for number, each in enumerate(records)]
    page = decode(*records)
    assert page.distinct == len(records)
    for given_record, found in zip(records, page.table.to_pylist(), strict=True):
        rebuilt = {**found, **json.loads(found["_extra"] or "{}")}
        for name, value in given_record.items():
            if name not in ("id", "created_at"):
                assert _same(value, rebuilt.get(name)), (name, value, rebuilt.get(name))


def _same(given_value: Any, found: Any) -> bool:
    """Whether a value was kept: as it is, or coerced in one of the documented ways."""
    if isinstance(found, datetime):
        return isinstance(given_value, str) and datetime.fromisoformat(given_value) == found
    if isinstance(given_value, str) and isinstance(found, int):
        return given_value == str(found)
    if isinstance(given_value, str) and isinstance(found, dict):
        return found == {"display_name": None, "email": given_value}
    if isinstance(found, list) and not isinstance(given_value, list):
        return len(found) == 1 and _same(given_value, found[0])
    if isinstance(found, list) and isinstance(given_value, list):
        return len(found) == len(given_value) and all(map(_same, given_value, found))
    if isinstance(found, dict) and isinstance(given_value, dict):
        return all(_same(given_value.get(name), found.get(name)) for name in {*found, *given_value})
    if isinstance(given_value, float) and isinstance(found, int):
        return Decimal(repr(given_value)) == found
    return bool(given_value == found) and isinstance(given_value, bool) == isinstance(found, bool)


def test_decoding_is_free_of_shared_state() -> None:
    odd = decode({**record(1, DAY), "x": 1})
    assert odd.table["_extra"].to_pylist() == ['{"x":1}']
    assert pa.types.is_string(odd.table.schema.field("_extra").type)
