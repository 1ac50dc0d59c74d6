"""Inventory of a lake: objects, receipts, quarantined records and foreign files of each day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from airflow.sdk import ObjectStoragePath

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.lake.conditional_put import conditional_put
from airflow_provider_cloudlock.lake.days import day_of, object_path, quarantine_path, receipt_path
from airflow_provider_cloudlock.lake.store_errors import explained
from airflow_provider_cloudlock.operators.destination import store_at

#: Receipts that are read concurrently; botocore keeps ten connections.
_CONCURRENT = 8
_Count = Annotated[int, msgspec.Meta(ge=0)]
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Claim(msgspec.Struct, frozen=True):
    """The fields of a receipt that an audit needs. Unknown fields of later versions are ignored."""

    resource: str
    tenant: str
    window: list[_Instant]
    until: _Instant | None
    status: str | None
    path: str
    rows: _Count
    bytes: _Count
    sha256: str
    proof: Literal["single_response", "anchored", "identical_passes"]
    vanished_kept: _Count
    quarantined: _Count
    extracted_at: _Instant
    schema_version: int
    rejected: _Count = 0


@dataclass(frozen=True, slots=True)
class Finding:
    """A reason why a day is not complete, or cannot be relied on.

    :param kind: short name, such as ``gap``.
    :param text: the problem, the file, and what to do.
    """

    kind: str
    text: str


@dataclass(slots=True)
class DayInventory:
    """Files of one UTC day.

    :param day: the day.
    :param size: bytes of its object, None if it has none.
    :param claim: fields of its receipt, None if it has no valid one.
    :param has_receipt: whether it has a receipt, valid or not.
    :param quarantined: records in its quarantine file.
    :param findings: invalid and foreign files.
    """

    day: date
    size: int | None = None
    claim: Claim | None = None
    has_receipt: bool = False
    quarantined: int = 0
    findings: list[Finding] = field(default_factory=list)


class Inventory:
    """List the files of a resource in a lake.

    :param destination: the operator's destination.
    :param resource: name of the extracted resource.
    :raises CloudlockConfigError: if the destination has no files of the resource, or cannot be opened.
    :raises CloudlockUnavailableError: if the store does not respond.
    """

    def __init__(self, destination: str, resource: str) -> None:
        self.store = store_at(destination)
        self.uri = self.store.path(resource)
        self._resource = resource
        path = ObjectStoragePath(destination.rstrip("/"))
        self._fs = self.store.fs
        self._root = path.path.rstrip("/")
        self._fs.invalidate_cache()  # fsspec caches listings within a process
        self._objects = self._list(resource)
        self._receipts = self._list(f"_receipts/{resource}")
        self._quarantined = self._list(f"_quarantine/{resource}")
        if not (self._objects or self._receipts or self._quarantined):
            raise CloudlockConfigError(
                f"There is nothing in {self.uri}. Give the destination of the extraction, without the resource, and "
                "with the connection to its store."
            )

    def of(self, days: Iterable[date]) -> Iterator[DayInventory]:
        """Yield the files of some days."""
        found = {day: DayInventory(day) for day in days}
        self._assign_objects(found)
        self._assign_foreign_receipts(found)
        with ThreadPoolExecutor(_CONCURRENT) as pool:
            yield from pool.map(self._complete, found.values())

    def _assign_objects(self, found: dict[date, DayInventory]) -> None:
        own = {_name(object_path(self._resource, day), self._resource): each for day, each in found.items()}
        for relative, size in self._objects.items():
            if relative in own:
                own[relative].size = size
            elif not _is_hidden(relative):
                in_folder = day_of(relative)
                text = f"{_printable(relative)} is not an object of this lake, but readers read it. Move it away."
                _add_foreign(found, in_folder[0] if in_folder else None, text)

    def _assign_foreign_receipts(self, found: dict[date, DayInventory]) -> None:
        for name in self._receipts:
            day = _date(name[:10])
            if not _is_hidden(name) and (day is None or name != f"{day.isoformat()}.json"):
                text = f"{_printable(name)} in _receipts/{self._resource} is not a receipt. Move it away."
                _add_foreign(found, day, text)

    def _complete(self, inventory: DayInventory) -> DayInventory:
        """Add the receipt and the number of quarantined records."""
        path = receipt_path(self._resource, inventory.day)
        content = self._content(path) if _name(path, self._resource) in self._receipts else None
        if content is not None:
            inventory.has_receipt = True
            try:
                inventory.claim = self._claim(inventory.day, content)
            except ValueError as error:
                text = f"The receipt {path} is not valid: {_printable(str(error))}. Extract the day again."
                inventory.findings.append(Finding("unreadable", text))
        path = quarantine_path(self._resource, inventory.day)
        if _name(path, self._resource) in self._quarantined:
            inventory.quarantined = (self._content(path) or b"").count(b"\n")
        return inventory

    def _claim(self, day: date, content: bytes) -> Claim:
        """Return the fields of a receipt.

        :raises ValueError: if they are invalid, or those of another day.
        """
        try:
            claim = msgspec.json.decode(content, type=Claim)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        start = datetime.combine(day, datetime.min.time(), UTC)
        midnight = start + timedelta(days=1)
        end = claim.until or midnight
        if claim.resource != self._resource:
            raise ValueError(f"its resource is {claim.resource!r}")
        if claim.window != [start, end] or not start < end <= midnight:
            raise ValueError("its window is not that of its day")
        if not claim.path.endswith(f"/{object_path(self._resource, day)}"):
            raise ValueError("its path is not that of its day")
        if claim.status is not None and not claim.status.isprintable():
            raise ValueError("its status is not printable")
        if claim.extracted_at < end.replace(microsecond=0):
            raise ValueError("it was written before the end of its window")
        return claim

    def _content(self, relative: str) -> bytes | None:
        """Return the content of a file, None if it was removed since it was listed."""
        found = self.store.read(relative)
        return found[0] if found else None

    def _list(self, folder: str) -> dict[str, int]:
        """Return the sizes of all files below a folder by their relative paths; nothing if it does not exist."""
        root = f"{self._root}/{folder}"
        with explained(self.store.path(folder), "listed"):
            kind = conditional_put(self._fs)
            if kind is None:
                found: Mapping[str, Any] = self._walk(root)
            else:  # an object store lists all files below a prefix in one call per 1,000 or 5,000
                parent, _, name = root.rpartition("/")
                try:
                    found = kind.find(self._fs, parent, f"{name}/")
                except FileNotFoundError:
                    return {}
        below = {path.removeprefix(f"{root}/"): info for path, info in found.items() if path != root}
        # Some tools mark a folder by an empty object of its own name.
        folders = {str(PurePosixPath(path).parent) for path in below}
        return {
            path: int(info["size"] or 0)
            for path, info in below.items()
            if info.get("type", "file") == "file" and path.rstrip("/") not in folders and not path.endswith("/")
        }

    def _walk(self, folder: str) -> dict[str, Any]:
        """Return the files below a folder. fsspec's own ``find`` silently skips folders that cannot be listed."""
        found: dict[str, Any] = {}
        with suppress(FileNotFoundError):
            for info in self._fs.ls(folder, detail=True):
                path = info["name"].rstrip("/")
                if info["type"] == "directory" and path != folder:
                    found |= self._walk(path)
                else:
                    found[path] = info
        return found


def _add_foreign(found: dict[date, DayInventory], day: date | None, text: str) -> None:
    """Add a finding to the day of a file; to the first day if the file belongs to none."""
    inventory = found.get(day) if day else next(iter(found.values()))
    if inventory is not None:
        inventory.findings.append(Finding("foreign", text))


def _name(path: str, resource: str) -> str:
    """Return the path of a file relative to the folder of its resource."""
    return path.partition(f"{resource}/")[2]


def _is_hidden(path: str) -> bool:
    """Whether readers of a lake skip the file."""
    return path.rpartition("/")[2].startswith((".", "_"))


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _printable(text: str) -> str:
    """Return text of unknown origin without line breaks and control characters, shortened."""
    return "".join(each if each.isprintable() else "?" for each in text)[:200]
