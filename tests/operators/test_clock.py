"""The clock of the API and the clock of the worker."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from tests.operators.conftest import Extract
from tests.operators.lake import Lake
from tests.support import Habits, Tenant, day_of_records, headed, responds


def test_window_not_over_by_server_clock_is_not_published(extract: Extract, lake: Lake) -> None:
    end = datetime.now(UTC).replace(microsecond=0)
    start = end.replace(hour=0, minute=0, second=0)
    if end - start < timedelta(minutes=1):  # just after midnight
        start -= timedelta(days=1)
    with Tenant([], Habits(clock=timedelta(minutes=-5))) as tenant:
        with pytest.raises(CloudlockUnavailableError, match=r"by Cloudlock's clock it is .* clock is 30\d s ahead"):
            extract(tenant, start, end)
        assert lake.objects == []
    with Tenant([], Habits(clock=timedelta(minutes=5))) as tenant:
        extract(tenant, start, end)


def test_window_not_over_when_reading_began_is_not_published(extract: Extract, lake: Lake) -> None:
    """By the last response it is over, but records created after the first one may be missing."""
    end = datetime.now(UTC).replace(microsecond=0)
    start = end - timedelta(seconds=30)

    def later(tenant: Tenant) -> None:
        tenant.behave(clock=timedelta())

    with (
        Tenant([], Habits(clock=timedelta(seconds=-2)), before={2: later}) as tenant,
        pytest.raises(CloudlockUnavailableError, match="by Cloudlock's clock it is"),
    ):
        extract(tenant, start, end)
    assert lake.objects == []


def test_server_clock_at_end_of_calendar_is_accepted(extract: Extract, lake: Lake) -> None:
    far = headed(Date="Fri, 31 Dec 9999 23:59:59 GMT")
    with Tenant(day_of_records("2026-01-02", 3), faults=far + responds(200)) as tenant:
        extract(tenant)
    assert len(lake.ids()) == 3


@pytest.mark.parametrize("minutes", [-5, 5])
def test_clocks_that_differ_are_logged_once(
    extract: Extract, lake: Lake, caplog: pytest.LogCaptureFixture, minutes: int
) -> None:
    caplog.set_level(logging.WARNING)
    with Tenant(day_of_records("2026-01-02", 3), Habits(clock=timedelta(minutes=minutes))) as tenant:
        extract(tenant, before="2026-01-05")
    assert caplog.text.count("The clocks of the worker and of Cloudlock differ by") == 1
    assert abs(lake.receipt()["clock_skew"] - 60 * minutes) <= 2


@pytest.mark.parametrize("clock", [None, timedelta()])
def test_clocks_that_agree_are_not_logged(
    extract: Extract, lake: Lake, caplog: pytest.LogCaptureFixture, clock: timedelta | None
) -> None:
    caplog.set_level(logging.WARNING)
    with Tenant(day_of_records("2026-01-02", 3), Habits(clock=clock)) as tenant:
        extract(tenant)
    assert "clocks" not in caplog.text
    assert lake.receipt()["clock_skew"] in ((None,) if clock is None else (-2, -1, 0))
