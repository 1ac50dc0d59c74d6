"""JSON -> Arrow in one pass, where a body holds nothing but what a schema names."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from airflow_provider_cloudlock.pages import Echo

#: The calendar of Python, in microseconds of the Unix epoch.
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999

_ECHO = ("limit", "offset", "total", "results")

#: A number that a float64 may not hold exactly: it has more than 15 digits, or an exponent of three.
_LONG_NUMBER = re.compile(rb"[:,\[\s]-?(?:\d{16}|[\d.]{17}|\d[\d.]*[eE][-+]?\d{3})")
#: Turns the characters of numbers into few, among which Python finds such a number many times faster than a pattern.
_DIGITS = bytes.maketrans(b"023456789.E-", b"1111111111e+")
_LONG_DIGITS = (b"1" * 16, b"1e111", b"1e+111")


def envelope_of(record: pa.Schema) -> pa.Schema:
    """Return the schema of a page of records."""
    return pa.schema([*((name, pa.int64()) for name in _ECHO), ("items", pa.list_(pa.struct(list(record))))])


def parse(body: bytes, envelope: pa.Schema) -> tuple[Echo, pa.RecordBatch] | None:
    """Parse a body as one row of an envelope, so that Arrow reads all of it in one pass.

    With a schema Arrow's parser is strict: duplicate keys, unknown fields, other types, NaN, numbers out of range and
    trailing data raise. It does not check the encoding, and must not be given a bare ``null``.

    :return: the numbers and the records, None if it is not one envelope with a list of objects.
    :raises pyarrow.ArrowInvalid: if it does not fit the schema, or has times outside the years 1 to 9999.
    """
    table = pj.read_json(
        pa.BufferReader(body),
        read_options=pj.ReadOptions(use_threads=False, block_size=len(body) + 1),
        parse_options=pj.ParseOptions(explicit_schema=envelope, unexpected_field_behavior="error"),
    )
    if table.num_rows != 1 or table["items"].null_count:
        return None
    items = table["items"].chunk(0).flatten()  # one row is one chunk; combining would copy it
    if items.null_count:
        return None
    records = pa.RecordBatch.from_struct_array(items)
    if not all(_is_in_calendar(times) for column in records.columns for times in _times(column)):
        raise pa.ArrowInvalid("a time that neither Python nor most warehouses can read")
    return Echo(*(table[name][0].as_py() for name in _ECHO)), records


def _times(column: pa.Array) -> Iterator[pa.Array]:
    """Yield the times in a column, also those in its lists and structs."""
    if pa.types.is_timestamp(column.type):
        yield column
    elif _has_time(column.type):
        flat = column.flatten()
        for each in flat if isinstance(flat, list) else [flat]:
            yield from _times(each)


def _has_time(type_: pa.DataType) -> bool:
    return pa.types.is_timestamp(type_) or any(_has_time(type_.field(n).type) for n in range(type_.num_fields))


def _is_in_calendar(times: pa.Array) -> bool:
    least, most = pc.min_max(times.view(pa.int64())).values()
    return not least.is_valid or (least.as_py() >= _FIRST and most.as_py() <= _LAST)


def as_table(records: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return parsed records with the types of the lake, and null in every column that they lack."""
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


def may_round(text: bytes) -> bool:
    """Whether a JSON text may contain a number that Arrow would round to a float64."""
    digits = text.translate(_DIGITS)
    return any(each in digits for each in _LONG_DIGITS) and _LONG_NUMBER.search(text) is not None


def has_identity(keys: pa.ChunkedArray, created: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return for every record whether it has a key and a creation time."""
    return pc.and_(pc.fill_null(pc.not_equal(keys, ""), False), pc.is_valid(created))
