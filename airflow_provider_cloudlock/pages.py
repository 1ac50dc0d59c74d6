"""Protocols shared by the API client and the Parquet writer: a page of records, and what collects pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.instants import parse_record_time


@dataclass(frozen=True, slots=True)
class Echo:
    """The numbers of a response's envelope, None where it lacks them."""

    limit: int | None = None
    offset: int | None = None
    total: int | None = None
    results: int | None = None


class Mark(NamedTuple):
    """What identifies one version of a record.

    :param key: its key.
    :param created: its creation time, which never changes; None if it cannot be read.
    :param updated: time of its last update, ``NEVER_UPDATED`` if it has none.
    """

    key: str
    created: datetime | None
    updated: datetime


#: Stands for the time of the last update of a record that has none.
NEVER_UPDATED = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Selection:
    """The records that a query asks for, among those that the server sends.

    :param start: first instant of the window on the creation time, None if it is open.
    :param end: first instant after the window, None if it is open.
    :param excluded: values that a field must not have, in lower case: the documented values of a filter other than the
        one asked for. An undocumented value is kept, as it may be what the filter means.
    """

    start: datetime | None
    end: datetime | None
    excluded: Mapping[str, Set[str]]


class Page(Protocol):
    """One validated response."""

    @property
    def echo(self) -> Echo:
        """The numbers of the envelope."""

    @property
    def rows(self) -> int:
        """Number of records received."""

    @property
    def distinct(self) -> int:
        """Number of different keys."""

    @property
    def ascending(self) -> bool:
        """Whether the records come oldest first and all have a creation time."""

    @property
    def descending(self) -> bool:
        """Whether the records come newest first and all have a creation time."""

    @property
    def first(self) -> datetime | None:
        """Creation time of the first record received, None if it cannot be read."""

    @property
    def last(self) -> datetime | None:
        """Creation time of the last record received, None if it cannot be read."""

    def keys(self, start: int = 0, stop: int | None = None) -> Sequence[str]:
        """Return the keys of the records received, those from ``start`` to ``stop``."""

    def marks(self, start: int = 0, stop: int | None = None) -> Sequence[Mark]:
        """Return the marks of the records received, those from ``start`` to ``stop``."""

    def keys_created_at(self, instant: datetime | None) -> Set[str]:
        """Return the keys of the records created at an instant, none for None."""

    def reconcile(self, earlier: Self) -> tuple[Self, Self]:
        """Return an earlier page and this one, with only the newest version of each record that both hold."""

    def select(self, selection: Selection) -> Self:
        """Return the page with only the records of a selection."""


P = TypeVar("P", bound=Page)
P_co = TypeVar("P_co", bound=Page, covariant=True)
P_contra = TypeVar("P_contra", bound=Page, contravariant=True)


class Collector(Protocol[P_contra]):
    """Collects the records of a range."""

    @property
    def count(self) -> int:
        """Number of records held."""

    def add(self, page: P_contra) -> None:
        """Add the records of a page."""

    def distinct(self) -> int:
        """Return the number of different keys."""


C_co = TypeVar("C_co", bound=Collector[Any], covariant=True)


class PageFormat(Protocol[P_co, C_co]):
    """Decodes responses into pages of one kind."""

    def decode(self, body: bytes) -> P_co:
        """Decode a response. Called from several threads concurrently.

        :raises CloudlockResponseError: if it is not a page.
        """

    def collector(self) -> C_co:
        """Return an empty collector."""


def open_envelope(document: Any) -> tuple[Echo, list[dict[str, Any]]]:
    """Return the numbers and the records of a page.

    :param document: the parsed JSON.
    :raises CloudlockResponseError: if it is not a page of records.
    """
    if not isinstance(document, dict):
        raise CloudlockResponseError("Expected a JSON object with a list of records.")
    for key in ("message", "error", "errors"):
        if document.get(key):
            raise CloudlockResponseError(f"It has {key!r}, as an error response does.")
    items = document.get("items")
    if not isinstance(items, list):
        raise CloudlockResponseError("It has no list under 'items'.")
    if not all(isinstance(item, dict) for item in items):
        raise CloudlockResponseError("The list under 'items' contains a value that is not an object.")
    return Echo(**{name: _number(document, name) for name in ("limit", "offset", "total", "results")}), items


def _number(envelope: Mapping[str, Any], name: str) -> int | None:
    value = envelope.get(name)
    if value is None or type(value) is int:
        return value
    raise CloudlockResponseError(f"Its {name!r} is not an integer.")


def key_of(record: Mapping[str, Any], field: str) -> str:
    """Return the key of a record as text, or the whole record as text if it has no usable key."""
    value = record.get(field)
    return str(value) if type(value) is int or (isinstance(value, str) and value) else key_of_all(record)


def key_of_all(record: Mapping[str, Any]) -> str:
    """Return a text that tells a record without a usable key from others. No key of the API begins with a NUL."""
    return "\0" + strict_json.dumps(record)


def time_of(record: Mapping[str, Any], fields: Sequence[str]) -> datetime | None:
    """Return the creation time of a record: that of the first of ``fields`` present, None if it cannot be read."""
    value = next((record[field] for field in fields if record.get(field) is not None), None)
    parsed = parse_record_time(value)
    return parsed[0] if parsed else None
