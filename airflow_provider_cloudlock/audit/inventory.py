"""What lies in the lake: objects, receipts, and what is neither."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

import msgspec
from airflow.sdk import ObjectStoragePath

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.lake.failures import explained
from airflow_provider_cloudlock.lake.slices import Slice
from airflow_provider_cloudlock.lake.store import data_file
from airflow_provider_cloudlock.operators.destination import store_at

#: Listings and receipts that are under way at once.
_AT_ONCE = 16
_Count = Annotated[int, msgspec.Meta(ge=0)]


class Claim(msgspec.Struct, frozen=True):
    """What a receipt says, as far as an audit asks. Receipts of later versions may say more."""

    resource: str
    window: list[str]
    status: str | None
    path: str
    rows: _Count
    bytes: _Count
    sha256: str
    proof: Literal["single_response", "anchored"]
    vanished_kept: _Count
    quarantined: _Count
    extracted_at: Annotated[datetime, msgspec.Meta(tz=True)]
    schema_version: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that keeps a day from being whole.

    :param kind: in a word or two, such as ``gap``.
    :param text: what it is, where, and what to do.
    """

    kind: str
    text: str


@dataclass(slots=True)
class Holding:
    """What lies in the lake of one UTC day.

    :param day: the day.
    :param objects: their sizes.
    :param receipts: what they claim; None for one that cannot be read.
    :param quarantined: how many records were set apart, of the slices of which there are any.
    :param findings: files that are not what they should be.
    """

    day: date
    objects: dict[Slice, int] = field(default_factory=dict)
    receipts: dict[Slice, Claim | None] = field(default_factory=dict)
    quarantined: dict[Slice, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def whole(day: date) -> Slice:
    """Return the slice of all of a UTC day."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return Slice(midnight, midnight + timedelta(days=1))


class Inventory:
    """Looks into the folder of a resource.

    :param destination: as the operator is told.
    :param resource: what was extracted.
    :raises CloudlockConfigError: when there is no such folder, or it cannot be opened.
    :raises CloudlockUnavailableError: when the store does not answer.
    """

    def __init__(self, destination: str, resource: str) -> None:
        self.store = store_at(destination, resource)
        self.uri = self.store.uri("").rstrip("/")
        self._resource = resource
        path = ObjectStoragePath(destination.rstrip("/"))
        self._fs = path.fs
        self._root = f"{path.path.rstrip('/')}/{resource}"
        self._fs.invalidate_cache()  # the store itself is asked, not what was listed earlier in this process
        if not self._list(""):
            raise CloudlockConfigError(
                f"There is nothing in {self.uri}. Give the destination that the extract has, without the resource, "
                "and the connection to its store."
            )
        # What is not there need not be listed day by day.
        self._folders = {
            kind: {PurePosixPath(each["name"]).name for each in self._list(kind)}
            for kind in ("", "_receipts/", "_quarantine/")
        }

    def of(self, days: Iterable[date]) -> Iterator[Holding]:
        """Look into the folders of some days."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            yield from pool.map(self._of, days)

    def _of(self, day: date) -> Holding:
        holding = Holding(day)
        for path, size in self._files("", day):
            # What begins like this is hidden from readers of a lake.
            if path.suffix == ".parquet" and not path.name.startswith((".", "_")):
                _note_object(holding, path, size)
        for name in sorted(self._folders[""]):
            if name.startswith(_partition(day)) and name != _partition(day):
                text = f"{_shown(name)} is no folder of ours, but whoever reads the lake reads it too. Move it away."
                holding.findings.append(Finding("foreign", text))
        for path, _ in self._files("_receipts/", day):
            if not path.name.startswith("."):
                self._note_receipt(holding, path)
        for path, _ in self._files("_quarantine/", day):
            slice_ = _slice_of(path, ".jsonl", day)
            content = self._content(path) if slice_ is not None else None
            if slice_ is not None and content is not None:
                holding.quarantined[slice_] = content.count(b"\n")
        return holding

    def _note_receipt(self, holding: Holding, path: PurePosixPath) -> None:
        slice_ = _slice_of(path, ".json", holding.day)
        if slice_ is None:
            text = f"{_shown(path.name)} among the receipts is none of this day. Move it away."
            holding.findings.append(Finding("foreign", text))
            return
        content = self._content(path)
        if content is None:
            return
        try:
            holding.receipts[slice_] = self._claim(slice_, content)
        except ValueError as error:
            holding.receipts[slice_] = None
            text = f"The receipt {path.name} cannot be used: {_shown(str(error))}. Extract the day again."
            holding.findings.append(Finding("unreadable", text))

    def _content(self, path: PurePosixPath) -> bytes | None:
        """Read a file; None when it went since, as a bigger slice replaced its own."""
        with explained(f"{self.uri}/{'/'.join(path.parts[-3:])}", "read"):
            try:
                content: bytes = self._fs.cat_file(str(path))
            except FileNotFoundError:
                return None
        return content

    def _claim(self, slice_: Slice, content: bytes) -> Claim:
        try:
            claim = msgspec.json.decode(content, type=Claim)
        except (msgspec.DecodeError, RecursionError) as error:
            raise ValueError(str(error)) from error
        if claim.resource != self._resource:
            raise ValueError(f"it speaks of {claim.resource!r}")
        if claim.window != slice_.window:
            raise ValueError("it speaks of another window than its name")
        if not claim.path.endswith(f"/{self._resource}/{data_file(slice_)}"):
            raise ValueError("it names another object than that of its slice")
        if claim.status is not None and not claim.status.isprintable():
            raise ValueError("its status is no word")
        if claim.extracted_at < slice_.end.replace(microsecond=0):
            raise ValueError("it was written before its window was over")
        return claim

    def _files(self, kind: str, day: date) -> list[tuple[PurePosixPath, int]]:
        partition = _partition(day)
        if partition not in self._folders[kind]:
            return []
        files = ((PurePosixPath(each["name"]), each) for each in self._list(kind + partition))
        # Some tools mark a folder by an empty object of its own name.
        return [
            (path, int(each["size"] or 0)) for path, each in files if each["type"] == "file" and path.name != partition
        ]

    def _list(self, relative: str) -> list[dict[str, Any]]:
        """List a folder; nothing when it is not there."""
        with explained(self.store.uri(relative).rstrip("/"), "listed"):
            try:
                found: list[dict[str, Any]] = self._fs.ls(f"{self._root}/{relative}".rstrip("/"), detail=True)
            except FileNotFoundError:
                return []
        return found


def _partition(day: date) -> str:
    return f"created_date={day.isoformat()}"


def _note_object(holding: Holding, path: PurePosixPath, size: int) -> None:
    slice_ = _slice_of(path, ".parquet", holding.day)
    if slice_ is not None:
        holding.objects[slice_] = size
        return
    text = f"{_shown(path.name)} is no slice of this day, but whoever reads the lake reads it too. Move it away."
    holding.findings.append(Finding("foreign", text))


def _slice_of(path: PurePosixPath, suffix: str, day: date) -> Slice | None:
    """Read the slice from a file's name; None for one that does not belong into the folder of the day."""
    slice_ = Slice.named(f"{path.name.removesuffix(suffix)}.parquet") if path.suffix == suffix else None
    return slice_ if slice_ is not None and whole(day).holds(slice_) else None


def _shown(text: str) -> str:
    """Write what somebody else wrote so that it stays on its line."""
    return "".join(each if each.isprintable() else "?" for each in text)[:200]
