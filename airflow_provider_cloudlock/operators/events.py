"""Asset events of an extraction: one for a run, or one for each day that changed where the run is a partition's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator

from airflow_provider_cloudlock.instants import midnight

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cloudlock.lake.receipt import Receipt

#: What the partition of a day may be called: its date, or as Airflow calls it by default.
_KEYS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")


def announce(
    task: BaseOperator,
    context: Context,
    window: tuple[datetime, datetime],
    result: Mapping[str, Any],
    receipts: Mapping[date, Receipt],
    note: Callable[[date, Receipt], None],
) -> None:
    """Emit asset events for the days whose objects changed since the last event.

    :param task: the task. Its outlets are cleared if there is nothing to emit, as Airflow emits an event for each.
    :param context: context of its run.
    :param window: window of its run, without the days that are refreshed.
    :param result: what the task returns, which is the extra of every event.
    :param receipts: receipts of the days.
    :param note: called for each day that is announced for the first time.
    """
    assets = [outlet for outlet in task.outlets if isinstance(outlet, Asset)]
    if not assets:
        return
    # An earlier try may have noted the announcement, and was stopped before Airflow knew that it succeeded.
    is_retry = getattr(context.get("ti"), "try_number", 1) > 1
    news = {day: receipt for day, receipt in receipts.items() if is_retry or not receipt.announced}
    if not news:
        task.outlets = []
        return
    keys = _partitions(context, window, news)
    for asset in assets:
        event = context["outlet_events"][asset]
        event.extra.update(result)
        if keys and hasattr(event, "add_partitions"):  # Airflow 3.2 gives an event the partition of its run, no other
            event.add_partitions(keys)
    for day, receipt in news.items():
        if not receipt.announced:
            note(day, receipt)


def _partitions(context: Context, window: tuple[datetime, datetime], days: Iterable[date]) -> list[str]:
    """Name days as the run's own partition is named; return nothing if that is not a UTC day.

    A run without a partition must not name any: consumers of the asset as a whole ignore events with partitions.
    """
    start, end = window
    if context.get("partition_date") is None or start != midnight(start) or end != start + timedelta(days=1):
        return []
    form = next((form for form in _KEYS if start.strftime(form) == context.get("partition_key")), None)
    return sorted(day.strftime(form) for day in days) if form else []
