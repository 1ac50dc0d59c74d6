"""Response body -> page of Arrow: fast if it holds nothing but what is declared, lossless in any case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock.instants import parse_record_time
from airflow_provider_cloudlock.lake.arrow_json import as_table, envelope_of, has_identity, is_utf8, may_round, parse
from airflow_provider_cloudlock.lake.buffer import RangeBuffer
from airflow_provider_cloudlock.lake.lenient import LenientDecoder, Unkept
from airflow_provider_cloudlock.lake.memory import ARROW_LOCK
from airflow_provider_cloudlock.lake.page import ArrowPage, newest_rows
from airflow_provider_cloudlock.lake.schema import Layout, has_scalar
from airflow_provider_cloudlock.pages import Echo


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
        envelopes: dict[type, pa.Schema] = {
            kind: envelope_of(record.set(place, pa.field(layout.key, type_)))
            for kind, type_ in ((int, pa.int64()), (str, pa.string()))
        }
        # Ids come as numbers or as text: the kind that fitted last is tried first.
        self._kinds = tuple(envelopes.values())
        self._lenient = LenientDecoder(layout, envelopes)

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
        echo, table, places, unkept = self._lenient.decode(body)
        received = self._identities(table, self._layout.created(table))
        if unkept:
            rows = [self._identity(*each) for each in unkept.values()]
            back = pc.sort_indices(pa.array([*places, *unkept], pa.int64()))
            received = pa.concat_tables([received, pa.Table.from_pylist(rows, received.schema)]).take(back)
        records = {key: (record, created) for key, record, created in unkept.values()}
        return self._page(echo, received, table, records, table[self._layout.key])

    def _identities(self, table: pa.Table, created: pa.ChunkedArray) -> pa.Table:
        columns = [table[self._layout.key], created, table[self._layout.resource.version]]
        return pa.table(columns, names=["key", "created", "updated"])

    def _identity(self, key: str, record: Mapping[str, Any], created: object) -> dict[str, Any]:
        updated = parse_record_time(record.get(self._layout.resource.version))
        return {"key": key, "created": created, "updated": updated[0] if updated else None}

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
