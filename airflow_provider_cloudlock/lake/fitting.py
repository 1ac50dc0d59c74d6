"""A record that does not fit the schema as it is -> one that does, and what had to be set apart.

Nothing is lost: a value is coerced only where it can be told back from the column, and whatever cannot goes into
``_extra`` as it came.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from airflow_provider_cloudlock.instants import parse_record_time
from airflow_provider_cloudlock.lake.schemas import EXTRA
from airflow_provider_cloudlock.strict_json import Number, dumps

#: A value for the column, and whether it says all that the original said.
Fitted = tuple[Any, bool]

_NOTHING: Fitted = (None, False)
_USER = ("display_name", "email")
_INT64 = range(-(2**63), 2**63)
_EMAILS = re.compile(r"[^\s,;@]+@[^\s,;@]+(?:,[ ]?[^\s,;@]+@[^\s,;@]+)*")


class Fitting:
    """Makes records of one resource fit.

    :param schema: of the resource.
    :param key: the field whose numbers are text in the lake.
    """

    def __init__(self, schema: pa.Schema, key: str) -> None:
        self._key = key
        self._fitters = {field.name: _fitter(field.type) for field in schema if field.name != EXTRA}

    def fit(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Make a record fit.

        :param record: as :func:`~airflow_provider_cloudlock.strict_json.loads` reads it exactly.
        :return: values for the columns, as plain JSON values.
        """
        row: dict[str, Any] = {}
        apart: dict[str, Any] = {}
        for name, value in record.items():
            fitter = self._fitters.get(name)
            if fitter is None:
                apart[name] = value
            elif value is not None:
                row[name], whole = fitter(_key_text(value) if name == self._key else value)
                if not whole:
                    apart[name] = value
        if apart:
            row[EXTRA] = dumps(apart)
        return row


def _key_text(value: Any) -> Any:
    if type(value) is int:
        return str(value)
    if isinstance(value, Number) and re.fullmatch(r"-?[1-9]\d*", value.text):
        return value.text
    return value


def _fitter(kind: pa.DataType) -> Callable[[Any], Fitted]:
    if pa.types.is_string(kind):
        return _text
    if pa.types.is_integer(kind):
        return _integer
    if pa.types.is_timestamp(kind):
        return _instant
    if pa.types.is_string(kind.value_type):
        return _texts
    return _users


def _text(value: Any) -> Fitted:
    return (value, True) if isinstance(value, str) and _is_unicode(value) else _NOTHING


def _is_unicode(text: str) -> bool:
    """Whether it can be written as UTF-8; half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _integer(value: Any) -> Fitted:
    if isinstance(value, str) and re.fullmatch(r"-?[1-9]\d{0,18}|0", value, re.ASCII):
        value = int(value)
    elif isinstance(value, Number) and re.fullmatch(r"[-\d.]{1,40}([eE][-+]?\d{1,3})?", value.text, re.ASCII):
        exact = Decimal(value.text)  # 13.0 and 1.3e1 are 13
        value = int(exact) if exact.adjusted() < 20 and exact == exact.to_integral_value() else None
    return (value, True) if type(value) is int and value in _INT64 else _NOTHING


def _instant(value: Any) -> Fitted:
    parsed = parse_record_time(value)
    return (parsed[0].isoformat(), parsed[1]) if parsed else _NOTHING


def _texts(value: Any) -> Fitted:
    texts = value if isinstance(value, list) else [value]
    return (texts, True) if all(text is None or _text(text)[1] for text in texts) else _NOTHING


def _users(value: Any) -> Fitted:
    """Users come as objects, and by the vendor's table as text: one address, or several with commas between."""
    if isinstance(value, str):
        addresses = re.split(", ?", value) if _EMAILS.fullmatch(value) else []
        whole = value in (", ".join(addresses), ",".join(addresses))
        return ([{"email": address} for address in addresses], whole) if addresses and _is_unicode(value) else _NOTHING
    users: list[dict[str, Any] | None] = []
    whole = True
    for user in value if isinstance(value, list) else [value]:
        if user is None:
            users.append(None)
            continue
        if isinstance(user, str) and _EMAILS.fullmatch(user) and "," not in user:
            user = {"email": user}
        known = {name: user.get(name) for name in _USER} if isinstance(user, dict) else None
        if known is None or not all(text is None or _text(text)[1] for text in known.values()):
            return _NOTHING
        whole = whole and user.keys() <= known.keys()
        users.append(known)
    return users, whole
