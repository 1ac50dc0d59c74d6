"""Values that do not have the declared type: coerced if the column still tells them, else kept in ``_extra``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.resources import RESOURCES, Resource
from tests.lake.made_up import REPORTS
from tests.lake.rebuilt import JSON, LIKELY, assert_rebuilt

THREATS = RESOURCES["threats"]
NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
PLACE = {"city": None, "seen": None, "extent": None, "is_home": None, "raw": None}
OWNER = {"mail": None, "age": None, "since": None}
ADA = OWNER | {"mail": "ada@example.com"}


def table(resource: Resource, *records: str) -> pa.Table:
    """Decode a page of records, given as JSON texts."""
    body = '{"items":[' + ",".join(records) + "]}"
    return ArrowFormat(Layout.of(resource)).decode(body.encode()).table


def row(resource: Resource, field: str, text: str) -> dict[str, Any]:
    """Decode a record with one value, given as JSON text, alone and beside a record without it."""
    time = f'"{resource.time_fields[0]}":"2026-01-02T00:00:00Z"'
    one, other = f'{{"{resource.key}":1,{time},"{field}":{text}}}', f'{{"{resource.key}":2,{time},"{field}":null}}'
    alone, both = table(resource, one), table(resource, one, other)
    assert both.slice(0, 1).equals(alone)
    assert both["_extra"][1].as_py() is None
    return dict(alone.to_pylist()[0])


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
def test_coerce_keeps_value_in_column_or_extra(field: str, text: str, value: Any, extra: str | bool | None) -> None:
    found = row(THREATS, field, text)
    assert found[field] == value
    expected = text if extra is True else extra
    assert found["_extra"] == (None if expected is None else f'{{"{field}":{expected}}}')


@pytest.mark.parametrize(
    ("field", "text", "value", "extra"),
    [
        ("score", "1", 1.0, None),
        ("score", "1.50", 1.5, None),
        ("score", "1E5", 100_000.0, None),
        ("score", "9007199254740993", 2.0**53, True),
        ("score", "0.1000000000000000055511151231257827", 0.1, True),
        ("score", "0.30000000000000004", 0.30000000000000004, None),
        ("score", "123456789012345", 123_456_789_012_345.0, None),
        ("score", "1e-400", 0.0, True),
        ("score", "1e400", None, True),
        ("score", "0.35E+310", None, True),
        ("score", "-1e0309", None, True),
        ("score", "1.7976931348623157e308", 1.7976931348623157e308, None),
        ("score", '"1.5"', 1.5, None),
        ("score", '"15"', 15.0, None),
        ("score", '"1.50"', 1.5, True),
        ("score", '"1,5"', None, True),
        ("score", '"NaN"', None, True),
        ("score", "true", None, True),
        ("score", "[1.5]", None, True),
        ("is_open", "true", True, None),
        ("is_open", "false", False, None),
        ("is_open", '"true"', None, True),
        ("is_open", "1", None, True),
        ("is_open", "[true]", None, True),
        ("details", "{}", "{}", None),
        ("details", '"text"', '"text"', None),
        ("details", "13.50", "13.50", None),
        ("details", "false", "false", None),
        ("details", '{"b":[1e400,null],"a":"\\ud800"}', '{"a":"\\ud800","b":[1e400,null]}', None),
        ("details", "null", None, None),
        ("notes", "null", None, None),
        ("notes", '"text"', ['"text"'], None),
        ("notes", '[1,null,{"a":[]}]', ["1", None, '{"a":[]}'], None),
        ("places", "[]", [], None),
        ("places", "{}", [PLACE], None),
        ("places", '{"city":"Paris"}', [PLACE | {"city": "Paris"}], None),
        ("places", '[{"seen":"2026-01-02T12:00:00Z"},null]', [PLACE | {"seen": NOON}, None], None),
        (
            "places",
            '[{"seen":"2026-01-02T14:00+02:00","is_home":false}]',
            [PLACE | {"seen": NOON, "is_home": False}],
            None,
        ),
        ("places", '[{"seen":"2026-01-02T12:00:00.0000009Z"}]', [PLACE | {"seen": NOON}], True),
        ("places", '[{"seen":"9999-12-31T23:59:59-10:00"}]', None, True),
        ("places", '[{"seen":"0000-01-01T00:00:00Z"},{"seen":null}]', None, True),
        ("places", '[{"extent":"1.5","raw":"text"}]', [PLACE | {"extent": 1.5, "raw": '"text"'}], None),
        ("places", '[{"extent":1.00000000000000000001}]', [PLACE | {"extent": 1.0}], True),
        ("places", '[{"raw":"text"}]', [PLACE | {"raw": '"text"'}], None),
        ("places", '[{"raw":{"b":1,"a":null}}]', [PLACE | {"raw": '{"a":null,"b":1}'}], None),
        ("places", '[{"city":"Paris","zip":"75001"}]', [PLACE | {"city": "Paris"}], True),
        ("places", '[{"city":"Paris"},{"city":75001}]', None, True),
        ("places", '"Paris"', None, True),
        ("places", '"ada@example.com"', None, True),
        ("places", "[[]]", None, True),
        ("owner", "{}", OWNER, None),
        ("owner", '{"since":"2026-01-02T12:00:00Z"}', OWNER | {"since": NOON}, None),
        ("owner", '{"since":"9999-12-31T23:59:59-10:00"}', None, True),
        ("owner", '{"mail":"ada@example.com","age":"36"}', ADA | {"age": 36}, None),
        ("owner", '"ada@example.com"', ADA, None),
        ("owner", '"ada@example.com, bea@example.com"', None, True),
        ("owner", '"Ada"', None, True),
        ("owner", "[{}]", None, True),
        ("readers", '"ada@example.com,ada@example.com"', [ADA, ADA], None),
        ("readers", '"ada@example.com,ada@example.com, ada@example.com"', [ADA, ADA, ADA], True),
        ("readers", '["ada@example.com, ada@example.com"]', None, True),
        ("readers", '[null,{"since":"2026-01-02T12:00:00Z"}]', [None, OWNER | {"since": NOON}], None),
        ("readers", '[{"since":"0000-01-01T00:00:00Z"},null]', None, True),
        ("groups", '[[{"since":"0000-01-01T00:00:00Z"}],[]]', None, True),
        ("matrix", "[[1,2],[],null,[null]]", [[1, 2], [], None, [None]], None),
        ("matrix", "[1,[2]]", [[1], [2]], None),
        ("matrix", "1", [[1]], None),
        ("matrix", '[["1"]]', [[1]], None),
        ("matrix", "[[1.5]]", None, True),
        ("matrix", "[[[1]]]", None, True),
        ("groups", '[["ada@example.com",null],null]', [[ADA, None], None], None),
        ("groups", '["ada@example.com,ada@example.com"]', [[ADA, ADA]], None),
        ("groups", '[[{"mail":5}]]', None, True),
    ],
)
def test_coerce_every_declared_type_keeps_value(field: str, text: str, value: Any, extra: bool | None) -> None:
    found = row(REPORTS, field, text)
    assert found[field] == value
    assert type(found[field]) is type(value)
    assert found["_extra"] == (f'{{"{field}":{text}}}' if extra else None)


FIELDS = st.sampled_from([each.name for each in REPORTS.fields if each.name not in ("number", "made_at")] + ["new"])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.dictionaries(FIELDS, JSON | LIKELY, max_size=5), min_size=1, max_size=4))
def test_coerce_every_declared_type_can_be_rebuilt(values: list[dict[str, Any]]) -> None:
    records = [{"number": str(n), "made_at": "2026-01-02T00:00:00Z", **each} for n, each in enumerate(values)]
    rows = table(REPORTS, *map(json.dumps, records)).to_pylist()
    assert len(rows) == len(records)
    for record, found in zip(records, rows, strict=True):
        assert_rebuilt(REPORTS, record, found)
        assert [found] == table(REPORTS, json.dumps(record)).to_pylist()
