"""What the assets of a task are told: each change once, and nothing when nothing changed."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset
from airflow.sdk.execution_time.context import OutletEventAccessors

from airflow_provider_cloudlock.operators import events
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, Lake, operator
from tests.support import Tenant, day_of_records, record

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
ASSET = Asset("threats")


class Run:
    """A run of the task, and what it told."""

    def __init__(self, try_number: int = 1, **partition: Any) -> None:
        self.events = OutletEventAccessors()
        self.context = {"outlet_events": self.events, "ti": SimpleNamespace(try_number=try_number), **partition}
        self.outlets = [ASSET]

    def __call__(self, extract: Extract, tenant: Tenant, **options: Any) -> dict[str, Any]:
        return extract(tenant, DAY, AFTER, self.context, outlets=self.outlets, **options)

    @property
    def told(self) -> Any:
        """The extra of the event, and its partitions."""
        return (self.events[ASSET].extra, sorted(self.events[ASSET].partition_keys)) if len(self.events) else None


def partition(key: str, date: datetime) -> dict[str, Any]:
    return {"partition_key": key, "partition_date": date}


def announced(lake: Lake) -> list[bool]:
    """Tell of each receipt whether its object was announced."""
    names = [name for name in lake.files if name.startswith("_receipts/")]
    return [json.loads(lake.path(name).read_text())["announced"] for name in names]


NIGHT = datetime(2026, 1, 3, tzinfo=UTC)


def test_one_event_tells_of_a_run_without_a_partition(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run = Run()
        result = run(extract, tenant)
    assert run.told == (result, [])
    assert announced(lake) == [True, True]


@pytest.mark.parametrize(("key", "keys"), [("2026-01-03", [DAY, NEXT]), ("2026-01-03T00:00:00", None)])
def test_each_day_that_changed_is_a_partition(extract: Extract, key: str, keys: list[str] | None) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run = Run(**partition(key, NIGHT))
        result = run(extract, tenant)
        assert run.told == (result, keys or [f"{DAY}T00:00:00", f"{NEXT}T00:00:00"])
        tenant.dismiss(TWO_DAYS[0]["id"])
        run = Run(**partition(key, NIGHT))
        result = run(extract, tenant)
        assert run.told == (result, (keys or [f"{DAY}T00:00:00"])[:1])


@pytest.mark.parametrize(
    "other",
    [
        {},
        partition("2026-01-03", datetime(2026, 1, 3, 5, tzinfo=UTC)),
        partition("eu-west", NIGHT),
        partition("3 January", NIGHT),
        {"partition_key": "2026-01-03", "partition_date": None},
    ],
)
def test_where_the_partition_is_no_utc_day_airflow_names_it(extract: Extract, other: dict[str, Any]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        run = Run(**other)
        assert run.told is None
        assert run(extract, tenant)
    assert run.told[1] == []


def test_an_airflow_that_cannot_name_partitions_gets_one_event(extract: Extract) -> None:
    class Told:
        def __init__(self) -> None:
            self.extra: dict[str, Any] = {}

    told = Told()
    context = {"outlet_events": {ASSET: told}, **partition("2026-01-03", NIGHT)}
    with Tenant(TWO_DAYS) as tenant:
        assert extract(tenant, DAY, AFTER, context, outlets=[ASSET]) == told.extra


def test_nothing_is_told_when_nothing_changed(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        Run()(extract, tenant)
        run = Run()
        run(extract, tenant)
        assert run.told is None
        # Airflow itself would tell of every outlet that the task has at its end.
        task = operator(lake.destination, outlets=[ASSET])
        receipt = SimpleNamespace(announced=True)
        events.announce(task, {}, {}, {object(): receipt}, lambda *_: None)  # type: ignore[arg-type, dict-item]
        assert task.outlets == []


def test_a_new_try_tells_all_again(extract: Extract) -> None:
    """The first may have been stopped after it noted that it told, and before Airflow knew."""
    with Tenant(TWO_DAYS) as tenant:
        Run()(extract, tenant)
        run = Run(2, **partition("2026-01-03", NIGHT))
        run(extract, tenant)
    assert run.told[1] == [DAY, NEXT]


def test_what_a_failed_run_wrote_is_told_by_the_next(extract: Extract, lake: Lake) -> None:
    """The second day has a record that cannot be kept, when the first is published already."""
    with Tenant([*TWO_DAYS, record(99, NEXT) | {"id": None}]) as tenant:
        run = Run(**partition("2026-01-03", NIGHT))
        with pytest.raises(Exception, match="no usable id"):
            run(extract, tenant)
        assert run.told is None
        assert announced(lake) == [False]
        tenant.delete(None)
        tenant.insert(record(98, "2026-01-03T12:00:00Z"))
        run = Run(**partition("2026-01-03", NIGHT))
        result = run(extract, tenant)
    assert [part["changed"] for part in result["slices"]] == [False, True]
    assert run.told == (result, [DAY, NEXT])
    assert announced(lake) == [True, True]


@pytest.mark.parametrize("receipt", ["", "[]", "{", '{"announced": true, "sha256": "of another one"}', None])
def test_an_object_whose_receipt_does_not_speak_of_it_was_not_told(
    extract: Extract, lake: Lake, receipt: str | None
) -> None:
    with Tenant(TWO_DAYS) as tenant:
        Run()(extract, tenant)
        path = lake.path(f"_receipts/created_date={DAY}/20260102T000000Z--20260103T000000Z.json")
        if receipt is None:
            path.unlink()
        else:
            path.write_text(receipt)
        run = Run(**partition("2026-01-03", NIGHT))
        run(extract, tenant)
    assert run.told[1] == [DAY]


def test_a_receipt_of_an_earlier_version_counts_as_told(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        Run()(extract, tenant)
        for name in lake.files:
            if name.startswith("_receipts/"):
                held = json.loads(lake.path(name).read_text())
                del held["announced"]
                lake.path(name).write_text(json.dumps(held))
        run = Run()
        run(extract, tenant)
    assert run.told is None


def test_a_task_without_assets_leaves_the_telling_to_others(extract: Extract, lake: Lake) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, AFTER)
        assert announced(lake) == [False, False]
        run = Run()
        result = run(extract, tenant)
        assert run.told == (result, [])
        extract(tenant, DAY, AFTER)
        assert announced(lake) == [True, True]
        run = Run()
        run(extract, tenant)
    assert run.told is None
