"""Pages that hold more or other values than declared: ordinary records are parsed together, the others one by one.

Nothing is lost: a value is coerced only where the column still tells what it was, and a value that no column can hold
goes into ``_extra`` as it came.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from types import GenericAlias
from typing import Annotated, Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.instants import parse_record_time
from airflow_provider_cloudlock.lake.arrow_json import as_table, has_identity, is_utf8, may_round, parse
from airflow_provider_cloudlock.lake.schema import EXTRA, Layout, has_scalar
from airflow_provider_cloudlock.pages import Echo, key_of_all, open_envelope, time_of
from airflow_provider_cloudlock.resources import Field, ListOf, Struct
from airflow_provider_cloudlock.resources.model import FieldType
from airflow_provider_cloudlock.strict_json import Number, dumps

#: Records without a usable key or creation time, with the latter, by a key made of all of their content.
Unkept = Mapping[str, tuple[dict[str, Any], datetime | None]]
#: A value for the column, and whether it says all that the original said.
Coerced = tuple[Any, bool]

_UNFIT: Coerced = (None, False)
_INT64 = range(-(2**63), 2**63)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,30})(?:\.\d{1,40})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_EMAILS = re.compile(r"[^\s,;@]+@[^\s,;@]+(?:,[ ]?[^\s,;@]+@[^\s,;@]+)*")
#: Records that Arrow refuses although they look ordinary are bisected down to this many.
_FEW = 32
#: The spellings of a time that Arrow reads as we do.
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?$")]
_MSGSPEC = {"timestamp": _Time, "string": str, "int64": int, "float64": float, "bool": bool}


class LenientPage(NamedTuple):
    """A decoded page.

    :param echo: the numbers of the envelope.
    :param table: the records that can be kept.
    :param places: their positions among the records received.
    :param unkept: the other records by position, each with the key made of its content and its creation time.
    """

    echo: Echo
    table: pa.Table
    places: list[int]
    unkept: dict[int, tuple[str, dict[str, Any], datetime | None]]


class LenientDecoder:
    """Decode pages of one resource.

    :param layout: layout of its records.
    :param envelopes: schema of a page of ordinary records, by the type of their keys.
    """

    def __init__(self, layout: Layout, envelopes: Mapping[type, pa.Schema]) -> None:
        self._layout = layout
        self._envelopes = envelopes
        self._types = {each.name: each.type for each in layout.resource.fields}
        members = _members([each for each in layout.resource.fields if each.name != layout.key])
        self._ordinary = msgspec.json.Decoder(
            msgspec.defstruct("Ordinary", [(layout.key, int | str), *members], forbid_unknown_fields=True)
        )

    def decode(self, body: bytes) -> LenientPage:
        """Decode a response.

        :raises CloudlockResponseError: if it is not a page.
        """
        try:
            echo, pieces = _cut(body)
        except (msgspec.DecodeError, RecursionError):  # half a surrogate pair, or nothing that can be read at all
            echo, items = open_envelope(strict_json.loads(body, exact=True))
            return self._joined(echo, [], [], dict(enumerate(items)))
        by_kind: dict[type, list[int]] = {kind: [] for kind in self._envelopes}
        odd = []
        for number, piece in enumerate(pieces):
            if self._layout.has_floats and may_round(bytes(piece)):
                odd.append(number)
                continue
            try:
                by_kind[type(getattr(self._ordinary.decode(piece), self._layout.key))].append(number)
            except msgspec.MsgspecError:
                odd.append(number)
        found: list[pa.Table] = []
        places: list[int] = []
        for kind, numbers in by_kind.items():
            self._parse(numbers, pieces, self._envelopes[kind], found, places, odd)
        return self._joined(echo, found, places, {number: _record(pieces[number]) for number in sorted(odd)})

    def _parse(
        self,
        numbers: list[int],
        pieces: Sequence[msgspec.Raw],
        envelope: pa.Schema,
        found: list[pa.Table],
        places: list[int],
        odd: list[int],
    ) -> None:
        """Parse records that look ordinary together; add those that are not to the odd ones."""
        if not numbers:
            return
        body = b'{"items":[' + b",".join([pieces[number] for number in numbers]) + b"]}"
        try:
            parsed = parse(body, envelope)
        except pa.ArrowInvalid:
            parsed = None
        if parsed is None and len(numbers) <= _FEW:
            odd += numbers
        elif parsed is None:
            middle = len(numbers) // 2
            self._parse(numbers[:middle], pieces, envelope, found, places, odd)
            self._parse(numbers[middle:], pieces, envelope, found, places, odd)
        else:
            table = as_table(parsed[1], self._layout.schema)
            usable = has_identity(table[self._layout.key], self._layout.created(table))
            found.append(table.filter(usable))
            for number, is_usable in zip(numbers, usable.to_pylist(), strict=True):
                (places if is_usable else odd).append(number)

    def _joined(
        self, echo: Echo, found: list[pa.Table], places: list[int], odd: Mapping[int, dict[str, Any]]
    ) -> LenientPage:
        """Coerce odd records, and put them among the others in the order in which they came."""
        rows = []
        unkept = {}
        places = list(places)
        for number, item in odd.items():
            row = self.row(item)
            created = time_of(item, self._layout.resource.time_fields)
            if row.get(self._layout.key) and created is not None:
                rows.append(row)
                places.append(number)
            else:
                unkept[number] = (key_of_all(item), item, created)
        table = pa.concat_tables([*found, pa.Table.from_pylist(rows, self._layout.schema)])
        return LenientPage(echo, table.take(pc.sort_indices(pa.array(places, pa.int64()))), sorted(places), unkept)

    def row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a record for the columns.

        :param record: as :func:`~airflow_provider_cloudlock.strict_json.loads` reads it exactly.
        """
        row: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        for name, value in record.items():
            type_ = self._types.get(name)
            if type_ is None:
                extra[name] = value
            elif value is not None:
                row[name], is_exact = coerce(type_, _key_text(value) if name == self._layout.key else value)
                if not is_exact:
                    extra[name] = value
        if extra:
            row[EXTRA] = dumps(extra)
        return row


def coerce(type_: FieldType, value: Any) -> Coerced:
    """Return a JSON value as a value of a declared type, and whether that says all of it."""
    if isinstance(type_, ListOf):
        return _coerce_list(type_.element, value)
    if isinstance(type_, Struct):
        return _coerce_struct(type_, value)
    if type_ == "json":
        return dumps(value), True
    if type_ == "timestamp":
        return parse_record_time(value) or _UNFIT
    if type_ == "bool":
        return (value, True) if type(value) is bool else _UNFIT
    if type_ == "string":
        return (value, True) if isinstance(value, str) and _is_unicode(value) else _UNFIT
    return _coerce_number(value, is_integer=type_ == "int64")


def _coerce_list(element: FieldType, value: Any) -> Coerced:
    if isinstance(value, str) and isinstance(element, Struct) and element.email_member and _EMAILS.fullmatch(value):
        emails = re.split(", ?", value)
        coerced = [coerce(element, email) for email in emails]
        is_exact = value in (", ".join(emails), ",".join(emails))
    else:
        coerced = [
            (None, True) if each is None else coerce(element, each)
            for each in (value if isinstance(value, list) else [value])
        ]
        is_exact = True
    if any(each is _UNFIT for each in coerced):
        return _UNFIT
    return [each for each, _ in coerced], is_exact and all(exact for _, exact in coerced)


def _coerce_struct(struct: Struct, value: Any) -> Coerced:
    if isinstance(value, str) and struct.email_member and "," not in value and _EMAILS.fullmatch(value):
        value = {struct.email_member: value}
    if not isinstance(value, dict):
        return _UNFIT
    members = {each.name: each.type for each in struct.members}
    coerced = {
        name: (None, True) if value.get(name) is None else coerce(type_, value[name]) for name, type_ in members.items()
    }
    if any(each is _UNFIT for each in coerced.values()):
        return _UNFIT
    is_exact = value.keys() <= members.keys() and all(exact for _, exact in coerced.values())
    return {name: each for name, (each, _) in coerced.items()}, is_exact


def _coerce_number(value: Any, *, is_integer: bool) -> Coerced:
    text = value.text if isinstance(value, Number) else value if isinstance(value, str) else str(value)
    if type(value) is bool or not _NUMBER.fullmatch(text) or (isinstance(value, str) and text in ("-0", "-0.0")):
        return _UNFIT
    number = Decimal(text)
    if not is_integer:
        found = float(text)
        is_exact = Decimal(repr(found)) == number
        if isinstance(value, str):  # the column cannot tell "1.50" from "1.5"
            is_exact = is_exact and text in (repr(found), repr(found).removesuffix(".0"))
        return (found, is_exact) if abs(found) != float("inf") else _UNFIT
    if isinstance(value, str) and not text.lstrip("-").isdigit():
        return _UNFIT
    is_whole = number.adjusted() < 20 and number == number.to_integral_value() and int(number) in _INT64
    return (int(number), True) if is_whole else _UNFIT


def _key_text(value: Any) -> Any:
    if type(value) is int:
        return str(value)
    if isinstance(value, Number) and re.fullmatch(r"-?[1-9]\d*", value.text):
        return value.text
    return value


def _is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; half a surrogate pair cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Envelope(msgspec.Struct):
    items: msgspec.Raw


def _cut(body: bytes) -> tuple[Echo, list[msgspec.Raw]]:
    """Cut the records out of a page, unparsed, and parse the rest of it strictly.

    :raises msgspec.DecodeError: if it cannot be cut.
    :raises CloudlockResponseError: if it is not a page.
    """
    body = body.removeprefix(codecs.BOM_UTF8)
    if not is_utf8(body):
        raise msgspec.DecodeError("not UTF-8")
    items = msgspec.json.decode(body, type=_Envelope).items
    pieces: list[msgspec.Raw] = msgspec.json.decode(items, type=list[msgspec.Raw])
    cut = pa.py_buffer(items)
    start = cut.address - pa.py_buffer(body).address
    echo, _ = open_envelope(strict_json.loads(body[:start] + b"[]" + body[start + cut.size :], exact=True))
    return echo, pieces


def _record(piece: msgspec.Raw) -> dict[str, Any]:
    item = strict_json.loads(bytes(piece), exact=True)
    if not isinstance(item, dict):
        raise CloudlockResponseError("The list under 'items' contains a value that is not an object.")
    return item


def _members(fields: Sequence[Field]) -> list[Any]:
    """Return the members of a msgspec struct for ordinary values of some fields; JSON is never ordinary."""
    return [(each.name, _msgspec_type(each.type) | None, None) for each in fields if not has_scalar(each.type, "json")]


def _msgspec_type(type_: FieldType) -> Any:
    if isinstance(type_, ListOf):
        return GenericAlias(list, (_msgspec_type(type_.element) | None,))
    if isinstance(type_, Struct):
        return msgspec.defstruct("Member", _members(type_.members), forbid_unknown_fields=True)
    return _MSGSPEC[type_]
