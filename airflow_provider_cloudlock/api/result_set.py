"""A complete result set, and how it was proved to be complete."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal

from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.pages import C_co

Proof = Literal["single_response", "anchored", "identical_passes"]


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
