"""One reading of a result set, page after page.

Offsets shift when records come or go between two requests, servers cap pages without a word, and ``total`` may mean
anything. So every step is tied to the one before: each request begins with the last record already held, the anchor,
which must come back first. Nothing the server says proves an end: the anchor must come back alone, with nothing beyond.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from airflow_provider_cloudlock.pages import Mark, P

#: How often an anchor that came alone may turn out not to be the end.
_STALLS = 3


class SetMovedError(Exception):
    """What was read does not fit together: the set changed, or the server is at odds with itself."""


class Walk(Generic[P]):
    """Pages as they are gathered.

    :param ask: gives the page at an offset.
    :param ask_beyond: gives how many records there are at an offset that should be the end.
    :param select: keeps those records of a page that are wanted.
    :param start: offset to begin at.
    """

    def __init__(
        self, ask: Callable[[int], P], ask_beyond: Callable[[int], int], select: Callable[[P], P], start: int
    ) -> None:
        self._ask = ask
        self._ask_beyond = ask_beyond
        self._select = select
        self._start = start
        #: The records that are wanted; each key is on one page only.
        self.pages: list[P] = []
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
        return sum(page.distinct for page in self.pages)

    @property
    def is_proof(self) -> bool:
        """Whether this one reading proves the set.

        One response is the set at one moment. Over several, nothing can have slipped from what was still to come into
        what had passed if the records came by their creation time, which never changes, and the order of those of the
        same time was seen to be the same where one page ended and the next began.
        """
        if self.page_count <= 1:
            return not self._tied or self.total == self._position
        return (self._ascending or self._descending) and not self._tied

    def run(self, at_most: int | None) -> None:
        """Read to the end, or until so many records are held.

        :raises SetMovedError: when the pages do not fit together.
        """
        page = self._next(self._start)
        if page.last is None:
            self._check_empty()
            return
        self._add(page)
        anchor = self._anchor(page)
        lasts = {anchor[-1]}
        stalls = 0
        nothing_beyond = False
        while at_most is None or self.kept < at_most:
            page = self._next(self._position - len(anchor))
            self._check_anchor(page, anchor, lasts)
            if page.rows > len(anchor):
                self._tie(page, anchor)
                anchor = self._anchor(page)
                lasts.add(anchor[-1])
                nothing_beyond = False
            elif page.rows < len(anchor):
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
        """Choose what the next page must begin with: the last record, with those of the same time before it.

        So their order is seen to be the same in both pages. Where a whole page has the same time this would lead
        nowhere: one record must do, and one reading is no proof.
        """
        tail = page.tail()
        if len(tail) < page.rows or page.rows == 1:
            return tail
        self._tied = True
        return tail[-1:]

    def _shortened(self, anchor: tuple[Mark, ...]) -> tuple[Mark, ...]:
        """Make do with one record where the server's pages are too small for more."""
        self._tied = self._tied or len(anchor) > 1
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
        page = self._ask(offset)
        self.total = page.echo.total
        return page

    def _check_empty(self) -> None:
        again = self._next(self._start)
        if again.rows or (again.echo.total or 0) > self._start:
            raise SetMovedError("an empty page was followed by records, or the total speaks of some")

    def _check_anchor(self, page: P, anchor: tuple[Mark, ...], lasts: set[Mark]) -> None:
        """Check that a page begins with the anchor, and goes on or ends as the pages before it allow."""
        came = page.head(len(anchor))
        if not came or came != anchor[: len(came)]:
            raise SetMovedError(
                f"the record at offset {self._position - len(anchor)} was another one a moment later, or the server "
                "repeats a page"
            )
        if page.rows > len(anchor) and page.last in lasts:
            raise SetMovedError("the server repeats a page")
        if page.rows == len(anchor) and self.total is not None and self.total > self._position:
            raise SetMovedError(f"{self._position} records came, but the total speaks of {self.total}")

    def _tie(self, page: P, anchor: tuple[Mark, ...]) -> None:
        """Add a page that begins with the anchor; of two versions of a record the newer one stays."""
        held, wanted = self.pages[-1], self._select(page)
        for mark in anchor:
            before, now = held.version(mark.key), wanted.version(mark.key)
            if now is not None and (before is None or now >= before):
                held = held.without(mark.key)
            else:
                wanted = wanted.without(mark.key)
        self.pages[-1] = held
        self.received -= len(anchor)
        self._count(page)
        self.pages.append(wanted)

    def _add(self, page: P) -> None:
        self._count(page)
        self.pages.append(self._select(page))

    def _count(self, page: P) -> None:
        self.page_count += 1
        self.received += page.rows
        self.duplicates += page.rows - page.distinct
        self._ascending = self._ascending and page.ascending
        self._descending = self._descending and page.descending
