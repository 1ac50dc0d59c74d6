"""JSON without leniency and without loss."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.strict_json import Number, dumps, loads


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b'{"a":1',
        b'{"a":1}x',
        b'{"a":1}{"a":1}',
        b'{"a":1,}',
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":01}',
        b'{"a":1,"a":1}',
        b'{"b":{"a":1,"c":2,"a":3}}',
        b"{'a':1}",
        b'{"a":"\xff"}',
        b'{"a":"line\nbreak"}',
        '{"a":1}'.encode("utf-16"),
        b"<!DOCTYPE html>",
    ],
)
def test_anything_but_one_document_is_refused(body: bytes, exact: bool) -> None:
    with pytest.raises(CloudlockResponseError, match="not valid JSON"):
        loads(body, exact=exact)


def test_duplicate_key_is_named() -> None:
    with pytest.raises(CloudlockResponseError, match="'id' is given twice"):
        loads(b'{"items":[{"id":1,"id":2}]}')


@pytest.mark.parametrize("exact", [False, True])
def test_deeply_nested_document_is_refused(exact: bool) -> None:
    with pytest.raises(CloudlockResponseError, match="nested too deeply"):
        loads(b"[" * 200_000, exact=exact)


def test_number_too_large_for_float_is_refused() -> None:
    with pytest.raises(CloudlockResponseError, match="too large"):
        loads(b"[1e999]")
    assert loads(b"[1e999]", exact=True) == [Number("1e999")]


def test_number_of_many_digits_is_refused() -> None:
    digits = b"9" * 10_000
    with pytest.raises(CloudlockResponseError):
        loads(digits)
    assert loads(digits, exact=True) == Number(digits.decode())


def test_byte_order_mark_is_accepted() -> None:
    assert loads(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


@pytest.mark.parametrize(
    "text",
    [
        "1.10",
        "1e5",
        "1E+5",
        "-0",
        "-0.0",
        "0.1000000000000000055511151231257827",
        "1e999",
        "12345678901234567890",
        "9" * 5000,
    ],
)
def test_exact_numbers_keep_every_digit(text: str) -> None:
    body = f'{{"a":[{text}]}}'
    assert loads(body.encode(), exact=True) == {"a": [Number(text)]}
    assert dumps(loads(body.encode(), exact=True)) == body


@pytest.mark.parametrize("number", [0, 7, -1, 2**63 - 1, -(10**17)])
def test_ordinary_whole_numbers_are_ints(number: int) -> None:
    assert loads(str(number).encode(), exact=True) == number
    assert loads(str(number).encode()) == number


def test_dumps_is_compact_sorted_and_ascii() -> None:
    assert dumps({"b": [True, None, "é"], "a": {}}) == '{"a":{},"b":[true,null,"\\u00e9"]}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=150, deadline=None)
def test_loads_and_dumps_lose_nothing(value: Any) -> None:
    body = json.dumps(value).encode()
    assert json.loads(dumps(loads(body, exact=True))) == value
    assert loads(body) == value
