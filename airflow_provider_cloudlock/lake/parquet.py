"""The Parquet file of a day on the local disk: written, and compared with what is published."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError
from airflow_provider_cloudlock.lake.buffer import BATCH, DayRecords
from airflow_provider_cloudlock.lake.memory import ARROW_LOCK
from airflow_provider_cloudlock.lake.schema import SCHEMA_VERSION, Layout
from airflow_provider_cloudlock.lake.store import sha256

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


@dataclass(frozen=True, slots=True)
class Identity:
    """What an object says about itself in its metadata.

    :param resource: what was extracted.
    :param tenant: name of the Cloudlock tenant.
    :param day: the UTC day.
    :param status: the filter, None for all records.
    """

    resource: str
    tenant: str
    day: date
    status: str | None

    def metadata(self) -> dict[str, str]:
        """Return the metadata of the file."""
        return {
            "cloudlock.resource": self.resource,
            "cloudlock.tenant": self.tenant,
            "cloudlock.day": self.day.isoformat(),
            "cloudlock.status": self.status or "",
            "cloudlock.schema_version": str(SCHEMA_VERSION),
        }


def write(records: DayRecords, local: Path, layout: Layout, identity: Identity) -> str:
    """Write the records of a day, and read them back.

    :param records: the records.
    :param local: where to.
    :param layout: layout of the records.
    :param identity: what the file says about itself.
    :return: the digest of the file.
    :raises CloudlockDataError: if the file does not hold what was written.
    """
    schema = layout.schema.with_metadata(identity.metadata())
    by = records.sorted_by
    order = pq.SortingColumn.from_ordering(schema, [(by, "ascending"), (layout.key, "ascending")]) if by else None
    with pq.ParquetWriter(
        local, schema, sorting_columns=order, use_dictionary=layout.dictionary_columns(), **_WRITER
    ) as writer:
        # Pieces of one size, whatever the pages were: where they end shows in the bytes.
        pieces = records.in_order(BATCH)
        for _ in range(0, records.rows, _ROW_GROUP):
            with ARROW_LOCK:
                writer.write_table(pa.concat_tables(islice(pieces, _ROW_GROUP // BATCH)))
    with pq.ParquetFile(local, page_checksum_verification=True) as file:
        held = sum(batch.num_rows for batch in file.iter_batches(columns=[layout.key]))
    if held != records.rows:
        raise CloudlockDataError(
            f"The Parquet file written for {identity.day} holds {held} rows instead of {records.rows}. Nothing was "
            "published. Check the worker's disk."
        )
    return sha256(local)


class PublishedFile:
    """A published object.

    :param local: a copy of it.
    :param path: its path, for messages.
    :param layout: layout of the records.
    :param identity: what this run would write.
    :raises CloudlockConfigError: if it was read with another filter or from another tenant.
    :raises CloudlockDataError: if it is not one of our objects.
    """

    def __init__(self, local: Path, path: str, layout: Layout, identity: Identity) -> None:
        self.path = path
        self._local = local
        self._layout = layout
        with self._open() as file:
            schema = file.schema_arrow
        if not schema.equals(layout.schema):
            raise CloudlockDataError(
                f"{path} has other columns than this version writes. Move it away and run again, or use the version "
                "of airflow-provider-cloudlock that wrote it."
            )
        held = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        status, tenant = held.get("cloudlock.status") or None, held.get("cloudlock.tenant", identity.tenant)
        if status != identity.status:
            raise CloudlockConfigError(
                f"{path} was extracted with status={status!r}, and this run asks for status={identity.status!r}: one "
                "would replace the other. Give each filter a destination of its own."
            )
        if tenant != identity.tenant:
            raise CloudlockConfigError(
                f"{path} holds data of the Cloudlock tenant {tenant!r}, and this connection is one of "
                f"{identity.tenant!r}. Give each tenant a destination of its own."
            )

    def holds(self, records: DayRecords) -> bool:
        """Whether it holds just these records."""
        with self._open() as file:
            if file.metadata.num_rows != records.rows:
                return False
            published = file.iter_batches(BATCH, use_threads=False)
            for table in records.in_order(BATCH):
                with ARROW_LOCK:
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
                f"{self.path} cannot be read as Parquet ({error}), so it is not known which of its records would be "
                "lost. Move it away and run again."
            ) from error
