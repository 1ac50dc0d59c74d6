"""A lake on the local disk, and the operator run as a Dag would run it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator
from tests.support import Record, Tenant, instant, record

DAY, NEXT = "2026-01-02", "2026-01-03"


def object_of(day: str) -> str:
    """Return the object of a day, below the destination."""
    return f"threats/created_date={day}/threats-{day}.parquet"


def receipt_of(day: str) -> str:
    """Return the receipt of a day."""
    return f"_receipts/threats/{day}.json"


def quarantine_of(day: str) -> str:
    """Return the quarantine file of a day."""
    return f"_quarantine/threats/{day}.jsonl"


FOLDER = f"threats/created_date={DAY}"
#: The files of ``DAY``.
OBJECT, RECEIPT, QUARANTINE = object_of(DAY), receipt_of(DAY), quarantine_of(DAY)

TIMES = ("created_at", "updated_at", "detected_at", "start_time", "end_time", "dismissed_at")
MICROSECOND = timedelta(microseconds=1)


def connection(tenant: Tenant, /, **extra: Any) -> str:
    """Return the Airflow connection to a tenant."""
    extra = {"tenant": "acme", **extra}
    return json.dumps({"conn_type": "cloudlock", "host": tenant.url, "password": tenant.token, "extra": extra})


def operator(
    destination: str, after: Any = DAY, before: Any = NEXT, **options: Any
) -> CloudlockToObjectStorageOperator:
    """Make the operator for a window."""
    return CloudlockToObjectStorageOperator(
        task_id="extract", destination=destination, created_after=after, created_before=before, **options
    )


def as_row(record: Record) -> dict[str, Any]:
    """Return the row that an ordinary record becomes."""
    row = {"detected_at": None, **record, "id": str(record["id"]), "_extra": None}
    return row | {name: instant(row[name]) for name in TIMES}


def hour(n: float, day: str = DAY) -> datetime:
    """Return the instant so many hours into a day."""
    start = instant(day)
    assert start is not None
    return start + timedelta(hours=n)


@dataclass(frozen=True)
class Lake:
    """A destination on the local disk."""

    folder: Path

    @property
    def destination(self) -> str:
        """The destination as the operator is given it."""
        return f"file://{self.folder}"

    @property
    def files(self) -> list[str]:
        """Every file there is, hidden ones too."""
        return sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*") if path.is_file())

    @property
    def objects(self) -> list[str]:
        """What a reader of the lake finds."""
        return sorted(
            str(path.relative_to(self.folder)) for path in self.folder.glob("threats/created_date=*/*.parquet")
        )

    def path(self, relative: str) -> Path:
        """Return the path of a file."""
        return self.folder / relative

    def write(self, relative: str, data: bytes = b"") -> Path:
        """Put a file there."""
        path = self.path(relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def rows(self, *relative: str) -> list[dict[str, Any]]:
        """Return the rows of some objects, or of all."""
        files = [pq.ParquetFile(self.path(name)) for name in relative or self.objects]
        return [row for file in files for row in file.read().to_pylist()]

    def ids(self, *relative: str) -> list[str]:
        """Return the ids in some objects, or in all."""
        return [row["id"] for row in self.rows(*relative)]

    def receipt(self, relative: str = RECEIPT) -> dict[str, Any]:
        """Return a receipt."""
        receipt: dict[str, Any] = json.loads(self.path(relative).read_text())
        return receipt

    def snapshot(self, *relative: str) -> dict[str, tuple[bytes, int, int]]:
        """Return bytes, time of change and inode of some files, or of all."""
        found = {name: self.path(name) for name in relative or self.files}
        return {name: (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for name, path in found.items()}


def instants(moments: Iterable[str | datetime], **overrides: Any) -> list[Record]:
    """Make one record for each moment, numbered from one."""
    return [record(n, moment, **overrides) for n, moment in enumerate(moments, 1)]
