"""A page of records as Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo, Mark


@dataclass(frozen=True, slots=True, eq=False)
class ArrowPage:
    """A page of records as an Arrow table. A key that came twice is held once, with the newest ``updated_at``.

    :param keys: of all records, as they came.
    :param times: when they were created, null where that is not known.
    :param table: the records that can be kept, with the resource's schema.
    :param unkept: the records without a usable key or creation time, as they came, by a key made of all of them.
    :param created: the creation time of every row of ``table``.
    """

    echo: Echo
    rows: int
    first: Mark | None
    last: Mark | None
    ascending: bool
    descending: bool
    keys: pa.ChunkedArray
    times: pa.ChunkedArray
    table: pa.Table
    created: pa.ChunkedArray
    unkept: Mapping[str, tuple[dict[str, Any], datetime | None]]
    key: str

    @property
    def distinct(self) -> int:
        """How many different keys there are."""
        return int(self.table.num_rows) + len(self.unkept)

    def head(self, count: int) -> tuple[Mark, ...]:
        """Return the first so many records, or all when there are fewer."""
        return tuple(map(Mark, self.keys[:count].to_pylist(), self.times[:count].to_pylist()))

    def tail(self, at_least: int = 2) -> tuple[Mark, ...]:
        """Return the last records, back to one that was not created at the same time as the very last."""
        start = max(0, len(self.keys) - at_least)
        while start > 0 and self.times[start] == self.times[-1]:
            start -= 1
        return tuple(map(Mark, self.keys[start:].to_pylist(), self.times[start:].to_pylist()))

    def version(self, key: str) -> datetime | None:
        """Return when the record of a key was updated; ``NEVER_UPDATED`` if it does not say, None if it is not here."""
        place = self._place(key)
        if place < 0:
            return NEVER_UPDATED if key in self.unkept else None
        updated: datetime | None = self.table["updated_at"][place].as_py()
        return updated or NEVER_UPDATED

    def versions(self) -> list[tuple[str, datetime]]:
        """Return the keys of all records as they came, and when each was updated; ``NEVER_UPDATED`` if not said."""
        places = pc.index_in(self.keys, self.table[self.key].combine_chunks())
        updated = pc.fill_null(self.table["updated_at"].take(places), NEVER_UPDATED)
        return list(zip(self.keys.to_pylist(), updated.to_pylist(), strict=True))

    def without(self, key: str) -> ArrowPage:
        """Return the page without the record of a key."""
        place = self._place(key)
        if place < 0:
            return replace(self, unkept={other: record for other, record in self.unkept.items() if other != key})
        # Mostly the first or the last one: what is left is then in one piece still.
        parts = [each for each in ((0, place), (place + 1, self.table.num_rows)) if each[0] < each[1]] or [(0, 0)]
        created = [chunk for start, end in parts for chunk in self.created[start:end].chunks]
        return replace(
            self,
            table=pa.concat_tables(self.table[start:end] for start, end in parts),
            created=pa.chunked_array(created, self.created.type),
        )

    def _place(self, key: str) -> int:
        return int(pc.index(self.table[self.key], key).as_py())

    def select(self, start: datetime | None, end: datetime | None, without_status: str | None) -> ArrowPage:
        """Return the records created in ``[start, end)`` that do not have the one status, compared without case.

        A record whose creation time is not known stays: nobody can say that it does not belong here.
        """
        wanted = pa.chunked_array([pa.repeat(True, self.table.num_rows)])
        unkept = dict(self.unkept)
        if start is not None:
            wanted = pc.and_(wanted, pc.greater_equal(self.created, pa.scalar(start, self.created.type)))
            unkept = {key: each for key, each in unkept.items() if each[1] is None or each[1] >= start}
        if end is not None:
            wanted = pc.and_(wanted, pc.less(self.created, pa.scalar(end, self.created.type)))
            unkept = {key: each for key, each in unkept.items() if each[1] is None or each[1] < end}
        if without_status is not None:
            other = pc.equal(pc.utf8_lower(self.table["status"]), without_status)
            wanted = pc.and_(wanted, pc.invert(pc.fill_null(other, False)))
        return replace(self._where(wanted), unkept=unkept)

    def _where(self, wanted: pa.ChunkedArray) -> ArrowPage:
        if pc.all(wanted, min_count=0).as_py():
            return self
        return replace(self, table=self.table.filter(wanted), created=self.created.filter(wanted))


def newest_rows(table: pa.Table, key: str) -> pa.Array:
    """Positions, in order, of one row of each key: the one with the newest ``updated_at``, the later of equals."""
    rows = pa.table(
        [table[key], table["updated_at"], pa.array(range(table.num_rows))], names=["key", "updated_at", "position"]
    )
    ranked = rows.sort_by([("key", "ascending"), ("updated_at", "descending"), ("position", "descending")])
    first = pc.not_equal(ranked["key"][1:], ranked["key"][:-1])
    first = pa.chunked_array([pa.array([True]), *first.chunks])
    positions = ranked["position"].filter(first)
    return positions.take(pc.sort_indices(positions)).combine_chunks()
