"""What Cloudlock counts, day by day, beside what the lake holds."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace

from airflow_provider_cloudlock.audit.days import Day
from airflow_provider_cloudlock.audit.inventory import Finding, whole
from airflow_provider_cloudlock.exceptions import CloudlockDataError, CloudlockDriftError
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook

log = logging.getLogger(__name__)


def against_api(days: Iterable[Day], resource: str, cloudlock_conn_id: str) -> Iterator[Day]:
    """Add Cloudlock's own counts.

    A count is asked for with the day's midnights as they are. The vendor does not say whether its bounds are inclusive
    or how finely they compare, so a count that exceeds the lake's rows proves nothing: that day is then read as
    a whole, as an extract would, and counted by the records' own times. Fewer records than in the lake is no finding:
    the lake keeps what vanished at Cloudlock.

    :param days: by the receipts.
    :param resource: what to count.
    :param cloudlock_conn_id: the connection to Cloudlock.
    :raises CloudlockError: when Cloudlock does not answer, or refuses.
    """
    hook = CloudlockHook(cloudlock_conn_id)
    with closing(hook.client):
        for day in days:
            yield _counted(day, hook, resource)


def _counted(day: Day, hook: CloudlockHook, resource: str) -> Day:
    if len(day.statuses) > 1:  # no one count is that of its rows
        return day
    bounds = whole(day.day)
    status = next(iter(day.statuses), None)
    total = hook.count(resource, created_after=bounds.start, created_before=bounds.end, status=status)
    counted = replace(day, api_rows=total)
    # A day with a gap is not whole anyway, and to read it is the extract's task.
    if day.has_gap or not _has_more(counted):
        return counted
    log.info(
        "Cloudlock counts %s records on %s, the lake has %s: the day is read to be sure.", total, day.day, day.rows
    )
    try:
        records = hook.iter_records(resource, created_after=bounds.start, created_before=bounds.end, status=status)
        counted = replace(day, api_rows=sum(1 for _ in records))
    except (CloudlockDataError, CloudlockDriftError) as error:
        unsure = f" The day could not be read to be sure. {error}"
    else:
        unsure = ""
        if not _has_more(counted):
            return counted
    text = f"Cloudlock counts {counted.api_rows} records of this day, the lake {day.rows or 0}. Extract the day again."
    return replace(counted, findings=(*day.findings, Finding("API has more", text + unsure)))


def _has_more(day: Day) -> bool:
    # What was set apart is there too, and known.
    return day.api_more is not None and day.api_more > day.quarantined
