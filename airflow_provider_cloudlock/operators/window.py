"""The window of a run: the one given, else that of its data interval or of its partition."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.instants import check_window, parse_bound
from airflow_provider_cloudlock.operators.parameters import is_given

if TYPE_CHECKING:
    from airflow.sdk import Context

#: Airflow 3.2 leaves presets in a timetable as they were given; croniter knows the others.
_PRESETS = {"@quarterly": "0 0 1 */3 *"}
_EMPTY_INTERVAL = (
    "It is the run's data interval, which is empty in Airflow 3 with schedule='@daily' or a bare cron string: use "
    "CronDataIntervalTimetable, or give created_after and created_before."
)


def window_of(context: Context, created_after: object, created_before: object) -> tuple[datetime, datetime]:
    """Return the window to extract.

    :param context: context of the run.
    :param created_after: first instant given, if it is.
    :param created_before: first instant after the window given, if it is.
    :raises CloudlockConfigError: if there is none, or it is empty, inverted or not over yet.
    """
    given = tuple(value for value in (created_after, created_before) if is_given(value))
    if len(given) == 1:
        raise CloudlockConfigError("Give both created_after and created_before, or neither for the run's window.")
    if given:
        start, end = parse_bound("created_after", given[0]), parse_bound("created_before", given[1])
        check_window(start, end)
        return start, end
    first: object = context.get("data_interval_start")
    last: object = context.get("data_interval_end")
    if first is None or last is None:
        first, last = _partition(context)
    start, end = parse_bound("data_interval_start", first), parse_bound("data_interval_end", last)
    check_window(start, end, _EMPTY_INTERVAL)
    return start, end


def _partition(context: Context) -> tuple[datetime, datetime]:
    """Return the period of the run's partition: from its date to the next one of the DAG's schedule."""
    # Airflow 3.2 has the key alone, and only there.
    key = context.get("partition_key") or getattr(context.get("dag_run"), "partition_key", None)
    date = context.get("partition_date")
    if date is None and (key is None or "partition_date" in context):
        raise CloudlockConfigError(
            "This run has no data interval and no partition, so there is no window to extract. Give created_after "
            "and created_before, trigger the run with a logical date, or schedule the DAG with "
            "CronDataIntervalTimetable."
        )
    timetable: Any = getattr(context.get("dag"), "timetable", None)
    expression, zone, key_format = (getattr(timetable, name, None) for name in ("expression", "timezone", "key_format"))
    if not (isinstance(expression, str) and isinstance(zone, str | tzinfo) and isinstance(key_format, str)):
        raise CloudlockConfigError(
            f"The run has the partition {key!r}, but the DAG's timetable does not define how long its period is. Give "
            "created_after and created_before."
        )
    following = partial(_next, _PRESETS.get(expression, expression), ZoneInfo(zone) if isinstance(zone, str) else zone)
    start = parse_bound("partition_date", date) if date else _date_of(str(key), key_format, following)
    return start, following(start)


def _date_of(key: str, key_format: str, following: Callable[[datetime], datetime]) -> datetime:
    """Return the date of a partition by its key, for Airflow 3.2, which formats it in UTC.

    :param following: returns the next time of the schedule.
    :raises CloudlockConfigError: if the key is not that of one time of the schedule, and of no other.
    """
    with suppress(ValueError, OverflowError):
        earliest = datetime.strptime(key, key_format).replace(tzinfo=UTC)
        start = following(earliest - timedelta(seconds=1))
        # strptime gives the year 1900 to a key that has none.
        if earliest.year > 1900 and start.strftime(key_format) == key != following(start).strftime(key_format):
            return start
    raise CloudlockConfigError(
        f"The partition {key!r} of the run is not that of one time of the DAG's schedule in UTC, in the timetable's "
        f"key_format={key_format!r}. Trigger the run with such a key, or give created_after and created_before."
    )


def _next(expression: str, zone: tzinfo, instant: datetime) -> datetime:
    """Return the next time of a cron expression, by the clock of a time zone: a day may have 23 or 25 hours."""
    from croniter import croniter

    local = instant.astimezone(zone).replace(tzinfo=None)
    following: datetime = croniter(expression, local).get_next(datetime)
    return following.replace(tzinfo=zone).astimezone(UTC)
