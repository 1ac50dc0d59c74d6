"""The records of a range while it is read, by day: in memory while they are few, beyond that in a temporary file."""

from __future__ import annotations

import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import accumulate, pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.lake.store_errors import temporary

#: Records of a range that are held in memory; more lie on disk.
ROWS_IN_MEMORY = 10_000
#: Records that are handled together.
BATCH = 2_500


class SpillFile:
    """An Arrow IPC file without a name, which is gone with the process. Written once, then read by memory map.

    :param schema: schema of the batches.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self._handle, path = tempfile.mkstemp(prefix="cloudlock-")
        weakref.finalize(self, os.close, self._handle)
        try:
            self._sink = pa.OSFile(path, "wb")
        finally:
            os.unlink(path)
        self._writer = pa.ipc.new_file(self._sink, schema)
        self._lock = threading.Lock()
        self._is_open = True
        self._count = 0

    def write(self, batch: pa.RecordBatch) -> int:
        """Append a batch and return its number."""
        with temporary():
            self._writer.write_batch(batch)
        self._count += 1
        return self._count - 1

    def reader(self) -> pa.ipc.RecordBatchFileReader:
        """Map the file anew: the memory counts as long as batches from this reader are held."""
        with self._lock, temporary():
            if self._is_open:
                self._writer.close()
                self._sink.close()
                self._is_open = False
        mapped = mmap.mmap(self._handle, 0, access=mmap.ACCESS_READ)
        return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped)))


class DayRecords:
    """The records of one UTC day, to be given in order of creation time and key.

    Of records on disk only key and creation time stay in memory.

    :param layout: layout of the records.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._parts: list[pa.RecordBatch | int] = []  # a number is that of a batch in the file
        self._sizes: list[int] = []
        self._spilled = 0  # number of parts that are in the file
        self._keys: list[pa.Array] = []
        self._created: list[pa.Array] = []
        self._nulls = dict.fromkeys(layout.resource.time_fields, 0)
        self.file: SpillFile | None = None

    @property
    def rows(self) -> int:
        """Number of records."""
        return sum(self._sizes)

    @property
    def keys(self) -> pa.ChunkedArray:
        """Keys of all records, in the order in which they came."""
        return pa.chunked_array(self._keys, pa.string())

    @property
    def sorted_by(self) -> str | None:
        """Column with the creation time of every record, None if they have it in different ones."""
        name = next((name for name, nulls in self._nulls.items() if nulls != sum(self._sizes)), None)
        return name if name and not self._nulls[name] else None

    def add(self, table: pa.Table) -> None:
        """Add records."""
        for batch in table.combine_chunks().to_batches():
            self._parts.append(batch)
            self._sizes.append(batch.num_rows)
            self._keys.append(batch[self._layout.key])
            self._created.append(self._layout.created(batch))
            for name in self._nulls:
                self._nulls[name] += batch[name].null_count

    def spill(self, file: SpillFile) -> None:
        """Move the records to a file, those that are still in memory as one batch."""
        self.file = file
        held = pa.Table.from_batches(self._parts[self._spilled :]).combine_chunks().to_batches()
        self._parts[self._spilled :] = [file.write(batch) for batch in held]
        self._sizes[self._spilled :] = [batch.num_rows for batch in held]
        self._spilled = len(self._parts)

    def in_order(self, size: int) -> Iterator[pa.Table]:
        """Yield all records by creation time and key, ``size`` at a time."""
        order = self._order()
        if order is not None:
            yield from (self._gather(order[start : start + size]) for start in range(0, len(order), size))
            return
        rest: list[pa.RecordBatch] = []
        for batch in self._batches():
            rest.append(batch)
            while sum(each.num_rows for each in rest) >= size:
                table = pa.Table.from_batches(rest)
                yield table[:size].combine_chunks()
                rest = table[size:].to_batches()
        if any(each.num_rows for each in rest):
            yield pa.Table.from_batches(rest).combine_chunks()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        return (each if isinstance(each, pa.RecordBatch) else self._reader().get_batch(each) for each in self._parts)

    def _reader(self) -> Any:
        return self.file.reader() if self.file else None

    def _order(self) -> pa.Array | None:
        """Return the positions of all records by creation time and key, None if they came like this."""
        keys = pa.chunked_array(self._keys, pa.string())
        created = pa.chunked_array(self._created, self._layout.time)
        is_later = pc.less(created[:-1], created[1:])
        is_next = pc.and_(pc.equal(created[:-1], created[1:]), pc.less(keys[:-1], keys[1:]))
        if pc.all(pc.or_(is_later, is_next), min_count=0).as_py():
            return None
        rows = pa.table([created, keys], names=["created", "key"])
        return pc.sort_indices(rows, [("created", "ascending"), ("key", "ascending")])

    def _gather(self, positions: pa.Array) -> pa.Table:
        """Return the records at some positions, which may lie in many batches."""
        reader = self._reader()
        least, most = (each.as_py() for each in pc.min_max(positions).values())
        parts, places = [], []
        for part, (first, behind) in zip(self._parts, pairwise(accumulate(self._sizes, initial=0)), strict=True):
            if first <= most and least < behind:
                here = pc.and_(pc.greater_equal(positions, first), pc.less(positions, behind))
                batch = part if isinstance(part, pa.RecordBatch) else reader.get_batch(part)
                parts.append(batch.take(pc.subtract(positions.filter(here), pa.scalar(first, positions.type))))
                places.append(pc.indices_nonzero(here))
        back = pc.sort_indices(pa.concat_arrays(places))
        return pa.Table.from_batches(parts).combine_chunks().take(back)


class RangeBuffer:
    """Collects the records of a range.

    :param layout: layout of the records.
    :param rows_in_memory: records that are held in memory.
    """

    def __init__(self, layout: Layout, rows_in_memory: int = ROWS_IN_MEMORY) -> None:
        self._layout = layout
        self._rows_in_memory = rows_in_memory
        self._file: SpillFile | None = None
        self._days: dict[date, DayRecords] = {}
        self._held: set[date] = set()  # days with records in memory
        self._held_rows = 0
        self._unkept: dict[str, tuple[dict[str, Any], datetime | None]] = {}
        self._unkept_count = 0

    @property
    def count(self) -> int:
        """Number of records held."""
        return sum(day.rows for day in self._days.values()) + self._unkept_count

    def add(self, page: ArrowPage) -> None:
        """Add the records of a page."""
        self._unkept.update(page.unkept)
        self._unkept_count += len(page.unkept)
        for day, table in self._by_day(page.table):
            self._days.setdefault(day, DayRecords(self._layout)).add(table)
            self._held.add(day)
        self._held_rows += page.table.num_rows
        if self._held_rows > self._rows_in_memory:
            with temporary():
                self._file = self._file or SpillFile(self._layout.schema)
            for day in self._held:
                self._days[day].spill(self._file)
            self._held.clear()
            self._held_rows = 0

    def distinct(self) -> int:
        """Return the number of different keys."""
        keys = pa.chunked_array([chunk for day in self._days.values() for chunk in day.keys.chunks], pa.string())
        return _count_distinct(keys) + len(self._unkept)

    def days(self) -> list[date]:
        """Return the days that have records."""
        return list(self._days)

    def day(self, day: date) -> DayRecords:
        """Return the records of a day."""
        return self._days.get(day) or DayRecords(self._layout)

    def unkept(self, first: date) -> dict[date, list[dict[str, Any]]]:
        """Return the records that cannot be kept, by day; those without a creation time under the first day."""
        found: dict[date, list[dict[str, Any]]] = {}
        for record, created in self._unkept.values():
            found.setdefault(created.astimezone(UTC).date() if created else first, []).append(record)
        return found

    def release(self, day: date) -> None:
        """Drop the records of a day."""
        self._days.pop(day, None)

    def _by_day(self, table: pa.Table) -> Iterator[tuple[date, pa.Table]]:
        """Cut a table at the changes of the UTC day, after sorting it by day if the days are mixed."""
        created = self._layout.created(table).cast(pa.timestamp("us"))
        days = pc.floor_temporal(created, unit="day").combine_chunks()
        if not pc.all(pc.less_equal(days[:-1], days[1:]), min_count=0).as_py():
            order = pc.sort_indices(days)
            days, table = days.take(order), table.take(order)
        edges = [0, *(n + 1 for n in pc.indices_nonzero(pc.not_equal(days[:-1], days[1:])).to_pylist()), len(days)]
        for start, end in pairwise(edges):
            if start < end:
                yield days[start].as_py().date(), table.slice(start, end - start)


def _count_distinct(keys: pa.ChunkedArray) -> int:
    """Return the number of different keys.

    They are counted by their last character: a hash table of a million keys takes 60 to 130 MiB.
    """
    if pc.all(pc.less(keys[:-1], keys[1:]), min_count=0).as_py():
        return len(keys)
    last = pc.utf8_slice_codeunits(keys, -1)
    return sum(pc.count_distinct(keys.filter(pc.equal(last, each))).as_py() for each in pc.unique(last))
