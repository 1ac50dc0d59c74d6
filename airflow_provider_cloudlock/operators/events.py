"""Asset events of an extraction: one for a run, or one for each day that changed where the run is a partition's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cloudlock.lake.receipt import Receipt
    from airflow_provider_cloudlock.lake.slices import Slice

#: What the partition of a day may be called: its date, or as Airflow calls it unless told otherwise.
_KEYS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")


def announce(
    task: BaseOperator,
    context: Context,
    result: Mapping[str, Any],
    receipts: Mapping[Slice, Receipt],
    note: Callable[[Slice, Receipt], None],
) -> None:
    """Tell the outlet assets of a task what was extracted, if there is anything that they were not told yet.

    :param task: the task, whose outlets go when there is nothing to tell: Airflow makes an event of every one.
    :param context: of its run.
    :param result: what it returns: the extra of every event.
    :param receipts: of the slices in it.
    :param note: called for each slice that is told of for the first time.
    """
    assets = [outlet for outlet in task.outlets if isinstance(outlet, Asset)]
    if not assets:
        return
    # An earlier try may have noted that it told, and was stopped before Airflow knew that it succeeded.
    is_retry = getattr(context.get("ti"), "try_number", 1) > 1
    news = {slice_: receipt for slice_, receipt in receipts.items() if is_retry or not receipt.announced}
    if not news:
        task.outlets = []
        return
    keys = _partitions(context, news)
    for asset in assets:
        event = context["outlet_events"][asset]
        event.extra.update(result)
        if keys and hasattr(event, "add_partitions"):  # Airflow 3.2 gives an event the partition of its run, no other
            event.add_partitions(keys)
    for slice_, receipt in news.items():
        if not receipt.announced:
            note(slice_, receipt)


def _partitions(context: Context, news: Iterable[Slice]) -> list[str]:
    """Name the days of slices as the run's own partition is named; none where that is not a UTC day.

    A run without a partition must not name any: who follows the asset as a whole hears nothing of partitions.
    """
    key, date = context.get("partition_key"), context.get("partition_date")
    if not isinstance(date, datetime) or date.astimezone(UTC).time() != time():
        return []
    form = next((form for form in _KEYS if date.astimezone(UTC).strftime(form) == key), None)
    return sorted({slice_.start.date().strftime(form) for slice_ in news}) if form else []
