"""JSON -> Arrow in one pass, where a body holds nothing but what a schema names."""

from __future__ import annotations

import struct

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from airflow_provider_cloudlock.pages import Echo

#: The calendar of Python, in microseconds of the Unix epoch.
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999

_ECHO = ("limit", "offset", "total", "results")


def envelope_of(record: pa.Schema) -> pa.Schema:
    """Return the schema of a page of records."""
    return pa.schema([*((name, pa.int64()) for name in _ECHO), ("items", pa.list_(pa.struct(list(record))))])


def parse(body: bytes, envelope: pa.Schema) -> tuple[Echo, pa.RecordBatch] | None:
    """Parse a body as one row of an envelope, so that Arrow reads all of it in one pass.

    Arrow's parser is strict with a schema: keys given twice, unknown fields, other types, NaN, numbers too large,
    rubbish at the end all raise. It does not look at the encoding, and must not be given a bare ``null``.

    :return: its numbers and its records, None when it is not one envelope with a list of objects.
    :raises pyarrow.ArrowInvalid: when it does not fit the schema, or has times outside the years 1 to 9999.
    """
    table = pj.read_json(
        pa.BufferReader(body),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(body) + 1),
        parse_options=pj.ParseOptions(explicit_schema=envelope, unexpected_field_behavior="error"),
    )
    if table.num_rows != 1 or table["items"].null_count:
        return None
    items = table["items"].chunk(0).flatten()  # one row is one chunk; to combine it would copy it
    if items.null_count:
        return None
    records = pa.RecordBatch.from_struct_array(items)
    if any(pa.types.is_timestamp(column.type) and not _is_in_calendar(column) for column in records.columns):
        raise pa.ArrowInvalid("a time that neither Python nor most warehouses can read")
    return Echo(*(table[name][0].as_py() for name in _ECHO)), records


def _is_in_calendar(times: pa.Array) -> bool:
    least, most = pc.min_max(times.view(pa.int64())).values()
    return not least.is_valid or (least.as_py() >= _FIRST and most.as_py() <= _LAST)


def as_table(records: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Give parsed records the types of the lake, and null for every column that they do not have."""
    held = records.schema.names
    columns = [
        records[field.name].cast(field.type) if field.name in held else pa.nulls(len(records), field.type)
        for field in schema
    ]
    return pa.table(columns, schema)


def is_utf8(body: bytes) -> bool:
    """Whether a body is UTF-8; Arrow checks a text several times faster than Python decodes it."""
    ends = pa.py_buffer(struct.pack("=2i", 0, len(body)))
    text = pa.Array.from_buffers(pa.string(), 1, [None, ends, pa.py_buffer(body)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def identified(keys: pa.ChunkedArray, created: pa.ChunkedArray) -> pa.ChunkedArray:
    """Tell of every record whether it has a key and a creation time."""
    return pc.and_(pc.fill_null(pc.not_equal(keys, ""), False), pc.is_valid(created))
