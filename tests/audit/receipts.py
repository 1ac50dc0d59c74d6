"""Slices made by hand, as an extract would leave them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from airflow_provider_cloudlock.audit.report import Audit, audit
from airflow_provider_cloudlock.lake.slices import Slice
from tests.operators.lake import DAY, NEXT, Lake, hour

EXTRACTED = "2026-01-09T03:04:05+00:00"


def publish(lake: Lake, start: float = 0, end: float = 24, *, day: str = DAY, rows: int = 40, **claims: Any) -> str:
    """Write the object and the receipt of a slice, from one hour of a day to another; give the name of both."""
    first, last = hour(start, day), hour(end, day)
    return publish_between(lake, first, last, rows=rows, **claims)


def publish_between(lake: Lake, first: datetime, last: datetime, *, rows: int = 40, **claims: Any) -> str:
    """Write the object and the receipt of a slice; give the name of both."""
    name = f"created_date={first:%Y-%m-%d}/{Slice(first, last).name}"
    data = bytes(100 + rows)
    lake.write(f"{name}.parquet", data)
    receipt = {
        "resource": "threats",
        "window": [first.isoformat(), last.isoformat()],
        "status": None,
        "path": f"{lake.destination}/threats/{name}.parquet",
        "rows": rows,
        "bytes": len(data),
        "sha256": "5" * 64,
        "proof": "single_response",
        "vanished_kept": 0,
        "quarantined": 0,
        "extracted_at": max(datetime.fromisoformat(EXTRACTED), last).isoformat(),
        "schema_version": 1,
    }
    lake.write(f"_receipts/{name}.json", json.dumps(receipt | claims).encode())
    return name


def audited(lake: Lake, start: str = DAY, end: str = NEXT, **options: Any) -> Audit:
    """Audit a lake."""
    return audit(lake.destination, start, end, **options)


def kinds(found: Audit) -> list[tuple[str, ...]]:
    """Return what kinds of findings each day has."""
    return [day.kinds for day in found.days]


def texts(found: Audit) -> list[str]:
    """Return what is said of all days."""
    return [finding.text for day in found.days for finding in day.findings]
