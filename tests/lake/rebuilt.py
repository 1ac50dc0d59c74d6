"""Checks that a row still tells what its record was."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from airflow_provider_cloudlock.lake.schema import EXTRA
from airflow_provider_cloudlock.resources import ListOf, Resource, Struct
from airflow_provider_cloudlock.resources.model import FieldType

#: Any JSON value.
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_categories=()), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
#: Values that fit one type or another, or nearly do.
LIKELY = st.sampled_from(
    [
        *("13", "013", "1.50", "1.5", "-0", "1e5", 13.0, 2**53 + 1, 1e300, 5e-324),
        *("2026-01-02T03:04:05Z", "2026-01-02 03:04:05.1234567", "2026-02-30T00:00:00Z", "0001-01-01T00:00:00+01:00"),
        *("a@example.com", "a@example.com, b@example.com", "a@example.com,b@example.com, c@example.com"),
        *({"email": "a@example.com"}, {"mail": "a@example.com", "age": "36"}, {"city": "Paris", "new": None}),
        *({"city": "Paris", "seen": "2026-01-02T03:04:05Z"}, {"seen": "9999-12-31T23:59:59-10:00"}, {"raw": "x"}),
        *(
            [{"city": "Paris", "extent": 1.5}, None],
            [{"extent": 2**53 + 1}],
            [{"raw": "x"}],
            [[]],
            [[1, None], None, 2],
            [["x"]],
        ),
    ]
)


def assert_rebuilt(resource: Resource, record: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Check that a record can be rebuilt from its row: each value is in ``_extra`` as it came, or in its column."""
    extra = json.loads(row[EXTRA] or "{}")
    types = {each.name: each.type for each in resource.fields}
    assert extra.keys() <= record.keys()
    for name, value in record.items():
        if name in extra:
            assert _is_same(value, extra[name]), name
        else:
            assert _is_told(types[name], value, row[name]), name


def _is_same(value: Any, found: Any) -> bool:
    """Whether two JSON values are the same; unlike for Python, True is not 1."""
    return json.dumps(value, sort_keys=True) == json.dumps(found, sort_keys=True)


def _is_told(type_: FieldType, value: Any, found: Any) -> bool:
    """Whether a value of a column tells the JSON value that it was made of."""
    if value is None or found is None:
        return value is found
    if isinstance(type_, ListOf):
        return _is_list_told(type_.element, value, found)
    if isinstance(type_, Struct):
        members = {each.name: each.type for each in type_.members}
        members_given = value if isinstance(value, dict) else {type_.email_member: value}
        return members_given.keys() <= members.keys() and all(
            _is_told(member, members_given.get(name), found[name]) for name, member in members.items()
        )
    if type_ == "json":
        return _is_same(value, json.loads(found))
    if type_ == "timestamp":
        instant = datetime.fromisoformat(value)
        return found == (instant if instant.tzinfo else instant.replace(tzinfo=UTC))
    if type_ in ("int64", "float64"):
        if isinstance(value, str):
            return value in (repr(found), repr(found).removesuffix(".0"))
        return type(value) is not bool and Decimal(repr(value)) == Decimal(repr(found))
    return type(value) is type(found) and bool(value == found)


def _is_list_told(element: FieldType, value: Any, found: list[Any]) -> bool:
    if isinstance(value, str) and isinstance(element, Struct) and "," in value:
        emails = [each[element.email_member] for each in found]
        return value in (", ".join(emails), ",".join(emails))
    values = value if isinstance(value, list) else [value]
    return len(values) == len(found) and all(_is_told(element, *pair) for pair in zip(values, found, strict=True))
