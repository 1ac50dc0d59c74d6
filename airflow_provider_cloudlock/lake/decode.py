"""Response body -> page of Arrow: fast if it holds nothing but what is declared, lossless in any case."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.lake.arrow_json import as_table, envelope_of, has_identity, is_utf8, may_round, parse
from airflow_provider_cloudlock.lake.buffer import RangeBuffer
from airflow_provider_cloudlock.lake.lenient import LenientRows, Unkept
from airflow_provider_cloudlock.lake.memory import ARROW_LOCK
from airflow_provider_cloudlock.lake.page import ArrowPage, newest_rows
from airflow_provider_cloudlock.lake.schema import Layout, has_scalar
from airflow_provider_cloudlock.pages import Echo, key_of_all, open_envelope

_IDENTITY = ["key", "created", "updated"]


class ArrowFormat:
    """Decodes pages of Arrow.

    :param layout: layout of the resource's records.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        # JSON of any shape has no Arrow type, so a record with such a field is parsed leniently.
        declared = [each.name for each in layout.resource.fields if not has_scalar(each.type, "json")]
        record = pa.schema([layout.schema.field(name) for name in declared])
        place = record.get_field_index(layout.key)
        # Ids come as numbers or as text: the kind that fitted last is tried first.
        self._kinds = tuple(
            envelope_of(record.set(place, pa.field(layout.key, type_))) for type_ in (pa.int64(), pa.string())
        )
        self._lenient = LenientRows(layout)

    def decode(self, body: bytes) -> ArrowPage:
        """Decode a response.

        :raises CloudlockResponseError: if it is not a page.
        """
        with ARROW_LOCK:
            return self._decode_declared(body) or self._decode_leniently(body)

    def collector(self) -> RangeBuffer:
        """Return an empty collector."""
        return RangeBuffer(self._layout)

    def _decode_declared(self, body: bytes) -> ArrowPage | None:
        """Decode a page that holds nothing but what is declared, in one pass; return None if it holds more."""
        if body.lstrip()[:1] != b"{" or not is_utf8(body):
            return None
        if self._layout.has_floats and may_round(body):
            return None
        kinds = self._kinds
        for kind in kinds:
            try:
                envelope = parse(body, kind)
            except pa.ArrowInvalid:
                continue
            if envelope is None:
                return None
            if kind is not kinds[0]:
                self._kinds = kinds[::-1]
            echo, records = envelope
            table = as_table(records, self._layout.schema)
            created = self._layout.created(table)
            if not pc.all(has_identity(table[self._layout.key], created), min_count=0).as_py():
                return None
            # Counting numbers is faster than counting texts.
            return self._page(echo, self._identities(table, created), table, {}, records[self._layout.key])
        return None

    def _decode_leniently(self, body: bytes) -> ArrowPage:
        """Decode a page of any content record by record, in some seven times the CPU time."""
        echo, items = open_envelope(strict_json.loads(body, exact=True))
        resource, key = self._layout.resource, self._layout.key
        rows, unkept = [], {}
        received: dict[str, list[Any]] = {name: [] for name in _IDENTITY}
        for item in items:
            row = self._lenient.row(item)
            # The first time that is present counts, even if it cannot be read.
            created = next((row[name] for name in resource.time_fields if item.get(name) is not None), None)
            record_key = row.get(key) if created is not None else None
            if record_key:
                rows.append(row)
            else:
                record_key = key_of_all(item)
                unkept[record_key] = item, created
            for name, value in zip(_IDENTITY, (record_key, created, row.get(resource.version)), strict=True):
                received[name].append(value)
        table = pa.Table.from_pylist(rows, self._layout.schema)
        types = (pa.string(), self._layout.time, self._layout.time)
        identities = pa.table(received, pa.schema(list(zip(_IDENTITY, types, strict=True))))
        return self._page(echo, identities, table, unkept, table[key])

    def _identities(self, table: pa.Table, created: pa.ChunkedArray) -> pa.Table:
        columns = [table[self._layout.key], created, table[self._layout.resource.version]]
        return pa.table(columns, names=_IDENTITY)

    def _page(
        self, echo: Echo, received: pa.Table, table: pa.Table, unkept: Unkept, keys: pa.Array | pa.ChunkedArray
    ) -> ArrowPage:
        times = received["created"]
        one, other = times[:-1], times[1:]
        page = ArrowPage(
            echo=echo,
            received=received,
            ascending=not times.null_count and pc.all(pc.less_equal(one, other), min_count=0).as_py(),
            descending=not times.null_count and pc.all(pc.greater_equal(one, other), min_count=0).as_py(),
            table=table,
            unkept=unkept,
            layout=self._layout,
        )
        if pc.count_distinct(keys).as_py() == table.num_rows:
            return page
        return replace(page, table=table.take(newest_rows(table, self._layout)))
