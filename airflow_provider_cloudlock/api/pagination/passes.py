"""What both strategies share: one pass over a result set, first page to confirmed end.

Offsets shift when records appear or disappear between two requests, a server may return fewer records than ``limit``
without saying so, and ``total`` may mean anything. So each page overlaps the one before it, and neither an empty page
nor a short one nor ``total`` ends a pass alone.
"""

from __future__ import annotations

from typing import ClassVar, Generic

from airflow_provider_cloudlock.api.endpoint import Request, Source
from airflow_provider_cloudlock.api.result_set import Proof
from airflow_provider_cloudlock.pages import Collector, P, Page, Selection

#: Requests in a row that may show neither a new record nor the end. One is explained by a change at the end of the set
#: between two requests; more in a row are not.
_STALLS = 3
#: Short pages in a row that may bring a few records each, as when records are being appended. At ten records a second
#: and a quarter of a second per request, one request in twelve (e^-2.5) meets no new record; that a hundred in a row
#: do has a probability of 0.02 %.
_SHORT_PAGES = 100
#: Records in flight in prefetched pages, unless two pages hold more: this bounds the memory.
_ROWS_AHEAD = 20_000
#: Records at the beginning of the set that are remembered, to notice when they come again.
_HEAD = 10


class MovedError(Exception):
    """The pages do not fit together: the set changed, or the server contradicts itself."""


class UnorderedError(MovedError):
    """The set is not in order of creation time, or a page is smaller than the records of one time.

    :param first: the first page, if that showed it already.
    """

    def __init__(self, why: str, first: Page | None = None) -> None:
        super().__init__(why)
        self.first = first


class Pass(Generic[P]):
    """One traversal of a range.

    :param source: where the pages come from.
    :param collector: takes the records.
    :param selection: the records that are wanted.
    :param at_most: number of records after which to stop early, None to read to the end.
    """

    proof: ClassVar[Proof]
    #: Identifies the sequence of record versions, where two passes have to be compared.
    digest = ""

    def __init__(self, source: Source[P], collector: Collector[P], selection: Selection, at_most: int | None) -> None:
        self.collector = collector
        self._source, self._selection, self._at_most = source, selection, at_most
        self._start = self._end = source.start  # the end is the offset behind the last page
        self._pending: P | None = None  # the last page, whose records may come again with the next one
        self._limit = self._rows = self._largest = self._short_pages = 0
        self._overlap = 1
        self._is_even = self._is_short = self._was_cut = False
        #: Whether this pass alone proves that no record is missing.
        self.is_complete = False
        #: Pages that led further; records that came twice within one page; records not wanted; the last ``total``.
        self.pages = self.duplicates = self.outside = 0
        self.total: int | None = None

    def run(self, page: P | None = None) -> None:
        """Read to the confirmed end, or until enough records are held.

        :param page: the first page, if it was requested already.
        :raises MovedError: if the pages do not fit together.
        """
        self._limit = self._source.limit(self._start, None)
        page = page or self._fetch(self._start)
        self.total, self._end = page.echo.total, self._start + page.rows
        if not page.rows:
            if self._fetch(self._start).rows or (self.total or 0) > self._start:
                raise MovedError("an empty page was followed by records, or its total counts some")
            self.is_complete = True
            return
        self._foreseen = self.total if (self.total or 0) > self._end else None
        self._head = page.keys(0, _HEAD)
        self._begin(page)
        self._take(page)
        stalls = 0
        while not (self.is_complete or self.is_enough):
            end, page = self._end, self._next()
            if self._is_further(page):
                self._check_growth(page, self._end - end)
                self._take(page)
                stalls = 0
            elif self._is_end(page):
                self._finish()
                break
            elif (stalls := stalls + 1) > _STALLS:
                if self.total is not None and self.total > self._end:
                    raise MovedError(f"the server lists {self._end} records and reports a total of {self.total}")
                raise UnorderedError("pages repeat: they are too small to go on, or the server ignores the offset")
        self._flush()
        if self.collector.distinct() != self.collector.count:
            raise MovedError("a record came on two pages that do not overlap")

    @property
    def is_enough(self) -> bool:
        """Whether as many records are held as the caller needs."""
        if self._at_most is None:
            return False
        pending = self._pending.select(self._selection).distinct if self._pending else 0
        return self.collector.count + pending >= self._at_most

    def _begin(self, page: P) -> None:
        """Look at the first page; raise UnorderedError if the strategy cannot read a set that begins like this."""
        raise NotImplementedError

    def _next(self) -> P:
        """Return a page that overlaps the one before it, and move the end; raise MovedError if there is none."""
        raise NotImplementedError

    def _is_further(self, page: P) -> bool:
        """Whether a page leads further than those before it."""
        raise NotImplementedError

    def _is_known(self, page: P) -> bool:
        """Whether a page behind the end shows only records that concurrent changes have shifted there."""
        return False

    def _finish(self) -> None:
        """Verify what remains to be verified at the end."""

    def _is_end(self, page: P) -> bool:
        """Whether a page that leads no further is the end of the set.

        A page cut by the server looks the same. Unless the first page foresaw this end in its ``total`` and the server
        cut no page, the offset behind the last record must therefore be empty as well.
        """
        if self.total is not None and self.total > self._end:
            return False
        if self.total == self._foreseen == self._end and not self._was_cut:
            return True
        beyond = self._source.beyond(self._end, self.total)
        return beyond is None or self._is_known(self._checked(beyond, self._end))

    def _fetch(self, offset: int) -> P:
        self._limit = self._source.limit(offset, self.total)
        page = self._source.page((offset, self._limit), self._upcoming(offset))
        self.total = page.echo.total
        return self._checked(page, offset) if offset > self._start else page

    def _checked(self, page: P, offset: int) -> P:
        """Raise if a page shows what was far before its offset: then the server ignores the offset."""
        far_before = self._head[: max(1, (offset - self._start) // 2)]
        if not set(page.keys(0, 2 * _HEAD)).isdisjoint(far_before):
            raise MovedError("the beginning of the set came again: the server ignores the offset")
        return page

    def _upcoming(self, offset: int) -> list[Request]:
        """Predict the next requests. A wrong prediction costs requests, not correctness."""
        found: list[Request] = []
        step, limit, connections = self._rows - self._overlap, self._limit, self._source.connections()
        total = self.total if self.total is not None and self.total >= self._end else None
        if step < 1 or connections < 2 or (total is None and not self._is_even):
            return found
        while len(found) + 1 < max(2, min(connections, _ROWS_AHEAD // self._rows)):
            end = offset + (self._rows if self._is_short else limit)
            if (total is not None and end >= total) or (self._at_most and end - self._start >= self._at_most):
                break
            offset += step
            limit = self._source.limit(offset, self.total)
            found.append((offset, limit))
        return found

    def _check_growth(self, page: P, new: int) -> None:
        is_growth = page.rows < self._largest and new <= max(1, self._largest // 10)
        self._short_pages = self._short_pages + 1 if is_growth else 0
        if self._short_pages > _SHORT_PAGES:
            raise MovedError(f"records were appended before each of {_SHORT_PAGES} requests")

    def _take(self, page: P) -> None:
        self._was_cut |= self._is_short
        self._is_short = page.rows < self._limit
        self._rows, self._is_even = page.rows, page.rows == self._rows
        self._largest = max(self._largest, page.rows)
        self.pages += 1
        self.duplicates += page.rows - page.distinct
        self._hold(page)

    def _hold(self, page: P) -> None:
        if self._pending is not None:
            self._pending, page = page.reconcile(self._pending)
        self._flush()
        self._pending = page

    def _flush(self) -> None:
        if self._pending is not None:
            wanted = self._pending.select(self._selection)
            self.outside += self._pending.distinct - wanted.distinct
            self.collector.add(wanted)
            self._pending = None
