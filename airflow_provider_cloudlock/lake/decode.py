"""Response body -> page of Arrow: fast where the answer is well-formed, lossless where it is not."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.lake.fitting import Fitting
from airflow_provider_cloudlock.lake.memory import ONE_AT_A_TIME
from airflow_provider_cloudlock.lake.page import ArrowPage, newest_rows
from airflow_provider_cloudlock.lake.schemas import EXTRA, Layout
from airflow_provider_cloudlock.lake.spool import Spool
from airflow_provider_cloudlock.pages import Echo, Mark, key_of_all, open_envelope, time_of

_ECHO = ("limit", "offset", "total", "results")


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
        self._kinds = tuple(
            _envelope(record.set(record.get_field_index(key), pa.field(key, kind)))
            for kind in (pa.int64(), pa.string())
        )
        self._fitted = _envelope(schema)
        self._fitting = Fitting(schema, key)

    def decode(self, body: bytes) -> ArrowPage:
        """Read an answer.

        :raises CloudlockResponseError: when it is not a page.
        """
        with ONE_AT_A_TIME:
            return self._decode_well_formed(body) or self._decode_odd(body)

    def gather(self) -> Spool:
        """Return what puts pages together, still empty."""
        return Spool(self._layout)

    def _decode_well_formed(self, body: bytes) -> ArrowPage | None:
        """Read a page that holds nothing but what the schema names, in one pass; None when it does not.

        Arrow's parser is strict with a schema: keys given twice, unknown fields, other types, NaN, numbers too large,
        rubbish at the end all raise. It does not look at the encoding, and must not be given a bare ``null``.
        """
        if body.lstrip()[:1] != b"{" or not _is_utf8(body):
            return None
        kinds = self._kinds
        for kind in kinds:
            try:
                envelope = _parse(body, kind)
            except pa.ArrowInvalid:
                continue
            if envelope is None:
                return None
            if kind is not kinds[0]:
                self._kinds = kinds[::-1]
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
