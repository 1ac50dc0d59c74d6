"""Days -> names of objects, receipts and quarantine files."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import date
from itertools import takewhile

_OBJECT = re.compile(r"created_date=(\d{4}-\d\d-\d\d)/(.+)", re.DOTALL)


def partition(day: date) -> str:
    """Return the folder of a day below that of its resource, Hive style."""
    return f"created_date={day.isoformat()}"


def object_path(resource: str, day: date) -> str:
    """Return where the records of a day lie, below the destination."""
    return f"{resource}/{partition(day)}/{resource}-{day.isoformat()}.parquet"


def receipt_path(resource: str, day: date) -> str:
    """Return where the receipt of a day lies."""
    return f"_receipts/{resource}/{day.isoformat()}.json"


def quarantine_path(resource: str, day: date) -> str:
    """Return where the records of a day lie that cannot be kept."""
    return f"_quarantine/{resource}/{day.isoformat()}.jsonl"


def common_prefix(paths: Collection[str]) -> str:
    """Return what some paths begin with, to list them in one call."""
    pairs = zip(min(paths), max(paths), strict=False)
    return "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def day_of(relative: str) -> tuple[date, str] | None:
    """Return the day and the name of a file below the folder of a resource, None if it is in no folder of a day."""
    match = _OBJECT.fullmatch(relative)
    try:
        return (date.fromisoformat(match[1]), match[2]) if match else None
    except ValueError:
        return None
