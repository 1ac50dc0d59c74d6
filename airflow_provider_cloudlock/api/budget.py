"""What the reading of one result set may cost, so that a server that never ends does not hold a worker for ever."""

from __future__ import annotations

import time
from dataclasses import dataclass

from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that one result set may cost, all its readings together.

    A million records in pages of 100 take some 10,000 requests and 1 GB.

    :param requests: sent, repeated ones included.
    :param seconds: from the first request on, waits included.
    :param bytes: of unpacked answers.
    """

    requests: int = 50_000
    seconds: float = 4 * 3600.0
    bytes: int = 64 << 30


class Spending:
    """What was spent of a budget since this was made.

    :param client: whose requests count.
    :param budget: what may be spent.
    """

    def __init__(self, client: CloudlockClient, budget: Budget) -> None:
        self._client = client
        self._budget = budget
        self._requests = client.requests
        self._bytes = client.bytes
        self._start = time.monotonic()

    def check(self) -> None:
        """Look whether one more request may be sent.

        :raises CloudlockUnavailableError: when a budget is used up; it says which.
        """
        used = (
            ("requests", self._client.requests - self._requests, self._budget.requests),
            ("seconds", time.monotonic() - self._start, self._budget.seconds),
            ("bytes", self._client.bytes - self._bytes, self._budget.bytes),
        )
        for name, spent, most in used:
            if spent >= most:
                raise CloudlockUnavailableError(
                    f"The budget of one slice is used up: {spent:,.0f} of {most:,.0f} {name}. Either the server gives "
                    "pages without end, or the window holds more than can be read at this pace: extract a part of the "
                    "day at a time, ask for larger pages, or raise requests_per_second."
                )
