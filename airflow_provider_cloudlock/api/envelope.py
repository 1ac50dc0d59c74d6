"""Response body -> page of dicts, strictly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.api.resources import Resource
from airflow_provider_cloudlock.exceptions import CloudlockDataError
from airflow_provider_cloudlock.instants import parse_record_time
from airflow_provider_cloudlock.pages import Echo, key_of, open_envelope, time_of

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of records as dicts. A key that came twice is held once, with the newest ``updated_at``."""

    echo: Echo
    rows: int
    first: str | None
    last: str | None
    ascending: bool
    records: dict[str, Record]
    times: dict[str, datetime | None]

    @property
    def distinct(self) -> int:
        """How many different keys there are."""
        return len(self.records)

    def rest(self) -> RecordPage:
        """Return the page without the record it begins with."""
        records = {key: record for key, record in self.records.items() if key != self.first}
        return replace(self, rows=self.rows - 1, records=records)

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
        keys = [key_of(item, self._resource.key) for item in items]
        moments = [time_of(item, self._resource.time_fields) for item in items]
        known = [moment for moment in moments if moment is not None]
        records: dict[str, Record] = {}
        times: dict[str, datetime | None] = {}
        for key, item, moment in zip(keys, items, moments, strict=True):
            if key not in records or _updated(item) >= _updated(records[key]):
                records[key], times[key] = item, moment
        return RecordPage(
            echo=echo,
            rows=len(items),
            first=keys[0] if keys else None,
            last=keys[-1] if keys else None,
            ascending=all(earlier <= later for earlier, later in pairwise(known)),
            records=records,
            times=times,
        )

    def distinct(self, pages: Sequence[RecordPage]) -> int:
        """Count the different keys over several pages."""
        return len(set().union(*(page.records for page in pages)))


def _updated(record: Record) -> float:
    parsed = parse_record_time(record.get("updated_at"))
    return parsed[0].timestamp() if parsed else float("-inf")
