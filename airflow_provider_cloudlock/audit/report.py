"""The audit as a whole: a lake, a range of days, and what was found. For use in a task too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow_provider_cloudlock.api.resources import resource_named
from airflow_provider_cloudlock.audit.days import Day, judge
from airflow_provider_cloudlock.audit.inventory import Finding, Inventory
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.instants import parse_bound

#: Days before the last one asked for, when no first one is.
_DAYS = 30
#: The most days of one audit: ten years.
_MOST_DAYS = 3_653


@dataclass(frozen=True, slots=True)
class Audit:
    """What was found.

    :param uri: the folder that was looked at.
    :param resource: what was extracted into it.
    :param start: first UTC day.
    :param end: first UTC day that was not looked at.
    :param days: verdicts.
    :param made_at: when.
    :param verified: whether the objects were read again.
    :param against_api: whether Cloudlock was asked for its counts.
    """

    uri: str
    resource: str
    start: date
    end: date
    days: tuple[Day, ...]
    made_at: datetime
    verified: bool
    against_api: bool

    @property
    def last(self) -> date:
        """The last UTC day that was looked at."""
        return self.end - timedelta(days=1)

    @property
    def is_whole(self) -> bool:
        """Whether every day is."""
        return all(day.is_whole for day in self.days)

    @property
    def summary(self) -> str:
        """The verdict in a sentence."""
        days = len(self.days)
        if self.is_whole:
            of = f", of what is {' or '.join(self.filters)}" if self.filters else ""
            return f"All {days} days are whole{of}." if days > 1 else f"The day is whole{of}."
        gaps = sum(day.has_gap for day in self.days)
        others = sum(not day.is_whole and not day.has_gap for day in self.days)
        parts = [f"{_days(gaps)} with gaps"] * bool(gaps) + [f"{_days(others)} with other findings"] * bool(others)
        return f"Not whole: {' and '.join(parts)}, of {days}."

    @property
    def rows(self) -> int:
        """All rows by the receipts."""
        return sum(day.rows or 0 for day in self.days)

    @property
    def bytes(self) -> int:
        """Size of all objects."""
        return sum(day.bytes for day in self.days)

    @property
    def vanished_kept(self) -> int:
        """All rows that Cloudlock no longer gave at the last extraction."""
        return sum(day.vanished_kept for day in self.days)

    @property
    def quarantined(self) -> int:
        """All records that were set apart."""
        return sum(day.quarantined for day in self.days)

    @property
    def schema_versions(self) -> list[int]:
        """Versions of the columns, each once."""
        return sorted({version for day in self.days for version in day.schema_versions})

    @property
    def filters(self) -> list[str]:
        """The filters that were extracted with, each once."""
        return sorted({status for day in self.days for status in day.statuses if status})

    @property
    def api_rows(self) -> int | None:
        """All that Cloudlock counts, None when it gives no count of some day."""
        counts = [day.api_rows for day in self.days if day.api_rows is not None]
        return sum(counts) if self.against_api and len(counts) == len(self.days) else None

    def found(self) -> Iterator[tuple[list[Day], Finding]]:
        """Give the findings, with the days on end that have the same one."""
        runs: list[tuple[list[Day], Finding]] = []
        for day in self.days:
            before = [run for run in runs if run[0][-1].day == day.day - timedelta(days=1)]
            for finding in dict.fromkeys(day.findings):
                run = next((days for days, same in before if same == finding), None)
                if run is None:
                    runs.append(([day], finding))
                else:
                    run.append(day)
        return iter(runs)

    def age(self, day: Day) -> timedelta | None:
        """How long ago a day was extracted last, None when it never was."""
        return None if day.extracted_at is None else max(self.made_at - day.extracted_at, timedelta(0))

    def as_json(self) -> dict[str, Any]:
        """Write it with the types of JSON."""
        ages = ((day, self.age(day)) for day in self.days)
        return {
            "uri": self.uri,
            "resource": self.resource,
            "from": self.start.isoformat(),
            "to": self.end.isoformat(),
            "made_at": self.made_at.isoformat(),
            "verified": self.verified,
            "whole": self.is_whole,
            "rows": self.rows,
            "bytes": self.bytes,
            "vanished_kept": self.vanished_kept,
            "quarantined": self.quarantined,
            "schema_versions": self.schema_versions,
            "api_rows": self.api_rows,
            "days": [
                day.as_json() | {"age_seconds": None if age is None else int(age.total_seconds())} for day, age in ages
            ],
        }


def audit(
    destination: str,
    start: str | date | None = None,
    end: str | date | None = None,
    *,
    resource: str = "threats",
    verify: bool = False,
    cloudlock_conn_id: str | None = None,
) -> Audit:
    """Tell whether a lake is whole, day by day. Nothing is written.

    :param destination: as the operator is told.
    :param start: first UTC day; the default is 30 days before the end.
    :param end: first UTC day not asked for; the default is today, so that the last day is one that is over.
    :param resource: what was extracted.
    :param verify: read every object again, and compare its SHA-256 and its rows with the receipt.
    :param cloudlock_conn_id: compare with Cloudlock's own counts by this connection; None not to.
    :raises CloudlockConfigError: when a parameter makes no sense, or there is nothing to look at.
    :raises CloudlockError: when the store, or Cloudlock, does not answer or refuses.
    """
    resource_named(resource)
    now = datetime.now(UTC)
    first, last = _range(start, end, now.date())
    inventory = Inventory(destination, resource)
    days: Iterable[Day] = _days_of(inventory, first, last, verify)
    days = _one_filter(list(days))
    if cloudlock_conn_id is not None:
        from airflow_provider_cloudlock.audit.totals import against_api

        days = against_api(days, resource, cloudlock_conn_id)
    return Audit(inventory.uri, resource, first, last, tuple(days), now, verify, cloudlock_conn_id is not None)


def _range(start: str | date | None, end: str | date | None, today: date) -> tuple[date, date]:
    last = today if end is None else _day("to", end)
    first = last - min(timedelta(days=_DAYS), last - date.min) if start is None else _day("from", start)
    if first >= last:
        raise CloudlockConfigError(
            f"from={first} does not come before to={last}, which is the first day not asked for. For one day alone, "
            "give the day after it."
        )
    if last > today:
        raise CloudlockConfigError(
            f"to={last} is still to come: only days that are over can be whole. Give to={today} at most, in UTC."
        )
    if last - first > timedelta(days=_MOST_DAYS):
        raise CloudlockConfigError(f"from={first} to={last} are more than {_MOST_DAYS:,} days. Ask for a part of them.")
    return first, last


def _day(name: str, value: str | date) -> date:
    instant = parse_bound(name, value)
    if instant != datetime.combine(instant.date(), datetime.min.time(), UTC):
        raise CloudlockConfigError(f"{name}={value!r} is not the beginning of a UTC day. Give a date.")
    return instant.date()


def _days_of(inventory: Inventory, first: date, last: date, verify: bool) -> Iterator[Day]:
    for holding in inventory.of(first + timedelta(days=n) for n in range((last - first).days)):
        more: Iterable[Finding] = ()
        if verify:
            from airflow_provider_cloudlock.audit.objects import verify as verified

            more = verified(holding, inventory.store)
        yield judge(holding, more)


def _one_filter(days: list[Day]) -> list[Day]:
    """Days extracted with a filter hold a part of what those without it hold: in one lake both cannot be whole."""
    if len({day.statuses for day in days if day.slices}) < 2:
        return days
    return [
        replace(day, findings=(*day.findings, Finding("filter", f"Only what is {day.statuses[0]} was extracted.")))
        if len(day.statuses) == 1 and day.statuses[0]
        else day
        for day in days
    ]


def _days(number: int) -> str:
    return f"{number} day" + "s" * (number != 1)
