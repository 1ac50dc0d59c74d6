"""Response body -> page of dicts, parsed strictly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.exceptions import CloudlockDataError
from airflow_provider_cloudlock.instants import parse_record_time
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo, Mark, Selection, key_of, open_envelope, time_of
from airflow_provider_cloudlock.resources import Resource

Record = dict[str, Any]
#: Versions of records by key.
Versions = Mapping[str, tuple[Mark, Record]]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of records as dicts.

    :param received: marks of all records, as they came.
    :param records: the newest version of each record.
    """

    echo: Echo
    received: tuple[Mark, ...]
    ascending: bool
    descending: bool
    records: Versions

    @property
    def rows(self) -> int:
        """Number of records received."""
        return len(self.received)

    @property
    def distinct(self) -> int:
        """Number of different keys."""
        return len(self.records)

    @property
    def first(self) -> datetime | None:
        """Creation time of the first record received, None if it cannot be read."""
        return self.received[0].created

    @property
    def last(self) -> datetime | None:
        """Creation time of the last record received, None if it cannot be read."""
        return self.received[-1].created

    def keys(self, start: int = 0, stop: int | None = None) -> Sequence[str]:
        """Return the keys of the records received, those from ``start`` to ``stop``."""
        return [mark.key for mark in self.received[start:stop]]

    def marks(self, start: int = 0, stop: int | None = None) -> Sequence[Mark]:
        """Return the marks of the records received, those from ``start`` to ``stop``."""
        return self.received[start:stop]

    def keys_created_at(self, instant: datetime | None) -> Set[str]:
        """Return the keys of the records created at an instant, none for None."""
        return {mark.key for mark in self.received if mark.created == instant is not None}

    def reconcile(self, earlier: RecordPage) -> tuple[RecordPage, RecordPage]:
        """Return an earlier page and this one, with only the newest version of each record that both hold."""
        common = earlier.records.keys() & self.records.keys()
        older = {key for key in common if self.records[key][0].updated < earlier.records[key][0].updated}
        return earlier._without(common - older), self._without(older)

    def _without(self, keys: Set[str]) -> RecordPage:
        return replace(self, records={key: each for key, each in self.records.items() if key not in keys})

    def select(self, selection: Selection) -> RecordPage:
        """Return the page with only the records of a selection.

        :raises CloudlockDataError: if a window is asked for and a record has no readable creation time.
        """
        is_bounded = selection.start is not None or selection.end is not None
        kept = {}
        for key, (mark, record) in self.records.items():
            if is_bounded and mark.created is None:
                raise CloudlockDataError(
                    f"The record with the id {record.get('id')!r} has no readable creation time, so it may or may not "
                    "belong to the window. Read without created_after and created_before to look at it."
                )
            if _is_selected(mark, record, selection):
                kept[key] = mark, record
        return replace(self, records=kept)


def _is_selected(mark: Mark, record: Record, selection: Selection) -> bool:
    if selection.start is not None and mark.created is not None and mark.created < selection.start:
        return False
    if selection.end is not None and mark.created is not None and mark.created >= selection.end:
        return False
    values = ((record.get(field), excluded) for field, excluded in selection.excluded.items())
    return not any(isinstance(value, str) and value.casefold() in excluded for value, excluded in values)


class Records:
    """The records of many pages, in the order in which they came."""

    def __init__(self) -> None:
        self._pages: list[Versions] = []

    def __iter__(self) -> Iterator[Record]:
        return (record for page in self._pages for _, record in page.values())

    @property
    def count(self) -> int:
        """Number of records held."""
        return sum(map(len, self._pages))

    def add(self, page: RecordPage) -> None:
        """Add the records of a page."""
        self._pages.append(page.records)

    def distinct(self) -> int:
        """Return the number of different keys."""
        return len(set().union(*self._pages))


class RecordFormat:
    """Decodes pages of dicts.

    :param resource: whose records they are.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def decode(self, body: bytes) -> RecordPage:
        """Decode a response.

        :raises CloudlockResponseError: if it is not a page.
        """
        echo, items = open_envelope(strict_json.loads(body))
        marks = tuple(map(self._mark, items))
        times = [mark.created for mark in marks if mark.created is not None]
        records: dict[str, tuple[Mark, Record]] = {}
        for mark, item in zip(marks, items, strict=True):
            if mark.key not in records or mark.updated >= records[mark.key][0].updated:
                records[mark.key] = mark, item
        return RecordPage(
            echo=echo,
            received=marks,
            ascending=len(times) == len(marks) and all(one <= other for one, other in pairwise(times)),
            descending=len(times) == len(marks) and all(one >= other for one, other in pairwise(times)),
            records=records,
        )

    def collector(self) -> Records:
        """Return an empty collector."""
        return Records()

    def _mark(self, record: Record) -> Mark:
        updated = parse_record_time(record.get(self._resource.version))
        return Mark(
            key_of(record, self._resource.key),
            time_of(record, self._resource.time_fields),
            updated[0] if updated else NEVER_UPDATED,
        )
