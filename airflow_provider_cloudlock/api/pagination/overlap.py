"""Strategy for sets in order of creation time: overlapping pages.

A creation time never changes, so a record that exists throughout cannot move from the part still to be read into the
part already read. If a page begins before the last creation time read so far, no record before it is missing, and the
page has every record up to its own last time. Records that appear or disappear meanwhile only shift offsets.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from airflow_provider_cloudlock.api.pagination.passes import MovedError, Pass, UnorderedError
from airflow_provider_cloudlock.pages import P, Selection

#: Creation times that the first page must have for its order to mean anything: eight records are in order of time by
#: chance, in one direction or the other, once in 8!/2 = 20,160 cases.
_EVIDENCE = 8
#: Records by which the overlap may be longer than requested, as records were added before it meanwhile. One that is
#: longer still is that of an earlier page which came again.
_SLACK = 8
#: Keys that are remembered to recognise the overlap.
_REMEMBERED = 256


class OverlapPass(Pass[P]):
    """Pages in order of creation time, in either direction; records of one time may come in any order."""

    proof = "anchored"

    def _begin(self, page: P) -> None:
        times = [mark.created for mark in page.marks() if mark.created]
        if len(set(times)) < _EVIDENCE or not (page.ascending or page.descending):
            raise UnorderedError("the records are not in order of creation time", page)
        self._ascending = page.ascending
        self._overlap = 2
        self._first = page.marks(0, 100)
        self._newest = max(times)
        self._newest_ties = page.keys_created_at(self._newest)
        self._reached: datetime | None = None
        self._flushed: datetime | None = None  # the last time read before the pending page
        self._ties: set[str] = set()
        self._known = deque[str](maxlen=_REMEMBERED)
        self._longest_overlap = 0
        self._confirmed_end: int | None = None

    def _take(self, page: P) -> None:
        super()._take(page)
        if self._reached is None or self._is_before(self._reached, page.last):
            self._reached, self._ties = page.last, set()
        self._ties |= page.keys_created_at(self._reached)
        self._known.extend(page.keys(max(0, page.rows - _REMEMBERED)))

    def _hold(self, page: P) -> None:
        """Hold a page without the records that came before the last page already."""
        flushed = self._flushed
        if flushed is not None and self._is_before(page.first, flushed):
            start, end = (flushed, None) if self._ascending else (None, flushed + timedelta.resolution)
            page = page.select(Selection(start, end, excluded={}))
        self._flushed = self._reached
        super()._hold(page)

    def _next(self) -> P:
        back, end = max(self._overlap, len(self._ties) + 1), self._end
        if self._source.connections() > 1:
            # Grows with the longest run of equal times, so that these do not spoil the prediction of offsets.
            self._overlap = max(self._overlap, min(back, self._rows // 8))
        while True:
            offset = max(self._start, end - back)
            page = self._fetch(offset)
            self._check_order(page)
            self._end = offset + page.rows
            if page.rows and (offset == self._start or self._is_before(page.first, self._reached)):
                self._longest_overlap = end - offset + _SLACK
                new = self._new_in_overlap(page)
                if not new:
                    return page
                if new > _SLACK or offset == self._start:
                    raise UnorderedError("records came that should have come before")
            elif offset == self._start:
                raise MovedError("all records disappeared")
            back *= 2

    def _is_further(self, page: P) -> bool:
        return self._is_before(self._reached, page.last) or not page.keys_created_at(self._reached) <= self._ties

    def _is_end(self, page: P) -> bool:
        if page.rows > self._longest_overlap or self._end - page.rows == self._start:
            return False  # an earlier page came again, or the last records could not be requested alone
        if self._confirmed_end == self._end and not (self.total or 0) > self._end:
            return True
        # If the last record was deleted, the page ends before the last time. So does one that the server cut.
        self._shows_last = page.last == self._reached
        if not super()._is_end(page):
            return False
        # Without a total that agrees, the last records are requested once more: so many may have been deleted before
        # them that the offset behind them became empty only then.
        self._confirmed_end = self._end
        return self.total == self._end

    def _is_known(self, page: P) -> bool:
        self._check_order(page)
        if not self._shows_last or page.rows > _SLACK or self._is_further(page):
            return False
        # A single record may be all that the server shows, unless it is the last one by a total that counts.
        return page.rows > 1 or (page.echo.total == self._end + 1 and self._source.counts())

    def _finish(self) -> None:
        """Verify, if the newest records come first, that the set still begins as it was read, and add newer ones.

        A server that ignores ``order`` may list the last update first. Its order looks the same until a record that is
        still to be read is updated, which then moves to the start.
        """
        if not self._ascending:
            page = self._source.page((self._start, 100), [])
            self._check_order(page)
            ties = page.keys_created_at(self._newest)
            if not set(self._first).intersection(page.marks()) or not ties <= self._newest_ties:
                raise MovedError("the records come newest first, and others came to the start")
            self._flush()
            self._pending = page.select(Selection(self._newest + timedelta.resolution, None, excluded={}))
        self.is_complete = True

    def _new_in_overlap(self, page: P) -> int:
        """Return the number of records before the last time read, 0 if one of them was read before.

        A few may have been added since; the next page begins before these.
        """
        marks = page.marks(0, self._longest_overlap)
        overlap = {mark.key for mark in marks if self._is_before(mark.created, self._reached)}
        return len(overlap) if overlap.isdisjoint(self._known) else 0

    def _check_order(self, page: P) -> None:
        if page.rows and not (page.ascending if self._ascending else page.descending):
            raise UnorderedError("the records are not in order of creation time")

    def _is_before(self, one: datetime | None, other: datetime | None) -> bool:
        return one is not None and other is not None and (one < other if self._ascending else one > other)
