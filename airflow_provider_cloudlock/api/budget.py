"""Limits on what reading one range may cost, so that an endless server cannot occupy a worker forever."""

from __future__ import annotations

import time
from dataclasses import dataclass

from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that reading one range may cost, all passes together.

    A million records in pages of 100 take some 10,000 requests and 1 GB.

    :param requests: requests sent, retries included.
    :param seconds: from the first request on, waits included.
    :param bytes: decompressed response bodies.
    """

    requests: int = 50_000
    seconds: float = 4 * 3600.0
    bytes: int = 64 << 30


class Spending:
    """What was spent of a budget since this object was made.

    :param client: client whose requests count.
    :param budget: what may be spent.
    """

    def __init__(self, client: CloudlockClient, budget: Budget) -> None:
        self._client = client
        self._budget = budget
        self._requests = client.requests
        self._bytes = client.bytes
        self._start = time.monotonic()

    def check(self) -> None:
        """Raise if no further request may be sent.

        :raises CloudlockUnavailableError: if a budget is exhausted; the message names it.
        """
        used = (
            ("requests", self._client.requests - self._requests, self._budget.requests),
            ("seconds", time.monotonic() - self._start, self._budget.seconds),
            ("bytes", self._client.bytes - self._bytes, self._budget.bytes),
        )
        for name, spent, most in used:
            if spent >= most:
                raise CloudlockUnavailableError(
                    f"Reading this range exhausted its budget: {spent:,.0f} of {most:,.0f} {name}. Either the server "
                    "sends pages without end, or the range holds more than can be read at this pace: extract fewer "
                    "days at a time, request larger pages, or raise requests_per_second."
                )
