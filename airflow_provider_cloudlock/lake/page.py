"""A page of records as Arrow."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock.lake.lenient import Unkept
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo, Mark, Selection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, eq=False)
class ArrowPage:
    """A page of records as an Arrow table.

    :param received: key, creation time and last update of all records, as they came.
    :param table: the newest version of each record that can be kept, with the resource's schema.
    :param unkept: the records that cannot be kept.
    """

    echo: Echo
    received: pa.Table
    ascending: bool
    descending: bool
    table: pa.Table
    unkept: Unkept
    layout: Layout

    @property
    def rows(self) -> int:
        """Number of records received."""
        return int(self.received.num_rows)

    @property
    def distinct(self) -> int:
        """Number of different keys."""
        return int(self.table.num_rows) + len(self.unkept)

    @property
    def first(self) -> datetime | None:
        """Creation time of the first record received, None if it cannot be read."""
        return _instants(self.received["created"].slice(0, 1))[0]

    @property
    def last(self) -> datetime | None:
        """Creation time of the last record received, None if it cannot be read."""
        return _instants(self.received["created"].slice(self.rows - 1))[0]

    def keys(self, start: int = 0, stop: int | None = None) -> Sequence[str]:
        """Return the keys of the records received, those from ``start`` to ``stop``."""
        keys: list[str] = self._received(start, stop)["key"].to_pylist()
        return keys

    def marks(self, start: int = 0, stop: int | None = None) -> Sequence[Mark]:
        """Return the marks of the records received, those from ``start`` to ``stop``."""
        part = self._received(start, stop)
        times = (_instants(part[name]) for name in ("created", "updated"))
        marks = zip(part["key"].to_pylist(), *times, strict=True)
        return tuple(Mark(key, created, updated or NEVER_UPDATED) for key, created, updated in marks)

    def _received(self, start: int, stop: int | None) -> pa.Table:
        return self.received.slice(start, None if stop is None else max(0, stop - start))

    def keys_created_at(self, instant: datetime | None) -> Set[str]:
        """Return the keys of the records created at an instant, none for None."""
        created = self.received["created"]
        return set(self.received["key"].filter(pc.equal(created, pa.scalar(instant, created.type))).to_pylist())

    def reconcile(self, earlier: ArrowPage) -> tuple[ArrowPage, ArrowPage]:
        """Return an earlier page and this one, with only the newest version of each record that both hold."""
        key, version = self.layout.key, self.layout.resource.version
        # Combined, as indices_nonzero of pyarrow 23 never returns for an array without chunks.
        keys, others = (table[key].combine_chunks() for table in (self.table, earlier.table))
        places = pc.index_in(keys, value_set=others)
        here = pc.indices_nonzero(pc.is_valid(places))
        there = pc.drop_null(places)
        mine, theirs = (
            pc.fill_null(table[version].take(rows), NEVER_UPDATED)
            for table, rows in ((self.table, here), (earlier.table, there))
        )
        is_newer = pc.greater_equal(mine, theirs)
        return (
            replace(
                earlier,
                table=_without(earlier.table, there.filter(is_newer)),
                unkept={other: each for other, each in earlier.unkept.items() if other not in self.unkept},
            ),
            replace(self, table=_without(self.table, here.filter(pc.invert(is_newer)))),
        )

    def select(self, selection: Selection) -> ArrowPage:
        """Return the page with only the records of a selection.

        A record whose creation time is not known stays, as it may belong to the window.
        """
        wanted = [pa.chunked_array([pa.repeat(True, self.table.num_rows)])]
        unkept = dict(self.unkept)
        created = self.layout.created(self.table)
        if selection.start is not None:
            start = selection.start
            wanted.append(pc.greater_equal(created, pa.scalar(start, created.type)))
            unkept = {key: each for key, each in unkept.items() if each[1] is None or each[1] >= start}
        if selection.end is not None:
            end = selection.end
            wanted.append(pc.less(created, pa.scalar(end, created.type)))
            unkept = {key: each for key, each in unkept.items() if each[1] is None or each[1] < end}
        for name, values in selection.excluded.items():
            excluded = pc.is_in(pc.utf8_lower(self.table[name]), value_set=pa.array(sorted(values), pa.string()))
            wanted.append(pc.invert(excluded))
        keep = wanted[0]
        for each in wanted[1:]:
            keep = pc.and_(keep, each)
        table = self.table if pc.all(keep, min_count=0).as_py() else self.table.filter(keep)
        return replace(self, table=table, unkept=unkept)


def _instants(times: pa.ChunkedArray) -> list[datetime | None]:
    """Return times as Python objects, in a sixth of the time that Arrow takes for it."""
    elapsed = times.cast(pa.int64()).to_pylist()
    return [None if each is None else _EPOCH + timedelta(microseconds=each) for each in elapsed]


def _without(table: pa.Table, rows: pa.Array | pa.ChunkedArray) -> pa.Table:
    """Return a table without some rows; without copying where these are its first or its last ones."""
    count = len(rows)
    if not count:
        return table
    least, most = (each.as_py() for each in pc.min_max(rows).values())
    if most - least == count - 1 and (least == 0 or most == table.num_rows - 1):
        return table.slice(count) if least == 0 else table.slice(0, least)
    return table.take(pa.array(sorted(set(range(table.num_rows)) - set(rows.to_pylist())), pa.int64()))


def newest_rows(table: pa.Table, layout: Layout) -> pa.Array:
    """Return the positions, in order, of the newest version of each key, the later one of equals."""
    rows = pa.table(
        [table[layout.key], table[layout.resource.version], pa.array(range(table.num_rows), pa.int64())],
        names=["key", "updated", "position"],
    )
    ranked = rows.sort_by([("key", "ascending"), ("updated", "descending"), ("position", "descending")])
    is_first = pc.not_equal(ranked["key"][1:], ranked["key"][:-1])
    positions = ranked["position"].filter(pa.chunked_array([pa.array([True]), *is_first.chunks]))
    return positions.take(pc.sort_indices(positions)).combine_chunks()
