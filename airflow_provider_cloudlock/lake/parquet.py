"""The Parquet file of a slice on the local disk: written, and compared with what is known."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError
from airflow_provider_cloudlock.lake.schemas import SCHEMA_VERSION, Layout
from airflow_provider_cloudlock.lake.slices import Slice
from airflow_provider_cloudlock.lake.spool import Spool

#: Some 20 MB of values: readers that skip by statistics read one hour of a large day, those that scan lose nothing.
_ROW_GROUP = 50_000
_BATCH = 10_000

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
_FEW_VALUES = [
    "status",
    "dismiss_reason",
    "threat_risk",
    "threat_type",
    "threat_entity",
    "short_description",
    "platforms.list.element",
    "locations.list.element",
    "users.list.element.display_name",
    "users.list.element.email",
    "suspicious_ip",
    "_extra",
]


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
    with pq.ParquetWriter(local, schema, sorting_columns=order, **_WRITER) as writer:
        for table in spool.in_order(_ROW_GROUP):
            writer.write_table(table.combine_chunks())
    with pq.ParquetFile(local) as file:
        held = sum(batch.num_rows for batch in file.iter_batches(columns=[layout.key]))
    if held != spool.rows:
        raise CloudlockDataError(
            f"The Parquet file written for {slice_.name} holds {held} rows instead of {spool.rows}. Nothing was "
            "published. Check the worker's disk."
        )


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
            published = file.iter_batches(_BATCH, use_threads=False)
            return all(
                pa.Table.from_batches([batch]).equals(table)
                for batch, table in zip(published, spool.in_order(_BATCH), strict=True)
            )

    def rows_without(self, keys: pa.Array) -> pa.Table:
        """Return the rows that have none of these keys."""
        with self._open() as file:
            held = file.read([self._layout.key], use_threads=False)[self._layout.key]
            other = pc.invert(pc.is_in(held, value_set=keys))
            parts = []
            position = 0
            if pc.any(other, min_count=0).as_py():
                for batch in file.iter_batches(_BATCH, use_threads=False):
                    parts.append(batch.filter(other.slice(position, batch.num_rows).combine_chunks()))
                    position += batch.num_rows
        return pa.Table.from_batches(parts, self._layout.schema)

    @contextmanager
    def _open(self) -> Iterator[pq.ParquetFile]:
        try:
            with pq.ParquetFile(self._local, page_checksum_verification=True) as file:
                yield file
        except (pa.ArrowInvalid, OSError) as error:
            raise CloudlockDataError(
                f"{self._uri} cannot be read as Parquet ({error}), so nobody can say which of its records would be "
                "lost. Move it away and run again."
            ) from error
