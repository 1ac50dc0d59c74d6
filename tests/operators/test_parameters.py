"""Parameters that are templates: what they may be rendered to, and what is refused before."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, OBJECT, Lake, connection, hour, operator
from tests.support import Tenant, day_of_records, ids, record

TEN = day_of_records(DAY, 10)
OPTIONAL = ("refresh_days", "status", "page_size", "on_vanished", "max_quarantined", "resource", "cloudlock_conn_id")
INTERVAL: dict[str, Any] = {
    "data_interval_start": datetime(2026, 1, 2, tzinfo=UTC),
    "data_interval_end": datetime(2026, 1, 3, tzinfo=UTC),
}


def rendered(context: dict[str, Any], *, native: bool = True, **options: Any) -> CloudlockToObjectStorageOperator:
    """Return the operator with its templates rendered, as Airflow renders them before it runs."""
    with DAG("rendering", schedule=None, render_template_as_native_obj=native):
        task = CloudlockToObjectStorageOperator(task_id="extract", **options)
    task.render_template_fields(context)  # type: ignore[arg-type]
    return task


@pytest.mark.parametrize("empty", [None, "", "None"])
def test_parameters_rendered_empty_are_not_given(extract: Extract, lake: Lake, empty: str | None) -> None:
    with Tenant(TEN) as tenant:
        result = extract(tenant, empty, empty, INTERVAL, **dict.fromkeys(OPTIONAL, empty))
        assert lake.ids() == ids(tenant.window(DAY, NEXT))
        assert tenant.seen[0].params["limit"] == "10000"
    assert result["window"] == [hour(0).isoformat(), hour(24).isoformat()]
    assert lake.receipt()["status"] is None


@pytest.mark.parametrize("native", [True, False], ids=["native", "text"])
def test_templates_of_every_parameter_are_rendered(lake: Lake, monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    values = {"days": 0, "status": "Dismissed", "size": 7, "drop": "drop", "most": 1, "nothing": None}
    with Tenant([*TEN, record(98, hour(5)) | {"id": None, "status": "DISMISSED"}]) as tenant:
        tenant.dismiss(TEN[0]["id"])
        monkeypatch.setenv("AIRFLOW_CONN_ACME", connection(tenant))
        task = rendered(
            {"params": values, "ds_nodash": "20260102", "end": datetime(2026, 1, 3, tzinfo=UTC)},
            native=native,
            destination=lake.destination,
            created_after="{{ ds_nodash }}",
            created_before="{{ end }}",
            refresh_days="{{ params.days }}",
            status="{{ params.status }}",
            page_size="{{ params.size }}",
            on_vanished="{{ params.drop }}",
            max_quarantined="{{ params.most }}",
            resource="{{ params.nothing }}",
            cloudlock_conn_id="acme",
        )
        result = task.execute({})
        assert tenant.seen[0].params["limit"] == "7"
    assert lake.objects == [OBJECT]
    assert {row["status"] for row in lake.rows()} == {"DISMISSED"}
    assert [part["quarantined"] for part in result["slices"]] == [1]


@pytest.mark.parametrize(
    ("after", "before"),
    [(20260102, 20260103), (date(2026, 1, 2), date(2026, 1, 3)), (hour(0), hour(24)), ("20260102", "2026-01-03")],
)
def test_bounds_from_xcom_are_accepted_natively(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, after: Any, before: Any
) -> None:
    with Tenant(TEN) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        bounds = {"created_after": "{{ after }}", "created_before": "{{ before }}"}
        task = rendered({"after": after, "before": before}, destination=lake.destination, **bounds)
        assert task.execute({})["window"] == [hour(0).isoformat(), hour(24).isoformat()]


def test_status_without_on_vanished_drops(extract: Extract, lake: Lake) -> None:
    with Tenant(TEN) as tenant:
        tenant.dismiss(TEN[0]["id"])
        extract(tenant, status="Dismissed")
        tenant.delete(TEN[0]["id"])
        (part,) = extract(tenant, status="Dismissed")["slices"]
        assert lake.ids() == [each for each in ids(tenant.window(DAY, NEXT)) if each in lake.ids()]
    assert (part["changed"], part["vanished_kept"]) == (True, 0)


@pytest.mark.parametrize(
    "options",
    [
        {"page_size": "{{ params.size }}"},
        {"max_quarantined": "{% if x %}1{% endif %}"},
        {"refresh_days": "[[ own delimiters ]]"},
        {"on_vanished": "<< x >>"},
        {"status": "{{ params.status }}"},
        {"status": "Open", "resource": "{{ x }}"},
    ],
)
def test_template_is_not_refused_at_parse(options: dict[str, Any]) -> None:
    operator("file:///lake", **options)


def test_output_of_task_is_not_refused_at_parse() -> None:
    with DAG("outputs", schedule=None):
        first = operator("file:///lake")
        CloudlockToObjectStorageOperator(
            task_id="second", destination="file:///lake", page_size=first.output, refresh_days=first.output["rows"]
        )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"page_size": 0}, "page_size=0 is not a whole number of at least 1"),
        ({"max_quarantined": -1}, "max_quarantined=-1 is not a whole number of at least 0"),
        ({"refresh_days": 1.5}, "refresh_days=1.5 is not a whole number from 0 to 9999"),
        ({"on_vanished": "tombstone"}, "Unknown on_vanished='tombstone'. Give keep, drop or fail"),
        ({"status": "Open"}, "Unknown status='Open'. Give one of Active, Dismissed"),
        ({"resource": "threat"}, "Unknown resource='threat'"),
    ],
    ids=str,
)
def test_invalid_parameter_is_refused(
    extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], says: str
) -> None:
    """At DAG parse if it is known then, else in the run: finally, and before the first request."""
    with pytest.raises(CloudlockConfigError, match=says):
        operator(lake.destination, **options)
    with Tenant(TEN) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        templates = {name: f"{{{{ {name} }}}}" for name in options}
        task = rendered(options, destination=lake.destination, created_after=DAY, created_before=NEXT, **templates)
        with pytest.raises(AirflowFailException, match=says):
            task.execute({})
        assert tenant.seen == []
    assert lake.files == []


def test_mapped_task_refuses_parameter_in_execute() -> None:
    """What the instantiation of a mapped task raises would be retried."""
    with DAG("mapped", schedule=None):
        mapped: Any = CloudlockToObjectStorageOperator.partial(task_id="extract", destination="file:///lake").expand(
            status=["Open"]
        )
    task = (
        mapped.operator.unmap({"status": "Open"}) if hasattr(mapped, "operator") else mapped.unmap({"status": "Open"})
    )
    with pytest.raises(AirflowFailException, match="Unknown status='Open'"):
        task.execute({})


def test_destination_rendered_empty_is_refused(extract: Extract) -> None:
    with Tenant(TEN) as tenant:
        for empty in ("", "None"):
            with pytest.raises(AirflowFailException, match=f"destination={json.dumps(empty)[1:-1]!r}"):
                extract(tenant, destination=empty)
        assert tenant.seen == []
