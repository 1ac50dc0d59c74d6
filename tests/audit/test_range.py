"""Which days are looked at."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_cloudlock.audit.report import audit
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from tests.audit.receipts import audited, publish
from tests.operators.lake import Lake


def test_the_last_thirty_days_that_are_over(lake: Lake) -> None:
    publish(lake)
    before = datetime.now(UTC).date()
    found = audit(lake.destination)
    assert found.end in (before, before + timedelta(days=1))
    assert found.end - found.start == timedelta(days=30)
    assert [found.days[0].day, found.days[-1].day] == [found.start, found.last]


def test_thirty_days_before_an_end(lake: Lake) -> None:
    publish(lake)
    assert audit(lake.destination, end=date(2026, 2, 1)).start == date(2026, 1, 2)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-01-32", "2026-02-01", "from='2026-01-32' is not a point in time"),
        ("2026-01-01", "soon", "to='soon'"),
        ("2026-01-01T06:00", "2026-02-01", "not the beginning of a UTC day"),
        ("2026-02-01", "2026-02-01", "For one day alone, give the day after it"),
        ("2026-02-02", "2026-02-01", "does not come before"),
        ("2026-01-01", "2999-01-01", "still to come"),
        ("2026-01-01", "0001-01-05", "does not come before"),
        (None, "0001-01-01", "to=0001-01-01"),
        ("9999-12-31", None, "does not come before"),
        ("9999-12-31", "9999-12-31", "does not come before"),
    ],
)
def test_nonsense(lake: Lake, start: str | None, end: str | None, message: str) -> None:
    publish(lake)
    with pytest.raises(CloudlockConfigError, match=message):
        audit(lake.destination, start, end)


def test_a_resource_that_is_not_known(lake: Lake) -> None:
    with pytest.raises(CloudlockConfigError, match="Known resources: threats"):
        audited(lake, resource="threat")


@pytest.mark.parametrize("destination", ["lake", "file://lake", "s3://user:secret@lake/x", "gopher:///lake"])
def test_destinations_that_are_none(destination: str) -> None:
    with pytest.raises(CloudlockConfigError):
        audit(destination)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CloudlockConfigError, match=r"There is nothing in file://.*/nowhere/threats"):
        audit(f"file://{tmp_path}/nowhere")
    assert not list(tmp_path.iterdir()), "nothing is made"
