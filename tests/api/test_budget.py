"""A result set may cost so much and no more."""

from __future__ import annotations

import pytest

from airflow_provider_cloudlock.api.budget import Budget
from airflow_provider_cloudlock.api.paging import Reader
from airflow_provider_cloudlock.api.resources import THREATS
from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.api.asking import client_of
from tests.api.reading import DAY, FORMATS, WINDOW
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
def test_the_budget_that_is_used_up_is_named(budget: Budget, words: str, connections: int) -> None:
    with Tenant(day_of_records(DAY, 200), Habits(cap=10)) as tenant, client_of(tenant) as client:
        reader = Reader(client, THREATS, FORMATS["arrow"](), 100, connections, budget)
        with pytest.raises(CloudlockUnavailableError, match=f"budget of one slice is used up: .* {words}") as error:
            reader.read(WINDOW)
        assert error.value.retryable
        assert len(tenant.seen) <= 9


def test_every_result_set_has_the_whole_budget() -> None:
    with Tenant(day_of_records(DAY, 30), Habits(cap=10)) as tenant, client_of(tenant) as client:
        reader = Reader(client, THREATS, FORMATS["arrow"](), 100, 1, Budget(requests=12))
        for _ in range(3):
            assert reader.read(WINDOW).records.count == 30
