"""Response body -> page of Arrow: fast where the answer is well-formed, lossless where it is not."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock.lake.arrow_json import as_table, envelope_of, identified, is_utf8, parse
from airflow_provider_cloudlock.lake.memory import ONE_AT_A_TIME
from airflow_provider_cloudlock.lake.odd import OddReader, Unkept
from airflow_provider_cloudlock.lake.page import ArrowPage, newest_rows
from airflow_provider_cloudlock.lake.schemas import EXTRA, Layout
from airflow_provider_cloudlock.lake.spool import Spool
from airflow_provider_cloudlock.pages import Echo, Mark


class ArrowFormat:
    """Makes pages of Arrow.

    :param layout: of the resource's records.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        record = pa.schema([field for field in layout.schema if field.name != EXTRA])
        place = record.get_field_index(layout.key)
        envelopes: dict[type, pa.Schema] = {
            kind: envelope_of(record.set(place, pa.field(layout.key, type_)))
            for kind, type_ in ((int, pa.int64()), (str, pa.string()))
        }
        # Ids come as numbers or as text: the kind that fitted last is tried first.
        self._kinds = tuple(envelopes.values())
        self._odd = OddReader(layout, envelopes)

    def decode(self, body: bytes) -> ArrowPage:
        """Read an answer.

        :raises CloudlockResponseError: when it is not a page.
        """
        with ONE_AT_A_TIME:
            page = self._decode_well_formed(body)
            if page is None:
                echo, keys, times, table, unkept = self._odd.read(body)
                distinct = pc.count_distinct(table[self._layout.key]).as_py()
                page = self._page(echo, keys, times, table, unkept, distinct)
            return page

    def gather(self) -> Spool:
        """Return what puts pages together, still empty."""
        return Spool(self._layout)

    def _decode_well_formed(self, body: bytes) -> ArrowPage | None:
        """Read a page that holds nothing but what the schema names, in one pass; None when it does not."""
        if body.lstrip()[:1] != b"{" or not is_utf8(body):
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
            keys, created = table[self._layout.key], self._layout.created(table)
            if not pc.all(identified(keys, created), min_count=0).as_py():
                return None
            # To count numbers is faster than to count texts.
            distinct = pc.count_distinct(records[self._layout.key]).as_py()
            return self._page(echo, keys, created, table, {}, distinct)
        return None

    def _page(
        self,
        echo: Echo,
        keys: pa.ChunkedArray,
        times: pa.ChunkedArray,
        table: pa.Table,
        unkept: Unkept,
        distinct: int,
    ) -> ArrowPage:
        created = self._layout.created(table)
        one, other = times[:-1], times[1:]
        dated = not times.null_count
        page = ArrowPage(
            echo=echo,
            rows=len(keys),
            first=Mark(keys[0].as_py(), times[0].as_py()) if len(keys) else None,
            last=Mark(keys[-1].as_py(), times[-1].as_py()) if len(keys) else None,
            ascending=dated and pc.all(pc.less_equal(one, other), min_count=0).as_py(),
            descending=dated and pc.all(pc.greater_equal(one, other), min_count=0).as_py(),
            keys=keys,
            times=times,
            table=table,
            created=created,
            unkept=unkept,
            key=self._layout.key,
        )
        if distinct == table.num_rows:
            return page
        newest = newest_rows(table, self._layout.key)
        return replace(page, table=table.take(newest), created=created.take(newest))
