"""Records of a slice -> verified local Parquet -> object store, atomically."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError
from airflow_provider_cloudlock.lake.decode import newest_rows
from airflow_provider_cloudlock.lake.receipt import Receipt
from airflow_provider_cloudlock.lake.schemas import SCHEMA_VERSION, Layout
from airflow_provider_cloudlock.lake.slices import Slice
from airflow_provider_cloudlock.lake.store import (
    Store,
    data_file,
    quarantine_file,
    receipt_file,
    scratch,
    sha256,
)
from airflow_provider_cloudlock.strict_json import dumps

log = logging.getLogger(__name__)

OnVanished = Literal["keep", "drop", "fail"]

#: The bytes of an object must depend on its records alone: nothing here may vary, least of all with time.
_WRITER: dict[str, Any] = {
    "compression": "zstd",
    "compression_level": 1,
    "row_group_size": 100_000,
    "version": "2.6",
    "write_statistics": True,
    "store_schema": True,
}


@dataclass(frozen=True, slots=True)
class Published:
    """What stands in the lake after a slice was published.

    :param path: of the object, as the user spells the destination.
    :param rows: in the object.
    :param bytes: size of the object.
    :param sha256: of the object.
    :param changed: whether the object was written.
    :param vanished_kept: rows published before that are not among the new records.
    :param superseded: published slices inside this one, which are to go.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    changed: bool
    vanished_kept: int
    superseded: tuple[Slice, ...]


def superseded_by(slice_: Slice, store: Store) -> tuple[Slice, ...]:
    """Find the published slices that lie inside a slice, itself left out.

    :raises CloudlockConfigError: when a published slice overlaps it in any other way.
    """
    overlapping = [each for each in store.slices(slice_.partition) if each.overlaps(slice_)]
    for each in overlapping:
        if not slice_.holds(each):
            raise CloudlockConfigError(
                f"The slice {store.uri(data_file(slice_))} overlaps the published {store.uri(data_file(each))}: their "
                "common records would be in the lake twice. Extract a window that holds the published slice as a "
                "whole, or remove its object and its receipt first."
            )
    return tuple(each for each in overlapping if each != slice_)


def publish(
    store: Store, slice_: Slice, table: pa.Table, layout: Layout, *, status: str | None, on_vanished: OnVanished
) -> Published:
    """Make a slice's records visible, or leave the object alone when it holds just these.

    :param store: the resource's folder.
    :param slice_: what the records cover.
    :param table: all of them, with the layout's schema.
    :param layout: of the resource's records.
    :param status: the filter they were read with, None for all records.
    :param on_vanished: what becomes of records that were published before and are not among these.
    :raises CloudlockConfigError: when what is published overlaps, or was read with another filter.
    :raises CloudlockDataError: when records vanished and may not, or a published object cannot be read.
    """
    path = data_file(slice_)
    inside = superseded_by(slice_, store)
    store.sweep(path)
    with scratch() as folder:
        local = folder / "published.parquet"
        current = _published(store, slice_, local, layout, status)
        parts = [_published(store, each, folder / f"{each.name}.parquet", layout, status) for each in inside]
        # The slice itself last: where a crash left smaller ones inside it, it was published after them.
        earlier = [each for each in (*parts, current) if each is not None]
        vanished = _vanished(earlier, table, layout) if earlier else table.slice(0, 0)
        if vanished.num_rows and on_vanished == "fail":
            raise CloudlockDataError(
                f"{vanished.num_rows} records of {store.uri(path)} are no longer given by Cloudlock, the first with "
                f"the id {vanished[layout.key][0].as_py()!r}. Nothing was changed. Choose on_vanished='keep' or 'drop' "
                "if that is to be expected."
            )
        if on_vanished == "keep":
            table = pa.concat_tables([table, vanished])
        elif vanished.num_rows:
            log.warning("%d records of %s are no longer given and dropped.", vanished.num_rows, store.uri(path))
        table = _in_order(table, layout)
        changed = current is None or not current.equals(table)
        if changed:
            local = folder / "new.parquet"
            _write(table, local, slice_, status)
            store.put(local, path)
        return Published(
            path=store.uri(path),
            rows=table.num_rows,
            bytes=local.stat().st_size,
            sha256=sha256(local),
            changed=changed,
            vanished_kept=vanished.num_rows if on_vanished == "keep" else 0,
            superseded=inside,
        )


def settle(store: Store, slice_: Slice, receipt: Receipt, superseded: Iterable[Slice]) -> None:
    """Write the receipt of a published slice, and remove what it made obsolete.

    An object goes last of all that belongs to it, so that what a crash leaves is found by the next run.
    """
    store.put_text(receipt.to_json(), receipt_file(slice_))
    if not receipt.quarantined:
        store.remove(quarantine_file(slice_))
    for each in superseded:
        for file in (quarantine_file(each), receipt_file(each), data_file(each)):
            store.remove(file)


def quarantine(store: Store, slice_: Slice, records: Iterable[Mapping[str, Any]]) -> str:
    """Put records that cannot be kept where somebody can look at them, one to a line.

    :return: where they are.
    """
    path = quarantine_file(slice_)
    store.put_text("".join(f"{dumps(record)}\n" for record in records), path)
    return store.uri(path)


def _published(store: Store, slice_: Slice, local: Path, layout: Layout, status: str | None) -> pa.Table | None:
    """Fetch and read what is published of a slice, None when nothing is.

    :raises CloudlockConfigError: when it was read with another filter.
    :raises CloudlockDataError: when it is not one of our objects.
    """
    path = data_file(slice_)
    if not store.get(path, local):
        return None
    try:
        with pq.ParquetFile(local) as file:
            metadata = file.schema_arrow.metadata or {}
            table = file.read().replace_schema_metadata(None)
    except (pa.ArrowInvalid, OSError) as error:
        raise CloudlockDataError(
            f"{store.uri(path)} cannot be read as Parquet ({error}), so nobody can say which of its records would be "
            "lost. Move it away and run again."
        ) from error
    if not table.schema.equals(layout.schema):
        raise CloudlockDataError(
            f"{store.uri(path)} has other columns than this version writes. Move it away and run again, or use the "
            "version of airflow-provider-cloudlock that wrote it."
        )
    written_with = metadata.get(b"cloudlock.status", b"").decode() or None
    if written_with != status:
        raise CloudlockConfigError(
            f"{store.uri(path)} was extracted with status={written_with!r}, this run asks for status={status!r}: one "
            "would replace the other. Give each filter a destination of its own."
        )
    return table


def _vanished(earlier: list[pa.Table], table: pa.Table, layout: Layout) -> pa.Table:
    """Rows that were published and are not among the new ones, each key once."""
    before = pa.concat_tables(earlier)
    known = table[layout.key].combine_chunks()
    gone = before.filter(pc.invert(pc.is_in(before[layout.key], value_set=known)))
    return gone.take(newest_rows(gone, layout.key)) if len(earlier) > 1 and gone.num_rows else gone


def _in_order(table: pa.Table, layout: Layout) -> pa.Table:
    """Sort by creation time and key, so that the same records always give the same bytes."""
    order = pa.table([layout.created(table), table[layout.key]], names=["created", "key"])
    return table.take(pc.sort_indices(order, [("created", "ascending"), ("key", "ascending")])).combine_chunks()


def _write(table: pa.Table, local: Path, slice_: Slice, status: str | None) -> None:
    """Write Parquet and read it back.

    :raises CloudlockDataError: when the file does not hold what was written.
    """
    metadata = {
        "cloudlock.window": "/".join(slice_.window),
        "cloudlock.status": status or "",
        "cloudlock.schema_version": str(SCHEMA_VERSION),
    }
    pq.write_table(table.replace_schema_metadata(metadata), local, **_WRITER)
    with pq.ParquetFile(local) as file:
        held = file.read(columns=[table.schema.names[0]]).num_rows
    if held != table.num_rows:
        raise CloudlockDataError(
            f"The Parquet file written for {slice_.name} holds {held} rows instead of {table.num_rows}. Nothing was "
            "published. Check the worker's disk."
        )
