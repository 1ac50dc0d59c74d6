"""The Parquet file of a slice on the local disk: written, and compared with what is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError
from airflow_provider_cloudlock.lake.memory import ONE_AT_A_TIME
from airflow_provider_cloudlock.lake.schemas import FREE_TEXT, SCHEMA_VERSION, Layout
from airflow_provider_cloudlock.lake.slices import Slice
from airflow_provider_cloudlock.lake.spool import BATCH, Spool

#: Some 9 MB of values: readers that skip by statistics read one hour of a large day, those that scan lose nothing.
_ROW_GROUP = 20_000

#: The bytes of a file must depend on its records alone: nothing here may vary, least of all with time. Encodings are
#: those that every warehouse reads; the delta encodings would save another 7 %.
_WRITER: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "version": "2.6",
    "write_statistics": True,
    "write_page_index": True,
    "write_page_checksum": True,
    "store_schema": True,
}


def write(spool: Spool, local: Path, slice_: Slice, layout: Layout, status: str | None) -> None:
    """Write the records of a slice, and read them back.

    :param spool: the records.
    :param local: where to.
    :param slice_: what they cover.
    :param layout: of the resource's records.
    :param status: the filter they were read with, None for all records.
    :raises CloudlockDataError: when the file does not hold what was written.
    """
    schema = layout.schema.with_metadata(
        {
            "cloudlock.window": "/".join(slice_.window),
            "cloudlock.status": status or "",
            "cloudlock.schema_version": str(SCHEMA_VERSION),
        }
    )
    by = spool.sorted_by
    order = pq.SortingColumn.from_ordering(schema, [(by, "ascending"), (layout.key, "ascending")]) if by else None
    with pq.ParquetWriter(
        local, schema, sorting_columns=order, use_dictionary=_repetitive(layout), **_WRITER
    ) as writer:
        # Pieces of one size, whatever the pages were: where they end shows in the bytes.
        pieces = (table.combine_chunks() for table in spool.in_order(BATCH))
        for _ in range(0, spool.rows, _ROW_GROUP):
            with ONE_AT_A_TIME:
                writer.write_table(pa.concat_tables(islice(pieces, _ROW_GROUP // BATCH)))
    with pq.ParquetFile(local, page_checksum_verification=True) as file:
        held = sum(batch.num_rows for batch in file.iter_batches(columns=[layout.key]))
    if held != spool.rows:
        raise CloudlockDataError(
            f"The Parquet file written for {slice_.name} holds {held} rows instead of {spool.rows}. Nothing was "
            "published. Check the worker's disk."
        )


def _repetitive(layout: Layout) -> list[str]:
    """Columns whose values come again and again; for all others a dictionary costs a tenth of the time and space."""
    columns = []
    for field in layout.schema:
        if pa.types.is_string(field.type) and field.name not in (layout.key, *FREE_TEXT):
            columns.append(field.name)
        elif pa.types.is_list(field.type):
            element = field.type.value_type
            names = [f".{each.name}" for each in element] if pa.types.is_struct(element) else [""]
            columns += [f"{field.name}.list.element{name}" for name in names]
    return columns


class PublishedFile:
    """What is published of a slice.

    :param local: a copy of the object.
    :param uri: of the object, for messages.
    :param layout: of the resource's records.
    :param status: the filter of this run, None for all records.
    :raises CloudlockConfigError: when it was read with another filter.
    :raises CloudlockDataError: when it is not one of our objects.
    """

    def __init__(self, local: Path, uri: str, layout: Layout, status: str | None) -> None:
        self._local = local
        self._uri = uri
        self._layout = layout
        with self._open() as file:
            schema = file.schema_arrow
        if not schema.equals(layout.schema):
            raise CloudlockDataError(
                f"{uri} has other columns than this version writes. Move it away and run again, or use the version "
                "of airflow-provider-cloudlock that wrote it."
            )
        written_with = (schema.metadata or {}).get(b"cloudlock.status", b"").decode() or None
        if written_with != status:
            raise CloudlockConfigError(
                f"{uri} was extracted with status={written_with!r}, this run asks for status={status!r}: one would "
                "replace the other. Give each filter a destination of its own."
            )

    def holds(self, spool: Spool) -> bool:
        """Whether it holds just these records."""
        with self._open() as file:
            if file.metadata.num_rows != spool.rows:
                return False
            published = file.iter_batches(BATCH, use_threads=False)
            for table in spool.in_order(BATCH):
                with ONE_AT_A_TIME:
                    if not pa.Table.from_batches([next(published)]).equals(table):
                        return False
            return True

    def rows_without(self, keys: pa.Array) -> pa.Table:
        """Return the rows that have none of these keys."""
        with self._open() as file:
            held = file.read([self._layout.key], use_threads=False)[self._layout.key]
            other = pc.invert(pc.is_in(held, value_set=keys))
            parts = []
            position = 0
            if pc.any(other, min_count=0).as_py():
                for batch in file.iter_batches(BATCH, use_threads=False):
                    parts.append(batch.filter(other.slice(position, batch.num_rows).combine_chunks()))
                    position += batch.num_rows
        return pa.Table.from_batches(parts, self._layout.schema)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self._local, page_checksum_verification=True) as file:
                yield file
        except (pa.ArrowException, OSError) as error:
            raise CloudlockDataError(
                f"{self._uri} cannot be read as Parquet ({error}), so nobody can say which of its records would be "
                "lost. Move it away and run again."
            ) from error
