"""Window -> slices -> receipts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.api.resources import Query, Resource, resource_named
from airflow_provider_cloudlock.exceptions import (
    CloudlockConfigError,
    CloudlockDataError,
    CloudlockError,
    CloudlockUnavailableError,
)
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook, status_named
from airflow_provider_cloudlock.instants import check_window, parse_bound
from airflow_provider_cloudlock.threads import one_ahead

# pyarrow is imported when the task runs: a Dag file must not pay for it.
if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cloudlock.api.paging import Reader, ResultSet
    from airflow_provider_cloudlock.lake.page import ArrowPage
    from airflow_provider_cloudlock.lake.publish import OnVanished
    from airflow_provider_cloudlock.lake.receipt import Receipt
    from airflow_provider_cloudlock.lake.schemas import Layout
    from airflow_provider_cloudlock.lake.slices import Slice
    from airflow_provider_cloudlock.lake.spool import Spool
    from airflow_provider_cloudlock.lake.store import Store

log = logging.getLogger(__name__)

#: Seconds that the two clocks may be apart before it is told.
_MOST_SKEW = 60


class CloudlockToObjectStorageOperator(BaseOperator):
    """Extract a window of a Cloudlock resource into Parquet: every record exactly once, or a failed task.

    The window is cut at UTC midnights. Each slice is read, proved whole, and published as one object::

        {destination}/{resource}/created_date=YYYY-MM-DD/{start}--{end}.parquet

    The same slice always has the same name, so a re-run replaces and never adds; a slice whose records did not change
    is not written again.

    :param resource: what to extract (templated).
    :param destination: where to, any scheme that ``ObjectStoragePath`` knows, with the store's connection if it needs
        one: ``s3://aws_default@lake/cloudlock`` (templated).
    :param created_after: first instant of the window, on the records' creation time; without a zone it is UTC
        (templated). The default is the run's data interval, else the day of its partition.
    :param created_before: first instant after the window (templated).
    :param refresh_days: days before the window that are extracted again, so that later dismissals arrive (templated).
    :param status: ``Active`` or ``Dismissed`` to extract these alone (templated). The slice then holds a part, so it
        needs a destination of its own and another ``on_vanished`` than ``keep``.
    :param page_size: records asked for in one request, None for what the connection says, else 10,000.
    :param on_vanished: what becomes of a published record that Cloudlock no longer gives: ``keep`` it, ``drop`` it,
        or ``fail``.
    :param max_quarantined: the most records of a slice that may be set apart because they have no id or no creation
        time; beyond it the task fails.
    :param cloudlock_conn_id: the connection to Cloudlock (templated).
    :return: ``{"resource", "window", "rows", "slices"}``, also the extra of the event of every outlet asset; a slice
        has ``window``, ``path``, ``rows``, ``bytes``, ``changed``, ``proof``, ``sha256``, ``vanished_kept`` and
        ``quarantined``.
    :raises AirflowFailException: when a retry cannot help.
    :raises CloudlockError: when a later try may succeed.
    """

    template_fields: Sequence[str] = (
        "resource",
        "destination",
        "created_after",
        "created_before",
        "refresh_days",
        "status",
        "cloudlock_conn_id",
    )
    ui_color = "#c9e7f5"

    _running = False

    def __init__(
        self,
        *,
        destination: str,
        resource: str = "threats",
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        refresh_days: int | str = 0,
        status: str | None = None,
        page_size: int | None = None,
        on_vanished: OnVanished = "keep",
        max_quarantined: int = 0,
        cloudlock_conn_id: str = CloudlockHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.destination = destination
        self.resource = resource
        self.created_after = created_after
        self.created_before = created_before
        self.refresh_days = refresh_days
        self.status = status
        self.page_size = page_size
        self.on_vanished = on_vanished
        self.max_quarantined = max_quarantined
        self.cloudlock_conn_id = cloudlock_conn_id
        if on_vanished not in ("keep", "drop", "fail"):
            raise CloudlockConfigError(f"on_vanished={on_vanished!r} is not known. Give keep, drop or fail.")
        if type(max_quarantined) is not int or max_quarantined < 0:
            raise CloudlockConfigError(f"max_quarantined={max_quarantined!r} is not a whole number of at least 0.")

    def execute(self, context: Context) -> dict[str, Any]:
        """Extract the window."""
        self._running = True
        try:
            return self._execute(context)
        except CloudlockError as error:
            if error.retryable:
                raise
            raise AirflowFailException(str(error)) from error
        finally:
            self._running = False

    def on_kill(self) -> None:
        """Stop at once when Airflow asks for it by a signal: what is not published yet is not published."""
        if self._running:
            raise SystemExit("The task was asked to stop. What was published so far is whole; a retry goes on.")

    def _execute(self, context: Context) -> dict[str, Any]:
        resource = resource_named(self.resource)
        status = status_named(resource, self.status)
        if status is not None and self.on_vanished == "keep":
            raise CloudlockConfigError(
                f"status={status!r} with on_vanished='keep' would keep every record that leaves that status. Give "
                "on_vanished='drop' or 'fail'."
            )
        start, end = self._window(context)

        from airflow_provider_cloudlock.lake.memory import be_frugal

        be_frugal()
        from airflow_provider_cloudlock.lake.decode import ArrowFormat
        from airflow_provider_cloudlock.lake.publish import superseded_by
        from airflow_provider_cloudlock.lake.schemas import SCHEMAS, Layout
        from airflow_provider_cloudlock.lake.slices import slices_of

        layout = Layout(SCHEMAS[resource.name], resource.key, resource.time_fields)
        hook = CloudlockHook(self.cloudlock_conn_id)
        with closing(hook.client):
            reader = hook.reader(resource, ArrowFormat(layout), self.page_size)
            store = self._store(resource)
            store.check()
            slices = slices_of(start, end)
            for each in {slices[0], slices[-1]}:  # only a part of a day can overlap what is published
                superseded_by(each, store)

            lake = _Lake(resource, store, layout, status, self.on_vanished, self.max_quarantined)
            reads = (partial(lake.read, each, reader) for each in slices)
            receipts = []
            for each, (held, found) in zip(slices, one_ahead(reads), strict=True):  # one is read, one published
                _check_clock(each, found)
                receipt = lake.publish(each, found, held)
                self._log_receipt(receipt)
                receipts.append(receipt.summary())
        result = {
            "resource": resource.name,
            "window": [start.isoformat(), end.isoformat()],
            "rows": sum(receipt["rows"] for receipt in receipts),
            "slices": receipts,
        }
        for outlet in self.outlets:
            if isinstance(outlet, Asset):
                context["outlet_events"][outlet].extra.update(result)
        return result

    def _log_receipt(self, receipt: Receipt) -> None:
        self.log.info(
            "%s [%s, %s): %d rows, %s, %s in %d requests",
            receipt.resource,
            *receipt.window,
            receipt.rows,
            "written" if receipt.changed else "unchanged",
            receipt.proof.replace("_", " "),
            receipt.requests,
        )

    def _window(self, context: Context) -> tuple[datetime, datetime]:
        """Tell the window: the one given, else the run's."""
        given: tuple[object, object] = (self.created_after, self.created_before)
        if given == (None, None):
            given = (context.get("data_interval_start"), context.get("data_interval_end"))
        partition = context.get("partition_date")
        if given == (None, None) and partition is not None:
            given = (partition, parse_bound("partition_date", partition) + timedelta(days=1))
        if given == (None, None):
            raise CloudlockConfigError(
                "This run has no data interval and no partition, so there is no window to extract. Give created_after "
                "and created_before, trigger the run with a logical date, or schedule the Dag with "
                "CronDataIntervalTimetable."
            )
        if None in given:
            raise CloudlockConfigError("Give both created_after and created_before, or neither for the run's window.")
        start, end = (
            parse_bound(name, value) for name, value in zip(("created_after", "created_before"), given, strict=True)
        )
        check_window(start, end)
        try:
            return start - timedelta(days=self._days()), end
        except OverflowError:
            raise CloudlockConfigError(f"refresh_days={self.refresh_days!r} reaches before the year 1.") from None

    def _days(self) -> int:
        text = str(self.refresh_days)
        if isinstance(self.refresh_days, bool) or not (text.isascii() and text.isdigit()) or len(text) > 4:
            raise CloudlockConfigError(f"refresh_days={self.refresh_days!r} is not a whole number from 0 to 9999.")
        return int(text)

    def _store(self, resource: Resource) -> Store:
        from airflow_provider_cloudlock.lake.store import Store

        destination = self.destination.rstrip("/") if isinstance(self.destination, str) else ""
        scheme, _, rest = destination.rpartition("://")
        parts = rest.split("/")
        if scheme in ("", "file", "local") and not rest.startswith("/"):
            raise CloudlockConfigError(
                f"destination={self.destination!r} is no absolute location. Give one such as "
                "s3://aws_default@lake/cloudlock or file:///data/lake/cloudlock."
            )
        if not destination.isprintable() or any(part in (".", "..") for part in parts) or "" in parts[1:]:
            raise CloudlockConfigError(
                f"destination={self.destination!r} has a part that is empty, '.', '..' or not printable. Spell it out."
            )
        try:
            path = ObjectStoragePath(destination)
            fs = path.fs
        except (ValueError, ImportError) as error:
            raise CloudlockConfigError(
                f"destination={self.destination!r} cannot be opened: {error}. Install the provider of that store, such "
                "as airflow-provider-cloudlock[s3], [gcs] or [azure]."
            ) from error
        return Store(fs, f"{path.path.rstrip('/')}/{resource.name}", f"{destination}/{resource.name}")


def _check_clock(slice_: Slice, found: ResultSet[Spool]) -> None:
    """Refuse a slice that is not over on the API's clock: more records may come. The worker's own clock may be fast.

    :raises CloudlockUnavailableError: so that it is tried again later.
    """
    if found.server_date is None or found.clock_skew is None:
        return
    if abs(found.clock_skew) > _MOST_SKEW:
        log.warning(
            "The worker's clock and Cloudlock's are %d s apart. Correct the worker's: windows end by it.",
            abs(found.clock_skew),
        )
    if slice_.end > found.server_date + timedelta(seconds=1):  # the header has whole seconds
        raise CloudlockUnavailableError(
            f"The slice {slice_.name} is not over on Cloudlock's clock, where it is "
            f"{found.server_date.isoformat()}; the worker's clock is {-found.clock_skew} s ahead. Records may yet be "
            "added, so nothing was published. Try again when it is over, and correct the worker's clock."
        )


class _Lake:
    """Publishes slices of one resource."""

    def __init__(
        self,
        resource: Resource,
        store: Store,
        layout: Layout,
        status: str | None,
        on_vanished: OnVanished,
        max_quarantined: int,
    ) -> None:
        self._resource = resource
        self._store = store
        self._layout = layout
        self._status = status
        self._on_vanished: OnVanished = on_vanished
        self._max_quarantined = max_quarantined

    def read(self, slice_: Slice, reader: Reader[ArrowPage, Spool]) -> tuple[str | None, ResultSet[Spool]]:
        """Read a slice, and tell which version of it was published before: no other may be replaced by it."""
        from airflow_provider_cloudlock.lake.store import data_file

        held = self._store.version(data_file(slice_))
        return held, reader.read(Query(slice_.start, slice_.end, self._status))

    def publish(self, slice_: Slice, found: ResultSet[Spool], held: str | None) -> Receipt:
        """Publish a slice, and tell what was proved.

        :raises CloudlockDataError: when more records than allowed cannot be kept; they are in quarantine then.
        """
        from airflow_provider_cloudlock.lake.memory import give_back
        from airflow_provider_cloudlock.lake.publish import publish, quarantine, settle
        from airflow_provider_cloudlock.lake.receipt import Receipt
        from airflow_provider_cloudlock.lake.schemas import SCHEMA_VERSION

        unkept = [record for record, _ in found.records.unkept.values()]
        if unkept:
            where = quarantine(self._store, slice_, unkept)
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
        )
        settle(self._store, slice_, receipt, published.superseded)
        give_back()
        return receipt
