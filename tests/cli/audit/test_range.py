"""Days and destinations that an audit accepts."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from airflow_provider_cloudlock.cli.audit import audit
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from tests.cli.audit.receipts import audited, publish
from tests.operators.lake import Lake


def test_audit_without_range_is_last_30_days(lake: Lake) -> None:
    publish(lake)
    before = datetime.now(UTC).date()
    found = audit(lake.destination)
    assert found.end in (before, before + timedelta(days=1))
    assert found.end - found.start == timedelta(days=30)
    assert [found.days[0].day, found.days[-1].day] == [found.start, found.last]


def test_audit_without_start_is_30_days_before_end(lake: Lake) -> None:
    publish(lake)
    assert audit(lake.destination, end=date(2026, 2, 1)).start == date(2026, 1, 2)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2026-01-32", "2026-02-01", "from='2026-01-32'"),
        ("2026-01-01", "soon", "to='soon'"),
        ("2026-01-01T06:00", "2026-02-01", "from='2026-01-01T06:00' is not midnight UTC"),
        ("2026-02-01", "2026-02-01", "To audit one day, give the day after it as to"),
        ("2026-02-02", "2026-02-01", "from=2026-02-02 is not before to=2026-02-01"),
        ("2026-01-01", "2999-01-01", "to=2999-01-01 is in the future"),
        ("2016-01-01", "2026-01-02", "more than 3,653 days"),
        ("2026-01-01", "0001-01-05", "is not before"),
        (None, "0001-01-01", "to=0001-01-01"),
        ("9999-12-31", None, "is not before"),
        ("9999-12-31", "9999-12-31", "is not before"),
    ],
)
def test_audit_invalid_range_raises(lake: Lake, start: str | None, end: str | None, message: str) -> None:
    publish(lake)
    with pytest.raises(CloudlockConfigError, match=message):
        audit(lake.destination, start, end)


def test_audit_unknown_resource_raises(lake: Lake) -> None:
    with pytest.raises(CloudlockConfigError, match="Known resources: threats"):
        audited(lake, resource="threat")


@pytest.mark.parametrize("destination", ["lake", "file://lake", "s3://user:secret@lake/x", "gopher:///lake"])
def test_audit_invalid_destination_raises(destination: str) -> None:
    with pytest.raises(CloudlockConfigError):
        audit(destination)


def test_audit_missing_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(CloudlockConfigError, match=r"There is nothing in file://.*/nowhere/threats"):
        audit(f"file://{tmp_path}/nowhere")
    assert not list(tmp_path.iterdir()), "no folder was created"
