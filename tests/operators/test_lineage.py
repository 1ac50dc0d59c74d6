"""Lineage: the events that OpenLineage's provider makes of a task, and hook lineage if it is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from adlfs import AzureBlobFileSystem  # type: ignore[import-untyped]
from airflow.providers.openlineage.extractors import OperatorLineage
from airflow.providers.openlineage.extractors.manager import ExtractorManager
from airflow.providers.openlineage.plugins.adapter import OpenLineageAdapter
from airflow.sdk import TaskInstanceState
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import attach, store
from airflow.sdk.lineage import HookLineageCollector, get_hook_lineage_collector
from fsspec.implementations.memory import MemoryFileSystem
from openlineage.client import OpenLineageClient
from openlineage.client.serde import Serde
from openlineage.client.transport.noop import NoopConfig, NoopTransport
from packaging.version import Version

from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.operators import lineage
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator
from airflow_provider_cloudlock.operators.lineage import Lineage
from airflow_provider_cloudlock.resources import resource_named
from tests.operators.lake import DAY, NEXT, OBJECT, Lake, connection, hour, object_of, operator
from tests.support import TOKEN, Tenant, day_of_records, record

DAYS = (DAY, NEXT, "2026-01-04")
#: A window of three days.
WINDOW = (DAY, "2026-01-05")
RECORDS = [each for day, count in zip(DAYS, (10, 20, 30), strict=True) for each in day_of_records(day, count)]
#: Records without an id, of the second day and of the last one.
UNKEPT, UNKEPT_LAST = (record(1, hour(n)) | {"id": None} for n in (30, 54))
LAYOUT = Layout.of(resource_named("threats"))
#: A connection string in Azure's format, with a made-up key.
AZURE = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.windows.net"

HAS_FULL_INFO = Version(version("apache-airflow")) >= Version("3.3")
EventOf = Callable[..., dict[str, Any]]


@pytest.fixture(autouse=True)
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[HookLineageCollector]:
    """Airflow's collector of hook lineage, as if a plugin that reads it were installed."""
    found = HookLineageCollector()  # type: ignore[no-untyped-call]
    monkeypatch.setattr("airflow.sdk.lineage.get_hook_lineage_collector", lambda: found)
    yield found
    get_hook_lineage_collector.cache_clear()


@pytest.fixture
def event_of(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> EventOf:
    """Run the operator, and return the event that OpenLineage's provider makes of it."""

    def run(tenant: Tenant, after: str = DAY, before: str = NEXT, nominal: str | None = None, **options: Any) -> Any:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        task = operator(options.pop("destination", lake.destination), after, before, **options)
        state = TaskInstanceState.SUCCESS
        try:
            task.execute({})
        except AirflowFailException:
            state = TaskInstanceState.FAILED
        return emitted(task, state, nominal)

    return run


def emitted(task: CloudlockToObjectStorageOperator, state: TaskInstanceState, nominal: str | None = None) -> Any:
    """Return the event of a task as OpenLineage's provider would send it."""
    manager: Any = ExtractorManager()  # type: ignore[no-untyped-call]
    metadata = manager.extract_metadata(SimpleNamespace(run_id="run"), task, state, SimpleNamespace())
    adapter = OpenLineageAdapter(OpenLineageClient(transport=NoopTransport(NoopConfig())))
    emit = adapter.complete_task if state is TaskInstanceState.SUCCESS else adapter.fail_task
    made = emit(
        run_id=str(UUID(int=0)),
        job_name="dag.extract",
        end_time="2026-01-06T00:00:00Z",
        task=metadata,
        nominal_start_time=nominal,
        nominal_end_time=nominal,
        owners=[],
        tags=[],
        job_description=None,
    )
    return json.loads(Serde.to_json(made))


def statistics(event: dict[str, Any]) -> dict[str, int]:
    """Return the output statistics of an event."""
    (output,) = event["outputs"]
    return {name: value for name, value in output["outputFacets"]["outputStatistics"].items() if name[0] != "_"}


def failed(event: dict[str, Any]) -> set[str]:
    """Return the assertions of an event that do not hold."""
    (output,) = event["outputs"]
    found = {
        (each["assertion"], each.get("column")): each["success"]
        for each in output["facets"]["dataQualityAssertions"]["assertions"]
    }
    assert found.keys() == {
        ("complete", None),
        ("none_quarantined", None),
        ("created_in_window", None),
        ("unique", "id"),
        ("not_null", "id"),
    }
    return {name for (name, _), success in found.items() if not success}


# --- OpenLineage ------------------------------------------------------------------------------------------------------


def test_event_input_is_api_and_output_is_folder(event_of: EventOf, lake: Lake) -> None:
    with Tenant(RECORDS) as tenant:
        event = event_of(tenant, *WINDOW)
        assert [(each["namespace"], each["name"]) for each in event["inputs"]] == [(tenant.url, "api/v2/threats")]
    assert [(each["namespace"], each["name"]) for each in event["outputs"]] == [("file", f"{lake.folder}/threats")]
    sizes = [lake.path(name).stat().st_size for name in lake.objects]
    assert statistics(event) == {"rowCount": 60, "size": sum(sizes), "fileCount": 3}
    assert failed(event) == set()
    columns = {each["name"]: each["type"] for each in event["outputs"][0]["facets"]["schema"]["fields"]}
    assert list(columns) == LAYOUT.schema.names
    assert columns["created_at"] == "timestamp[us, tz=UTC]"
    assert columns["users"] == "list<item: struct<display_name: string, email: string>>"


def test_event_statistics_count_written_objects_only(event_of: EventOf, lake: Lake) -> None:
    with Tenant(RECORDS) as tenant:
        event_of(tenant, *WINDOW)
        event = event_of(tenant, *WINDOW)
        assert statistics(event) == {"rowCount": 0, "size": 0, "fileCount": 0}
        assert failed(event) == set()
        tenant.dismiss(RECORDS[0]["id"])
        event = event_of(tenant, *WINDOW)
    assert statistics(event) == {"rowCount": 10, "size": lake.path(OBJECT).stat().st_size, "fileCount": 1}
    assert failed(event) == set()


def test_event_empty_day_is_a_file_without_rows(event_of: EventOf) -> None:
    with Tenant([]) as tenant:
        event = event_of(tenant)
    assert (statistics(event)["rowCount"], statistics(event)["fileCount"]) == (0, 1)
    assert failed(event) == set()


def test_event_quarantined_records_fail_assertion(event_of: EventOf) -> None:
    with Tenant([*RECORDS, UNKEPT]) as tenant:
        event = event_of(tenant, *WINDOW, max_quarantined=1)
    assert statistics(event)["rowCount"] == 60
    assert failed(event) == {"none_quarantined"}


def test_event_failed_task_has_days_before_failure(event_of: EventOf, lake: Lake) -> None:
    with Tenant([*RECORDS, UNKEPT_LAST]) as tenant:
        event = event_of(tenant, *WINDOW)
    assert event["eventType"] == "FAIL"
    written = [OBJECT, object_of(NEXT)]
    assert lake.objects == written
    sizes = [lake.path(name).stat().st_size for name in written]
    assert statistics(event) == {"rowCount": 30, "size": sum(sizes), "fileCount": 2}
    assert failed(event) == {"complete"}


def test_event_failed_task_has_all_objects_written(event_of: EventOf, lake: Lake) -> None:
    """Days are published concurrently: those after the failed one may be published as well."""
    with Tenant([*RECORDS, UNKEPT]) as tenant:
        event = event_of(tenant, *WINDOW)
    assert lake.objects[0] == OBJECT
    sizes = [lake.path(name).stat().st_size for name in lake.objects]
    assert statistics(event) == {"rowCount": len(lake.rows()), "size": sum(sizes), "fileCount": len(sizes)}
    assert failed(event) == {"complete"}


def test_event_task_that_wrote_nothing_has_no_output(event_of: EventOf) -> None:
    with Tenant([UNKEPT]) as tenant:
        event = event_of(tenant, NEXT, "2026-01-04")
        assert (len(event["inputs"]), event["outputs"]) == (1, [])
        event = event_of(tenant, resource="not a resource")
    assert (event["eventType"], event["inputs"], event["outputs"]) == ("FAIL", [], [])
    assert operator("/lake").get_openlineage_facets_on_complete(None) == OperatorLineage()


def test_event_overlapping_pages_are_complete(event_of: EventOf, lake: Lake) -> None:
    with Tenant(RECORDS) as tenant:
        event = event_of(tenant, page_size=8)
    assert lake.receipt()["proof"] == "anchored"
    assert failed(event) == set()


def test_event_unknown_proof_is_not_complete(event_of: EventOf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lineage, "_PROOFS", ("another",))
    with Tenant(RECORDS) as tenant:
        assert failed(event_of(tenant)) == {"complete"}


def test_event_nominal_time_without_interval_is_window(event_of: EventOf) -> None:
    with Tenant(RECORDS) as tenant:
        times = [
            [event["run"]["facets"]["nominalTime"][name] for name in ("nominalStartTime", "nominalEndTime")]
            for event in (event_of(tenant, *WINDOW), event_of(tenant, *WINDOW, nominal="2026-02-01T00:00:00+00:00"))
        ]
    assert times[0] == [hour(0).isoformat(), hour(72).isoformat()]
    assert times[1] == ["2026-02-01T00:00:00+00:00"] * 2  # the provider replaces it with the run's


def test_event_leaves_out_hook_lineage(event_of: EventOf, collector: HookLineageCollector) -> None:
    with Tenant(RECORDS) as tenant:
        event = event_of(tenant, *WINDOW)
    assert collector.has_collected
    assert (len(event["inputs"]), len(event["outputs"])) == (1, 1)


def test_event_has_no_token_and_no_connection_id(event_of: EventOf) -> None:
    with Tenant(RECORDS) as tenant:
        text = json.dumps(event_of(tenant))
    assert TOKEN not in text
    assert "cloudlock_default" not in text


# --- names ------------------------------------------------------------------------------------------------------------

NAMES = {
    "s3://lake@bucket/deep/down": ("s3://bucket", "deep/down/threats", "s3://bucket/deep/down/threats"),
    "s3://lake@bucket": ("s3://bucket", "threats", "s3://bucket/threats"),
    "s3a://lake@bucket/x": ("s3://bucket", "x/threats", "s3://bucket/x/threats"),
    "gs://lake@bucket/x": ("gs://bucket", "x/threats", "gs://bucket/x/threats"),
    "gcs://lake@bucket/x": ("gs://bucket", "x/threats", "gs://bucket/x/threats"),
    "abfs://lake@box/x": (
        "abfss://box@acme.dfs.core.windows.net",
        "x/threats",
        "abfss://box@acme.dfs.core.windows.net/x/threats",
    ),
    "file:///data/x=y": ("file", "/data/x=y/threats", "file:///data/x=y/threats"),
    "local:///data/": ("file", "/data/threats", "file:///data/threats"),
    "/data/été?a#1": ("file", "/data/été?a#1/threats", "file:///data/%C3%A9t%C3%A9%3Fa%231/threats"),
}


@pytest.mark.parametrize("destination", NAMES)
def test_lineage_names_folder_as_openlineage_does(destination: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    attach("abfs", "lake", fs=AzureBlobFileSystem(connection_string=AZURE, skip_instance_cache=True))
    for scheme in ("s3", "s3a", "gs", "gcs"):
        attach(scheme, "lake", fs=MemoryFileSystem())
    found = Lineage("https://x.example:8443/api/v2/threats", destination, LAYOUT, hour(0), hour(24))
    assert (*found._folder, found.uri) == NAMES[destination]
    (source,) = found.facets().inputs
    assert (source.namespace, source.name) == ("https://x.example:8443", "api/v2/threats")


# --- hook lineage -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [["été#a1"], ["ü" * 120] * 3], ids=["non-ASCII", "long"])
def test_hook_lineage_unusual_uri_is_quoted_or_left_out(
    event_of: EventOf, collector: HookLineageCollector, lake: Lake, monkeypatch: pytest.MonkeyPatch, parts: list[str]
) -> None:
    monkeypatch.setattr("airflow.sdk.definitions.asset.SQL_ALCHEMY_CONN", "mysql://")  # it requires ASCII names
    with Tenant(RECORDS) as tenant:
        event = event_of(tenant, destination="/".join([lake.destination, *parts]))
    assert statistics(event)["rowCount"] == 10
    assert len(collector.collected_assets.outputs) == (len(parts) == 1)


#: Runs the operator twice after Airflow loaded its plugins, as it does before a task; OpenLineage is not installed.
SCRIPT = """
import json, sys
absent = ("openlineage", "airflow.providers.openlineage.extractors", "airflow.providers.openlineage.plugins")
sys.modules |= dict.fromkeys(absent)
from airflow.sdk.plugins_manager import integrate_macros_plugins
integrate_macros_plugins()
from tests.operators.lake import operator
for _ in range(2):
    result = operator(sys.argv[1], "2026-01-02", "2026-01-05").execute({})
outputs = []
if "airflow.sdk.lineage" in sys.modules:
    from airflow.sdk.lineage import get_hook_lineage_collector
    outputs = get_hook_lineage_collector().collected_assets.outputs
found = [[each.asset.uri, each.count, str(each.context)] for each in outputs]
imported = [name for name in sys.modules if name.startswith(("airflow.lineage", "airflow.sdk.lineage"))]
print(json.dumps([result["rows"], found, imported]))
"""
READER = """
from airflow.sdk.lineage import HookLineageReader
from airflow.plugins_manager import AirflowPlugin

class Reader(AirflowPlugin):
    name = "reader"
    hook_lineage_readers = [HookLineageReader]
"""
OTHER_PLUGIN = """
from airflow.plugins_manager import AirflowPlugin

class Other(AirflowPlugin):
    name = "other"
"""


def run_with_plugin(plugin: str, lake: Lake, folder: Path) -> Any:
    """Run the script in a process of its own, with one plugin, and return what it prints."""
    folder.mkdir()
    (folder / "plugin.py").write_text(plugin)
    with Tenant(RECORDS) as tenant:
        environment = {
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder),
            "AIRFLOW_CONN_CLOUDLOCK_DEFAULT": connection(tenant),
        }
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, lake.destination],
            env=os.environ | environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_hook_lineage_with_reader_reports_written_folder(lake: Lake, tmp_path: Path) -> None:
    rows, outputs, imported = run_with_plugin(READER, lake, tmp_path / "plugins")
    assert (rows, imported) == (60, ["airflow.sdk.lineage"])
    # Once per day by the first run; the second one changed nothing.
    assert outputs == [[f"{lake.destination}/threats", 3, lake.destination]]


def test_hook_lineage_without_reader_imports_nothing(lake: Lake, tmp_path: Path) -> None:
    rows, outputs, imported = run_with_plugin(OTHER_PLUGIN, lake, tmp_path / "plugins")
    assert (rows, outputs, imported) == (60, [], [])


# --- a real run -------------------------------------------------------------------------------------------------------

DAG = """
from datetime import UTC, datetime
from airflow.sdk import Asset, dag
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

@dag(schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC))
def %(name)s():
    CloudlockToObjectStorageOperator(
        task_id="extract",
        destination=%(lake)r,
        created_after=%(after)r,
        created_before=%(before)r,
        outlets=[Asset(%(lake)r + "/threats")],
        max_quarantined=%(most)r,
    )

%(name)s()
"""


@pytest.mark.slow
def test_event_of_real_airflow_run(tmp_path: Path) -> None:
    lakes = {name: Lake(tmp_path / name) for name in ("whole", "broken")}
    (tmp_path / "dags").mkdir()
    for most, (name, lake) in zip((1, 0), lakes.items(), strict=True):
        values = {"name": name, "lake": lake.destination, "after": WINDOW[0], "before": WINDOW[1], "most": most}
        (tmp_path / f"dags/{name}.py").write_text(DAG % values)
    sent = tmp_path / "lineage.jsonl"
    with Tenant([*RECORDS, UNKEPT_LAST]) as tenant:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        environment = {
            "AIRFLOW_HOME": str(tmp_path / "home"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
            # On Airflow 3.2 its own copying of a task's attributes recurses without end, and no operator has events.
            "AIRFLOW__OPENLINEAGE__INCLUDE_FULL_TASK_INFO": str(HAS_FULL_INFO),
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps({"type": "file", "log_file_path": str(sent), "append": True}),
            "AIRFLOW_CONN_CLOUDLOCK_DEFAULT": connection(tenant),
        }
        done = subprocess.run(
            [sys.executable, "-m", "tests.integration.airflow_home", str(tmp_path / "dags")],
            env=inherited | environment,
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
        )
        source = (tenant.url, "api/v2/threats")
    assert done.returncode == 0, done.stderr[-5000:]
    assert TOKEN not in sent.read_text()
    events = [json.loads(line) for line in sent.read_text().splitlines()]
    found = {(each["job"]["name"], each["eventType"]): each for each in events}
    whole, broken = found["whole.extract", "COMPLETE"], found["broken.extract", "FAIL"]
    for event, lake in zip((whole, broken), lakes.values(), strict=True):
        assert [(each["namespace"], each["name"]) for each in event["inputs"]] == [source]
        assert [(each["namespace"], each["name"]) for each in event["outputs"]] == [("file", f"{lake.folder}/threats")]
        sizes = [lake.path(name).stat().st_size for name in lake.objects]
        assert statistics(event) == {"rowCount": len(lake.rows()), "size": sum(sizes), "fileCount": len(sizes)}
    assert (statistics(whole)["rowCount"], failed(whole)) == (60, {"none_quarantined"})
    assert (statistics(broken)["rowCount"], failed(broken)) == (30, {"complete"})
    interval = whole["run"]["facets"]["nominalTime"]["nominalStartTime"]
    assert datetime.fromisoformat(interval) == datetime(2026, 1, 3, tzinfo=UTC)  # the provider's
