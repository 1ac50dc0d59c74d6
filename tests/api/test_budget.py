"""Limits on what reading one range may cost."""

from __future__ import annotations

import pytest

from airflow_provider_cloudlock.api.budget import Budget
from airflow_provider_cloudlock.api.endpoint import Endpoint
from airflow_provider_cloudlock.api.pagination.reader import Reader
from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.api.asking import client_of
from tests.api.reading import DAY, FORMATS, THREATS, WINDOW
from tests.support import Habits, Tenant, day_of_records


@pytest.mark.parametrize("connections", [1, 4])
@pytest.mark.parametrize(
    ("budget", "words"),
    [
        (Budget(requests=5), r"of 5 requests"),
        (Budget(seconds=0.0), r"of 0 seconds"),
        (Budget(bytes=20_000), r"of 20,000 bytes"),
    ],
)
def test_exhausted_budget_is_named(budget: Budget, words: str, connections: int) -> None:
    with Tenant(day_of_records(DAY, 200), Habits(cap=10)) as tenant, client_of(tenant) as client:
        reader = Reader(Endpoint(client, THREATS, FORMATS["arrow"](), 100, connections=connections, budget=budget))
        with pytest.raises(CloudlockUnavailableError, match=f"exhausted its budget: .* {words}") as error:
            reader.read(WINDOW)
        assert error.value.retryable
        assert len(tenant.seen) <= 9


def test_each_read_has_the_whole_budget() -> None:
    with Tenant(day_of_records(DAY, 30), Habits(cap=10)) as tenant, client_of(tenant) as client:
        reader = Reader(Endpoint(client, THREATS, FORMATS["arrow"](), 100, budget=Budget(requests=12)))
        for _ in range(3):
            assert reader.read(WINDOW).records.count == 30
