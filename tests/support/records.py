"""Records as the API shows them, and the instants written in them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

Record = dict[str, Any]

_DAY = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)
_PLATFORMS = (["office365"], ["google", "salesforce"], ["dropbox"])
_PLACES: tuple[list[str], ...] = (["Malaysia"], ["France", "Portugal"], [])
_PEOPLE = (
    {"display_name": "Ada Sample", "email": "ada.sample@example.com"},
    {"display_name": "Bén Éxample", "email": "ben.example@example.com"},
    {"display_name": None, "email": "shared@example.com"},
)


def stamp(moment: datetime) -> str:
    """Write an instant the way records carry it: ``2026-01-02T03:04:05.000000+00:00``."""
    return _aware(moment).astimezone(UTC).isoformat(timespec="microseconds")


def instant(value: object) -> datetime | None:
    """Read a date or an instant, UTC where it names no zone; None where it is neither."""
    if isinstance(value, datetime):
        return _aware(value)
    return _read(value) if isinstance(value, str) else None


def ids(records: Iterable[Record]) -> list[str]:
    """Return the ids of records as text, in their order."""
    return [str(record["id"]) for record in records]


def record(n: int, created_at: str | datetime, **overrides: Any) -> Record:
    """Make a record with every field of the vendor's sample; its id is ``n``.

    Records differ by ``n``. Every third is dismissed some hours later, so that order by ``updated_at`` is
    not order by ``created_at``. An odd ``created_at`` is put on afterwards: ``record(1, day) | {"created_at": None}``.

    :param created_at: text is kept as it is, a datetime is written by :func:`stamp`.
    """
    created = instant(created_at)
    if created is None:
        raise ValueError(f"created_at of record {n} is no ISO date or instant: {created_at!r}")
    dismissed = stamp(created + timedelta(hours=n % 7 + 1)) if n % 3 == 0 else None
    written = created_at if isinstance(created_at, str) else stamp(created)
    fields: Record = {
        "status": "DISMISSED" if dismissed else "ACTIVE",
        "dismissed_at": dismissed,
        "created_at": written,
        "dismiss_reason": "Known business travel" if dismissed else None,
        "id": n,
        "short_description": "Login from an unusual country",
        "start_time": stamp(created - timedelta(minutes=n % 50 + 10)),
        "threat_type": "SUSPICIOUS_LOGIN",
        "threat_risk": "Account Compromise",
        "threat_entity": "USER",
        "platforms": list(_PLATFORMS[n % 3]),
        "event_count": n % 20 + 1,
        "updated_at": dismissed or written,
        "end_time": stamp(created - timedelta(minutes=n % 9)),
        "suspicious_ip": f"203.0.113.{n % 254 + 1}" if n % 2 else None,
        "locations": list(_PLACES[n % 3]),
        "users": [dict(person) for person in _PEOPLE[: n % 3 + 1]],
        "description": f"Anomaly {n}: signed in repeatedly from abroad.",
    }
    return fields | overrides


def day_of_records(day: str | date, count: int, **overrides: Any) -> list[Record]:
    """Make ``count`` records spread evenly over a UTC day, oldest first, its first and last microsecond included.

    Ids are unique over all days, and run in another order than the times do.
    """
    day = day if isinstance(day, date) else date.fromisoformat(day)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    last = max(count - 1, 1)
    base = int(f"{day:%y%m%d}") * 10_000_000
    scrambled = (i * 7919 % 1_000_003 for i in range(1, count + 1))  # a prime: no two alike below a million
    return [record(base + n, start + (_DAY - _MICROSECOND) * i // last, **overrides) for i, n in enumerate(scrambled)]


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@lru_cache(maxsize=1 << 18)
def _read(text: str) -> datetime | None:
    try:
        return _aware(datetime.fromisoformat(text))
    except ValueError:
        return None
