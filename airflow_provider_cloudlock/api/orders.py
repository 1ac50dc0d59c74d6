"""What does not change about a record, and a server may therefore order by without a record slipping past a reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_provider_cloudlock.pages import Mark, Page


@dataclass(frozen=True)
class Order:
    """An order in which records may come.

    :param place: what they are ordered by, None where a record does not have it.
    :param directions: whether a page comes in it, and whether in reverse.
    :param from_rows: of how many records a first page must be to show it, as few may come so by chance.
    :param has_ties: whether several records may have the same place.
    """

    place: Callable[[Mark], Any]
    directions: Callable[[Page], tuple[bool, bool]]
    from_rows: int
    has_ties: bool


def _key_place(mark: Mark) -> tuple[int, str] | None:
    """Numbers by their size; what is of one length, as most identifiers are, by the alphabet."""
    return None if mark.key.startswith("\0") else (len(mark.key), mark.key)


def _key_directions(page: Page) -> tuple[bool, bool]:
    places = [place for mark in page.head(page.rows) if (place := _key_place(mark))]
    if len(places) < page.rows:
        return False, False
    return places == sorted(places), places == sorted(places, reverse=True)


BY_TIME = Order(lambda mark: mark.created, lambda page: (page.ascending, page.descending), 0, has_ties=True)
BY_KEY = Order(_key_place, _key_directions, 16, has_ties=False)
