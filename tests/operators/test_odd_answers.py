"""Responses with values that no column can hold: kept in ``_extra`` or in quarantine, or an error that says why."""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, QUARANTINE, Lake, hour
from tests.support import Habits, Tenant, record, rewritten

OUT_OF_CALENDAR = ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+05:00", "9999-12-31T23:59:59-05:00"]


def written(field: str, value: str, of: str = "") -> Any:
    """Write another value into a field of all records, or of those whose value begins with ``of``."""
    old = re.compile(f'"{field}":"{of}[^"]*"'.encode())
    return rewritten(lambda body: old.sub(f'"{field}":"{value}"'.encode(), body))


@pytest.mark.parametrize("value", OUT_OF_CALENDAR)
def test_time_outside_calendar_goes_into_extra(extract: Extract, lake: Lake, value: str) -> None:
    with Tenant([record(7, hour(3)), record(8, hour(4))], faults=written("end_time", value)) as tenant:
        assert extract(tenant)["rows"] == 2
    assert [(row["end_time"], row["_extra"]) for row in lake.rows()] == [(None, f'{{"end_time":"{value}"}}')] * 2


@pytest.mark.parametrize("value", OUT_OF_CALENDAR)
def test_creation_time_outside_calendar_is_quarantined(extract: Extract, lake: Lake, value: str) -> None:
    records = [record(n, hour(n)) for n in range(1, 8)]
    with Tenant(records, Habits(cap=4), faults=written("created_at", value, f"{DAY}T03")) as tenant:
        with pytest.raises(AirflowFailException, match=f"^1 records of {DAY} have no usable id or creation time"):
            extract(tenant)
        assert extract(tenant, max_quarantined=1)["rows"] == 6
    assert value in lake.path(QUARANTINE).read_text()


#: Python 3.11 can read 900 levels and not write them; later versions can do both with many more.
LEVELS = 900 if sys.version_info < (3, 12) else 100_000


@pytest.mark.parametrize("deep", ["[" * LEVELS + "]" * LEVELS, '{"a":' * (LEVELS // 2) + "1" + "}" * (LEVELS // 2)])
def test_deeply_nested_value_raises_response_error(extract: Extract, lake: Lake, deep: str) -> None:
    fault = rewritten(lambda body: body.replace(b'"id":7,', f'"id":7,"x":{deep},'.encode()))
    with (
        Tenant([record(7, hour(3))], faults=fault) as tenant,
        pytest.raises(CloudlockResponseError, match=r"nested too deeply to be (kept|read)"),
    ):
        extract(tenant)
    assert lake.files == []


def test_quarantine_compares_records_by_all_fields(extract: Extract, lake: Lake) -> None:
    twins = [record(7, hour(1)) | {"created_at": None, "description": text} for text in ("one", "another")]
    with Tenant(twins) as tenant:
        extract(tenant, max_quarantined=2)
    lines = lake.path(QUARANTINE).read_text().splitlines()
    assert len(lines) == 2
    assert "another" in lines[0] + lines[1]
