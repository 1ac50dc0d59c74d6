"""JSON read without leniency and written without loss.

The standard parser lets pass what would silently change a record: a key given twice, ``NaN``, numbers that are
rounded. Here such a text is refused, or the value is kept exactly.
"""

from __future__ import annotations

import codecs
import json
import math
from dataclasses import dataclass
from typing import Any

from airflow_provider_cloudlock.exceptions import CloudlockResponseError


@dataclass(frozen=True, slots=True)
class Number:
    """A number in the sender's own digits, because a float or a Python int would write it differently."""

    text: str


def _integer(text: str) -> int | Number:
    # Up to 19 characters are an int64; longer ones are kept as text, which also avoids Python's limit on digits.
    return int(text) if len(text) < 20 and text != "-0" else Number(text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:40]} is too large")
    return value


def _no_constant(text: str) -> object:
    raise ValueError(f"{text} is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} is given twice in one object")
    return members


_PLAIN = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite)
_EXACT = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_constant, parse_int=_integer, parse_float=Number
)


def loads(body: bytes, *, exact: bool = False) -> Any:
    """Parse a whole body.

    :param body: UTF-8, with or without a byte order mark.
    :param exact: give numbers that a float or an int64 would not hold exactly as :class:`Number`.
    :raises CloudlockResponseError: when it is anything but one JSON document.
    """
    try:
        return (_EXACT if exact else _PLAIN).decode(body.removeprefix(codecs.BOM_UTF8).decode("utf-8"))
    except RecursionError:
        raise CloudlockResponseError("The answer is JSON nested too deeply to be read.") from None
    except ValueError as error:
        raise CloudlockResponseError(f"The answer is not valid JSON: {error}.") from None


def dumps(value: Any) -> str:
    """Write what :func:`loads` read, compactly, with sorted keys and every digit as it came.

    :raises CloudlockResponseError: when it is nested too deeply.
    """
    try:
        return _written(value)
    except RecursionError:
        raise CloudlockResponseError("The answer is JSON nested too deeply to be kept.") from None


def _written(value: Any) -> str:
    if isinstance(value, Number):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_written(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value)
