"""One reading of a result set, page after page, with the means that every way of reading needs.

Offsets shift when records come or go between two requests, servers cap pages without a word, and ``total`` may mean
anything. So every page is tied to the ones before it by records that came already, and nothing the server says proves
an end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic

from airflow_provider_cloudlock.pages import Gathering, P

#: How often a page may be too small to go on from, or speak of more than there is.
STALLS = 3
#: A page that brings fewer records than this, and is no full one, is of a set that grows at its end ...
SMALL = 16
#: ... and so many of them in a row are followed.
_GROWTH = 500
#: How many records may be under way at once, in two pages if they are larger: what bounds the memory.
_ROWS_AHEAD = 20_000


class SetMovedError(Exception):
    """What was read does not fit together: the set changed, or the server is at odds with itself."""


class Walk(Generic[P]):
    """Pages as they are gathered.

    :param ask: gives the page at an offset; is told the offsets that should be needed next.
    :param ask_beyond: gives the page at an offset that should be the end, None when it is.
    :param ask_one: gives the one record at an offset.
    :param select: keeps those records of a page that are wanted.
    :param start: offset to begin at.
    :param records: takes in the records that are wanted, each key once.
    :param connections: tells how many requests may be under way at once.
    """

    def __init__(
        self,
        ask: Callable[[int, Sequence[int]], P],
        ask_beyond: Callable[[int], P | None],
        ask_one: Callable[[int], P],
        select: Callable[[P], P],
        start: int,
        records: Gathering[P],
        connections: Callable[[], int],
    ) -> None:
        self._ask = ask
        self._ask_beyond = ask_beyond
        self._ask_one = ask_one
        self._select = select
        self._start = start
        self._records = records
        self._connections = connections
        self._latest: list[P] = []  # one page, whose last records may still come again
        self._at_most: int | None = None
        self._rows = 0
        self._is_even = False
        self._most = 0
        self._growth = 0
        #: Offset of the first record not held, as far as can be told.
        self._end = start
        #: How many records are asked for again with the next page.
        self._overlap = 1
        #: Pages that carried records, whether wanted or not.
        self.page_count = 0
        #: Records that came, those that came again counted once.
        self.received = 0
        #: Records that came twice within one page.
        self.duplicates = 0
        #: The server's figure at the end.
        self.total: int | None = None

    @property
    def records(self) -> Gathering[P]:
        """What was read, each key once."""
        return self._records

    @property
    def is_proof(self) -> bool:
        """Whether this one reading proves that the set is whole: nothing came."""
        return self.page_count == 0

    @property
    def kept(self) -> int:
        """How many records are held."""
        return self._records.count + sum(page.distinct for page in self._latest)

    def run(self, at_most: int | None, first: P | None = None) -> None:
        """Read to the end, or until so many records are held.

        :param at_most: so many, None for all.
        :param first: the first page, if it has been asked for already.
        :raises SetMovedError: when the pages do not fit together.
        """
        self._at_most = at_most
        page = first or self._next(self._start)
        self.total = page.echo.total
        if page.rows:
            self._run(page)
        else:
            self._check_empty()
        for each in self._latest:
            self._records.add(each)
        self._latest.clear()

    def _run(self, page: P) -> None:
        """Read on from the first page."""
        raise NotImplementedError

    @property
    def _is_enough(self) -> bool:
        return self._at_most is not None and self.kept >= self._at_most

    @property
    def _is_corroborated(self) -> bool:
        """Whether the server's figure, too, says that one response held everything; of few records asked for again."""
        if self.page_count > 1 or self.received < 2 or self.total != self._end:
            return False
        return self.received >= SMALL or self._ask_one(self._start).echo.total == self._end

    def _next(self, offset: int) -> P:
        page = self._ask(offset, self._following(offset))
        self.total = page.echo.total
        return page

    def _following(self, offset: int) -> Sequence[int]:
        """Foresee which offsets come after one, if the pages go on as they came; wrong is only wasteful.

        That they go on is likely while the total says so, or as long as one page is as large as the one before.
        """
        step = self._rows - self._overlap
        left = None if self.total is None else self.total - self._end
        connections = self._connections()
        if step < 1 or connections < 2 or left == 0 or not (self._is_even or (left or 0) > 0):
            return ()
        at_once = max(2, min(connections, _ROWS_AHEAD // self._rows))
        ends = [offset + step * at_once]
        if left is not None and left > 0:
            ends.append(self._end + left - self._overlap + 1)
        if self._at_most is not None:
            ends.append(self._end + self._at_most - self.kept - self._overlap)
        return range(offset + step, min(ends), step)

    def _check_empty(self) -> None:
        again = self._next(self._start)
        if again.rows or (again.echo.total or 0) > self._start:
            raise SetMovedError("an empty page was followed by records, or the total speaks of some")

    def _take(self, page: P, wanted: P, again: int, known: int) -> None:
        """Take in a page.

        :param page: as it came.
        :param wanted: its records that are wanted and did not come before.
        :param again: how many of its records came before.
        :param known: how many keys these have.
        :raises SetMovedError: when there is no end to it.
        """
        self._most = max(self._most, page.rows)
        is_small = page.rows < self._most and page.rows - again < SMALL
        self._growth = self._growth + 1 if is_small else 0
        if self._growth > _GROWTH:
            raise SetMovedError(f"{_GROWTH} times in a row a few more records came")
        self._latest.append(wanted)
        self.page_count += 1
        self.received += page.rows - again
        self.duplicates += page.rows - again - (page.distinct - known)
        self._rows, self._is_even = page.rows, page.rows == self._rows
