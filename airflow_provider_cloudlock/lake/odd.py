"""A page that is not as promised: what is ordinary in it is read fast, and the rest record by record, without loss."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from types import GenericAlias
from typing import Annotated, Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.lake.arrow_json import as_table, envelope_of, identified, is_utf8, parse
from airflow_provider_cloudlock.lake.fitting import Fitting
from airflow_provider_cloudlock.lake.schemas import EXTRA, Layout
from airflow_provider_cloudlock.pages import Echo, key_of_all, open_envelope, time_of

Unkept = Mapping[str, tuple[dict[str, Any], datetime | None]]

#: Records beyond suspicion that Arrow refuses all the same are narrowed down to so many.
_FEW = 32

#: The usual ways of writing a time that Arrow reads as we do; any other is looked at one by one.
_Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?$")]


class OddPage(NamedTuple):
    """What was found.

    :param echo: the numbers of the envelope.
    :param keys: of all records, as they came.
    :param times: when they were created, null where that is not known.
    :param table: the records that can be kept.
    :param unkept: the others, by a key made of all of them.
    """

    echo: Echo
    keys: pa.Array
    times: pa.Array
    table: pa.Table
    unkept: Unkept


class OddReader:
    """Reads odd pages of one resource.

    :param layout: of its records.
    :param envelopes: of a page of ordinary records, by the type of their keys.
    """

    def __init__(self, layout: Layout, envelopes: Mapping[type, pa.Schema]) -> None:
        self._layout = layout
        self._envelopes = envelopes
        self._fitted = envelope_of(layout.schema)
        self._fitting = Fitting(layout.schema, layout.key)
        others = [each for each in layout.schema if each.name not in (layout.key, EXTRA)]
        fields: list[Any] = [(layout.key, int | str), *((each.name, _plain(each.type), None) for each in others)]
        self._ordinary = msgspec.json.Decoder(msgspec.defstruct("Ordinary", fields, forbid_unknown_fields=True))

    def read(self, body: bytes) -> OddPage:
        """Read a page.

        :raises CloudlockResponseError: when it is none.
        """
        try:
            echo, pieces = _cut(body)
        except (msgspec.DecodeError, RecursionError):  # half a surrogate pair, or nothing that could be read at all
            echo, items = open_envelope(strict_json.loads(body, exact=True))
            return self._joined(echo, [], [], dict(enumerate(items)))
        by_kind: dict[type, list[int]] = {kind: [] for kind in self._envelopes}
        odd = []
        for number, piece in enumerate(pieces):
            try:
                by_kind[type(getattr(self._ordinary.decode(piece), self._layout.key))].append(number)
            except msgspec.MsgspecError:
                odd.append(number)
        found: list[pa.Table] = []
        places: list[int] = []
        for kind, numbers in by_kind.items():
            self._read_ordinary(numbers, pieces, self._envelopes[kind], found, places, odd)
        return self._joined(echo, found, places, {number: _record(pieces[number]) for number in sorted(odd)})

    def _read_ordinary(
        self,
        numbers: list[int],
        pieces: Sequence[msgspec.Raw],
        envelope: pa.Schema,
        found: list[pa.Table],
        places: list[int],
        odd: list[int],
    ) -> None:
        """Read records that seem ordinary all at once; those that are not, after all, are added to the odd ones."""
        if not numbers:
            return
        body = b'{"items":[' + b",".join([pieces[number] for number in numbers]) + b"]}"
        try:
            parsed = parse(body, envelope)
        except pa.ArrowInvalid:
            parsed = None
        if parsed is None:
            if len(numbers) <= _FEW:
                odd += numbers
                return
            middle = len(numbers) // 2
            for half in (numbers[:middle], numbers[middle:]):
                self._read_ordinary(half, pieces, envelope, found, places, odd)
            return
        table = as_table(parsed[1], self._layout.schema)
        usable = identified(table[self._layout.key], self._layout.created(table))
        found.append(table.filter(usable))
        for number, is_usable in zip(numbers, usable.to_pylist(), strict=True):
            (places if is_usable else odd).append(number)

    def _joined(
        self, echo: Echo, found: list[pa.Table], places: list[int], odd: Mapping[int, dict[str, Any]]
    ) -> OddPage:
        """Make odd records fit, and put them with the others in the order in which they came."""
        rows = []
        fitted = []
        unkept = {}
        for number, item in odd.items():
            row = self._fitting.fit(item)
            created = time_of(item, self._layout.time_fields)
            if row.get(self._layout.key) and created is not None:
                rows.append(row)
                fitted.append(number)
            else:
                unkept[number] = (key_of_all(item), item, created)
        parsed = parse(json.dumps({"items": rows}).encode(), self._fitted)
        if parsed is None:  # cannot be: every row was made to fit
            raise AssertionError("fitted records were not parsed")
        places = [*places, *fitted]
        table = pa.concat_tables([*found, as_table(parsed[1], self._layout.schema)])
        table = table.take(pc.sort_indices(pa.array(places, pa.int64())))
        back = pc.sort_indices(pa.array([*sorted(places), *unkept], pa.int64()))
        keys = pa.array([key for key, _, _ in unkept.values()], pa.string())
        times = pa.array([created for _, _, created in unkept.values()], self._layout.time)
        return OddPage(
            echo=echo,
            keys=pa.chunked_array([*table[self._layout.key].chunks, keys]).take(back),
            times=pa.chunked_array([*self._layout.created(table).chunks, times]).take(back),
            table=table,
            unkept={key: (item, created) for key, item, created in unkept.values()},
        )


class _Envelope(msgspec.Struct):
    items: msgspec.Raw


def _cut(body: bytes) -> tuple[Echo, list[msgspec.Raw]]:
    """Cut the records out of a page, unread, and read the rest of it strictly.

    :raises msgspec.DecodeError: when it cannot be cut.
    :raises CloudlockResponseError: when it is no page.
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
        raise CloudlockResponseError("The list under 'items' holds something that is not an object.")
    return item


def _plain(kind: pa.DataType) -> Any:
    """Return the type, in Python's terms, of the JSON that becomes a column."""
    if pa.types.is_timestamp(kind):
        return _Time | None
    if pa.types.is_string(kind):
        return str | None
    if pa.types.is_integer(kind):
        return int | None
    if pa.types.is_struct(kind):
        members = [(field.name, _plain(field.type), None) for field in kind]
        return msgspec.defstruct("Member", members, forbid_unknown_fields=True) | None
    return GenericAlias(list, (_plain(kind.value_type),)) | None
