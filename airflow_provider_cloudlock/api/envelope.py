"""Response body -> page of dicts, strictly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise, takewhile
from typing import Any, Self

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.api.resources import Resource
from airflow_provider_cloudlock.exceptions import CloudlockDataError
from airflow_provider_cloudlock.instants import parse_record_time
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Echo, Mark, key_of, open_envelope, time_of

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of records as dicts. A key that came twice is held once, with the newest ``updated_at``."""

    echo: Echo
    rows: int
    first: Mark | None
    last: Mark | None
    ascending: bool
    descending: bool
    marks: list[Mark]
    records: dict[str, Record]
    times: dict[str, datetime | None]

    @property
    def distinct(self) -> int:
        """How many different keys there are."""
        return len(self.records)

    def head(self, count: int) -> tuple[Mark, ...]:
        """Return the first so many records, or all when there are fewer."""
        return tuple(self.marks[:count])

    def tail(self, at_least: int = 2) -> tuple[Mark, ...]:
        """Return the last records, back to one that was not created at the same time as the very last."""
        alike = sum(1 for _ in takewhile(lambda mark: mark.created == self.marks[-1].created, reversed(self.marks)))
        return tuple(self.marks[-max(alike + 1, at_least) :])

    def version(self, key: str) -> datetime | None:
        """Return when the record of a key was updated; ``NEVER_UPDATED`` if it does not say, None if it is not here."""
        return _version(self.records[key]) if key in self.records else None

    def versions(self) -> list[tuple[str, datetime]]:
        """Return the keys of all records as they came, and when each was updated; ``NEVER_UPDATED`` if not said."""
        return [(mark.key, _version(self.records[mark.key])) for mark in self.marks]

    def without(self, key: str) -> RecordPage:
        """Return the page without the record of a key."""
        return replace(self, records={other: record for other, record in self.records.items() if other != key})

    def select(self, start: datetime | None, end: datetime | None, without_status: str | None) -> RecordPage:
        """Return the records created in ``[start, end)`` that do not have the one status, compared without case.

        :raises CloudlockDataError: when there are bounds and a record has no readable creation time.
        """
        kept = {}
        for key, record in self.records.items():
            if start is not None or end is not None:
                created = self.times[key]
                if created is None:
                    raise CloudlockDataError(
                        f"The record with the id {record.get('id')!r} has no creation time that can be read, so "
                        "nobody can say whether it lies in the window. Read without created_after and "
                        "created_before to look at it."
                    )
                if (start is not None and created < start) or (end is not None and created >= end):
                    continue
            status = record.get("status")
            if without_status is None or not isinstance(status, str) or status.casefold() != without_status:
                kept[key] = record
        return replace(self, records=kept)


class Records:
    """The records of many pages, in the order they came."""

    def __init__(self) -> None:
        self._pages: list[dict[str, Record]] = []

    def __iter__(self) -> Iterator[Record]:
        return (record for page in self._pages for record in page.values())

    @property
    def count(self) -> int:
        """How many records are held."""
        return sum(map(len, self._pages))

    def add(self, page: RecordPage) -> None:
        """Take in a page that changes no more."""
        self._pages.append(page.records)

    def join(self, other: Records) -> None:
        """Take in all that another one holds."""
        self._pages += other._pages

    def newest(self) -> Self:
        """Return the same with the newest version of each record alone."""
        newest: dict[str, Record] = {}
        for page in self._pages:
            for key, record in page.items():
                if key not in newest or _version(record) >= _version(newest[key]):
                    newest[key] = record
        self._pages = [newest]
        return self

    def compared(self, other: Records) -> Iterator[tuple[str, bool]]:
        """Give each key, and whether the other ones have the same version of its record."""
        versions = {key: _version(record) for page in other._pages for key, record in page.items()}
        return ((key, versions.get(key) == _version(record)) for page in self._pages for key, record in page.items())

    def distinct(self, other: Records | None = None) -> int:
        """Count the different keys, of this one or of two together."""
        return len(set().union(*self._pages, *(other._pages if other else ())))


class RecordFormat:
    """Makes pages of dicts.

    :param resource: whose records they are.
    """

    def __init__(self, resource: Resource) -> None:
        self._resource = resource

    def decode(self, body: bytes) -> RecordPage:
        """Read an answer.

        :raises CloudlockResponseError: when it is not a page.
        """
        echo, items = open_envelope(strict_json.loads(body))
        marks = [Mark(key_of(item, self._resource.key), time_of(item, self._resource.time_fields)) for item in items]
        times = [mark.created for mark in marks if mark.created is not None]
        records: dict[str, Record] = {}
        for mark, item in zip(marks, items, strict=True):
            if mark.key not in records or _version(item) >= _version(records[mark.key]):
                records[mark.key] = item
        return RecordPage(
            echo=echo,
            rows=len(items),
            first=marks[0] if marks else None,
            last=marks[-1] if marks else None,
            ascending=len(times) == len(marks) and all(one <= other for one, other in pairwise(times)),
            descending=len(times) == len(marks) and all(one >= other for one, other in pairwise(times)),
            marks=marks,
            records=records,
            times={key: time_of(record, self._resource.time_fields) for key, record in records.items()},
        )

    def gather(self) -> Records:
        """Return what puts pages together, still empty."""
        return Records()


def _version(record: Record) -> datetime:
    parsed = parse_record_time(record.get("updated_at"))
    return parsed[0] if parsed else NEVER_UPDATED
