"""Filter values, and how both kinds of pages drop records that a filter excludes."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.api.records import RecordFormat
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.lake.decode import ArrowFormat
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.resources import RESOURCES, Filter

#: Threats as an endpoint with three states, and a second filter.
SEVERITY = Filter("severity", field="threat_risk", values=("Low", "High"))
THREE = replace(
    RESOURCES["threats"],
    filters=(Filter("state", field="status", values=("New", "In Progress", "Resolved")), SEVERITY),
    status="state",
)
STATUSES = ["NEW", "new", "In Progress", "in PROGRESS", "Resolved", "RESOLVED", "Escalated", "", None]
RECORDS = [
    {"id": str(n), "created_at": "2026-01-02T00:00:00Z", "status": status, "threat_risk": ["LOW", "high", None][n % 3]}
    for n, status in enumerate(STATUSES)
]
BODY = json.dumps({"items": RECORDS}).encode()


@pytest.mark.parametrize("given", ["In Progress", "in progress", "IN PROGRESS", "iN pRoGrEsS"])
def test_filter_value_any_case_returns_documented_spelling(given: str) -> None:
    assert THREE.filters[0].value(given) == "In Progress"
    assert THREE.status_value(given) == "In Progress"


def test_filter_value_none_returns_none() -> None:
    assert THREE.filters[0].value(None) is None
    assert THREE.status_value(None) is None


@pytest.mark.parametrize("given", ["", "Progress", " New", "New,Resolved", 1, True, ["New"]])
def test_filter_value_undocumented_raises(given: object) -> None:
    with pytest.raises(CloudlockConfigError, match=r"^Unknown state=.* Give one of New, In Progress, Resolved, or"):
        THREE.filters[0].value(given)


def test_status_value_without_status_filter_raises() -> None:
    without = replace(THREE, status=None)
    assert without.status_value(None) is None
    with pytest.raises(CloudlockConfigError, match=r"^The resource threats has no status filter\. Leave out status="):
        without.status_value("New")


@pytest.mark.parametrize(
    ("filters", "kept"),
    [
        ({}, "012345678"),
        ({"state": "New"}, "01678"),
        ({"state": "In Progress"}, "23678"),
        ({"state": "Resolved"}, "45678"),
        ({"severity": "High"}, "124578"),
        ({"state": "New", "severity": "Low"}, "068"),
    ],
)
def test_select_drops_other_documented_values(filters: dict[str, str], kept: str) -> None:
    selection = Query(filters=filters).selection(THREE)
    arrow = ArrowFormat(Layout.of(THREE)).decode(BODY).select(selection)
    assert arrow.table["id"].to_pylist() == list(kept)
    assert list(RecordFormat(THREE).decode(BODY).select(selection).records) == list(kept)
