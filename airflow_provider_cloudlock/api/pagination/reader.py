"""Complete result sets: passes are repeated until one, or two in a row, prove that no record is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any, Generic

from airflow_provider_cloudlock.api.endpoint import Endpoint, Source
from airflow_provider_cloudlock.api.pagination.overlap import OverlapPass
from airflow_provider_cloudlock.api.pagination.passes import MovedError, Pass, UnorderedError
from airflow_provider_cloudlock.api.pagination.sequence import SequencePass
from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.api.result_set import ResultSet
from airflow_provider_cloudlock.exceptions import CloudlockDriftError, CloudlockRequestError
from airflow_provider_cloudlock.pages import C_co, P

log = logging.getLogger(__name__)

_PASSES = 4


class Reader(Generic[P, C_co]):
    """Read result sets of one endpoint.

    :param endpoint: sends the requests.
    """

    def __init__(self, endpoint: Endpoint[P]) -> None:
        self.endpoint = endpoint

    def read(self, query: Query, at_most: int | None = None, *, passes: int = _PASSES) -> ResultSet[C_co]:
        """Read every record of a query, or its first ones.

        :param query: what to read.
        :param at_most: number of records after which to stop; nothing then shows that they are all.
        :param passes: passes after which to give up on records that are not in order of creation time.
        :raises CloudlockDriftError: if the records kept changing.
        :raises CloudlockUnavailableError: if it costs more than the budget.
        :raises CloudlockError: if the API fails or refuses.
        """
        client = self.endpoint.client
        requests, retries = client.requests, client.retries
        self.endpoint.renew_budget()
        strategy: type[Pass[Any]] = OverlapPass
        first: Any = None
        earlier, number = "", 0
        while number < (passes if strategy is SequencePass else _PASSES):
            source = Source(self.endpoint, query, at_most, is_first=number == 0)
            collector: Any = self.endpoint.page_format.collector()
            run = strategy(source, collector, query.selection(self.endpoint.resource), at_most)
            if first is None:
                client.earliest_date = None
            try:
                run.run(first)
            except CloudlockRequestError as refusal:
                self.endpoint.simplify(refusal, query, source.size)
                first, earlier = None, ""
                continue
            except MovedError as moved:
                why, first, earlier = str(moved), getattr(moved, "first", None), ""
                if isinstance(moved, UnorderedError) and strategy is OverlapPass:
                    strategy = SequencePass
                    continue
            else:
                if run.is_complete or run.is_enough or (earlier and run.digest == earlier):
                    return ResultSet(
                        query=query,
                        records=collector,
                        proof=run.proof if run.pages > 1 else "single_response",
                        pages=run.pages,
                        duplicates=run.duplicates,
                        outside=run.outside,
                        reported_total=run.total,
                        request_form=self.endpoint.form(query).name,
                        requests=client.requests - requests,
                        retries=client.retries - retries,
                        server_date=client.earliest_date,
                        clock_skew=client.clock_skew,
                    )
                why, first = "they come in no order of creation time, and no two passes in a row were identical", None
                earlier = run.digest
            finally:
                source.close()
            number += 1
            log.info("Reading %s again: %s.", self.endpoint.resource.noun, why)
        raise CloudlockDriftError(
            f"The {self.endpoint.resource.noun} of this window could not be read completely in {number} passes: {why}. "
            "Nothing was kept. Try again when fewer records are being added, changed or deleted."
        )

    def read_range(self, query: Query) -> Iterator[ResultSet[C_co]]:
        """Read days together; one by one if their records change and come in no order of creation time.

        :raises CloudlockError: as :meth:`read` does.
        """
        days = query.days()
        if len(days) > 1:
            try:
                yield self.read(query, passes=2)
                return
            except CloudlockDriftError as error:
                log.warning("%s Reading day by day now.", error)
        yield from map(self.read, days)
