"""One reading of a result set, page after page.

Offsets shift when records come or go between two requests, servers cap pages without a word, and ``total`` may mean
anything. So every step is tied to the one before: each request begins with the last record already held, the anchor,
which must come back first. Nothing the server says proves an end: the anchor must come back alone, with nothing beyond.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Generic

from airflow_provider_cloudlock.pages import Gathering, Mark, P

#: How often a page may be too small to go on from.
_STALLS = 3
#: How many records may be under way at once, in two pages if they are larger: what bounds the memory.
_ROWS_AHEAD = 20_000


class SetMovedError(Exception):
    """What was read does not fit together: the set changed, or the server is at odds with itself."""


class Walk(Generic[P]):
    """Pages as they are gathered.

    :param ask: gives the page at an offset; is told the offsets that should be needed next.
    :param ask_beyond: gives how many records there are at an offset that should be the end.
    :param select: keeps those records of a page that are wanted.
    :param start: offset to begin at.
    :param records: takes in the records that are wanted, each key once.
    :param connections: tells how many requests may be under way at once.
    """

    def __init__(
        self,
        ask: Callable[[int, Sequence[int]], P],
        ask_beyond: Callable[[int], int],
        select: Callable[[P], P],
        start: int,
        records: Gathering[P],
        connections: Callable[[], int],
    ) -> None:
        self._ask = ask
        self._ask_beyond = ask_beyond
        self._select = select
        self._start = start
        self._records = records
        self._connections = connections
        self._latest: list[P] = []  # one page, whose last records may still come again
        self._at_most: int | None = None
        self._rows = 0
        self._is_even = False
        self._overlap = 2
        #: Pages that carried records, whether wanted or not.
        self.page_count = 0
        #: Records that came, the anchors counted once.
        self.received = 0
        #: Records that came twice within one page.
        self.duplicates = 0
        #: The server's figure at the end.
        self.total: int | None = None
        self._ascending = True
        self._descending = True
        self._tied = False

    @property
    def kept(self) -> int:
        """How many records are held."""
        return self._records.count + sum(page.distinct for page in self._latest)

    @property
    def is_proof(self) -> bool:
        """Whether this one reading proves the set.

        One response is the set at one moment. Over several, nothing can have slipped from what was still to come into
        what had passed if the records came by their creation time, which never changes, and the order of those of the
        same time was seen to be the same where one page ended and the next began.
        """
        return not self._tied and (self.page_count <= 1 or self._ascending or self._descending)

    def run(self, at_most: int | None) -> None:
        """Read to the end, or until so many records are held.

        :raises SetMovedError: when the pages do not fit together.
        """
        self._at_most = at_most
        self._run()
        for page in self._latest:
            self._records.add(page)
        self._latest.clear()

    def _run(self) -> None:
        page = self._next(self._start)
        if page.last is None:
            self._check_empty()
            return
        self._add(page)
        anchor = self._anchor(page)
        lasts = {anchor[-1]}
        stalls = 0
        nothing_beyond = False
        while self._at_most is None or self.kept < self._at_most:
            page = self._next(self._position - len(anchor))
            self._check_anchor(page, anchor, lasts)
            if page.rows > len(anchor):
                self._tie(page, len(anchor))
                anchor = self._anchor(page)
                lasts.add(anchor[-1])
                nothing_beyond = False
            elif page.rows < len(anchor):
                stalls += 1
                if stalls > _STALLS:
                    anchor = self._shortened(anchor)
            elif nothing_beyond:
                return
            elif self._ask_beyond(self._position):
                stalls += 1
                if stalls > _STALLS:
                    raise SetMovedError("the server gives one record a page, so that none can be tied to the next")
                anchor = self._shortened(anchor)
            elif self._is_corroborated:
                return
            else:
                # The anchor must come alone once more: the set may have moved just before the look beyond it.
                nothing_beyond = True

    def _anchor(self, page: P) -> tuple[Mark, ...]:
        """Choose what the next page must begin with: the last records, back to one of another time than the very last.

        Records of the same time may come in another order with every request. One of another time before them keeps
        those that have not come from slipping in front of those that have. A page that may hold everything may do
        as a whole; any other would lead nowhere: one record must do then, and one reading is no proof.
        """
        tail = page.tail(self._overlap)
        if len(tail) < page.rows or (self.page_count == 1 and self.total in (None, self._position)):
            if self._connections() > 1:
                self._overlap = max(self._overlap, min(len(tail), page.rows // 8))
            return tail
        self._tied = True
        return tail[-1:]

    def _shortened(self, anchor: tuple[Mark, ...]) -> tuple[Mark, ...]:
        """Make do with one record where the server's pages are too small for more."""
        self._tied = True
        return anchor[-1:]

    @property
    def _position(self) -> int:
        """Offset of the first record not held."""
        return self._start + self.received

    @property
    def _is_corroborated(self) -> bool:
        """Whether the server's figure, too, says that one response held everything."""
        return self.page_count == 1 and self.received > 1 and self.total == self._position

    def _next(self, offset: int) -> P:
        page = self._ask(offset, self._following(offset))
        self.total = page.echo.total
        return page

    def _following(self, offset: int) -> Sequence[int]:
        """Foresee which offsets come after one, if the pages go on as they came; wrong is only wasteful.

        That they go on is likely while the total says so, or as long as one page is as large as the one before.
        """
        step = self._rows - self._overlap
        left = None if self.total is None else self.total - self._position
        connections = self._connections()
        if step < 1 or connections < 2 or left == 0 or not (self._is_even or (left or 0) > 0):
            return ()
        at_once = max(2, min(connections, _ROWS_AHEAD // self._rows))
        ends = [offset + step * at_once]
        if left is not None and left > 0:
            ends.append(self._position + left - self._overlap + 1)
        if self._at_most is not None:
            ends.append(self._position + self._at_most - self.kept - self._overlap)
        return range(offset + step, min(ends), step)

    def _check_empty(self) -> None:
        again = self._next(self._start)
        if again.rows or (again.echo.total or 0) > self._start:
            raise SetMovedError("an empty page was followed by records, or the total speaks of some")

    def _check_anchor(self, page: P, anchor: tuple[Mark, ...], lasts: set[Mark]) -> None:
        """Check that a page begins with the anchor, and goes on or ends as the pages before it allow."""
        if not _is_again(page.head(len(anchor)), anchor):
            raise SetMovedError(
                f"the record at offset {self._position - len(anchor)} was another one a moment later, or the server "
                "repeats a page"
            )
        if page.rows > len(anchor) and page.last in lasts:
            raise SetMovedError("the server repeats a page")
        if page.rows == len(anchor) and self.total is not None and self.total > self._position:
            raise SetMovedError(f"{self._position} records came, but the total speaks of {self.total}")

    def _tie(self, page: P, again: int) -> None:
        """Add a page that begins with the anchor; of two versions of a record the newer one stays."""
        held, wanted = self._latest.pop(), self._select(page)
        for mark in page.head(again):
            before, now = held.version(mark.key), wanted.version(mark.key)
            if now is not None and (before is None or now >= before):
                held = held.without(mark.key)
            else:
                wanted = wanted.without(mark.key)
        self._records.add(held)
        self._latest.append(wanted)
        self.received -= again
        self._count(page)

    def _add(self, page: P) -> None:
        self._count(page)
        self._latest.append(self._select(page))

    def _count(self, page: P) -> None:
        self.page_count += 1
        self.received += page.rows
        self._rows, self._is_even = page.rows, page.rows == self._rows
        self.duplicates += page.rows - page.distinct
        self._ascending = self._ascending and page.ascending
        self._descending = self._descending and page.descending


def _is_again(came: Sequence[Mark], anchor: Sequence[Mark]) -> bool:
    """Whether records are the anchor once more, or its beginning.

    Those of one time may have changed places. Of the first time any record will do where the anchor has several times:
    all of that time came already, since a later one did.
    """
    if not came or any(one.created != other.created for one, other in zip(came, anchor, strict=False)):
        return False
    first, last = anchor[0].created, anchor[-1].created
    known = [mark for mark in came if first in (None, last) or mark.created != first]
    return Counter(known) <= Counter(anchor)
