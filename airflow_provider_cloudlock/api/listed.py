"""A reading of a set in an order that nobody knows: what came before tells where a page goes on.

Servers keep their order, whatever it is, but for records that are put at one of its ends: new ones, or in an order by
the last update those that were updated. Both ends are looked at again. Whether the others did keep their order is seen
by a second reading only, so a single one proves nothing, unless one response held everything and said so.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from airflow_provider_cloudlock.api.ordered import OrderedWalk, UnorderedError
from airflow_provider_cloudlock.api.walk import SMALL, SetMovedError
from airflow_provider_cloudlock.pages import NEVER_UPDATED, Mark, P

#: The place of records that did not come before.
_NOWHERE = -(1 << 62)


class ListedWalk(OrderedWalk[P]):
    """Pages of a set in any order, of which the first has more records than may fit by chance.

    Neighbours that were updated at the same time may come in any order: it may be the order of the set.
    """

    def run(self, at_most: int | None, first: P | None = None) -> None:
        """Read to the end, or until so many records are held; of those that came again the newest version stays."""
        #: The keys in the server's order, as numbers because there may be many, and the places they have in it.
        self._sequence, self._places = array("q"), array("q")
        #: Place and version of the latest records.
        self._seen: dict[str, tuple[int, datetime]] = {}
        #: Place and version of the last one.
        self._last = _NOWHERE, NEVER_UPDATED
        self._recent: list[P] = []
        self._known: tuple[P | None, list[tuple[str, datetime]]] = None, []
        super().run(at_most, first)
        if self._sequence:
            self._records = self._records.newest()
            self.received = len(set(self._sequence)) + self.duplicates

    @property
    def is_proof(self) -> bool:
        """Whether this one reading proves that the set is whole: the first response said so, and hardly more came."""
        return self._said_all and self._growth == self.page_count - 1 if self._sequence else self.page_count == 0

    def follows(self, earlier: ListedWalk[P]) -> bool:
        """Tell whether this reading shows that the one before it missed nothing, and so did not miss anything itself.

        What it has anew must stand at the ends; all between was there before, in the same order.
        """
        same = {hash(key): is_same for key, is_same in self._records.compared(earlier.records)}
        keys = [key for key in self._sequence if key in same]
        unchanged = [number for number, key in enumerate(keys) if same[key]]
        if not unchanged or len(unchanged) < len(keys) / 2:
            return False
        before = dict(zip(earlier._sequence, earlier._places, strict=True))
        places = [before.get(key, _NOWHERE) for key in keys[unchanged[0] : unchanged[-1] + 1]]
        return places == sorted(places)

    def _run(self, page: P) -> None:
        if page.rows < SMALL:
            raise UnorderedError("few records came in no certain order of time", page)
        self._order, self._ascending = None, True
        self._end = self._start + page.rows
        self._said_all = page.echo.total == self._end and self._is_total_true
        self._run_in_order(page)

    def _check_order(self, page: P) -> None:
        """There is none to check before it is known where the page goes on."""

    def _back(self) -> int:
        return max(self._overlap, len(self._sequence) - int(self._reached) + 1)

    def _is_tied(self, page: P) -> bool:
        return any(place < self._reached for place in self._unmoved(page).values())

    def _note(self, page: P, passed: Sequence[Mark]) -> None:
        """Note the places of a page's records."""
        for number, (key, version) in enumerate(self._versions(page)):
            is_passed = number < len(passed)
            if is_passed and key in self._seen:
                place = self._seen[key][0]
            else:
                place = self._last[0] if _is_alike(version, self._last[1]) else len(self._sequence)
                self._sequence.append(hash(key))
                self._places.append(place)
            self._seen[key] = place, version
            if not is_passed:
                self._last = place, version
        least = len(self._sequence) - page.rows - sum(each.rows for each in self._recent)
        self._seen = {key: each for key, each in self._seen.items() if each[0] >= least}

    def _unmoved(self, page: P) -> dict[int, int]:
        """Which of a page's records came before and are as they were then, by number; and their places."""
        seen = ((number, self._seen.get(key), version) for number, (key, version) in enumerate(self._versions(page)))
        return {number: each[0] for number, each, version in seen if each and each[1] == version}

    def _versions(self, page: P) -> list[tuple[str, datetime]]:
        """Keys and versions of a page, which are asked for several times."""
        if self._known[0] is not page:
            self._known = page, page.versions()
        return self._known[1]

    def _not_after_reached(self, page: P) -> tuple[Mark, ...]:
        """The first records of a page, up to the last that came before and is as it was: others may have been moved."""
        return page.head(max(self._unmoved(page), default=-1) + 1)

    def _place(self, mark: Mark | None) -> Any:
        return self._seen.get(mark.key, (_NOWHERE, None))[0] if mark else None

    def _check_start(self, first: P) -> None:
        """Take in what came to the start meanwhile."""
        held = dict(first.versions())

        def new(page: P) -> list[tuple[int, datetime]]:
            come = takewhile(lambda each: held.get(each[0]) != each[1], page.versions())
            return [(hash(key), version) for key, version in come]

        if not new(self._ask_one(self._start)):
            return
        page = self._next(self._start)
        come = new(page)
        if len(come) == page.rows:
            raise SetMovedError("more records came to the start than one page shows")
        self._put_first(come)
        again = page.rows - len(come)
        self._take(page, self._select(page), again, page.distinct - len(dict(come)))

    def _put_first(self, come: Sequence[tuple[int, datetime]]) -> None:
        """Put keys with their versions before all others, and nowhere else."""
        keys = {key for key, _ in come}
        places: list[int] = []
        for number, (_, version) in enumerate(come):
            is_alike = number > 0 and _is_alike(version, come[number - 1][1])
            places.append(places[-1] if is_alike else number - len(come))
        rest = [each for each in zip(self._sequence, self._places, strict=True) if each[0] not in keys]
        self._sequence = array("q", [*(key for key, _ in come), *(key for key, _ in rest)])
        self._places = array("q", [*places, *(place for _, place in rest)])


def _is_alike(one: datetime, other: datetime) -> bool:
    """Whether two versions are of the same time."""
    return one == other != NEVER_UPDATED
