"""A reading of a set that comes by creation time, or by key: the order itself ties one page to the next.

Neither ever changes, so a record that is there all the while can never slip from what is still to come into what has
passed. If a page begins before the last place that is held, nothing before it is missing; all that it adds is whole up
to its own last place; and records that come or go meanwhile shift offsets and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from itertools import takewhile
from operator import or_
from typing import Any

from airflow_provider_cloudlock.api.orders import BY_KEY, BY_TIME, Order
from airflow_provider_cloudlock.api.walk import SMALL, STALLS, SetMovedError, Walk
from airflow_provider_cloudlock.pages import Mark, P, Page

#: Pages of so many records are remembered, at least, to tell what came already.
_REMEMBERED = 64
#: How often the end must be seen; twice as often where a page of fewer than ``SMALL`` records was cut.
LOOKS = 2
#: How often it may be elsewhere, each time where the total says, before the total is asked whether it can be believed.
_GROWN = 4
#: From how many records on the server's figures count at all: with a few, a wrong one may fit by chance.
_MANY = 32
#: How many pages in a row may lead to no further offset: records may go, but not always as many as come.
_CIRCLES = 32
_TICK = timedelta(microseconds=1)


class UnorderedError(SetMovedError):
    """The records do not come in an order that stays, or too many have the same creation time.

    :param first: the first page, where that is seen already.
    """

    def __init__(self, why: str, first: Page | None = None) -> None:
        super().__init__(why)
        self.first = first


class OrderedWalk(Walk[P]):
    """Pages of a set that comes by creation time, those of one time in any order, or by key; whatever comes first."""

    _orders: tuple[Order, ...] = (BY_TIME, BY_KEY)
    _order: Order | None = BY_TIME
    _ascending: bool | None = None

    @property
    def is_proof(self) -> bool:
        """Whether this one reading proves that the set is whole."""
        return True

    def _run(self, page: P) -> None:
        self._order = next((each for each in self._orders if self._is_in(each, page)), None)
        if not self._order:
            raise UnorderedError("the records came in no certain order of time", page)
        self._run_in_order(page)

    @staticmethod
    def _is_in(order: Order, page: P) -> bool:
        return page.rows >= order.from_rows and any(order.directions(page))

    def _run_in_order(self, page: P) -> None:
        self._overlap = 2
        self._check_order(page)
        self._note(page, ())
        self._recent = [page]
        self._reached = self._place(page.last)
        self._take(page, self._select(page), 0, 0)
        self._end = self._start + page.rows
        self._seek_end(page)
        if (self._ascending is False or self._order is not BY_TIME) and not self._is_enough:
            self._check_start(page)

    def _seek_end(self, page: P) -> None:
        """Read on from the first page, until the end has been seen or enough is held."""
        stalls = looks = grown = circles = 0
        smallest = SMALL if page.echo.total == self._end else page.rows
        while not self._is_enough:
            rows, end = self._rows, self._end
            offset, page = self._join()
            is_further = self._add(page)
            self._end = offset + page.rows
            circles = circles + 1 if self._end <= end else 0
            if circles > _CIRCLES:
                raise UnorderedError("the records of one time come in another order each time")
            if is_further:
                looks = 0
                smallest = min(smallest, rows)
                grown = grown + 1 if page.rows < self._most and page.echo.total == self._end else 0
                if grown >= _GROWN and self._is_total_true:
                    return
            elif self._is_cut(page):
                stalls += 1
                looks = 0
                if stalls > STALLS:
                    raise self._too_small(page)
            else:
                # Again, from a record earlier: the set may have moved just before the look beyond it, so that a page
                # that was cut there seemed to reach its end.
                looks += 1
                if self._is_corroborated or looks >= (LOOKS if smallest >= SMALL else 2 * LOOKS):
                    return
                self._overlap += 1

    def _check_start(self, first: P) -> None:
        """Look whether the set begins with a record as it was read.

        It was asked for oldest first. What comes otherwise may come by something that changes, with which a record that
        was still to come goes to the start, unread.

        :param first: the page that was read first.
        :raises SetMovedError: when it begins with another record, or with another version of it.
        """
        read = (first, *self._recent)

        def is_as_read(page: P, marks: Sequence[Mark]) -> bool:
            return any(each.version(mark.key) == page.version(mark.key) for mark in marks[:1] for each in read)

        one = self._ask_one(self._start)
        if is_as_read(one, one.head(1)):
            return
        if self._order is not BY_TIME:
            raise SetMovedError("the records came by their keys, and others came to their start meanwhile")
        # Newer ones than any that was read may have come, and are taken in.
        page = self._next(self._start)
        self._check_order(page)
        newest, marks = self._place(first.first), page.head(page.rows)
        new = tuple(takewhile(lambda mark: self._is_before(self._place(mark), newest), marks))
        if newest is None or not is_as_read(page, marks[len(new) :]):
            raise SetMovedError("the records came newest first, and others came to their start meanwhile")
        known = page.distinct - len({mark.key for mark in new})
        self._take(page, self._select(page).select(newest + _TICK, None, None), page.rows - len(new), known)

    def _join(self) -> tuple[int, P]:
        """Ask for a page that begins before the last time that is held, or where the set does.

        :return: its offset and the page.
        :raises SetMovedError: when there is none.
        """
        back = self._back()
        if self._connections() > 1:
            self._overlap = max(self._overlap, min(back, self._rows // 8))
        while True:
            offset = max(self._start, self._end - back)
            page = self._next(offset)
            self._check_order(page)
            if page.rows and (offset == self._start or self._is_tied(page)):
                return offset, page
            if offset == self._start:
                raise SetMovedError("all records were gone a moment later")
            back *= 2
            self._overlap = max(self._overlap, min(back, self._rows // 2))

    def _back(self) -> int:
        """How many records before the end a page must begin, so that it should begin before the last time held."""
        return len(self._recent[-1].tail(self._overlap)) if self._order and self._order.has_ties else self._overlap

    def _is_tied(self, page: P) -> bool:
        """Whether a page begins before the last time that is held."""
        return self._is_before(self._place(page.first), self._reached)

    def _add(self, page: P) -> bool:
        """Take in what did not come before; tell whether it led any further.

        :raises SetMovedError: when too much of what should have come before did not.
        """
        head = self._not_after_reached(page)
        self._note(page, head)
        known = {mark.key for mark in head if any(each.version(mark.key) is not None for each in self._recent)}
        passed = {mark.key for mark in head if self._place(mark) != self._reached}
        strangers = passed - known
        if len(strangers) > max(1, len(passed) // 2):
            raise SetMovedError("records came that should have come before")
        fresh = {mark.key for mark in head} - known
        is_later = len(head) < page.rows
        if not fresh and not is_later:
            return False
        held, wanted = self._latest.pop(), self._select(page)
        for key in known:
            before, now = held.version(key), wanted.version(key)
            if now is None or before is None or now < before:
                wanted = wanted.without(key)
            else:  # of two versions of a record the newer one stays
                held = held.without(key)
        self._records.add(held)
        self._take(page, wanted, sum(mark.key in known for mark in head), len(known))
        if is_later:
            self._reached = self._place(page.last)
        self._recent.append(page)
        while sum(each.rows for each in self._recent[1:]) >= _REMEMBERED:
            del self._recent[0]
        return is_later or fresh > strangers

    def _note(self, page: P, passed: Sequence[Mark]) -> None:
        """Note what is needed to tell the places of records; these show theirs themselves.

        :param passed: the first ones of the page, which are not later than what was held.
        """

    def _not_after_reached(self, page: P) -> tuple[Mark, ...]:
        """The first records of a page, as far as they are not later in order than what is held."""
        count = 32
        while True:
            head = page.head(count)
            after = next((n for n, mark in enumerate(head) if self._is_before(self._reached, self._place(mark))), None)
            if after is not None or len(head) == page.rows:
                return head[:after]
            count *= 4

    def _is_cut(self, page: P) -> bool:
        """Whether there may be more behind a page that led no further."""
        if self._speaks_of_more:
            return True
        if page.rows >= self._most and page.rows > 1:
            # As large as any page was, it may be cut. Then so are those of one time, or else the last one comes alone.
            alone = self._next(self._end - 1)
            self.total = page.echo.total
            alike = alone.rows == 1 or self._is_shifted(page, alone, -1)
            if not (alone.rows and alike and self._is_known(alone)):
                return True
        beyond = self._ask_beyond(self._end)
        return beyond is not None and not (self._is_known(beyond) and self._is_shifted(page, beyond, 0))

    def _is_known(self, page: P) -> bool:
        """Whether a page ends with a record that is held, and what it has beside those came into what has passed."""
        head = self._not_after_reached(page)
        held = [any(each.version(mark.key) is not None for each in self._recent) for mark in head]
        late = (self._is_before(self._place(mark), self._reached) for mark in head)
        return len(head) == page.rows and held[-1] and all(map(or_, held, late))

    def _is_shifted(self, page: P, after: P, at: int) -> bool:
        """Whether both pages end with the last time held and, by the server's figures, with the set, which grew.

        :param page: the one that led no further.
        :param after: what came after it.
        :param at: where that began, seen from the end of the page.
        """
        if not self._place(page.last) == self._place(after.last) == self._reached:
            return False
        if page.echo.total != self._end or after.echo.total != self._end + at + after.rows:
            return False
        return self._is_total_true

    @property
    def _is_total_true(self) -> bool:
        """Whether the server's total counts the set, as far as can be told."""
        if self._end - self._start < _MANY:
            return False
        # One that only counts up to the end of its page shows it where that is a single record.
        one = self._ask_one(self._start)
        return one.rows == 1 and one.echo.total is not None and one.echo.total > self._start + 1

    @property
    def _speaks_of_more(self) -> bool:
        return self.total is not None and self.total > self._end

    def _too_small(self, page: P) -> SetMovedError:
        if page.rows >= self._most > 1:
            return UnorderedError("the pages are too small for the records of one time")
        if self._speaks_of_more:
            return SetMovedError(f"{self._end} records came, but the total speaks of {self.total}")
        return SetMovedError("the server gives one record a page, so that none can be tied to the next")

    def _check_order(self, page: P) -> None:
        """Check that a page is in the order in which the others were.

        :raises UnorderedError: when it is not.
        """
        ascending, descending = self._order.directions(page) if self._order else (False, False)
        if self._ascending is None and ascending != descending:
            self._ascending = ascending
        if not (descending if self._ascending is False else ascending):
            raise UnorderedError("the records came in no certain order of time")

    def _place(self, mark: Mark | None) -> Any:
        """What a record is ordered by."""
        return self._order.place(mark) if self._order and mark else None

    def _is_before(self, one: Any, other: Any) -> bool:
        """Whether a place is earlier in order than another; while the direction is not known, none is."""
        if one is None or other is None or self._ascending is None:
            return False
        return bool(one < other if self._ascending else one > other)


class KeyedWalk(OrderedWalk[P]):
    """Pages of a set of which more is known: that it does not come by creation time, if in any order by key."""

    _orders = (BY_KEY,)
