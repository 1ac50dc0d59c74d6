"""What the rooms that fetch and the rooms that write agree on: a page, and what a checked envelope is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, Self, TypeVar

from airflow_provider_cloudlock import strict_json
from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from airflow_provider_cloudlock.instants import parse_record_time


@dataclass(frozen=True, slots=True)
class Echo:
    """The numbers of an envelope, None where it does not give them."""

    limit: int | None = None
    offset: int | None = None
    total: int | None = None
    results: int | None = None


class Mark(NamedTuple):
    """What a record is known by when it comes again: its status may have changed meanwhile, this has not."""

    key: str
    created: datetime | None


#: The version of a record that does not say when it was updated.
NEVER_UPDATED = datetime.min.replace(tzinfo=UTC)


class Page(Protocol):
    """One answer whose envelope has been checked."""

    @property
    def echo(self) -> Echo:
        """The numbers that came with the records."""

    @property
    def rows(self) -> int:
        """How many records were received."""

    @property
    def first(self) -> Mark | None:
        """The first record, None when the page is empty."""

    @property
    def last(self) -> Mark | None:
        """The last record, None when the page is empty."""

    @property
    def ascending(self) -> bool:
        """Whether the records came oldest first, and all say when they were created."""

    @property
    def descending(self) -> bool:
        """Whether the records came newest first, and all say when they were created."""

    def head(self, count: int) -> tuple[Mark, ...]:
        """Return the first so many records, or all when there are fewer."""

    def tail(self, at_least: int = 2) -> tuple[Mark, ...]:
        """Return the last records, back to one that was not created at the same time as the very last.

        :param at_least: so many, if the page has them.
        """

    @property
    def distinct(self) -> int:
        """How many different keys there are."""

    def version(self, key: str) -> datetime | None:
        """Return when the record of a key was updated; ``NEVER_UPDATED`` if it does not say, None if it is not here."""

    def versions(self) -> list[tuple[str, datetime]]:
        """Return the keys of all records as they came, and when each was updated; ``NEVER_UPDATED`` if not said."""

    def without(self, key: str) -> Self:
        """Return the page without the record of a key."""

    def select(self, start: datetime | None, end: datetime | None, without_status: str | None) -> Self:
        """Return the records created in ``[start, end)`` that do not have the one status, compared without case."""


P = TypeVar("P", bound=Page)
P_co = TypeVar("P_co", bound=Page, covariant=True)
P_contra = TypeVar("P_contra", bound=Page, contravariant=True)


class Gathering(Protocol[P_contra]):
    """The records of many pages."""

    @property
    def count(self) -> int:
        """How many records are held."""

    def add(self, page: P_contra) -> None:
        """Take in a page that changes no more."""

    def join(self, other: Self) -> None:
        """Take in all that another one holds."""

    def newest(self) -> Self:
        """Return the same with the newest version of each record alone."""

    def compared(self, other: Self) -> Iterable[tuple[str, bool]]:
        """Give each key, and whether the other one has the same version of its record."""

    def distinct(self, other: Self | None = None) -> int:
        """Count the different keys, of this one or of two together."""


G_co = TypeVar("G_co", bound=Gathering[Any], covariant=True)


class PageFormat(Protocol[P_co, G_co]):
    """Makes pages of one kind."""

    def decode(self, body: bytes) -> P_co:
        """Read an answer; may be called by several threads at once.

        :raises CloudlockResponseError: when it is not a page.
        """

    def gather(self) -> G_co:
        """Return what puts pages together, still empty."""


def open_envelope(document: Any) -> tuple[Echo, list[dict[str, Any]]]:
    """Check that a JSON document is a page of records.

    :return: its numbers and its records.
    :raises CloudlockResponseError: when it is anything else.
    """
    if not isinstance(document, dict):
        raise CloudlockResponseError("An object with a list of records was expected.")
    for key in ("message", "error", "errors"):
        if document.get(key):
            raise CloudlockResponseError(f"It carries {key!r}, as a failure does, whatever else it holds.")
    items = document.get("items")
    if not isinstance(items, list):
        raise CloudlockResponseError("It has no list under 'items'.")
    if not all(isinstance(item, dict) for item in items):
        raise CloudlockResponseError("The list under 'items' holds something that is not an object.")
    return Echo(**{name: _number(document, name) for name in ("limit", "offset", "total", "results")}), items


def _number(envelope: Mapping[str, Any], name: str) -> int | None:
    value = envelope.get(name)
    if value is None or type(value) is int:
        return value
    raise CloudlockResponseError(f"Its {name!r} is not a whole number.")


def key_of(record: Mapping[str, Any], field: str) -> str:
    """Tell what identifies a record: its key as text, or all of it where there is no usable key."""
    value = record.get(field)
    return str(value) if type(value) is int or (isinstance(value, str) and value) else key_of_all(record)


def key_of_all(record: Mapping[str, Any]) -> str:
    """Tell a record without a usable key from others; no key of the API's begins like this."""
    return "\0" + strict_json.dumps(record)


def time_of(record: Mapping[str, Any], fields: Sequence[str]) -> datetime | None:
    """Tell when a record was created: the first of ``fields`` that it has, None when that cannot be read."""
    value = next((record[field] for field in fields if record.get(field) is not None), None)
    parsed = parse_record_time(value)
    return parsed[0] if parsed else None
