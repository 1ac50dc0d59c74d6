"""Instants of time as Cloudlock writes them and as users write them. All instants are UTC, to the microsecond."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

from airflow_provider_cloudlock.exceptions import CloudlockConfigError

#: ISO 8601 as ``fromisoformat`` reads it in every version of Python; the group has the digits that it cuts off.
_RECORD_TIME = re.compile(
    r"\d{4}-\d\d-\d\d"
    r"(?:[T ](?:[01]\d|2[0-3])(?::\d\d(?::\d\d(?:\.\d{1,6}(\d*))?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)


def parse_record_time(value: object) -> tuple[datetime, bool] | None:
    """Return a time of a record: ISO 8601 with ``Z``, an offset, or no zone, which means UTC.

    :param value: the JSON value.
    :return: the instant and whether it is exact, which it is not if it had digits finer than a microsecond; None if
        the value is not such a time.
    """
    match = _RECORD_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    try:
        instant = datetime.fromisoformat(match[0])
        instant = instant.astimezone(UTC) if instant.tzinfo else instant.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # 30 February, 25 o'clock, the edge of the calendar
        return None
    return instant, not (match[1] or "").strip("0")


def parse_bound(name: str, value: object) -> datetime:
    """Read a bound of a window: a date, an ISO 8601 time, a ``datetime`` or a ``date``. Without a zone it is UTC.

    The integer 20260102 is the date 2026-01-02: ``render_template_as_native_obj`` makes it of ``{{ ds_nodash }}``.

    :param name: the parameter's name, for the error.
    :param value: what the user gave.
    :raises CloudlockConfigError: if it is none of these.
    """
    parsed: datetime | None = None
    if isinstance(value, datetime):
        parsed = datetime.fromisoformat(value.isoformat())  # a plain datetime, whatever subclass came in
    elif isinstance(value, date):
        parsed = datetime(value.year, value.month, value.day, tzinfo=UTC)
    elif isinstance(value, str) or (type(value) is int and 1000_01_01 <= value <= 9999_12_31):
        with suppress(ValueError):
            parsed = datetime.fromisoformat(str(value).strip())
    if parsed is None:
        raise CloudlockConfigError(
            f"{name}={value!r} is not a point in time. Give an ISO 8601 date or time such as 2026-01-02 or "
            "2026-01-02T06:00:00+00:00; without a zone it is UTC."
        )
    try:
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise CloudlockConfigError(f"{name}={value!r} lies outside the years 1 to 9999.") from None


def check_window(
    start: datetime | None, end: datetime | None, advice: str = "Give an end that is later than the start."
) -> None:
    """Refuse a window that is empty, inverted or not over yet.

    :param start: first instant of the window, None when it is open.
    :param end: first instant after the window, None when it is open.
    :param advice: what to do if it is empty or inverted.
    :raises CloudlockConfigError: with what to do.
    """
    if start is not None and end is not None and start >= end:
        what = "is empty" if start == end else "ends before it starts"
        raise CloudlockConfigError(f"The window [{start.isoformat()}, {end.isoformat()}) {what}. {advice}")
    now = datetime.now(UTC)
    if end is not None and end > now:
        raise CloudlockConfigError(
            f"The window ends at {end.isoformat()}, which is still to come (now {now.isoformat(timespec='seconds')}). "
            "Records may still be added to it. Run again when it is over, or give an earlier end."
        )


def midnight(instant: datetime) -> datetime:
    """Return the beginning of the UTC day that an instant lies in."""
    return instant.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def day_after(instant: datetime) -> datetime:
    """Return the first midnight at or after an instant; at the edge of the calendar, its last instant."""
    start = midnight(instant)
    try:
        return start if start == instant else start + timedelta(days=1)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def dates_of(start: datetime, end: datetime) -> list[date]:
    """Return every UTC day that the window ``[start, end)`` touches."""
    first, last = start.astimezone(UTC).date(), (end.astimezone(UTC) - timedelta(microseconds=1)).date()
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]
