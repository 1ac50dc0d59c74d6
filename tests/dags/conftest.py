"""The sample DAGs, found as Airflow finds them: their folder is on the path."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.resources import RESOURCES
from tests.operators.lake import object_of

DAGS = Path(__file__).parents[2] / "dags"
sys.path.append(str(DAGS))

THREATS = Layout.of(RESOURCES["threats"])
#: The columns of the lake.
SCHEMA = THREATS.schema
DAY = datetime(2026, 1, 2, tzinfo=UTC)


def hour(n: float) -> datetime:
    """Return the instant so many hours after the beginning of the day."""
    return DAY + timedelta(hours=n)


def anomaly(key: str, created: datetime | None = DAY, **fields: Any) -> dict[str, Any]:
    """Make a row of the lake."""
    return {"id": key, "created_at": created, "status": "ACTIVE"} | fields


def slice_of(lake: str, day: int = 0, until: float = 24) -> dict[str, Any]:
    """Return window and path of a day in a lake.

    :param day: number of the day, 0 for that of ``DAY``.
    :param until: hours of it that were extracted.
    """
    start = hour(24 * day)
    return {
        "window": [start.isoformat(), (start + timedelta(hours=until)).isoformat()],
        "path": f"{lake}/{object_of(f'{start:%Y-%m-%d}')}",
    }


def loaded(slices: int, rows: int, skipped: int = 0) -> dict[str, int]:
    """Return the result of a load."""
    return {"slices_loaded": slices, "slices_skipped": skipped, "rows_loaded": rows}
