"""Asset events of an extraction: one for a run, or one for each day that changed where the run is a partition's."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset, AssetAlias, BaseOperator
from airflow.sdk.definitions.asset import AssetRef, BaseAsset
from airflow.sdk.exceptions import AirflowRuntimeError

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.instants import midnight

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider_cloudlock.lake.receipt import Receipt

#: What the partition of a day may be called: its date, or as Airflow calls it by default.
_KEYS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S")
#: Outlets for which Airflow emits events.
_OUTLETS = (Asset, AssetAlias, AssetRef)


def check_outlets(outlets: Iterable[object], context: Context | None = None, folder: str = "") -> None:
    """Refuse outlets for which no event can be emitted.

    :param outlets: outlets of the task. Those that are not of Airflow's assets are left to others.
    :param context: context of the run, None when the DAG is parsed.
    :param folder: URI of the resource's folder, known in a run.
    :raises CloudlockConfigError: if Airflow ignores an outlet, or cannot emit an event of it.
    """
    for outlet in outlets:
        if isinstance(outlet, BaseAsset) and not isinstance(outlet, _OUTLETS):
            raise CloudlockConfigError(
                f"The outlet {outlet!r} is not a single asset, so Airflow emits no event for it. Give each Asset, "
                "Asset.ref(...) or AssetAlias as an outlet of its own."
            )
        try:
            if context is not None and isinstance(outlet, AssetRef):
                context["outlet_events"][outlet]
            elif context is not None and isinstance(outlet, AssetAlias):
                Asset(folder)
        except (AirflowRuntimeError, ValueError) as error:
            raise CloudlockConfigError(
                f"Airflow cannot emit an event of the outlet {outlet!r}: {error}. Correct the reference, or give an "
                "Asset as the outlet."
            ) from error


def announce(
    task: BaseOperator,
    context: Context,
    window: tuple[datetime, datetime],
    folder: str,
    result: Mapping[str, Any],
    receipts: Mapping[date, Receipt],
    note: Callable[[date, Receipt], None],
) -> None:
    """Emit asset events for the days whose objects changed since the last event.

    :param task: the task. Its assets are cleared if there is nothing to emit, as Airflow emits an event for each.
    :param context: context of its run.
    :param window: window of its run, without the days that are refreshed.
    :param folder: URI of the resource's folder, the asset that is emitted through an alias.
    :param result: what the task returns, which is the extra of every event.
    :param receipts: receipts of the days.
    :param note: called for each day that is announced for the first time.
    """
    outlets = [outlet for outlet in task.outlets if isinstance(outlet, _OUTLETS)]
    if not outlets:
        return
    # An earlier try may have noted the announcement, and was stopped before Airflow knew that it succeeded.
    is_retry = getattr(context.get("ti"), "try_number", 1) > 1
    news = {day: receipt for day, receipt in receipts.items() if is_retry or not receipt.announced}
    if not news:
        task.outlets = [outlet for outlet in task.outlets if not isinstance(outlet, _OUTLETS)]
        return
    keys = _partitions(context, window, news)
    for outlet in outlets:
        event = context["outlet_events"][outlet]
        if isinstance(outlet, AssetAlias):
            event.add(Asset(folder), extra=dict(result))  # Airflow gives it the run's own partition, if it has one
            continue
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
