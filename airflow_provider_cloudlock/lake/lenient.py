"""Records that hold more or other values than declared: each value is coerced, or kept as it came.

Nothing is lost: a value is coerced only where the column still tells what it was, and a value that no column can hold
goes into ``_extra``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from airflow_provider_cloudlock.instants import parse_record_time
from airflow_provider_cloudlock.lake.schema import EXTRA, Layout
from airflow_provider_cloudlock.resources import ListOf, Struct
from airflow_provider_cloudlock.resources.model import FieldType
from airflow_provider_cloudlock.strict_json import Number, dumps

#: Records without a usable key or creation time, with the latter, by a key made of all of their content.
Unkept = Mapping[str, tuple[dict[str, Any], datetime | None]]
#: A value for the column, and whether it says all that the original said.
Coerced = tuple[Any, bool]
Coercer = Callable[[Any], Coerced]

_NULL: Coerced = (None, True)
_UNFIT: Coerced = (None, False)
_INT64 = range(-(2**63), 2**63)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,30})(?:\.\d{1,40})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_EMAILS = re.compile(r"[^\s,;@]+@[^\s,;@]+(?:,[ ]?[^\s,;@]+@[^\s,;@]+)*")


class LenientRows:
    """Make rows of records of any content.

    :param layout: layout of the records.
    """

    def __init__(self, layout: Layout) -> None:
        self._coercers = {each.name: coercer(each.type) for each in layout.resource.fields}
        self._coercers[layout.key] = _coerce_key

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a record for the columns.

        :param record: as :func:`~airflow_provider_cloudlock.strict_json.loads` reads it exactly.
        """
        row: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in record.items():
            coerce = self._coercers.get(name)
            if coerce is None:
                extra[name] = value
            elif value is not None:
                row[name], is_exact = coerce(value)
                if not is_exact:
                    extra[name] = value
        if extra:
            row[EXTRA] = dumps(extra)
        return row


def coercer(type_: FieldType) -> Coercer:
    """Return a function that returns a JSON value as a value of a declared type, and whether that says all of it."""
    if isinstance(type_, ListOf):
        has_emails = isinstance(type_.element, Struct) and type_.element.email_member is not None
        return partial(_coerce_list, coercer(type_.element), has_emails)
    if isinstance(type_, Struct):
        members = {each.name: coercer(each.type) for each in type_.members}
        return partial(_coerce_struct, members, type_.email_member)
    return _SCALARS[type_]


def _coerce_key(value: Any) -> Coerced:
    if type(value) is int:
        return str(value), True
    is_integer = isinstance(value, Number) and re.fullmatch(r"-?[1-9]\d*", value.text)
    return (value.text, True) if is_integer else _coerce_string(value)


def _coerce_string(value: Any) -> Coerced:
    return (value, True) if isinstance(value, str) and _is_unicode(value) else _UNFIT


def _coerce_bool(value: Any) -> Coerced:
    return (value, True) if type(value) is bool else _UNFIT


def _coerce_time(value: Any) -> Coerced:
    return parse_record_time(value) or _UNFIT


def _coerce_json(value: Any) -> Coerced:
    return dumps(value), True


def _coerce_integer(value: Any) -> Coerced:
    if type(value) is int and value in _INT64:
        return value, True
    text = _number_text(value)
    if not text or (isinstance(value, str) and not text.lstrip("-").isdigit()):
        return _UNFIT
    number = Decimal(text)
    is_whole = number.adjusted() < 20 and number == number.to_integral_value() and int(number) in _INT64
    return (int(number), True) if is_whole else _UNFIT


def _coerce_float(value: Any) -> Coerced:
    text = _number_text(value)
    if not text:
        return _UNFIT
    found = float(text)
    is_exact = Decimal(repr(found)) == Decimal(text)
    if isinstance(value, str):  # the column cannot tell "1.50" from "1.5"
        is_exact = is_exact and text in (repr(found), repr(found).removesuffix(".0"))
    return (found, is_exact) if abs(found) != float("inf") else _UNFIT


def _number_text(value: Any) -> str:
    """Return the digits of a number, or of a text that holds one; an empty text for anything else."""
    text = value.text if isinstance(value, Number) else value if isinstance(value, str) else str(value)
    is_number = type(value) is not bool and _NUMBER.fullmatch(text)
    return text if is_number and not (isinstance(value, str) and text in ("-0", "-0.0")) else ""


_SCALARS: dict[FieldType, Coercer] = {
    "string": _coerce_string,
    "timestamp": _coerce_time,
    "int64": _coerce_integer,
    "float64": _coerce_float,
    "bool": _coerce_bool,
    "json": _coerce_json,
}


def _coerce_list(coerce: Coercer, has_emails: bool, value: Any) -> Coerced:
    if has_emails and isinstance(value, str) and _EMAILS.fullmatch(value):
        values = re.split(", ?", value)
        is_exact = value in (", ".join(values), ",".join(values))
    else:
        values, is_exact = value if isinstance(value, list) else [value], True
    elements = []
    for each in values:
        coerced = _NULL if each is None else coerce(each)
        if coerced is _UNFIT:
            return _UNFIT
        elements.append(coerced[0])
        is_exact = is_exact and coerced[1]
    return elements, is_exact


def _coerce_struct(members: Mapping[str, Coercer], email_member: str | None, value: Any) -> Coerced:
    if email_member and isinstance(value, str) and "," not in value and _EMAILS.fullmatch(value):
        value = {email_member: value}
    if not isinstance(value, dict):
        return _UNFIT
    found, is_exact = {}, value.keys() <= members.keys()
    for name, coerce in members.items():
        member = value.get(name)
        coerced = _NULL if member is None else coerce(member)
        if coerced is _UNFIT:
            return _UNFIT
        found[name] = coerced[0]
        is_exact = is_exact and coerced[1]
    return found, is_exact


def _is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
