"""Response body -> page of Arrow: fast where the answer is well-formed, lossless where it is not."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.lake.fitting import Fitting
from airflow_provider_cloudlock.lake.schemas import EXTRA, Layout
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo, Mark, key_of_all, open_envelope, time_of

_ECHO = ("limit", "offset", "total", "results")


@dataclass(frozen=True, slots=True, eq=False)
class ArrowPage:
    """A page of records as an Arrow table. A key that came twice is held once, with the newest ``updated_at``.

    :param keys: of all records, as they came.
    :param times: when they were created, null where that is not known.
    :param table: the records that can be kept, with the resource's schema.
    :param unkept: the records without a usable key or creation time, as they came, by a key made of all of them.
    :param created: the creation time of every row of ``table``.
    """

    echo: Echo
    rows: int
    first: Mark | None
    last: Mark | None
    ascending: bool
    descending: bool
    keys: pa.ChunkedArray
    times: pa.ChunkedArray
    table: pa.Table
    created: pa.ChunkedArray
    unkept: Mapping[str, tuple[dict[str, Any], datetime | None]]
    key: str

    @property
    def distinct(self) -> int:
        """How many different keys there are."""
        return int(self.table.num_rows) + len(self.unkept)

    def head(self, count: int) -> tuple[Mark, ...]:
        """Return the first so many records, or all when there are fewer."""
        return tuple(map(Mark, self.keys[:count].to_pylist(), self.times[:count].to_pylist()))

    def tail(self) -> tuple[Mark, ...]:
        """Return the last record and those just before it that were created at the same time."""
        start = len(self.keys) - 1
        while start > 0 and self.times[start - 1] == self.times[-1]:
            start -= 1
        return tuple(map(Mark, self.keys[start:].to_pylist(), self.times[start:].to_pylist()))

    def version(self, key: str) -> datetime | None:
        """Return when the record of a key was updated; ``NEVER_UPDATED`` if it does not say, None if it is not here."""
        place = self._place(key)
        if place < 0:
            return NEVER_UPDATED if key in self.unkept else None
        updated: datetime | None = self.table["updated_at"][place].as_py()
        return updated or NEVER_UPDATED

    def without(self, key: str) -> ArrowPage:
        """Return the page without the record of a key."""
        place = self._place(key)
        if place < 0:
            return replace(self, unkept={other: record for other, record in self.unkept.items() if other != key})
        table = pa.concat_tables([self.table[:place], self.table[place + 1 :]])
        created = pa.chunked_array([*self.created[:place].chunks, *self.created[place + 1 :].chunks], self.created.type)
        return replace(self, table=table, created=created)

    def _place(self, key: str) -> int:
        return int(pc.index(self.table[self.key], key).as_py())

    def select(self, start: datetime | None, end: datetime | None, without_status: str | None) -> ArrowPage:
        """Return the records created in ``[start, end)`` that do not have the one status, compared without case.

        A record whose creation time is not known stays: nobody can say that it does not belong here.
        """
        wanted = pa.chunked_array([pa.repeat(True, self.table.num_rows)])
        unkept = dict(self.unkept)
        if start is not None:
            wanted = pc.and_(wanted, pc.greater_equal(self.created, pa.scalar(start, self.created.type)))
            unkept = {key: each for key, each in unkept.items() if each[1] is None or each[1] >= start}
        if end is not None:
            wanted = pc.and_(wanted, pc.less(self.created, pa.scalar(end, self.created.type)))
            unkept = {key: each for key, each in unkept.items() if each[1] is None or each[1] < end}
        if without_status is not None:
            other = pc.equal(pc.utf8_lower(self.table["status"]), without_status)
            wanted = pc.and_(wanted, pc.invert(pc.fill_null(other, False)))
        return replace(self._where(wanted), unkept=unkept)

    def _where(self, wanted: pa.ChunkedArray) -> ArrowPage:
        if pc.all(wanted, min_count=0).as_py():
            return self
        return replace(self, table=self.table.filter(wanted), created=self.created.filter(wanted))


class ArrowFormat:
    """Makes pages of Arrow.

    :param layout: of the resource's records.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._schema = schema = layout.schema
        self._key = key = layout.key
        record = pa.schema([field for field in schema if field.name != EXTRA])
        # Ids come as numbers or as text: the kind that fitted last is tried first.
        self._kinds = [
            _envelope(record.set(record.get_field_index(key), pa.field(key, kind)))
            for kind in (pa.int64(), pa.string())
        ]
        self._fitted = _envelope(schema)
        self._fitting = Fitting(schema, key)

    def decode(self, body: bytes) -> ArrowPage:
        """Read an answer.

        :raises CloudlockResponseError: when it is not a page.
        """
        return self._decode_well_formed(body) or self._decode_odd(body)

    def distinct(self, pages: Sequence[ArrowPage]) -> int:
        """Count the different keys over several pages."""
        unkept = len(set().union(*(page.unkept for page in pages)))
        keys = [chunk for page in pages for chunk in page.table[self._key].chunks]
        return unkept + (pc.count_distinct(pa.chunked_array(keys, pa.string())).as_py() if keys else 0)

    def _decode_well_formed(self, body: bytes) -> ArrowPage | None:
        """Read a page that holds nothing but what the schema names, in one pass; None when it does not.

        Arrow's parser is strict with a schema: keys given twice, unknown fields, other types, NaN, numbers too large,
        rubbish at the end all raise. It does not look at the encoding, and must not be given a bare ``null``.
        """
        if body.lstrip()[:1] != b"{" or not _is_utf8(body):
            return None
        for kind in self._kinds:
            try:
                envelope = _parse(body, kind)
            except pa.ArrowInvalid:
                continue
            if envelope is None:
                return None
            if kind is not self._kinds[0]:
                self._kinds.reverse()
            echo, records = envelope
            columns = [records[name].cast(self._schema.field(name).type) for name in records.schema.names]
            table = pa.table([*columns, pa.nulls(len(records), pa.string())], self._schema)
            created = self._layout.created(table)
            keys = table[self._key]
            if created.null_count or keys.null_count or pc.any(pc.equal(keys, ""), min_count=0).as_py():
                return None
            return self._page(echo, keys, created, table, {})
        return None

    def _decode_odd(self, body: bytes) -> ArrowPage:
        """Read any other page record by record, setting apart what does not fit."""
        echo, items = open_envelope(strict_json.loads(body, exact=True))
        fitted = []
        unkept = {}
        marks = []
        for item in items:
            row = self._fitting.fit(item)
            created = time_of(item, self._layout.time_fields)
            key = row.get(self._key) or key_of_all(item)
            marks.append(Mark(key, created))
            if row.get(self._key) and created is not None:
                fitted.append(row)
            else:
                unkept[key] = (item, created)
        parsed = _parse(json.dumps({"items": fitted}).encode(), self._fitted)
        if parsed is None:  # cannot be: every row was made to fit
            raise AssertionError("fitted records were not parsed")
        table = pa.table(parsed[1].columns, self._schema)
        keys = pa.chunked_array([pa.array([mark.key for mark in marks], pa.string())])
        times = pa.chunked_array([pa.array([mark.created for mark in marks], table["updated_at"].type)])
        return self._page(echo, keys, times, table, unkept)

    def _page(
        self,
        echo: Echo,
        keys: pa.ChunkedArray,
        times: pa.ChunkedArray,
        table: pa.Table,
        unkept: Mapping[str, tuple[dict[str, Any], datetime | None]],
    ) -> ArrowPage:
        created = self._layout.created(table)
        one, other = created[:-1], created[1:]
        page = ArrowPage(
            echo=echo,
            rows=len(keys),
            first=Mark(keys[0].as_py(), times[0].as_py()) if len(keys) else None,
            last=Mark(keys[-1].as_py(), times[-1].as_py()) if len(keys) else None,
            ascending=pc.all(pc.less_equal(one, other), min_count=0).as_py(),
            descending=pc.all(pc.greater_equal(one, other), min_count=0).as_py(),
            keys=keys,
            times=times,
            table=table,
            created=created,
            unkept=unkept,
            key=self._key,
        )
        if pc.count_distinct(table[self._key]).as_py() == table.num_rows:
            return page
        newest = newest_rows(table, self._key)
        return replace(page, table=table.take(newest), created=created.take(newest))


def _envelope(record: pa.Schema) -> pa.Schema:
    return pa.schema([*((name, pa.int64()) for name in _ECHO), ("items", pa.list_(pa.struct(list(record))))])


def _parse(body: bytes, schema: pa.Schema) -> tuple[Echo, pa.RecordBatch] | None:
    """Parse a body as one row of an envelope, so that Arrow reads all of it in one pass.

    :return: its numbers and its records, None when it is not one envelope with a list of objects.
    :raises pyarrow.ArrowInvalid: when it does not fit the schema.
    """
    table = pj.read_json(
        pa.BufferReader(body),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(body) + 1),
        parse_options=pj.ParseOptions(explicit_schema=schema, unexpected_field_behavior="error"),
    )
    if table.num_rows != 1 or table["items"].null_count:
        return None
    items = table["items"].combine_chunks().flatten()
    if items.null_count:
        return None
    return Echo(*(table[name][0].as_py() for name in _ECHO)), pa.RecordBatch.from_struct_array(items)


def _is_utf8(body: bytes) -> bool:
    """Whether a body is UTF-8; Arrow checks a text several times faster than Python decodes it."""
    ends = pa.py_buffer(struct.pack("=2i", 0, len(body)))
    text = pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(body)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def newest_rows(table: pa.Table, key: str) -> pa.Array:
    """Positions, in order, of one row of each key: the one with the newest ``updated_at``, the later of equals."""
    rows = pa.table(
        [table[key], table["updated_at"], pa.array(range(table.num_rows))], names=["key", "updated_at", "position"]
    )
    ranked = rows.sort_by([("key", "ascending"), ("updated_at", "descending"), ("position", "descending")])
    first = pc.not_equal(ranked["key"][1:], ranked["key"][:-1])
    first = pa.chunked_array([pa.array([True]), *first.chunks])
    positions = ranked["position"].filter(first)
    return positions.take(pc.sort_indices(positions)).combine_chunks()
