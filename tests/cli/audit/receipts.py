"""Days made by hand, as an extraction would leave them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from airflow_provider_cloudlock.cli.audit import Audit, audit
from airflow_provider_cloudlock.lake.receipt import Receipt
from tests.operators.lake import DAY, NEXT, Lake, hour, object_of, receipt_of

EXTRACTED = "2026-01-09T03:04:05+00:00"


def publish(lake: Lake, day: str = DAY, *, until: float | None = None, rows: int = 40, **fields: Any) -> None:
    """Write the object and the receipt of a day, of its first hours if it was in progress."""
    start, end = hour(0, day), hour(24 if until is None else until, day)
    window = [start.isoformat(), end.isoformat()]
    data = bytes(100 + rows)
    lake.write(object_of(day), data)
    receipt = Receipt(
        resource="threats",
        tenant="acme",
        window=window,
        until=None if until is None else end.isoformat(),
        status=None,
        path=f"{lake.destination}/{object_of(day)}",
        uri=f"{lake.destination}/{object_of(day)}",
        rows=rows,
        bytes=len(data),
        sha256="5" * 64,
        previous_sha256=None,
        version="1",
        changed=True,
        proof="single_response",
        range=window,
        pages=1,
        requests=3,
        retries=0,
        reported_total=rows,
        duplicates=0,
        outside_window=0,
        vanished_kept=0,
        quarantined=0,
        extracted_at=max(datetime.fromisoformat(EXTRACTED), end).isoformat(),
        server_date=None,
        clock_skew=None,
        schema_version=1,
        provider_version="0",
        request_form="full",
        announced=True,
    )
    lake.write(receipt_of(day), json.dumps(json.loads(receipt.to_json()) | fields).encode())


def audited(lake: Lake, start: str = DAY, end: str = NEXT, **options: Any) -> Audit:
    """Audit a lake."""
    return audit(lake.destination, start, end, **options)


def kinds(found: Audit) -> list[tuple[str, ...]]:
    """Return the kinds of findings of each day."""
    return [day.kinds for day in found.days]


def texts(found: Audit) -> list[str]:
    """Return the texts of all findings."""
    return [finding.text for day in found.days for finding in day.findings]
