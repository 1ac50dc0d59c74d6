"""Records of a slice -> verified local Parquet -> object store, atomically."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError, CloudlockDriftError
from airflow_provider_cloudlock.lake.page import newest_rows
from airflow_provider_cloudlock.lake.parquet import PublishedFile, write
from airflow_provider_cloudlock.lake.receipt import Receipt, is_announced
from airflow_provider_cloudlock.lake.schemas import Layout
from airflow_provider_cloudlock.lake.slices import Slice
from airflow_provider_cloudlock.lake.spool import Spool
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


@dataclass(frozen=True, slots=True)
class Published:
    """What stands in the lake after a slice was published.

    :param path: of the object, as the user spells the destination.
    :param rows: in the object.
    :param bytes: size of the object.
    :param sha256: of the object.
    :param changed: whether the object was written.
    :param vanished_kept: rows published before that are not among the new records.
    :param version: which one of the object stands there.
    :param superseded: published slices inside this one, which are to go, and which version of each was taken in.
    """

    path: str
    rows: int
    bytes: int
    sha256: str
    changed: bool
    vanished_kept: int
    version: str | None
    superseded: Mapping[Slice, str | None]


@dataclass(frozen=True, slots=True)
class Standing:
    """Which versions stood before a slice was read: what another attempt published since must not be replaced.

    :param data: of its object, None when there was none.
    :param receipt: of its receipt.
    """

    data: str | None
    receipt: str | None

    @classmethod
    def of(cls, slice_: Slice, store: Store) -> Standing:
        """Look at a slice."""
        return cls(store.version(data_file(slice_)), store.version(receipt_file(slice_)))


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
    store: Store,
    slice_: Slice,
    spool: Spool,
    layout: Layout,
    *,
    held: Standing,
    status: str | None,
    on_vanished: OnVanished,
) -> Published:
    """Make a slice's records visible, or leave the object alone when it holds just these.

    :param store: the resource's folder.
    :param slice_: what the records cover.
    :param spool: all of them; it takes in those that vanished and are kept.
    :param layout: of the resource's records.
    :param held: what stood before they were read.
    :param status: the filter they were read with, None for all records.
    :param on_vanished: what becomes of records that were published before and are not among these.
    :raises CloudlockConfigError: when what is published overlaps, or was read with another filter.
    :raises CloudlockDataError: when records vanished and may not, or a published object cannot be read.
    :raises CloudlockDriftError: when another attempt published the slice meanwhile.
    """
    path = data_file(slice_)
    inside = {each: store.version(data_file(each)) for each in superseded_by(slice_, store)}
    store.sweep(path)
    version = store.version(path)
    with scratch() as folder:
        local = folder / "published.parquet"
        current = _published(store, slice_, local, layout, status)
        parts = [_published(store, each, folder / f"{each.name}.parquet", layout, status) for each in inside]
        changed = current is None or not current.holds(spool)
        # The slice itself last: where a crash left smaller ones inside it, it was published after them.
        earlier = [each for each in (*parts, current) if each is not None] if changed or inside else []
        vanished = _vanished(earlier, spool, layout)
        kept = vanished.num_rows if on_vanished == "keep" else 0
        if vanished.num_rows and on_vanished == "fail":
            first = vanished[layout.key][0].as_py()[:100]
            raise CloudlockDataError(
                f"{vanished.num_rows} records of {store.uri(path)} are no longer given by Cloudlock, the first with "
                f"the id {first!r}. Nothing was changed. Choose on_vanished='keep' or 'drop' if that is to be expected."
            )
        if kept:
            spool.add_rows(vanished)
            changed = current is None or not current.holds(spool)
        elif vanished.num_rows:
            log.warning("%d records of %s are no longer given and dropped.", vanished.num_rows, store.uri(path))
        if changed:
            local = folder / "new.parquet"
            write(spool, local, slice_, layout, status)
            store.exchange(local, path, held.data)
            version = store.version_of(local, path)
            _check_alone(store, slice_, inside, held.data)
        return Published(
            path=store.uri(path),
            rows=spool.rows,
            bytes=local.stat().st_size,
            sha256=sha256(local),
            changed=changed,
            vanished_kept=kept,
            version=version,
            superseded=inside,
        )


def _check_alone(store: Store, slice_: Slice, inside: Collection[Slice], held: str | None) -> None:
    """Look whether another run has meanwhile published what overlaps a slice that was just published.

    Of two such runs the later one sees it. If it made the object anew, it takes it back.

    :raises CloudlockConfigError: when the two overlap in part, or the other one is the larger.
    :raises CloudlockDriftError: when the other one lies inside.
    """
    try:
        found = superseded_by(slice_, store)
    except CloudlockConfigError:
        if held is None:
            store.remove(data_file(slice_))
        raise
    for each in set(found).difference(inside):
        raise _came_between(store, slice_, each)


def _came_between(store: Store, slice_: Slice, other: Slice) -> CloudlockDriftError:
    return CloudlockDriftError(
        f"{store.uri(data_file(other))} was published by another run while {store.uri(data_file(slice_))}, which holds "
        "its window, was being made. A retry takes it in; until then its records may be there twice. See that no two "
        "runs extract the same day at once, by a pool or by max_active_runs=1."
    )


def settle(store: Store, slice_: Slice, receipt: Receipt, published: Published) -> None:
    """Write the receipt of a published slice, and remove what it made obsolete.

    An object goes last of all that belongs to it, so that what a crash leaves is found by the next run.

    :raises CloudlockDriftError: when another attempt published the slice meanwhile, or replaced an obsolete object
        after its records were taken in.
    """
    _write(store, slice_, receipt, published.version)
    if not receipt.quarantined:
        store.remove(quarantine_file(slice_))
    for each, version in published.superseded.items():
        if store.version(data_file(each)) not in (version, None):
            raise _came_between(store, slice_, each)
        for file in (quarantine_file(each), receipt_file(each), data_file(each)):
            store.remove(file)


def _write(store: Store, slice_: Slice, receipt: Receipt, version: str | None) -> None:
    """Write a receipt, as long as its object stands there: who was held up must not speak over a later attempt."""
    overtaken = Retrying(retry=retry_if_exception_type(CloudlockDriftError), stop=stop_after_attempt(3), reraise=True)
    for attempt in overtaken:
        with attempt:
            held = store.version(receipt_file(slice_))
            store.check_held(data_file(slice_), version)
            # Whoever publishes from here on writes a receipt after this one, or has written one that this one meets.
            store.exchange_text(receipt.to_json(), receipt_file(slice_), held)


def note_announced(store: Store, slice_: Slice, receipt: Receipt) -> None:
    """Note in a slice's receipt that an asset event tells of its object, unless another attempt wrote it meanwhile."""
    path = receipt_file(slice_)
    held = store.version(path)
    with scratch() as folder:
        local = folder / "receipt"
        if not store.get(path, local) or local.read_text("utf-8", "replace") != receipt.to_json():
            return
    with suppress(CloudlockDriftError):
        store.exchange_text(replace(receipt, announced=True).to_json(), path, held)


def was_announced(store: Store, slice_: Slice, sha256: str) -> bool:
    """Tell whether an asset event told of a slice's object, by the receipt that stands."""
    with scratch() as folder:
        local = folder / "receipt"
        return store.get(receipt_file(slice_), local) and is_announced(local.read_text("utf-8", "replace"), sha256)


def quarantine(store: Store, slice_: Slice, records: Iterable[Mapping[str, Any]], held: Standing) -> str:
    """Put records that cannot be kept where somebody can look at them, one to a line.

    :return: where they are.
    :raises CloudlockDriftError: when another attempt published the slice meanwhile.
    """
    store.check_held(data_file(slice_), held.data)
    store.check_held(receipt_file(slice_), held.receipt)
    path = quarantine_file(slice_)
    store.put_text("".join(f"{dumps(record)}\n" for record in records), path)
    return store.uri(path)


def _published(store: Store, slice_: Slice, local: Path, layout: Layout, status: str | None) -> PublishedFile | None:
    """Fetch what is published of a slice, None when nothing is."""
    path = data_file(slice_)
    return PublishedFile(local, store.uri(path), layout, status) if store.get(path, local) else None


def _vanished(earlier: list[PublishedFile], spool: Spool, layout: Layout) -> pa.Table:
    """Rows that were published and are not among the new ones, each key once."""
    keys = spool.keys.combine_chunks()
    gone = pa.concat_tables([layout.schema.empty_table(), *(each.rows_without(keys) for each in earlier)])
    return gone.take(newest_rows(gone, layout.key)) if len(earlier) > 1 and gone.num_rows else gone
