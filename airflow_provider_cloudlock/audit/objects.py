"""A closer look at the objects: are they what their receipts say?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from airflow_provider_cloudlock.audit.inventory import Finding, Holding
from airflow_provider_cloudlock.lake.store import Store, data_file, scratch, sha256


def verify(holding: Holding, store: Store) -> Iterator[Finding]:
    """Read the objects of a day again, and compare them with their receipts.

    :param holding: of the day.
    :param store: where they are.
    """
    for slice_, claim in sorted(holding.receipts.items()):
        # Of another size it is another object, which is said already.
        if claim is None or holding.objects.get(slice_) != claim.bytes:
            continue
        with scratch() as folder:
            local = folder / "object.parquet"
            there = store.get(data_file(slice_), local)
            rows = _rows(local) if there else None
            same = there and sha256(local) == claim.sha256
        if not same:
            why = "its SHA-256 is not the one in its receipt" if there else "it went while this audit was at work"
        elif rows != claim.rows:
            held = "cannot be read" if rows is None else f"holds {rows} rows"
            why = f"it {held}, where its receipt speaks of {claim.rows} rows"
        else:
            continue
        yield Finding("changed", f"{slice_.name}.parquet is another: {why}. Extract the day again.")


def _rows(local: Path) -> int | None:
    """Count the rows of a Parquet file by reading them, None when it cannot be read."""
    try:
        with pq.ParquetFile(local, page_checksum_verification=True) as file:
            return sum(int(batch.num_rows) for batch in file.iter_batches(columns=file.schema_arrow.names[:1]))
    except (pa.ArrowException, OSError):
        return None
