"""The window of a run: the one given, else that of its data interval or of its partition."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.instants import check_window, parse_bound

if TYPE_CHECKING:
    from airflow.sdk import Context


def window_of(context: Context, created_after: object, created_before: object) -> tuple[datetime, datetime]:
    """Return the window to extract.

    :param context: context of the run.
    :param created_after: first instant given, None for that of the run.
    :param created_before: first instant after the window given, None for that of the run.
    :raises CloudlockConfigError: if there is none, or it is empty, inverted or not over yet.
    """
    given: tuple[object, object] = (created_after, created_before)
    if given == (None, None):
        given = (context.get("data_interval_start"), context.get("data_interval_end"))
    if given == (None, None):
        given = _partition(context)
    if None in given:
        raise CloudlockConfigError("Give both created_after and created_before, or neither for the run's window.")
    start, end = (
        parse_bound(name, value) for name, value in zip(("created_after", "created_before"), given, strict=True)
    )
    check_window(start, end)
    return start, end


def _partition(context: Context) -> tuple[datetime, datetime]:
    """Return the period of the run's partition: from its date to the next one of the DAG's schedule."""
    date = context.get("partition_date")
    if date is None:
        raise CloudlockConfigError(
            "This run has no data interval and no partition, so there is no window to extract. Give created_after "
            "and created_before, trigger the run with a logical date, or schedule the DAG with "
            "CronDataIntervalTimetable."
        )
    start = parse_bound("partition_date", date)
    timetable: Any = getattr(context.get("dag"), "timetable", None)
    expression, zone = getattr(timetable, "expression", None), getattr(timetable, "timezone", None)
    if not isinstance(expression, str) or not isinstance(zone, str | tzinfo):
        raise CloudlockConfigError(
            f"The run has the partition {context.get('partition_key')!r}, but the DAG's timetable does not say how "
            "long its period is. Give created_after and created_before."
        )
    return start, _next(expression, ZoneInfo(zone) if isinstance(zone, str) else zone, start)


def _next(expression: str, zone: tzinfo, instant: datetime) -> datetime:
    """Return the next time of a cron expression, by the clock of a time zone: a day may have 23 or 25 hours."""
    from croniter import croniter

    local = instant.astimezone(zone).replace(tzinfo=None)
    following: datetime = croniter(expression, local).get_next(datetime)
    return following.replace(tzinfo=zone).astimezone(UTC)
