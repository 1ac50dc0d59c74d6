"""Window -> slices -> receipts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.api.resources import resource_named
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockError
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook, status_named
from airflow_provider_cloudlock.instants import check_window, parse_bound
from airflow_provider_cloudlock.operators.events import announce
from airflow_provider_cloudlock.threads import one_ahead

# pyarrow is imported when the task runs: a Dag file must not pay for it.
if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_cloudlock.lake.publish import OnVanished
    from airflow_provider_cloudlock.lake.receipt import Receipt
    from airflow_provider_cloudlock.lake.slices import Slice
    from airflow_provider_cloudlock.operators.lineage import Lineage


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
    :param refresh_days: UTC days before the window's first one that are extracted again, so that later dismissals
        arrive (templated). The window then begins with its first day, whatever the hour.
    :param status: ``Active`` or ``Dismissed`` to extract these alone (templated). The slice then holds a part, so it
        needs a destination of its own and another ``on_vanished`` than ``keep``.
    :param page_size: records asked for in one request, None for what the connection says, else 10,000.
    :param on_vanished: what becomes of a published record that Cloudlock no longer gives: ``keep`` it, ``drop`` it,
        or ``fail``.
    :param max_quarantined: the most records of a slice that may be set apart because they have no id or no creation
        time; beyond it the task fails.
    :param cloudlock_conn_id: the connection to Cloudlock (templated).
    :return: ``{"resource", "window", "rows", "slices"}``; a slice has ``window``, ``path``, ``rows``, ``bytes``,
        ``changed``, ``proof``, ``sha256``, ``vanished_kept`` and ``quarantined``. The same is the extra of the event of
        every outlet asset. There is none when nothing changed; in the run of a partition that is a UTC day there is one
        for each day that changed, with that day for its partition.
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
    _lineage: Lineage | None = None
    _outlets: list[Any] | None = None

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
        # Those that an earlier run in this process told nothing, and so left out, are told again.
        self._outlets = self.outlets = self._outlets or self.outlets
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

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Tell OpenLineage what was read and written, also by a task that failed."""
        from airflow_provider_cloudlock.operators.lineage import facets_of

        return facets_of(self._lineage)

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
        from airflow_provider_cloudlock.operators.destination import store_at
        from airflow_provider_cloudlock.operators.extraction import Extraction
        from airflow_provider_cloudlock.operators.lineage import Lineage

        layout = Layout(SCHEMAS[resource.name], resource.key, resource.time_fields)
        hook = CloudlockHook(self.cloudlock_conn_id)
        with closing(hook.client):
            reader = hook.reader(resource, ArrowFormat(layout), self.page_size)
            store = store_at(self.destination, resource.name)
            store.check()
            slices = slices_of(start, end)
            for each in {slices[0], slices[-1]}:  # only a part of a day can overlap what is published
                superseded_by(each, store)

            extraction = Extraction(resource, reader, store, layout, status, self.on_vanished, self.max_quarantined)
            api = f"{hook.client.base_url}/{resource.path}"
            lineage = self._lineage = Lineage(api, self.destination, resource.name, layout, start, end)
            receipts: dict[Slice, Receipt] = {}
            reads = (partial(extraction.read, each) for each in slices)
            for each, (found, held) in zip(slices, one_ahead(reads), strict=True):  # one is read, one published
                receipts[each] = extraction.publish(each, found, held)
                self._log_receipt(receipts[each])
                lineage.add(receipts[each])
            result = {
                "resource": resource.name,
                "window": [start.isoformat(), end.isoformat()],
                "rows": sum(receipt.rows for receipt in receipts.values()),
                "slices": [receipt.summary() for receipt in receipts.values()],
            }
            announce(self, context, result, receipts, extraction.note_announced)
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
            days = self._days()
            # Of whole days, as a window that does not begin at midnight would cut those that are published.
            return (start.replace(hour=0, minute=0, second=0, microsecond=0) if days else start) - timedelta(days), end
        except OverflowError:
            raise CloudlockConfigError(f"refresh_days={self.refresh_days!r} reaches before the year 1.") from None

    def _days(self) -> int:
        text = str(self.refresh_days)
        if isinstance(self.refresh_days, bool) or not (text.isascii() and text.isdigit()) or len(text) > 4:
            raise CloudlockConfigError(f"refresh_days={self.refresh_days!r} is not a whole number from 0 to 9999.")
        return int(text)
