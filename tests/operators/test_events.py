"""Asset events of a task: one for each change, and none if nothing changed."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias, AssetAny
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.execution_time.context import OutletEventAccessor, OutletEventAccessors

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.operators import events
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, RECEIPT, Lake, hour, operator, receipt_of
from tests.support import Tenant, day_of_records, record

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
ASSET = Asset("threats")
#: First instant of the second day, which is the run's own.
MIDNIGHT = datetime(2026, 1, 3, tzinfo=UTC)


class Run:
    """A run of the task, with the event that it emits."""

    def __init__(self, try_number: int = 1, **partition: Any) -> None:
        self.events = OutletEventAccessors()
        self.context = {"outlet_events": self.events, "ti": SimpleNamespace(try_number=try_number), **partition}

    def __call__(self, extract: Extract, tenant: Tenant, after: Any = DAY, **options: Any) -> dict[str, Any]:
        """Extract both days; ``after=NEXT, refresh_days=1`` makes the second one the run's window."""
        return extract(tenant, after, AFTER, self.context, outlets=[ASSET], **options)

    @property
    def event(self) -> tuple[Any, list[str]] | None:
        """Extra and partitions of the event, None if there is none."""
        event = self.events[ASSET] if len(self.events) else None
        return (event.extra, sorted(getattr(event, "partition_keys", []))) if event else None


def partition(key: str, date: datetime) -> dict[str, Any]:
    """Return the partition of a run, as its context has it."""
    return {"partition_key": key, "partition_date": date}


def announced(lake: Lake) -> list[bool]:
    """Return for each receipt whether it notes an event."""
    return [lake.receipt(name)["announced"] for name in lake.files if name.startswith("_receipts/")]


def run_of_second_day(extract: Extract, tenant: Tenant, **options: Any) -> tuple[Run, dict[str, Any]]:
    """Extract the second day and refresh the first one, in a run with the second day's partition."""
    run = Run(options.pop("try_number", 1), **partition(options.pop("key", NEXT), MIDNIGHT))
    return run, run(extract, tenant, NEXT, refresh_days=1, **options)


def test_event_without_partition_has_result_as_extra(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run = Run()
        result = run(extract, tenant)
    assert run.event == (result, [])
    assert announced(lake) == [True, True]


#: Airflow 3.2 has events for the partition of the run only.
needs_partitions = pytest.mark.skipif(
    not hasattr(OutletEventAccessor, "add_partitions"), reason="Airflow 3.2 has no events of other partitions"
)


@needs_partitions
@pytest.mark.parametrize(
    ("key", "keys"),
    [(NEXT, [DAY, NEXT]), (f"{NEXT}T00:00:00", [f"{DAY}T00:00:00", f"{NEXT}T00:00:00"])],
    ids=["date", "time"],
)
def test_event_has_a_partition_for_each_changed_day(extract: Extract, key: str, keys: list[str]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run, result = run_of_second_day(extract, tenant, key=key)
        assert run.event == (result, keys)
        tenant.dismiss(TWO_DAYS[0]["id"])
        run, result = run_of_second_day(extract, tenant, key=key)
        assert [each["changed"] for each in result["slices"]] == [True, False]
        assert run.event == (result, keys[:1])


@pytest.mark.parametrize(
    ("partition_of_run", "after"),
    [
        ({}, NEXT),
        (partition("eu-west", MIDNIGHT), NEXT),
        (partition("3 January", MIDNIGHT), NEXT),
        (partition(f"{NEXT}T05:00:00", hour(29)), hour(29)),
        (partition(DAY, hour(0)), DAY),
        ({"partition_key": NEXT, "partition_date": None}, NEXT),
    ],
    ids=["none", "other key", "other format", "not midnight", "two days", "no date"],
)
def test_event_partition_not_a_utc_day_adds_none(
    extract: Extract, partition_of_run: dict[str, Any], after: Any
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run = Run(**partition_of_run)
        assert run.event is None
        assert run(extract, tenant, after, refresh_days=1)
    assert run.event is not None
    assert run.event[1] == []


def test_event_without_add_partitions_gets_extra(extract: Extract) -> None:
    class Event:
        """An event as Airflow 3.2 has it."""

        def __init__(self) -> None:
            self.extra: dict[str, Any] = {}

    event = Event()
    context = {"outlet_events": {ASSET: event}, **partition(NEXT, MIDNIGHT)}
    with Tenant(TWO_DAYS) as tenant:
        assert extract(tenant, NEXT, AFTER, context, outlets=[ASSET]) == event.extra


def test_event_unchanged_days_emit_none(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        Run()(extract, tenant)
        run = Run()
        run(extract, tenant)
    assert run.event is None
    assert announced(lake) == [True, True]


def test_announce_without_news_clears_outlets(lake: Lake) -> None:
    """Airflow emits an event for each outlet that the task has when it ends."""
    task = operator(lake.destination, outlets=[ASSET])
    receipt: Any = SimpleNamespace(announced=True)
    task.outlets.append("an outlet of another kind")
    window = hour(0), hour(24)
    events.announce(task, {}, window, "file:///lake", {}, {date(2026, 1, 2): receipt}, lambda *_: None)
    assert task.outlets == ["an outlet of another kind"]


def test_event_through_alias_is_of_folder(extract: Extract, lake: Lake) -> None:
    alias, second = AssetAlias("lake"), Asset("second")
    with Tenant(TWO_DAYS) as tenant:
        run = Run(**partition(NEXT, MIDNIGHT))
        result = extract(tenant, DAY, AFTER, run.context, outlets=[alias, ASSET, second])
    (event,) = run.events[alias].asset_alias_events
    assert (event.source_alias_name, event.dest_asset_key.uri) == ("lake", f"{lake.destination}/threats")
    assert event.extra == run.events[ASSET].extra == run.events[second].extra == result


@pytest.mark.parametrize("outlet", [ASSET | Asset("b"), ASSET & Asset("b"), AssetAny(ASSET)], ids=["or", "and", "any"])
def test_outlet_of_several_assets_is_refused(extract: Extract, lake: Lake, outlet: Any) -> None:
    with pytest.raises(CloudlockConfigError, match=r"not a single asset.*as an outlet of its own"):
        operator(lake.destination, outlets=[outlet])
    task = operator(lake.destination)
    task.add_outlets([outlet])
    with pytest.raises(CloudlockConfigError, match="not a single asset"):
        events.check_outlets(task.outlets, {}, "file:///lake")


def test_alias_of_folder_with_long_uri_is_refused(extract: Extract, lake: Lake) -> None:
    destination = "/".join([lake.destination, *["ü" * 120] * 3])
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match="cannot emit an event of the outlet AssetAlias"):
            extract(tenant, DAY, AFTER, Run().context, destination=destination, outlets=[AssetAlias("lake")])
        assert tenant.seen == []


def test_execute_again_restores_cleared_outlets(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        Run()(extract, tenant)
        task = operator(lake.destination, outlets=[ASSET])
        task.execute({})
        assert task.outlets == []
        tenant.dismiss(TWO_DAYS[0]["id"])
        run = Run()
        task.execute(run.context)  # type: ignore[arg-type]
    assert task.outlets == [ASSET]
    assert run.event is not None


@needs_partitions
def test_event_retry_announces_all_days_again(extract: Extract) -> None:
    """The first try may have been stopped after it noted its event, and before Airflow knew of it."""
    with Tenant(TWO_DAYS) as tenant:
        run_of_second_day(extract, tenant)
        run, result = run_of_second_day(extract, tenant, try_number=2)
    assert run.event == (result, [DAY, NEXT])


@needs_partitions
def test_event_after_failed_run_includes_its_days(extract: Extract, lake: Lake) -> None:
    """The second day has a record that cannot be kept; the first one is published all the same."""
    with Tenant([*TWO_DAYS, record(99, NEXT) | {"id": None}]) as tenant:
        run = Run(**partition(NEXT, MIDNIGHT))
        with pytest.raises(Exception, match="no usable id"):
            run(extract, tenant, NEXT, refresh_days=1)
        assert run.event is None
        assert announced(lake) == [False]
        tenant.delete(None)
        tenant.insert(record(98, "2026-01-03T12:00:00Z"))
        run, result = run_of_second_day(extract, tenant)
    assert [each["changed"] for each in result["slices"]] == [False, True]
    assert run.event == (result, [DAY, NEXT])
    assert announced(lake) == [True, True]


@needs_partitions
@pytest.mark.parametrize("receipt", ["", "[]", "{", '{"announced": true}', None])
def test_event_unreadable_receipt_announces_day_again(extract: Extract, lake: Lake, receipt: str | None) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run_of_second_day(extract, tenant)
        if receipt is None:
            lake.path(RECEIPT).unlink()
        else:
            lake.write(RECEIPT, receipt.encode())
        run, result = run_of_second_day(extract, tenant)
    assert run.event == (result, [DAY])
    assert announced(lake) == [True, True]


@needs_partitions
def test_event_receipt_of_other_object_announces_day_again(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run_of_second_day(extract, tenant)
        lake.write(RECEIPT, json.dumps(lake.receipt() | {"sha256": "0" * 64, "version": "another"}).encode())
        run, result = run_of_second_day(extract, tenant)
    assert [each["changed"] for each in result["slices"]] == [False, False]
    assert run.event == (result, [DAY])


def test_event_task_without_assets_leaves_it_to_others(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, AFTER)
        assert announced(lake) == [False, False]
        run = Run()
        result = run(extract, tenant)
        assert run.event == (result, [])
        extract(tenant, DAY, AFTER)
        assert [lake.receipt(receipt_of(day))["announced"] for day in (DAY, NEXT)] == [True, True]
        run = Run()
        run(extract, tenant)
    assert run.event is None
