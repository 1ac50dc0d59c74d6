"""The time zone of the worker does not matter."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from airflow_provider_cloudlock.instants import parse_bound, parse_record_time


@pytest.fixture(params=["Asia/Kathmandu", "America/New_York"])
def _zone(request: pytest.FixtureRequest) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize("text", ["2026-01-02T03:04:05", "2026-01-02 03:04:05.000000", "2026-01-02T03:04:05Z"])
def test_time_without_zone_is_utc(text: str) -> None:
    assert parse_record_time(text) == (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), True)
    assert parse_bound("created_after", text) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_bound("created_after", datetime(2026, 1, 2, 3, 4, 5)) == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
