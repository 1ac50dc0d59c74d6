"""What does not change about a record, and a server may therefore order by without a record slipping past a reader."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
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
    places = [_key_place(mark) for mark in page.head(page.rows)]
    if None in places:
        return False, False
    neighbours = list(pairwise(places))
    return all(one <= other for one, other in neighbours), all(one >= other for one, other in neighbours)  # type: ignore[operator]


BY_TIME = Order(lambda mark: mark.created, lambda page: (page.ascending, page.descending), 0, has_ties=True)
BY_KEY = Order(_key_place, _key_directions, 16, has_ties=False)
