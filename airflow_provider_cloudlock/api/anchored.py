"""A reading of a set that comes in another order than by creation time: each page begins with the anchor.

The anchor is the last record held. A record may slip past it unseen, so two readings in a row must be the same, unless
one response held everything and said so.
"""

from __future__ import annotations

from airflow_provider_cloudlock.api.walk import STALLS, SetMovedError, Walk
from airflow_provider_cloudlock.pages import Mark, P


class AnchoredWalk(Walk[P]):
    """Pages of a set in any order that the server keeps for a while."""

    @property
    def is_proof(self) -> bool:
        """Whether this one reading proves that the set is whole."""
        return self.page_count == 1 and self._said_all

    def _run(self, page: P) -> None:
        self._said_all = page.echo.total == self._start + page.rows
        self._take(page, self._select(page), 0, 0)
        self._end = self._start + page.rows
        anchor = page.last
        lasts = {anchor}
        stalls = 0
        nothing_beyond = False
        while not self._is_enough:
            page = self._next(self._end - 1)
            self._check_anchor(page, anchor, lasts)
            if page.rows > 1:
                self._tie(page)
                anchor = page.last
                lasts.add(anchor)
                nothing_beyond = False
            elif nothing_beyond:
                return
            elif self._ask_beyond(self._end) is not None:
                stalls += 1
                if stalls > STALLS:
                    raise SetMovedError("the server gives one record a page, so that none can be tied to the next")
            elif self._is_corroborated:
                return
            else:
                # The anchor must come alone once more: the set may have moved just before the look beyond it.
                nothing_beyond = True

    def _check_anchor(self, page: P, anchor: Mark | None, lasts: set[Mark | None]) -> None:
        """Check that a page begins with the anchor, and goes on or ends as the pages before it allow."""
        if page.first != anchor:
            raise SetMovedError(
                f"the record at offset {self._end - 1} was another one a moment later, or the server repeats a page"
            )
        if page.rows > 1 and page.last in lasts:
            raise SetMovedError("the server repeats a page")
        if page.rows == 1 and self.total is not None and self.total > self._end:
            raise SetMovedError(f"{self._end} records came, but the total speaks of {self.total}")

    def _tie(self, page: P) -> None:
        """Add a page that begins with the anchor; of two versions of it the newer one stays."""
        held, wanted = self._latest.pop(), self._select(page)
        key = page.head(1)[0].key
        before, now = held.version(key), wanted.version(key)
        if now is not None and (before is None or now >= before):
            held = held.without(key)
        else:
            wanted = wanted.without(key)
        self._records.add(held)
        self._end += page.rows - 1
        self._take(page, wanted, 1, 1)
