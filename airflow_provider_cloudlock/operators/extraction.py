"""Ranges -> days -> receipts. Imported when the task runs, not when a DAG is parsed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from typing import TypeVar

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.api.pagination.reader import Reader
from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.api.result_set import ResultSet
from airflow_provider_cloudlock.exceptions import CloudlockDataError, CloudlockUnavailableError
from airflow_provider_cloudlock.instants import dates_of, day_after, midnight
from airflow_provider_cloudlock.lake.buffer import RangeBuffer
from airflow_provider_cloudlock.lake.days import object_path
from airflow_provider_cloudlock.lake.memory import release_unused_memory
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.publish import Publisher, Standing
from airflow_provider_cloudlock.lake.receipt import Receipt
from airflow_provider_cloudlock.lake.schema import SCHEMA_VERSION
from airflow_provider_cloudlock.threads import Background, one_ahead

log = logging.getLogger(__name__)

T = TypeVar("T")
U = TypeVar("U")

#: Days that are published concurrently; botocore keeps ten connections.
_CONCURRENT_DAYS = 8
#: Seconds that the two clocks may differ before a warning is logged.
_LARGEST_SKEW = 60


class Extraction:
    """Reads and publishes the days of a window.

    :param reader: reads ranges.
    :param publisher: publishes days.
    :param tenant: name of the Cloudlock tenant.
    :param status: the filter, None for all records.
    :param filters: the filter as query parameters.
    :param max_quarantined: the most records of a day that may be quarantined.
    """

    def __init__(
        self,
        reader: Reader[ArrowPage, RangeBuffer],
        publisher: Publisher,
        tenant: str,
        status: str | None,
        filters: Mapping[str, str],
        max_quarantined: int,
    ) -> None:
        self._reader = reader
        self._publisher = publisher
        self._tenant = tenant
        self._status = status
        self._filters = filters
        self._max_quarantined = max_quarantined
        self._background = Background(_CONCURRENT_DAYS)
        self._warned_of_clock = False
        self._versions: dict[date, str] = {}  # of the receipts written

    def run(self, start: datetime, end: datetime) -> Iterator[tuple[date, Receipt]]:
        """Extract a window, and yield the receipt of each UTC day when it is published.

        A range is read while the one before it is published.

        :param start: first instant of the first day.
        :param end: end of the window; the day it lies in is extracted up to there, or as a whole if it is over.
        :raises CloudlockError: if a day cannot be extracted completely. The days before it are published then, and
            maybe later ones of its range, whose receipts are yielded before the error is raised.
        """
        for found, standing in one_ahead(self._read(start, end)):
            release_unused_memory()
            days = [day for day in dates_of(*_window(found.query)) if day in standing]
            yield from self._publish(found, days, standing)
            release_unused_memory()

    def note_announced(self, day: date, receipt: Receipt) -> None:
        """Note in the receipt of a day that an asset event is emitted for its object."""
        if day in self._versions:
            self._publisher.note_announced(day, receipt, self._versions[day])

    def _read(self, start: datetime, end: datetime) -> Iterator[tuple[ResultSet[RangeBuffer], dict[date, Standing]]]:
        """Yield complete ranges, with what was published of their days before they were read."""
        now = datetime.now(UTC)
        window = Query(midnight(start), day_after(end) if day_after(end) <= now else end, self._filters)
        for query in window.ranges(partial(self._reader.endpoint.total, window)):
            first, last = _window(query)
            standing = self._publisher.standing(dates_of(first, last), self._concurrently)
            before = standing[max(standing)].receipt
            if last != midnight(last) and before is not None and before.until is not None:
                # A day in progress is not extracted less far than before.
                last = max(last, min(datetime.fromisoformat(before.until), now))
            for found in self._reader.read_range(Query(first, last, self._filters)):
                self._check_clock(found)
                yield found, standing

    def _publish(
        self, found: ResultSet[RangeBuffer], days: Sequence[date], standing: Mapping[date, Standing]
    ) -> Iterable[tuple[date, Receipt]]:
        unkept = found.records.unkept(days[0])
        return self._concurrently(lambda day: self._publish_day(day, found, unkept.get(day, []), standing[day]), days)

    def _publish_day(
        self, day: date, found: ResultSet[RangeBuffer], unkept: Sequence[Mapping[str, object]], standing: Standing
    ) -> Receipt:
        """Publish a day, and return what was verified.

        :raises CloudlockDataError: if more records than allowed cannot be kept; they are in quarantine then.
        """
        if unkept:
            self._quarantine(day, unkept, standing)
        published = self._publisher.publish(day, found.records.day(day), standing)
        found.records.release(day)
        range_start, range_end = _window(found.query)
        start = datetime.combine(day, time.min, UTC)
        end = min(range_end, start + timedelta(days=1))
        path = object_path(self._reader.endpoint.resource.name, day)
        before = standing.receipt
        receipt = Receipt(
            resource=self._reader.endpoint.resource.name,
            tenant=self._tenant,
            window=[start.isoformat(), end.isoformat()],
            until=end.isoformat() if end < start + timedelta(days=1) else None,
            status=self._status,
            path=self._publisher.store.path(path),
            uri=self._publisher.store.uri(path),
            rows=published.rows,
            bytes=published.bytes,
            sha256=published.sha256,
            previous_sha256=published.previous_sha256,
            version=published.version,
            changed=published.changed,
            proof=found.proof,
            range=[range_start.isoformat(), range_end.isoformat()],
            pages=found.pages,
            requests=found.requests,
            retries=found.retries,
            reported_total=found.reported_total,
            duplicates=found.duplicates,
            outside_window=found.outside,
            vanished_kept=published.vanished_kept,
            quarantined=len(unkept),
            extracted_at=datetime.now(UTC).isoformat(timespec="seconds"),
            server_date=found.server_date.isoformat() if found.server_date else None,
            clock_skew=found.clock_skew,
            schema_version=SCHEMA_VERSION,
            provider_version=__version__,
            request_form=found.request_form,
            announced=before is not None and before.announced and before.sha256 == published.sha256,
        )
        version = self._publisher.write_receipt(day, receipt, standing)
        if version is not None:
            self._versions[day] = version
        return receipt

    def _quarantine(self, day: date, unkept: Sequence[Mapping[str, object]], standing: Standing) -> None:
        is_rejected = len(unkept) > self._max_quarantined
        path = self._publisher.quarantine(day, unkept, standing, is_rejected=is_rejected)
        if is_rejected:
            raise CloudlockDataError(
                f"{len(unkept)} records of {day} have no usable id or creation time, more than "
                f"max_quarantined={self._max_quarantined}. They are in {path}; the day was not published. Look at "
                "them, then raise max_quarantined or report them to Cloudlock support."
            )
        log.warning("%d records without a usable id or creation time were written to %s", len(unkept), path)

    def _check_clock(self, found: ResultSet[RangeBuffer]) -> None:
        """Refuse a range that is not over by the API's clock, as records may be added to it; the worker's may be fast.

        :raises CloudlockUnavailableError: if it is not over.
        """
        if found.server_date is None or found.clock_skew is None:
            return
        if abs(found.clock_skew) > _LARGEST_SKEW and not self._warned_of_clock:
            self._warned_of_clock = True
            log.warning(
                "The clocks of the worker and of Cloudlock differ by %d s. Correct the worker's: windows end by it.",
                abs(found.clock_skew),
            )
        _, end = _window(found.query)
        if found.server_date < end.replace(microsecond=0):  # the header has whole seconds
            raise CloudlockUnavailableError(
                f"The window ends at {end.isoformat()}, and by Cloudlock's clock it is "
                f"{found.server_date.isoformat()}; the worker's clock is {-found.clock_skew} s ahead. Records may yet "
                "be added, so nothing was published. Try again when the window is over, and correct the worker's clock."
            )

    def _concurrently(self, work: Callable[[U], T], items: Sequence[U]) -> Iterable[tuple[U, T]]:
        return self._background.map(work, items)


def _window(query: Query) -> tuple[datetime, datetime]:
    if query.start is None or query.end is None:
        raise ValueError("only bounded windows are extracted")
    return query.start, query.end
