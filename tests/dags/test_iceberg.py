"""The load into Iceberg, against a catalog and files on the local disk."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cloudlock_iceberg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.providers.apache.iceberg.hooks.iceberg import IcebergHook
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from cloudlock_iceberg import CONNECTION, TABLE, load
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, ForbiddenError
from pyiceberg.table import Table, Transaction

from tests.dags.conftest import DAGS, anomaly, hour, loaded, slice_of
from tests.dags.conftest import SCHEMA as THREAT
from tests.operators.lake import connection, operator
from tests.support import Tenant, day_of_records

Part = dict[str, Any]
Record = dict[str, Any]

NAME = "cloudlock.threats"


class World:
    """A lake, a catalog with a namespace, and what an extract would tell."""

    def __init__(self, folder: Path) -> None:
        self.lake = folder / "lake"
        self.lake.mkdir()
        self.catalog = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}/data"}
        self.connection = json.dumps({"conn_type": "iceberg", "extra": self.catalog})

    def publish(self, *records: Record, day: int = 0, until: float = 24, schema: pa.Schema = THREAT) -> Part:
        """Put an object into the lake, and return the slice as the extract does."""
        part = slice_of(f"file://{self.lake}", day, until)
        file = Path(part["path"].removeprefix("file://"))
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(list(records), schema), file, write_page_checksum=True)
        return part | {"rows": len(records), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}

    def load(self, *parts: Part) -> dict[str, int]:
        """Run the task on what one extract told."""
        done: dict[str, int] = load.function([{"resource": "threats", "slices": list(parts)}], NAME)
        return done

    @contextmanager
    def open(self) -> Iterator[Catalog]:
        """Open the catalog as another program would."""
        with closing(SqlCatalog(CONNECTION, **self.catalog)) as catalog:
            yield catalog

    @property
    def table(self) -> Table:
        """The table, as another program sees it."""
        with self.open() as catalog:
            return catalog.load_table(NAME)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Id and status of every anomaly in the table."""
        found = self.table.scan(selected_fields=("id", "status")).to_arrow().to_pylist()
        return sorted((row["id"], row["status"]) for row in found)

    @property
    def ledger(self) -> list[tuple[str, str]]:
        """Hash and rows of every load that the current state goes back to, the last one first."""
        table = self.table
        receipts, snapshot = [], table.current_snapshot()
        while snapshot:
            receipts.append(snapshot.summary.additional_properties)
            snapshot = table.snapshot_by_id(snapshot.parent_snapshot_id or 0)
        return [(each["cloudlock.sha256"], each["cloudlock.rows"]) for each in receipts if "cloudlock.sha256" in each]

    @property
    def files(self) -> set[str]:
        """The data files of the table."""
        return {task.file.file_path for task in self.table.scan().plan_files()}

    @property
    def state(self) -> str:
        """The pointer to everything there is."""
        return self.table.metadata_location


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with nothing in it but the namespace."""
    world = World(tmp_path)
    monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", world.connection)
    with world.open() as catalog:
        catalog.create_namespace("cloudlock")
    return world


@pytest.fixture
def before_commit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Return a function that has something done when all is written and the pointer is next to be moved, once."""
    commit = SqlCatalog.commit_table

    def once(event: Callable[[], object]) -> None:
        events = [event]

        def commit_table(self: SqlCatalog, *args: Any) -> Any:
            if events:
                events.pop()()
            return commit(self, *args)

        monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)

    return once


def test_every_field_arrives(world: World) -> None:
    at = hour(1.5) + timedelta(microseconds=1)
    users = [{"display_name": None, "email": "ada@example.com"}, {"display_name": 'Łódź "\\" 🌍', "email": None}, None]
    record = anomaly(
        "7",
        at,
        updated_at=at,
        detected_at=at,
        start_time=datetime(1, 1, 1, tzinfo=UTC),
        end_time=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
        dismissed_at=at,
        dismiss_reason="Known",
        threat_risk="Account Compromise",
        threat_type="SUSPICIOUS_LOGIN",
        threat_entity="USER",
        short_description="Łódź",
        description="from 🌍 \\ \0 \x7f",
        event_count=-(2**63),
        platforms=["office365", 'a,"b"', "", None, "NULL"],
        locations=[],
        users=users,
        suspicious_ip="2001:db8::1",
        _extra='{"new": 1}',
    )
    assert set(record) == set(THREAT.names)
    nothing = dict.fromkeys(THREAT.names)
    records = [
        record,
        nothing | anomaly("8", users=[]),
        nothing | anomaly("9", None, detected_at=hour(24) - timedelta(microseconds=1), users=[None], platforms=[None]),
    ]
    world.load(part := world.publish(*records))
    rows = world.table.scan().to_arrow()
    assert rows.schema.names == THREAT.names
    arrived = rows.sort_by("id").cast(THREAT).combine_chunks()
    assert arrived.equals(pq.ParquetFile(part["path"].removeprefix("file://")).read())
    assert arrived.to_pylist() == records


def test_users_that_are_null_arrive_as_none_at_all(world: World) -> None:
    """When this fails, pyiceberg has learnt to tell the two apart, and the module need not speak of it any more."""
    world.load(world.publish(anomaly("1", users=None, platforms=None)))
    (file,) = world.files
    (row,) = pq.ParquetFile(file.removeprefix("file://")).read(["users", "platforms"]).to_pylist()
    assert row == {"users": [], "platforms": None}


def test_the_table_has_the_types_of_the_lake(world: World) -> None:
    world.load(world.publish())
    table = world.table
    types = {field.name: str(field.field_type) for field in table.schema().fields}
    assert list(types) == THREAT.names
    assert {types[field.name] for field in THREAT if pa.types.is_timestamp(field.type)} == {"timestamptz"}
    assert (types["event_count"], types["platforms"], types["_extra"]) == ("long", "list<string>", "string")
    assert [field.name for field in table.schema().fields if field.required] == ["id"]
    assert [str(field.transform) for field in table.spec().fields] == ["day"]


def test_table_is_read_by_other_programs(world: World) -> None:
    records = [anomaly(str(n), hour(n), platforms=["box"] * n) for n in range(5)]
    world.load(world.publish(*records), world.publish(anomaly("5", hour(25)), day=1))
    assert world.table.scan().count() == 6
    assert len(world.files) == 2
    with closing(world.table.scan("created_at < '2026-01-03T00:00:00+00:00'").to_duckdb("threats")) as duckdb:
        assert duckdb.sql("select count(*), sum(len(platforms)) from threats").fetchall() == [(5, 10)]


def test_the_receipt_is_in_the_last_snapshot_alone(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    part = world.publish(anomaly("1", status="DISMISSED"), anomaly("2"))
    known = {snapshot.snapshot_id for snapshot in world.table.snapshots()}
    world.load(part)
    *others, last = (each for each in world.table.snapshots() if each.snapshot_id not in known)
    assert last == world.table.current_snapshot()
    receipt = {key: value for key, value in last.summary.additional_properties.items() if key.startswith("cloudlock.")}
    assert receipt == {
        "cloudlock.resource": "threats",
        "cloudlock.window-start": "2026-01-02T00:00:00+00:00",
        "cloudlock.window-end": "2026-01-03T00:00:00+00:00",
        "cloudlock.sha256": part["sha256"],
        "cloudlock.rows": "2",
        "cloudlock.path": part["path"],
    }
    assert others
    assert not any("cloudlock.sha256" in snapshot.summary.additional_properties for snapshot in others)


def test_load_of_loaded_days_changes_nothing(world: World) -> None:
    parts = [world.publish(anomaly("1")), world.publish(anomaly("2", hour(24)), day=1)]
    assert world.load(*parts) == loaded(slices=2, rows=2)
    before = world.state
    assert world.load(*parts[::-1], parts[1]) == loaded(slices=0, rows=0, skipped=3)
    assert world.state == before


def test_load_of_days_in_any_order_loads_all(world: World) -> None:
    parts = [world.publish(anomaly(str(n), hour(24 * n)), day=n) for n in range(4)]
    assert world.load(parts[2], parts[1]) == loaded(slices=2, rows=2)
    assert world.load(parts[3], parts[0], parts[1]) == loaded(slices=2, rows=2, skipped=1)
    assert world.rows == [(str(n), "ACTIVE") for n in range(4)]


def test_load_of_two_days_replaces_only_the_changed_one(world: World) -> None:
    first = world.publish(anomaly("1"))
    world.load(first, world.publish(anomaly("2", hour(24)), anomaly("3", hour(25)), day=1))
    before = world.files
    changed = world.publish(anomaly("2", hour(24), status="DISMISSED"), anomaly("4", hour(26)), day=1)
    assert world.load(first, changed) == loaded(slices=1, rows=2, skipped=1)
    assert world.rows == [("1", "ACTIVE"), ("2", "DISMISSED"), ("4", "ACTIVE")]
    assert len(world.files & before) == 1  # that of the first day is not even written again


def test_load_of_a_day_leaves_the_instants_around_it(world: World) -> None:
    last = timedelta(microseconds=1)
    times = [("1", hour(24) - last), ("2", hour(24)), ("3", hour(48) - last), ("4", hour(48))]
    by_creation = [anomaly(key, at) for key, at in times]
    by_detection = [anomaly(f"d{key}", None, detected_at=at) for key, at in times]
    detected_elsewhere = anomaly("5", hour(1), detected_at=hour(25))
    days = [slice(0, 1), slice(1, 3), slice(3, 4)]
    records = [[*by_creation[each], *by_detection[each]] for each in days]
    records[0].append(detected_elsewhere)
    world.load(*(world.publish(*each, day=day) for day, each in enumerate(records)))
    world.load(world.publish(day=1))
    assert [key for key, _ in world.rows] == ["1", "4", "5", "d1", "d4"]


def test_what_an_extract_wrote_before_it_crashed_is_loaded(world: World) -> None:
    assert world.load(world.publish(anomaly("1")) | {"changed": False}) == loaded(slices=1, rows=1)


def test_load_of_an_empty_object_empties_the_day(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    empty = world.publish()
    assert world.load(empty) == loaded(slices=1, rows=0)
    assert world.rows == []
    assert world.load(empty) == loaded(slices=0, rows=0, skipped=1)


def test_a_first_load_does_not_warn_that_there_was_nothing_to_replace(world: World) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Delete operation")
        world.load(world.publish(anomaly("1")))


def test_load_of_equal_objects_of_two_days_loads_both(world: World) -> None:
    world.load(world.publish(anomaly("1")), world.publish(anomaly("2", hour(24)), day=1))
    empty = [world.publish(), world.publish(day=1)]
    assert empty[0]["sha256"] == empty[1]["sha256"]
    assert world.load(empty[0]) == loaded(slices=1, rows=0)
    assert world.rows == [("2", "ACTIVE")]
    assert world.load(*empty) == loaded(slices=1, rows=0, skipped=1)
    assert world.rows == []


def test_a_record_without_created_at_counts_by_its_detection(world: World) -> None:
    world.load(world.publish(anomaly("1", None, detected_at=hour(3))))
    world.load(world.publish(anomaly("1", None, detected_at=hour(3), status="DISMISSED")))
    assert world.rows == [("1", "DISMISSED")]


def test_load_of_several_extracts_loads_all(world: World) -> None:
    parts = [world.publish(anomaly(str(n), hour(24 * n)), day=n) for n in range(3)]
    extracts = [{"resource": "threats", "slices": [part]} for part in parts]
    assert load.function(extracts, NAME) == loaded(slices=3, rows=3)


def test_a_result_that_cannot_be_looked_up_is_no_end(world: World) -> None:
    class Lazy(list[Record]):
        """Ends where a look-up fails, when it is looped over; a slice fails."""

        def __iter__(self) -> Iterator[Record]:
            return iter(())

        def __getitem__(self, key: Any) -> Any:
            raise ConnectionError("no answer")

    with pytest.raises(ConnectionError, match="no answer"):
        load.function(Lazy(), NAME)


def test_load_of_a_whole_day_replaces_its_first_half(world: World) -> None:
    noon = world.publish(anomaly("1"), anomaly("2", hour(11)), until=12)
    assert world.load(noon) == loaded(slices=1, rows=2)
    assert world.ledger == [(noon["sha256"], "2")]
    whole = world.publish(anomaly("1", status="DISMISSED"), anomaly("2", hour(11)), anomaly("3", hour(13)))
    assert world.load(whole) == loaded(slices=1, rows=3)
    assert world.rows == [("1", "DISMISSED"), ("2", "ACTIVE"), ("3", "ACTIVE")]
    assert world.ledger[0] == (whole["sha256"], "3")
    assert world.load(whole) == loaded(slices=0, rows=0, skipped=1)


def test_load_of_a_half_day_takes_the_whole_object(world: World) -> None:
    noon = world.publish(anomaly("1"), until=12)
    whole = world.publish(anomaly("1"), anomaly("2", hour(13)))
    for part in (noon, whole, noon, noon, whole):
        world.load(part)
        assert world.rows == [("1", "ACTIVE"), ("2", "ACTIVE")]
    assert world.load(whole) == loaded(slices=0, rows=0, skipped=1)


def test_load_of_an_unchanged_day_notes_that_it_is_over(world: World) -> None:
    noon, whole = world.publish(anomaly("1"), until=12), world.publish(anomaly("1"))
    assert noon["sha256"] == whole["sha256"]
    world.load(noon)
    assert world.load(whole) == loaded(slices=1, rows=1)
    assert world.load(noon, whole) == loaded(slices=0, rows=0, skipped=2)


def test_load_of_an_older_slice_takes_the_newest_object(world: World) -> None:
    older = world.publish(anomaly("1"))
    newer = world.publish(anomaly("1", status="DISMISSED"), anomaly("2"))
    assert world.load(older) == loaded(slices=1, rows=2)
    assert world.rows == [("1", "DISMISSED"), ("2", "ACTIVE")]
    assert world.load(newer) == loaded(slices=0, rows=0, skipped=1)
    assert world.load(older) == loaded(slices=1, rows=2)
    assert world.rows == [("1", "DISMISSED"), ("2", "ACTIVE")]
    assert world.ledger == [(newer["sha256"], "2")] * 2


@pytest.mark.parametrize("meanwhile", [False, True])
def test_load_of_a_day_that_was_rolled_back_loads_again(world: World, meanwhile: bool) -> None:
    world.load(world.publish(anomaly("1")))
    first = world.table.current_snapshot()
    assert first is not None
    part = world.publish(anomaly("1", status="DISMISSED"))
    world.load(part)
    with world.open() as catalog, catalog.load_table(NAME).manage_snapshots() as snapshots:
        snapshots.rollback_to_snapshot(first.snapshot_id)
    assert world.rows == [("1", "ACTIVE")]
    if meanwhile:
        world.load(world.publish(day=1))
    assert world.load(part) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]


def test_load_of_a_day_with_an_expired_receipt_loads_again(world: World) -> None:
    parts = [world.publish(anomaly(str(n), hour(24 * n)), day=n) for n in range(2)]
    world.load(*parts)
    current = world.table.current_snapshot()
    assert current is not None
    old = [each.snapshot_id for each in world.table.snapshots() if each != current]
    with world.open() as catalog:
        catalog.load_table(NAME).maintenance.expire_snapshots().by_ids(old).commit()
    assert world.load(*parts) == loaded(slices=1, rows=1, skipped=1)
    assert world.rows == [("0", "ACTIVE"), ("1", "ACTIVE")]


def test_commits_of_others_are_no_receipts(world: World) -> None:
    part = world.publish(anomaly("1"))
    world.load(part)
    with world.open() as catalog:
        catalog.load_table(NAME).append(pa.Table.from_pylist([anomaly("2", hour(30))], THREAT))
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)
    with world.open() as catalog:
        catalog.load_table(NAME).append(
            pa.Table.from_pylist([], THREAT), snapshot_properties={"cloudlock.resource": "incidents"}
        )
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)


@pytest.mark.filterwarnings("ignore:Delete operation did not match")  # the filter of one thread is lost in another
def test_concurrent_loads_make_no_duplicates(world: World) -> None:
    records = [anomaly(str(n), hour(n / 25)) for n in range(1_000)]
    parts = [world.publish(*records[:600]), world.publish(*records[600:], day=1)]
    start = threading.Barrier(4)

    def run(n: int) -> dict[str, int]:
        start.wait()
        return world.load(*parts[:: n % 2 or -1])

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))
    assert sum(each["slices_loaded"] for each in done) == 2
    assert sum(each["slices_skipped"] for each in done) == 6
    assert sorted(int(key) for key, _ in world.rows) == list(range(1_000))


def test_load_overtaken_by_one_of_the_same_day_skips_it(
    world: World, before_commit: Callable[[Callable[[], object]], None]
) -> None:
    world.load(world.publish(anomaly("1"), anomaly("2")))
    part = world.publish(anomaly("1", status="DISMISSED"))
    before_commit(lambda: world.load(part))
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)
    assert world.rows == [("1", "DISMISSED")]


def test_load_overtaken_by_one_of_another_day_succeeds(
    world: World, before_commit: Callable[[Callable[[], object]], None]
) -> None:
    world.load(world.publish())
    parts = [world.publish(anomaly(str(n), hour(24 * n)), day=n) for n in range(2)]
    before_commit(lambda: world.load(parts[1]))
    assert world.load(parts[0]) == loaded(slices=1, rows=1)
    assert world.rows == [("0", "ACTIVE"), ("1", "ACTIVE")]


def test_load_overtaken_by_a_newer_object_fails(
    world: World, before_commit: Callable[[Callable[[], object]], None]
) -> None:
    world.load(world.publish(anomaly("0", hour(30)), day=1))
    newer: list[Part] = []

    def overtake() -> None:
        newer.append(world.publish())  # nothing is left of the day: there is no file that could clash
        world.load(*newer)

    older = world.publish(anomaly("1"))
    before_commit(overtake)
    with pytest.raises(AirflowFailException, match="has 0 rows"):
        world.load(older)
    assert world.rows == [("0", "ACTIVE")]
    assert world.load(*newer) == loaded(slices=0, rows=0, skipped=1)


def test_the_object_is_fetched_after_the_look_at_the_table(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.load(world.publish(anomaly("1")))
    older = world.publish(anomaly("1", status="OLDER"))
    fetch = cloudlock_iceberg.local_copy
    overtakers: list[World] = [world]

    @contextmanager
    def overtaken(path: str) -> Iterator[Any]:
        with fetch(path) as copy:
            if overtakers:
                overtakers.pop().load(world.publish(anomaly("1", status="NEWER")))
            yield copy

    monkeypatch.setattr(cloudlock_iceberg, "local_copy", overtaken)
    world.load(older)
    assert world.rows == [("1", "NEWER")]


def test_who_is_overtaken_again_and_again_gives_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.load(world.publish(anomaly("1")))
    monkeypatch.setattr(cloudlock_iceberg, "TRIES", 3)
    monkeypatch.setattr(cloudlock_iceberg, "wait_random_exponential", lambda **_: lambda _: 0)
    tries = []

    def commit_table(*_: Any) -> None:
        tries.append(1)
        raise CommitFailedException("branch main has changed")

    with monkeypatch.context() as busy:
        busy.setattr(SqlCatalog, "commit_table", commit_table)
        with pytest.raises(CommitFailedException, match="branch main has changed"):
            world.load(world.publish(anomaly("1", status="DISMISSED")))
    assert len(tries) == 3
    assert world.rows == [("1", "ACTIVE")]


def test_the_settings_of_the_table_are_left_alone(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    assert world.table.properties == {}


def test_a_table_that_another_load_just_made_is_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    part = world.publish(anomaly("1"))
    create = SqlCatalog.create_table

    def late(self: SqlCatalog, *args: Any) -> Table:
        monkeypatch.undo()
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", world.connection)
        world.load(part)
        return create(self, *args)

    monkeypatch.setattr(SqlCatalog, "create_table", late)
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)
    assert world.rows == [("1", "ACTIVE")]


def test_the_right_to_make_tables_is_needed_only_to_make_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    part = world.publish(anomaly("1"))

    def forbidden(*_: Any) -> None:
        raise ForbiddenError("no right to make tables")

    with monkeypatch.context() as reader:
        reader.setattr(SqlCatalog, "create_table", forbidden)
        with pytest.raises(ForbiddenError):
            world.load(part)
    world.load(part)
    monkeypatch.setattr(SqlCatalog, "create_table", forbidden)
    assert world.load(world.publish(anomaly("1", status="DISMISSED"))) == loaded(slices=1, rows=1)


def test_a_killed_load_leaves_the_old_rows(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.state
    part = world.publish(anomaly("1", status="DISMISSED"))
    extracts = [{"resource": "threats", "slices": [part]}]
    script = (
        "import os, sys, cloudlock_threats_iceberg\n"
        "heavy = {'pyarrow', 'pyiceberg', 'airflow.providers.apache.iceberg.hooks.iceberg'}\n"
        "print('imported:', heavy & set(sys.modules), flush=True)\n"
        "import pyiceberg.table\n"
        "pyiceberg.table.Transaction.append = lambda *args, **options: os._exit(42)\n"
        f"cloudlock_threats_iceberg.load.function({extracts!r}, {NAME!r})"
    )
    environment = os.environ | {"PYTHONPATH": f"{DAGS}:{DAGS.parent}"}
    worker = subprocess.run([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, check=False)
    assert worker.returncode == 42
    assert b"imported: set()" in worker.stdout, "the file of the DAG imports what only the task needs"
    assert world.state == before
    assert world.rows == [("1", "ACTIVE")]
    assert world.load(part) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]


def test_a_task_that_is_stopped_at_the_commit_leaves_the_old_rows(
    world: World, before_commit: Callable[[Callable[[], object]], None]
) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.state

    def stop() -> None:
        raise KeyboardInterrupt

    before_commit(stop)
    part = world.publish(anomaly("1", status="DISMISSED"))
    with pytest.raises(KeyboardInterrupt):
        world.load(part)
    assert world.state == before
    assert world.load(part) == loaded(slices=1, rows=1)


def test_a_reader_sees_the_slice_as_it_was_or_as_it_is(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.load(world.publish(*(anomaly(str(n)) for n in range(100))))
    seen = []
    commit, append = SqlCatalog.commit_table, Transaction.append

    def looked(act: Callable[..., Any]) -> Callable[..., Any]:
        def look(*args: Any, **options: Any) -> Any:
            seen.append((len(world.rows), world.state))
            done = act(*args, **options)
            seen.append((len(world.rows), world.state))
            return done

        return look

    monkeypatch.setattr(SqlCatalog, "commit_table", looked(commit))
    monkeypatch.setattr(Transaction, "append", looked(append))
    world.load(world.publish(*(anomaly(str(n)) for n in range(50))))
    assert [rows for rows, _ in seen] == [100, 100, 100, 50]
    assert len({state for _, state in seen}) == 2


def test_load_of_a_missing_object_fails_and_changes_nothing(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.state
    gone = world.publish(anomaly("1", status="DISMISSED"))
    Path(gone["path"].removeprefix("file://")).unlink()
    with pytest.raises(FileNotFoundError, match=r"threats-2026-01-02.parquet no longer exists.*Clear the extract task"):
        world.load(gone)
    assert world.state == before


def test_load_that_fails_keeps_the_days_loaded_before(world: World) -> None:
    good = world.publish(anomaly("1"))
    bad = world.publish(anomaly("2", hour(24)), day=1)
    Path(bad["path"].removeprefix("file://")).write_bytes(b"PAR1")
    with pytest.raises(AirflowFailException, match="cannot be read as Parquet"):
        world.load(good, bad)
    assert world.rows == [("1", "ACTIVE")]


def test_a_flipped_bit_in_the_object_changes_nothing(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.state
    part = world.publish(anomaly("1", description="A word of its own."))
    file = Path(part["path"].removeprefix("file://"))
    file.write_bytes(file.read_bytes().replace(b"A word", b"B word"))
    with pytest.raises(OSError, match="CRC checksum verification failed"):
        world.load(part)
    assert world.state == before


def test_an_object_with_a_new_column_changes_nothing(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.state
    later = world.publish(anomaly("1", novelty=1), schema=THREAT.append(pa.field("novelty", pa.int64())))
    with pytest.raises(ValueError, match="novelty"):
        world.load(later)
    assert world.state == before


def test_an_object_without_a_column_is_loaded_without(world: World) -> None:
    part = world.publish(anomaly("1"), schema=THREAT.remove(THREAT.get_field_index("suspicious_ip")))
    assert world.load(part) == loaded(slices=1, rows=1)
    assert world.table.scan(selected_fields=("suspicious_ip",)).to_arrow().to_pylist() == [{"suspicious_ip": None}]


def test_load_into_a_table_that_exists_replaces_the_day(world: World) -> None:
    with world.open() as catalog:
        catalog.create_table(NAME, cloudlock_iceberg.columns(), properties={"write.delete.isolation-level": "snapshot"})
    world.load(world.publish(anomaly("1"), anomaly("2", hour(13))), world.publish(anomaly("3", hour(30)), day=1))
    world.load(world.publish(anomaly("2", hour(13), status="DISMISSED")))
    assert world.rows == [("2", "DISMISSED"), ("3", "ACTIVE")]


def test_a_namespace_that_is_not_there_is_named(world: World) -> None:
    extracts = [{"resource": "threats", "slices": [world.publish(anomaly("1"))]}]
    with pytest.raises(AirflowFailException, match=f"no namespace a.b in the catalog of the connection {CONNECTION}"):
        load.function(extracts, "a.b.threats")


def test_a_table_is_named_with_its_namespace() -> None:
    for name in ("", "threats", ".threats", "cloudlock.", "a..b", "a b.c", "../a.b", "1a.b", "a.b;"):
        with pytest.raises(ParamValidationError):
            TABLE.resolve(name)
    assert [TABLE.resolve(name) for name in (NAME, "a.b.C_1")] == [NAME, "a.b.C_1"]


def test_the_connection_is_that_of_the_provider() -> None:
    assert IcebergHook.default_conn_name == CONNECTION
    assert IcebergHook.conn_type == "iceberg"


def test_what_an_extract_left_is_what_a_load_brings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    records = day_of_records("2026-01-02", 300)
    with Tenant(records) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        extracted = operator(f"file://{world.lake}/extracted").execute({})
    assert load.function([extracted], NAME) == loaded(slices=1, rows=300)
    (file,) = world.lake.glob("extracted/threats/created_date=*/*.parquet")
    rows = world.table.scan().to_arrow().cast(THREAT).combine_chunks()
    assert rows.equals(pq.ParquetFile(file).read().replace_schema_metadata().combine_chunks())
    assert load.function([extracted], NAME) == loaded(slices=0, rows=0, skipped=1)


def test_the_dag_is_described() -> None:
    import cloudlock_threats_iceberg as file

    dag = file.cloudlock_threats_iceberg()
    assert dag.tags == {"cloudlock", "security"}
    assert dag.doc_md.strip().startswith("# Cloudlock threats")
    assert all(engine in dag.doc_md for engine in ("Spark", "Trino", "Athena", "Snowflake"))
    assert set(dag.params) == {"lake", "table", "refresh_days"}
    assert all(dag.params.get_param(name).description for name in dag.params)
    assert {task.owner for task in dag.tasks} == {"security-data"}
    assert dag.task_dict["extract"].downstream_task_ids == {"load"}
    assert dag.task_dict["load"].op_kwargs["table"] == "{{ params.table }}"
