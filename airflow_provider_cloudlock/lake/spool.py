"""The records of a slice while it is read: in memory as long as they are few, beyond that in a temporary file."""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock.lake.failures import temporary
from airflow_provider_cloudlock.lake.page import ArrowPage, newest_rows
from airflow_provider_cloudlock.lake.schemas import Layout
from airflow_provider_cloudlock.pages import NEVER_UPDATED

#: Records of one slice that are held in memory; more lie on disk.
ROWS_IN_MEMORY = 10_000
#: Records of a page that is too large to be held for the sake of a few.
_LARGE = 20_000
#: Records that are handled at once.
BATCH = 2_500


class _OnDisk(NamedTuple):
    file: int
    size: int
    offset: int


class Spool:
    """Gathers the records of a slice, and gives them in order of creation time and key.

    Of records on disk only key and creation time stay in memory.

    :param layout: of the resource's records.
    :param rows_in_memory: how many records may be held before they are put on disk.
    """

    def __init__(self, layout: Layout, rows_in_memory: int = ROWS_IN_MEMORY) -> None:
        self._layout = layout
        self._rows_in_memory = rows_in_memory
        self._recent: list[pa.Table] = []
        self._recent_rows = 0
        self._batches: list[pa.RecordBatch | _OnDisk] = []
        self._starts = [0]
        self._keys: list[pa.Array] = []
        self._created: list[pa.Array] = []
        self._nulls = dict.fromkeys(layout.time_fields, 0)
        self._rows_on_disk = 0
        self._file: IO[bytes] | None = None
        #: Records without a usable key or creation time, as they came, by a key made of all of them.
        self.unkept: dict[str, tuple[dict[str, Any], datetime | None]] = {}
        self._unkept_count = 0

    @property
    def rows(self) -> int:
        """How many records can be kept."""
        return self._starts[-1] + self._recent_rows

    @property
    def count(self) -> int:
        """How many records are held."""
        return self.rows + self._unkept_count

    @property
    def keys(self) -> pa.ChunkedArray:
        """The keys of all rows, in the order they came."""
        self._seal()
        return pa.chunked_array(self._keys, pa.string())

    @property
    def sorted_by(self) -> str | None:
        """The column with the creation time of every row, None when it is now in this one and now in that."""
        self._seal()
        name = next((name for name, nulls in self._nulls.items() if nulls != self.rows), None)
        return name if name and not self._nulls[name] else None

    def add(self, page: ArrowPage) -> None:
        """Take in a page that changes no more."""
        self.unkept.update(page.unkept)
        self._unkept_count += len(page.unkept)
        self.add_rows(page.table)

    def add_rows(self, table: pa.Table) -> None:
        """Take in rows."""
        self._recent.append(table)
        self._recent_rows += table.num_rows
        while self._recent_rows >= BATCH:
            self._seal()
        if table.num_rows > _LARGE:
            # A copy: what is left over must not hold on to the whole page.
            self._recent = [rest.take(pa.array(range(rest.num_rows))) for rest in self._recent if rest.num_rows]

    def join(self, other: Spool) -> None:
        """Take in all that another one holds."""
        self.unkept.update(other.unkept)
        self._unkept_count += other._unkept_count
        for table in other.as_they_came():
            self.add_rows(table)

    def newest(self) -> Spool:
        """Return the same with the newest version of each record alone."""
        if self.distinct() == self.count:
            return self
        key = self._layout.key
        positions = newest_rows(pa.table([self.keys, self._updated], names=[key, "updated_at"]), key)
        spool = Spool(self._layout, self._rows_in_memory)
        spool.unkept = self.unkept
        spool._unkept_count = len(self.unkept)
        for start in range(0, len(positions), BATCH):
            spool.add_rows(self._at(positions[start : start + BATCH]))
        return spool

    def compared(self, other: Spool) -> Iterator[tuple[str, bool]]:
        """Give each key, and whether the other one has the same version of its record."""
        places = pc.index_in(self.keys, other.keys.combine_chunks())
        same = pc.fill_null(pc.equal(self._updated, other._updated.take(places)), False)
        yield from zip(self.keys.to_pylist(), same.to_pylist(), strict=True)
        yield from ((key, key in other.unkept) for key in self.unkept)

    @property
    def _updated(self) -> pa.ChunkedArray:
        """When each row was updated, in the order they came."""
        chunks = [chunk for table in self.as_they_came() for chunk in table["updated_at"].chunks]
        return pc.fill_null(pa.chunked_array(chunks, self._layout.time), NEVER_UPDATED)

    def distinct(self, other: Spool | None = None) -> int:
        """Count the different keys, of this one or of two together."""
        spools = [self, other] if other else [self]
        keys = pa.chunked_array([chunk for each in spools for chunk in each.keys.chunks], pa.string())
        return int(pc.count_distinct(keys).as_py()) + len(set().union(*(each.unkept for each in spools)))

    def as_they_came(self) -> Iterator[pa.Table]:
        """Give all rows in the order in which they were taken in."""
        self._seal()
        return (pa.Table.from_batches([self._batch(number)]) for number in range(len(self._batches)))

    def in_order(self, size: int) -> Iterator[pa.Table]:
        """Give all rows by creation time and key, so many at a time."""
        order = self._order()
        for start in range(0, self.rows, size):
            if order is None:
                yield self._between(start, min(start + size, self.rows))
            else:
                yield self._at(order[start : start + size])

    def _order(self) -> pa.Array | None:
        """Positions of all rows by creation time and key, None when they came like this."""
        keys = self.keys
        created = pa.chunked_array(self._created, self._layout.time)
        later = pc.less(created[:-1], created[1:])
        alike = pc.and_(pc.equal(created[:-1], created[1:]), pc.less(keys[:-1], keys[1:]))
        if pc.all(pc.or_(later, alike), min_count=0).as_py():
            return None
        rows = pa.table([created, keys], names=["created", "key"])
        return pc.sort_indices(rows, [("created", "ascending"), ("key", "ascending")])

    def _between(self, start: int, end: int) -> pa.Table:
        """Rows from one position to another."""
        parts = []
        for number, (first, after) in enumerate(pairwise(self._starts)):
            if first < end and start < after:
                parts.append(self._batch(number).slice(max(0, start - first), min(after, end) - max(first, start)))
        return pa.Table.from_batches(parts)

    def _at(self, positions: pa.Array) -> pa.Table:
        """Rows at some positions, batch by batch, so that no more than one of those on disk is in memory."""
        least, most = pc.min_max(positions).values()
        parts = []
        places = []
        for number, (first, after) in enumerate(pairwise(self._starts)):
            if first <= most.as_py() and least.as_py() < after:
                here = pc.and_(pc.greater_equal(positions, first), pc.less(positions, after))
                parts.append(self._batch(number).take(pc.subtract(positions.filter(here), first)))
                places.append(pc.indices_nonzero(here))
        back = pc.sort_indices(pa.concat_arrays(places))
        return pa.Table.from_batches(parts).combine_chunks().take(back)

    def _batch(self, number: int) -> pa.RecordBatch:
        batch = self._batches[number]
        if isinstance(batch, pa.RecordBatch):
            return batch
        return pa.ipc.read_record_batch(pa.py_buffer(os.pread(*batch)), self._layout.schema)

    def _seal(self) -> None:
        """Make a batch of what came last; once there are too many rows, put them all on disk."""
        if not self._recent_rows:
            return
        table = pa.concat_tables(self._recent)
        self._recent_rows = max(0, self._recent_rows - BATCH)
        self._recent = [table[BATCH:]] if self._recent_rows else []
        batch = table[:BATCH].combine_chunks().to_batches()[0]
        self._batches.append(batch)
        self._starts.append(self._starts[-1] + batch.num_rows)
        self._keys.append(batch[self._layout.key])
        self._created.append(self._layout.created(batch))
        for name in self._nulls:
            self._nulls[name] += batch[name].null_count
        if self._starts[-1] - self._rows_on_disk > self._rows_in_memory or self._file:
            with temporary():
                self._spill()

    def _spill(self) -> None:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="cloudlock-")  # noqa: SIM115 - it lives as long as this object
            weakref.finalize(self, self._file.close)
        for number, batch in enumerate(self._batches):
            if isinstance(batch, pa.RecordBatch):
                data = batch.serialize()
                self._batches[number] = _OnDisk(self._file.fileno(), data.size, self._file.tell())
                self._file.write(data)
        self._file.flush()
        self._rows_on_disk = self._starts[-1]
