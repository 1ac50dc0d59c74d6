"""Comparison of an object's content with its receipt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_cloudlock.cli.audit.inventory import DayInventory, Finding
from airflow_provider_cloudlock.lake.days import object_path
from airflow_provider_cloudlock.lake.store import Store, scratch, sha256


def verify(inventory: DayInventory, store: Store) -> Iterator[Finding]:
    """Read the object of a day and yield a finding if its receipt states another SHA-256 or row count.

    :param inventory: the files of the day.
    :param store: the lake.
    """
    claim = inventory.claim
    if claim is None or inventory.size != claim.bytes:  # another size is a finding already
        return
    with scratch() as folder:
        local = folder / "object.parquet"
        if not store.get(object_path(claim.resource, inventory.day), local):
            why = "it was removed during this audit"
        elif sha256(local) != claim.sha256:
            why = "its SHA-256 is not the one in its receipt"
        elif (rows := _rows(local)) is None:
            why = "it cannot be read as Parquet"
        elif rows != claim.rows:
            why = f"it has {rows} rows, and its receipt states {claim.rows}"
        else:
            return
    yield Finding("changed", f"The object was changed: {why}. Extract the day again.")


def _rows(local: Path) -> int | None:
    """Count the rows of a Parquet file by reading them, None if it cannot be read."""
    try:
        with pq.ParquetFile(local, page_checksum_verification=True) as file:
            return sum(int(batch.num_rows) for batch in file.iter_batches(columns=file.schema_arrow.names[:1]))
    except (pa.ArrowException, OSError):
        return None
