"""Audit of a range of days, for the command line and for tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow_provider_cloudlock.cli.audit.days import Day, judge
from airflow_provider_cloudlock.cli.audit.inventory import Finding, Inventory
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.instants import parse_bound
from airflow_provider_cloudlock.resources import resource_named

#: Days of an audit without a start.
_DAYS = 30
#: Maximum number of days of one audit: ten years.
_MOST_DAYS = 3_653


@dataclass(frozen=True, slots=True)
class Audit:
    """Verdicts on consecutive days.

    :param uri: folder of the resource.
    :param resource: name of the resource.
    :param start: first UTC day.
    :param end: UTC day after the last one.
    :param days: the verdicts.
    :param made_at: time of the audit.
    :param verified: whether every object was read and compared with its receipt.
    :param against_api: whether Cloudlock's counts were requested.
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
        """Last UTC day."""
        return self.end - timedelta(days=1)

    @property
    def is_whole(self) -> bool:
        """Whether every day is complete."""
        return all(day.is_whole for day in self.days)

    @property
    def summary(self) -> str:
        """The verdict as one sentence."""
        days = len(self.days)
        if self.is_whole:
            of = f" for status={' or '.join(self.filters)}" if self.filters else ""
            return f"All {days} days are complete{of}." if days > 1 else f"The day is complete{of}."
        gaps = sum(day.has_gap for day in self.days)
        others = sum(not day.is_whole and not day.has_gap for day in self.days)
        parts = [f"{_days(gaps)} with gaps"] * bool(gaps) + [f"{_days(others)} with other findings"] * bool(others)
        return f"Not complete: {' and '.join(parts)}, of {days}."

    @property
    def rows(self) -> int:
        """Number of rows by the receipts."""
        return sum(day.rows or 0 for day in self.days)

    @property
    def bytes(self) -> int:
        """Size of all objects."""
        return sum(day.bytes for day in self.days)

    @property
    def vanished_kept(self) -> int:
        """Number of rows that Cloudlock no longer listed at the last extraction."""
        return sum(day.vanished_kept for day in self.days)

    @property
    def quarantined(self) -> int:
        """Number of quarantined records."""
        return sum(day.quarantined for day in self.days)

    @property
    def schema_versions(self) -> list[int]:
        """Distinct versions of the columns."""
        return sorted({day.schema_version for day in self.days if day.schema_version is not None})

    @property
    def filters(self) -> list[str]:
        """Distinct status filters of the extractions."""
        return sorted({day.status for day in self.days if day.status})

    @property
    def api_rows(self) -> int | None:
        """Sum of Cloudlock's counts, None if a day has none."""
        counts = [day.api_rows for day in self.days if day.api_rows is not None]
        return sum(counts) if self.against_api and len(counts) == len(self.days) else None

    def found(self) -> Iterator[tuple[list[Day], Finding]]:
        """Yield each finding once for a run of consecutive days that share it."""
        runs: list[tuple[list[Day], Finding]] = []
        current: dict[Finding, list[Day]] = {}  # runs that include the previous day
        for day in self.days:
            before, current = current, {}
            for finding in dict.fromkeys(day.findings):
                if finding in before:
                    before[finding].append(day)
                    current[finding] = before[finding]
                else:
                    current[finding] = [day]
                    runs.append((current[finding], finding))
        return iter(runs)

    def age(self, day: Day) -> timedelta | None:
        """Return the time since the last extraction of a day, None if it has none."""
        return None if day.extracted_at is None else max(self.made_at - day.extracted_at, timedelta(0))

    def as_json(self) -> dict[str, Any]:
        """Return the audit as JSON types."""
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
    """Check day by day that a lake is complete. Nothing is written.

    :param destination: the operator's destination.
    :param start: first UTC day; the default is 30 days before the end.
    :param end: UTC day after the last one; the default is today, which makes yesterday the last day.
    :param resource: name of the extracted resource.
    :param verify: read every object, and compare its SHA-256 and its row count with the receipt.
    :param cloudlock_conn_id: connection for a comparison with Cloudlock's counts, None for no comparison.
    :raises CloudlockConfigError: if an argument is invalid, or the destination has no files of the resource.
    :raises CloudlockError: if the store or Cloudlock does not respond, or refuses.
    """
    resource_named(resource)
    now = datetime.now(UTC)
    first, last = _range(start, end, now.date())
    inventory = Inventory(destination, resource)
    days: Iterable[Day] = _days_of(inventory, first, last, verify)
    days = _one_tenant(_one_filter(list(days)))
    if cloudlock_conn_id is not None:
        from airflow_provider_cloudlock.cli.audit.totals import against_api

        days = against_api(days, resource, cloudlock_conn_id)
    return Audit(inventory.uri, resource, first, last, tuple(days), now, verify, cloudlock_conn_id is not None)


def _range(start: str | date | None, end: str | date | None, today: date) -> tuple[date, date]:
    last = today if end is None else _day("to", end)
    first = last - min(timedelta(days=_DAYS), last - date.min) if start is None else _day("from", start)
    if first >= last:
        raise CloudlockConfigError(
            f"from={first} is not before to={last}, and to is exclusive. To audit one day, give the day after it as to."
        )
    if last > today:
        raise CloudlockConfigError(
            f"to={last} is in the future. Only days that are over can be complete: give to={today} (UTC) or earlier."
        )
    if last - first > timedelta(days=_MOST_DAYS):
        raise CloudlockConfigError(f"from={first} to={last} is more than {_MOST_DAYS:,} days. Give a shorter range.")
    return first, last


def _day(name: str, value: str | date) -> date:
    instant = parse_bound(name, value)
    if instant != datetime.combine(instant.date(), datetime.min.time(), UTC):
        raise CloudlockConfigError(f"{name}={value!r} is not midnight UTC. Give a date.")
    return instant.date()


def _days_of(inventory: Inventory, first: date, last: date, verify: bool) -> Iterator[Day]:
    for each in inventory.of(first + timedelta(days=n) for n in range((last - first).days)):
        more: Iterable[Finding] = ()
        if verify:
            from airflow_provider_cloudlock.cli.audit.objects import verify as verified

            more = verified(each, inventory.store)
        yield judge(each, more)


def _one_filter(days: list[Day]) -> list[Day]:
    """Add a finding to filtered days if other days have another filter or none: filtered days lack records."""
    if len({day.status for day in days if day.is_extracted}) < 2:
        return days
    text = "Extracted with status={!r}, other days without it. Extract all days with one filter, or without a filter."
    return [
        replace(day, findings=(*day.findings, Finding("filter", text.format(day.status)))) if day.status else day
        for day in days
    ]


def _one_tenant(days: list[Day]) -> list[Day]:
    """Add a finding to the days of another tenant than most days have: a destination belongs to one tenant."""
    tenants = Counter(day.tenant for day in days if day.tenant is not None).most_common()
    if len(tenants) < 2:
        return days
    most = tenants[0][0]
    return [
        day if day.tenant in (None, most) else replace(day, findings=(*day.findings, _other_tenant(day.tenant, most)))
        for day in days
    ]


def _other_tenant(tenant: str | None, most: str | None) -> Finding:
    return Finding(
        "tenant",
        f"Extracted from the tenant {tenant!r}, most days from {most!r}. Move its object and its receipt away, and "
        "extract each tenant into a destination of its own.",
    )


def _days(number: int) -> str:
    return f"{number} day" + "s" * (number != 1)
