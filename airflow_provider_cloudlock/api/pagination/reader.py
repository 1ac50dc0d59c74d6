"""Complete result sets: passes are repeated until one, or two in a row, prove that no record is missing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic

from airflow_provider_cloudlock.api.endpoint import Endpoint, Source
from airflow_provider_cloudlock.api.pagination.overlap import OverlapPass
from airflow_provider_cloudlock.api.pagination.passes import MovedError, Pass, Proof, UnorderedError
from airflow_provider_cloudlock.api.pagination.sequence import SequencePass
from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.exceptions import CloudlockDriftError, CloudlockRequestError
from airflow_provider_cloudlock.pages import C_co, P

log = logging.getLogger(__name__)

_PASSES = 4


@dataclass(frozen=True, slots=True)
class ResultSet(Generic[C_co]):
    """All records of a query.

    :param query: the query, whose window is the range.
    :param records: the records, each key once.
    :param proof: ``single_response``; ``anchored`` for pages that overlap in time; ``identical_passes``.
    :param pages: pages that led further.
    :param duplicates: records that came twice within one page; one was kept.
    :param outside: records that came and were not asked for.
    :param reported_total: the API's last ``total``, None if it gives none.
    :param request_form: form of request that the API accepted.
    :param requests: requests sent, retries included.
    :param retries: requests that repeated a failed one.
    :param server_date: the API's clock at the first response of the pass, None if it does not say.
    :param clock_skew: seconds by which it was ahead of the worker's.
    """

    query: Query
    records: C_co
    proof: Proof
    pages: int
    duplicates: int
    outside: int
    reported_total: int | None
    request_form: str
    requests: int
    retries: int
    server_date: datetime | None
    clock_skew: int | None


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
        earlier, why, number = "", "", 0
        while number < (passes if strategy is SequencePass else _PASSES):
            source = Source(self.endpoint, query, at_most, is_first=number == 0)
            collector: Any = self.endpoint.page_format.collector()
            run = strategy(source, collector, query.selection(self.endpoint.resource), at_most)
            digest = ""
            if first is None:
                client.earliest_date = None
            try:
                run.run(first)
                why, digest = "", run.digest
            except CloudlockRequestError as refusal:
                self.endpoint.simplify(refusal, query, source.size)
                first, earlier = None, ""
                continue
            except MovedError as moved:
                why, first = str(moved), getattr(moved, "first", None)
                if isinstance(moved, UnorderedError) and strategy is OverlapPass:
                    strategy = SequencePass
                    continue
            finally:
                source.close()
            if not why and (run.is_complete or run.is_enough or (digest and digest == earlier)):
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
            why = why or "they come in no order of creation time, and no two passes in a row were identical"
            first, earlier, number = None, digest, number + 1
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
        found: ResultSet[C_co] | None = None
        if len(days) > 1:
            try:
                found = self.read(query, passes=2)
            except CloudlockDriftError as error:
                log.warning("%s Reading day by day now.", error)
        if found is not None:
            yield found
        else:
            yield from map(self.read, days)
