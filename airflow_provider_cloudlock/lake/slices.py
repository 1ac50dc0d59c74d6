"""Windows -> slices -> object names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from airflow_provider_cloudlock.instants import days_of

_STAMP = r"\d{8}T\d{6}(?:\.\d{6})?Z"
_NAME = re.compile(rf"({_STAMP})--({_STAMP})\.parquet", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Slice:
    """The part of a window inside one UTC day, ``[start, end)``: what is extracted, proved and published at once."""

    start: datetime
    end: datetime

    @property
    def partition(self) -> str:
        """Folder of the slice's day, Hive style."""
        return f"created_date={self.start.date().isoformat()}"

    @property
    def name(self) -> str:
        """Name of the slice's files, without a suffix: the same slice always has the same."""
        return f"{_stamp(self.start)}--{_stamp(self.end)}"

    @property
    def window(self) -> list[str]:
        """Start and end as ISO 8601."""
        return [self.start.isoformat(), self.end.isoformat()]

    def holds(self, other: Slice) -> bool:
        """Whether the other slice lies inside this one."""
        return self.start <= other.start and other.end <= self.end

    def overlaps(self, other: Slice) -> bool:
        """Whether the two have an instant in common."""
        return self.start < other.end and other.start < self.end

    @classmethod
    def named(cls, name: str) -> Slice | None:
        """Read the slice from the name of its Parquet file; None for a file that is not one of ours."""
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        try:
            start, end = (datetime.fromisoformat(stamp).astimezone(UTC) for stamp in match.groups())
        except ValueError:
            return None
        found = cls(start, end) if start < end else None
        # The same slice has one name: a twin, such as one with a fraction of nothing, is a file of somebody else's.
        return found if found and f"{found.name}.parquet" == name else None


def slices_of(start: datetime, end: datetime) -> list[Slice]:
    """Cut a window at every UTC midnight."""
    return [Slice(*part) for part in days_of(start, end)]


def _stamp(instant: datetime) -> str:
    fraction = f".{instant.microsecond:06d}" if instant.microsecond else ""
    return instant.strftime("%Y%m%dT%H%M%S").rjust(15, "0") + fraction + "Z"
