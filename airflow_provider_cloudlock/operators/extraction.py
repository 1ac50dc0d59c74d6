"""One slice: read, looked at, published, receipted. Imported when the task runs, not when a Dag is parsed."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.api.paging import Reader, ResultSet
from airflow_provider_cloudlock.api.resources import Query, Resource
from airflow_provider_cloudlock.exceptions import CloudlockDataError, CloudlockUnavailableError
from airflow_provider_cloudlock.lake.memory import give_back
from airflow_provider_cloudlock.lake.page import ArrowPage
from airflow_provider_cloudlock.lake.publish import (
    OnVanished,
    Standing,
    note_announced,
    publish,
    quarantine,
    settle,
    was_announced,
)
from airflow_provider_cloudlock.lake.receipt import Receipt
from airflow_provider_cloudlock.lake.schemas import SCHEMA_VERSION, Layout
from airflow_provider_cloudlock.lake.slices import Slice
from airflow_provider_cloudlock.lake.spool import Spool
from airflow_provider_cloudlock.lake.store import Store

log = logging.getLogger(__name__)

#: Seconds that the two clocks may be apart before it is told.
_MOST_SKEW = 60


class Extraction:
    """Reads and publishes slices of one resource.

    :param resource: what is extracted.
    :param reader: reads it.
    :param store: where it is published.
    :param layout: of its records.
    :param status: the filter, None for all records.
    :param on_vanished: what becomes of published records that are no longer given.
    :param max_quarantined: the most records of a slice that may be set apart.
    """

    def __init__(
        self,
        resource: Resource,
        reader: Reader[ArrowPage, Spool],
        store: Store,
        layout: Layout,
        status: str | None,
        on_vanished: OnVanished,
        max_quarantined: int,
    ) -> None:
        self._resource = resource
        self._reader = reader
        self._store = store
        self._layout = layout
        self._status = status
        self._on_vanished: OnVanished = on_vanished
        self._max_quarantined = max_quarantined
        self._told_of_clock = False

    def read(self, slice_: Slice) -> tuple[ResultSet[Spool], Standing]:
        """Read a slice; tell also what was published of it before, as nothing else may be replaced by it."""
        held = Standing.of(slice_, self._store)
        return self._reader.read(Query(slice_.start, slice_.end, self._status)), held

    def publish(self, slice_: Slice, found: ResultSet[Spool], held: Standing) -> Receipt:
        """Publish a slice, and tell what was proved.

        :raises CloudlockDataError: when more records than allowed cannot be kept; they are in quarantine then.
        :raises CloudlockUnavailableError: when the slice is not over on the API's clock.
        """
        self._check_clock(slice_, found)
        unkept = [record for record, _ in found.records.unkept.values()]
        if unkept:
            where = quarantine(self._store, slice_, unkept, held)
            if len(unkept) > self._max_quarantined:
                raise CloudlockDataError(
                    f"{len(unkept)} records of the slice {slice_.name} have no usable id or creation time, more than "
                    f"max_quarantined={self._max_quarantined}. They are in {where}; nothing was published. Look at "
                    "them, then raise max_quarantined or report them to Cloudlock support."
                )
            log.warning("%d records without a usable id or creation time were put into %s", len(unkept), where)
        published = publish(
            self._store,
            slice_,
            found.records,
            self._layout,
            held=held,
            status=self._status,
            on_vanished=self._on_vanished,
        )
        receipt = Receipt(
            resource=self._resource.name,
            window=slice_.window,
            status=self._status,
            path=published.path,
            rows=published.rows,
            bytes=published.bytes,
            sha256=published.sha256,
            changed=published.changed,
            proof=found.proof,
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
            announced=not published.changed and was_announced(self._store, slice_, published.sha256),
        )
        settle(self._store, slice_, receipt, published)
        give_back()
        return receipt

    def note_announced(self, slice_: Slice, receipt: Receipt) -> None:
        """Note in a slice's receipt that an asset event tells of its object."""
        note_announced(self._store, slice_, receipt)

    def _check_clock(self, slice_: Slice, found: ResultSet[Spool]) -> None:
        """Refuse a slice that is not over on the API's clock: more records may come. The worker's may be fast."""
        if found.server_date is None or found.clock_skew is None:
            return
        if abs(found.clock_skew) > _MOST_SKEW and not self._told_of_clock:
            self._told_of_clock = True
            log.warning(
                "The worker's clock and Cloudlock's are %d s apart. Correct the worker's: windows end by it.",
                abs(found.clock_skew),
            )
        if found.server_date < slice_.end.replace(microsecond=0):  # the header has whole seconds
            raise CloudlockUnavailableError(
                f"The slice {slice_.name} is not over on Cloudlock's clock, where it is "
                f"{found.server_date.isoformat()}; the worker's clock is {-found.clock_skew} s ahead. Records may yet "
                "be added, so nothing was published. Try again when it is over, and correct the worker's clock."
            )
