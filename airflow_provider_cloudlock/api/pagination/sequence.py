"""Strategy for sets in any other order: one response that holds all of it, or two identical passes.

In an order that is not known a record can move past the reader unseen. A single response shows the set as it is at one
moment. Of two passes in a row that list the same versions of the same records in the same order, neither missed one.
"""

from __future__ import annotations

import hashlib

from airflow_provider_cloudlock.api.pagination.passes import MovedError, Pass
from airflow_provider_cloudlock.pages import P

#: With this many records or more, a ``total`` that equals their number is not a coincidence.
_MANY = 8


class SequencePass(Pass[P]):
    """Pages in any order; each begins with the last record of the one before it."""

    proof = "identical_passes"

    def _begin(self, page: P) -> None:
        self._sequence = hashlib.blake2b()
        self.is_complete = page.echo.total == self._end and page.rows > 1 and self._is_single_response(page.rows)

    def _is_single_response(self, rows: int) -> bool:
        """Whether the first page, whose ``total`` is the number of its records, holds the whole set.

        That is so if ``total`` counts more than a page where there is more. Records may have been added behind the page
        meanwhile, if ``total`` counts these too; a few records may fit a wrong ``total`` by chance.
        """
        page = self._source.beyond(self._end, self._end)
        has_grown = page is not None and self._checked(page, self._end).echo.total == self._end + page.rows
        return (page is None or (has_grown and rows >= _MANY)) and self._source.counts()

    def _take(self, page: P) -> None:
        super()._take(page)
        for mark in page.marks(0 if self.pages == 1 else 1):
            self._sequence.update(f"{mark.key}\0{mark.updated}\n".encode("utf-8", "surrogatepass"))
        self.digest = self._sequence.hexdigest()
        self._last = page.marks(page.rows - 1)

    def _next(self) -> P:
        offset = self._end - 1
        page = self._fetch(offset)
        if page.marks(0, 1) != self._last:
            raise MovedError(f"another record came to offset {offset}, or the server ignores the offset")
        self._end = offset + page.rows
        return page

    def _is_further(self, page: P) -> bool:
        return page.rows > 1
