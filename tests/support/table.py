"""The ground truth: what the stand-in holds, changed safely while it is being read."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from datetime import datetime
from threading import RLock
from typing import Any

from .records import Record, ids, instant

View = tuple[Record, ...]


class Table:
    """Records in table order. Changing one puts a new record in its place: one that was handed out never changes.

    :param records: the records to begin with.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._lock = RLock()
        self._records: View = tuple(records)
        self._views: dict[Hashable, View] = {}
        self._unsteady: set[str] = set()

    @property
    def records(self) -> list[Record]:
        """What it holds now."""
        return list(self._records)

    def insert(self, *records: Record) -> None:
        """Append records."""
        with self._lock:
            self._replace((*self._records, *records), unsteady=ids(r for r in records if "id" in r))

    def delete(self, *wanted: object) -> None:
        """Remove the records with these ids."""
        with self._lock:
            keys = self._known(wanted)
            self._replace((r for r in self._records if str(r.get("id")) not in keys), unsteady=keys)

    def change(self, wanted: object, **fields: Any) -> None:
        """Set fields of the records with this id."""
        with self._lock:
            keys = self._known([wanted])
            changed = (r | fields if str(r.get("id")) in keys else r for r in self._records)
            self._replace(changed, unsteady=keys if {"created_at", "id"} & set(fields) else ())

    def window(self, start: str | datetime, end: str | datetime) -> list[Record]:
        """Return the records created in ``[start, end)``, by (creation, id)."""
        first, last = instant(start), instant(end)
        if first is None or last is None:
            raise ValueError(f"not a window: {start!r} to {end!r}")
        dated = ((instant(r.get("created_at")), r) for r in self._records)
        within = [(t, str(r.get("id")), r) for t, r in dated if t is not None and first <= t < last]
        return [r for _, _, r in sorted(within, key=lambda row: row[:2])]

    def steady(self, start: str | datetime, end: str | datetime) -> list[str]:
        """Return the ids created in ``[start, end)`` that were there all the time: neither come, moved nor gone."""
        return [key for key in ids(self.window(start, end)) if key not in self._unsteady]

    def view(self, key: Hashable, build: Callable[[View], Iterable[Record]]) -> View:
        """Return ``build(records)``, remembered under ``key`` until the next change."""
        with self._lock:
            if key not in self._views:
                self._views[key] = tuple(build(self._records))
            return self._views[key]

    def _known(self, wanted: Iterable[object]) -> set[str]:
        keys = {str(key) for key in wanted}
        if missing := keys.difference(str(r.get("id")) for r in self._records):
            raise KeyError(f"no record with id {', '.join(sorted(missing))}")
        return keys

    def _replace(self, records: Iterable[Record], unsteady: Iterable[str]) -> None:
        self._records = tuple(records)
        self._views.clear()
        self._unsteady.update(unsteady)
