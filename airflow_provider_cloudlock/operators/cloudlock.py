"""Window -> days -> receipts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockError
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook
from airflow_provider_cloudlock.instants import midnight
from airflow_provider_cloudlock.operators.events import announce, check_outlets
from airflow_provider_cloudlock.operators.parameters import is_given, is_rendered, one_of, whole_number
from airflow_provider_cloudlock.operators.window import window_of
from airflow_provider_cloudlock.resources import resource_named

# pyarrow is imported when the task runs: a Dag file must not pay for it.
if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

    from airflow_provider_cloudlock.lake.publish import OnVanished
    from airflow_provider_cloudlock.lake.receipt import Receipt
    from airflow_provider_cloudlock.operators.lineage import Lineage
    from airflow_provider_cloudlock.resources import Resource

#: How parameters are read that have more to them than text. Those that are no templates are read at DAG parse, too.
_READ: dict[str, Callable[[object], Any]] = {
    "resource": lambda value: resource_named(value if is_given(value) else "threats"),
    "refresh_days": lambda value: whole_number("refresh_days", value, 0, 9_999) or 0,
    "page_size": lambda value: whole_number("page_size", value, 1),
    "on_vanished": lambda value: one_of("on_vanished", value, ("keep", "drop", "fail")),
    "max_quarantined": lambda value: whole_number("max_quarantined", value, 0) or 0,
}


class CloudlockToObjectStorageOperator(BaseOperator):
    """Extract a window of a Cloudlock resource into Parquet: every record exactly once, or a failed task.

    Every UTC day that the window touches is published as one object::

        {destination}/{resource}/created_date=YYYY-MM-DD/{resource}-YYYY-MM-DD.parquet

    A day that is over is extracted whole, whatever part of it lies in the window. A day in progress is extracted up to
    ``created_before``, or as far as it was before. A re-run overwrites and never appends; an object whose records did
    not change is not written again.

    :param resource: what to extract (templated).
    :param destination: where to, any scheme that ``ObjectStoragePath`` knows, with the store's connection if it needs
        one: ``s3://aws_default@lake/cloudlock`` (templated). It belongs to one Cloudlock tenant.
    :param created_after: first instant of the window, on the records' creation time; without a zone it is UTC
        (templated). The default is the run's data interval, else the period of its partition.
    :param created_before: first instant after the window (templated).
    :param refresh_days: UTC days before the window that are extracted again, so that later dismissals arrive
        (templated).
    :param status: ``Active`` or ``Dismissed`` to extract only these (templated). They need a destination of their own.
    :param page_size: records per request (templated). The default is that of the connection, else 10,000.
    :param on_vanished: what becomes of a published record that Cloudlock no longer lists: ``keep`` it, ``drop`` it,
        or ``fail`` (templated). The default is ``keep``, or ``drop`` with a ``status``, as records leave a status.
    :param max_quarantined: the most records of a day that may be quarantined because they have no id or no creation
        time; the task fails if there are more (templated).
    :param cloudlock_conn_id: the connection to Cloudlock (templated).

    A parameter that is rendered to nothing or to ``None`` is not given: its default applies.

    :return: ``{"resource", "window", "rows", "slices"}``. There is a slice per day, with ``window``, ``path``, ``uri``,
        ``rows``, ``bytes``, ``changed``, ``proof``, ``sha256``, ``vanished_kept`` and ``quarantined``. The same is the
        extra of the event of every outlet asset. No event is emitted if nothing changed; in the run of a partition that
        is a UTC day there is one for each day that changed, with that day as its partition.
    :raises AirflowFailException: if a retry cannot help.
    :raises CloudlockError: if a later try may succeed.
    """

    template_fields: Sequence[str] = (
        "resource",
        "destination",
        "created_after",
        "created_before",
        "refresh_days",
        "status",
        "page_size",
        "on_vanished",
        "max_quarantined",
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
        created_after: str | int | date | datetime | None = None,
        created_before: str | int | date | datetime | None = None,
        refresh_days: int | str | None = 0,
        status: str | None = None,
        page_size: int | str | None = None,
        on_vanished: str | None = None,
        max_quarantined: int | str | None = 0,
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
        # A mapped operator is instantiated when its task runs, where only execute() can raise final errors.
        if not getattr(self, "_BaseOperator__from_mapped", False):
            self._check_parameters()

    def execute(self, context: Context) -> dict[str, Any]:
        """Extract the window."""
        self._running = True
        # Restore outlets that a previous execute() cleared: dag.test() reuses the operator.
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
        """Stop immediately: days that are not published yet stay as they are."""
        if self._running:
            raise SystemExit("The task was stopped. The days published so far are complete; a retry starts over.")

    def get_openlineage_facets_on_complete(self, task_instance: object) -> OperatorLineage[Any, Any]:
        """Return what was read and written, also by a task that failed."""
        from airflow_provider_cloudlock.operators.lineage import facets_of

        return facets_of(self._lineage)

    def _execute(self, context: Context) -> dict[str, Any]:
        resource, status = self._read("resource"), self._status()
        on_vanished: OnVanished = self._read("on_vanished") or ("keep" if status is None else "drop")
        if status is not None and on_vanished == "keep":
            raise CloudlockConfigError(
                f"status={status!r} with on_vanished='keep' would keep every record that leaves that status. Leave out "
                "on_vanished, or give 'drop' or 'fail'."
            )
        run_window = window_of(context, self.created_after, self.created_before)
        start, end = self._first_day(run_window[0]), run_window[1]
        page_size, max_quarantined = self._read("page_size"), self._read("max_quarantined")

        from airflow_provider_cloudlock.lake.memory import limit_malloc_arenas

        limit_malloc_arenas()
        from airflow_provider_cloudlock.lake.decode import ArrowFormat
        from airflow_provider_cloudlock.lake.publish import Publisher
        from airflow_provider_cloudlock.lake.schema import Layout
        from airflow_provider_cloudlock.operators.destination import store_at
        from airflow_provider_cloudlock.operators.extraction import Extraction
        from airflow_provider_cloudlock.operators.lineage import Lineage

        layout = Layout.of(resource)
        conn_id = self.cloudlock_conn_id
        hook = CloudlockHook(conn_id if is_given(conn_id) else CloudlockHook.default_conn_name)
        with closing(hook.client):
            reader = hook.reader(resource, ArrowFormat(layout), page_size)
            store = store_at(self.destination)
            store.check()
            publisher = Publisher(store, layout, hook.tenant, status, on_vanished)
            filters = {resource.status: status} if resource.status and status else {}
            extraction = Extraction(reader, publisher, hook.tenant, status, filters, max_quarantined)
            api = f"{hook.client.base_url}/{resource.path}"
            lineage = self._lineage = Lineage(api, self.destination, layout, start, end)
            check_outlets(self.outlets, context, lineage.uri)
            receipts: dict[date, Receipt] = {}
            for day, receipt in extraction.run(start, end):
                receipts[day] = receipt
                self.log.info("%s: %d rows, %s", day, receipt.rows, "written" if receipt.changed else "unchanged")
                lineage.add(receipt)
            self.log.info(
                "%s from %s to %s: %d rows in %d days, %d API requests",
                resource.name,
                min(receipts),
                max(receipts),
                sum(receipt.rows for receipt in receipts.values()),
                len(receipts),
                hook.client.requests,
            )
            result = {
                "resource": resource.name,
                "window": [start.isoformat(), end.isoformat()],
                "rows": sum(receipt.rows for receipt in receipts.values()),
                "slices": [receipt.summary() for receipt in receipts.values()],
            }
            announce(self, context, run_window, lineage.uri, result, receipts, extraction.note_announced)
        return result

    def _check_parameters(self) -> None:
        """Check what is known when the DAG is parsed."""
        check_outlets(self.outlets)
        for name in _READ:
            if is_rendered(getattr(self, name)):
                self._read(name)
        if is_rendered(self.resource) and is_rendered(self.status):
            self._status()

    def _read(self, name: str) -> Any:
        """Return the value of a parameter, its default if it is not given."""
        return _READ[name](getattr(self, name))

    def _status(self) -> str | None:
        resource: Resource = self._read("resource")
        return resource.status_value(self.status if is_given(self.status) else None)

    def _first_day(self, start: datetime) -> datetime:
        """Return where the extraction begins: with the first day to refresh, else with the window."""
        days = self._read("refresh_days")
        try:
            return midnight(start) - timedelta(days=days) if days else start
        except OverflowError:
            raise CloudlockConfigError(f"refresh_days={days!r} reaches before the year 1.") from None
