"""Comparison of the lake with Cloudlock's record counts."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta

from airflow_provider_cloudlock.cli.audit.days import Day
from airflow_provider_cloudlock.cli.audit.inventory import Finding
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError, CloudlockDriftError
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook

log = logging.getLogger(__name__)


def against_api(days: Iterable[Day], resource: str, cloudlock_conn_id: str) -> Iterator[Day]:
    """Yield the days with Cloudlock's counts added.

    Each count is requested from midnight to midnight. The vendor documents neither whether the bounds are inclusive nor
    their granularity, so a count above the lake's rows proves nothing: the records of that day are then read, as an
    extraction does, and counted by their creation time. A count below the lake's rows is no finding, because the lake
    keeps records that Cloudlock no longer lists.

    :param days: verdicts by the receipts.
    :param resource: name of the resource.
    :param cloudlock_conn_id: the connection to Cloudlock.
    :raises CloudlockConfigError: if the connection is one of another tenant.
    :raises CloudlockError: if Cloudlock does not respond, or refuses.
    """
    days, hook = list(days), CloudlockHook(cloudlock_conn_id)
    others = sorted({day.tenant for day in days if day.tenant is not None} - {hook.tenant})
    if others:
        raise CloudlockConfigError(
            f"The lake holds days of the Cloudlock tenant {others[0]!r}, and the connection {cloudlock_conn_id!r} is "
            f"one of {hook.tenant!r}. Give a connection of that tenant; if only the connection id changed, set "
            f"tenant={others[0]!r} in its extra."
        )
    with closing(hook.client):
        for day in days:
            yield _counted(day, hook, resource)


def _counted(day: Day, hook: CloudlockHook, resource: str) -> Day:
    start = datetime.combine(day.day, time.min, UTC)
    end, status = start + timedelta(days=1), day.status
    total = hook.count(resource, created_after=start, created_before=end, status=status)
    counted = replace(day, api_rows=total)
    # A day with a gap has a finding already.
    if day.has_gap or not _has_more(counted):
        return counted
    log.info(
        "Cloudlock counts %s records on %s, the lake has %s. Reading the day to verify the count.",
        total,
        day.day,
        day.rows,
    )
    try:
        records = hook.iter_records(resource, created_after=start, created_before=end, status=status)
        counted = replace(day, api_rows=sum(1 for _ in records))
    except (CloudlockDataError, CloudlockDriftError) as error:
        unverified = f" The count could not be verified. {error}"
    else:
        unverified = ""
        if not _has_more(counted):
            return counted
    text = f"Cloudlock counts {counted.api_rows} records, the lake has {day.rows or 0}. Extract the day again."
    return replace(counted, findings=(*day.findings, Finding("API has more", text + unverified)))


def _has_more(day: Day) -> bool:
    # Cloudlock counts quarantined records too.
    return day.api_more is not None and day.api_more > day.quarantined
