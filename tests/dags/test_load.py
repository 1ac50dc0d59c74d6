"""The load into DuckDB, against real files."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from cloudlock_duckdb import host_variable, load, transaction
from moto.server import ThreadedMotoServer

from airflow_provider_cloudlock.operators import extraction
from tests.dags.conftest import DAGS, SCHEMA, anomaly, hour, loaded, slice_of
from tests.operators.lake import connection, operator
from tests.support import Tenant, day_of_records

Part = dict[str, Any]
Record = dict[str, Any]


class World:
    """A lake, a warehouse, and what an extract would tell."""

    def __init__(self, folder: Path) -> None:
        self.lake = f"file://{folder}/lake"
        self.warehouse = folder / "new" / "warehouse.duckdb"

    def publish(self, *records: Record, day: int = 0, until: float = 24, schema: pa.Schema = SCHEMA) -> Part:
        """Put an object into the lake, and return the slice as the extract does."""
        part = slice_of(self.lake, day, until)
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(records), schema), sink)
        data = sink.getvalue().to_pybytes()
        target = ObjectStoragePath(part["path"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return part | {
            "rows": len(records),
            "bytes": len(data),
            "changed": True,
            "proof": "single_response",
            "sha256": hashlib.sha256(data).hexdigest(),
        }

    def load(self, *parts: Part) -> dict[str, int]:
        """Run the task on what one extract told."""
        done: dict[str, int] = load.function([{"resource": "threats", "slices": list(parts)}], str(self.warehouse))
        return done

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Ask the warehouse."""
        with closing(duckdb.connect(str(self.warehouse), read_only=True)) as connection:
            return connection.execute(query).fetchall()

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Id and status of every anomaly in the warehouse."""
        return self.ask("select id, status from cloudlock_threats order by all")

    @property
    def ledger(self) -> list[tuple[Any, ...]]:
        """Day of January, hours, hash and rows of every load."""
        return self.ask(
            "select day(timezone('UTC', window_start)), "
            "date_diff('hour', window_start, window_end), sha256, rows from cloudlock_loads order by all"
        )


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with nothing in it, and the Airflow Variable that a first load would set."""
    world = World(tmp_path)
    monkeypatch.setenv(f"AIRFLOW_VAR_{host_variable(str(world.warehouse)).upper()}", socket.gethostname())
    return world


def test_load_into_another_hosts_file_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    part = world.publish(anomaly("1"))
    world.load(part)
    variable = f"AIRFLOW_VAR_{host_variable(str(world.warehouse)).upper()}"
    monkeypatch.setenv(variable, "worker-2")
    with pytest.raises(AirflowFailException, match=f"created by host {socket.gethostname()}, .* file of host worker-2"):
        world.load(world.publish(anomaly("1"), anomaly("2")))
    assert world.rows == [("1", "ACTIVE")]


def test_load_into_a_file_that_moved_is_accepted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.load(world.publish(anomaly("1")))
    with closing(duckdb.connect(str(world.warehouse))) as connection:
        connection.execute("update cloudlock_host set host = 'container-1'")
    monkeypatch.setenv(f"AIRFLOW_VAR_{host_variable(str(world.warehouse)).upper()}", "container-1")
    assert world.load(world.publish(anomaly("1"), anomaly("2"))) == loaded(slices=1, rows=2)


def test_every_field_arrives(world: World) -> None:
    time = hour(1.5)
    record = anomaly(
        "7",
        updated_at=time,
        detected_at=time,
        start_time=time,
        end_time=time,
        dismissed_at=time,
        dismiss_reason="Known",
        threat_risk="Account Compromise",
        threat_type="SUSPICIOUS_LOGIN",
        threat_entity="USER",
        short_description="Łódź",
        description="from 🌍",
        event_count=2**40,
        platforms=["office365", "box"],
        locations=[],
        users=[{"display_name": None, "email": "ada@example.com"}],
        suspicious_ip="2001:db8::1",
        _extra='{"new": 1}',
    )
    world.load(world.publish(record))
    with closing(duckdb.connect(str(world.warehouse))) as connection:
        table = connection.sql("from cloudlock_threats").arrow().read_all()
    assert table.schema.names == SCHEMA.names
    assert set(record) == set(SCHEMA.names)
    assert table.cast(SCHEMA).to_pylist() == [record]


def test_a_second_load_changes_nothing(world: World) -> None:
    part = world.publish(anomaly("1"), anomaly("2", hour(23.9)))
    assert world.load(part) == loaded(slices=1, rows=2)
    before = world.rows, world.ask("from cloudlock_loads")
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)
    assert (world.rows, world.ask("from cloudlock_loads")) == before


def test_load_of_two_days_replaces_only_the_changed_one(world: World) -> None:
    first = world.publish(anomaly("1"))
    world.load(first, world.publish(anomaly("2", hour(24)), anomaly("3", hour(25)), day=1))
    changed = world.publish(anomaly("2", hour(24), status="DISMISSED"), anomaly("4", hour(26)), day=1)
    assert world.load(first, changed) == loaded(slices=1, rows=2, skipped=1)
    assert world.rows == [("1", "ACTIVE"), ("2", "DISMISSED"), ("4", "ACTIVE")]
    assert world.ledger == [(2, 24, first["sha256"], 1), (3, 24, changed["sha256"], 2)]


def test_what_an_extract_wrote_before_it_crashed_is_loaded(world: World) -> None:
    part = world.publish(anomaly("1"))
    assert world.load(part | {"changed": False}) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "ACTIVE")]


def test_load_of_an_empty_object_empties_the_day(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    empty = world.publish()
    assert world.load(empty) == loaded(slices=1, rows=0)
    assert world.rows == []
    assert world.ledger == [(2, 24, empty["sha256"], 0)]


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
    assert load.function(extracts, str(world.warehouse)) == loaded(slices=3, rows=3)
    assert world.rows == [("0", "ACTIVE"), ("1", "ACTIVE"), ("2", "ACTIVE")]


def test_load_of_a_whole_day_replaces_its_first_half(world: World) -> None:
    noon = world.publish(anomaly("1"), anomaly("2", hour(11)), until=12)
    assert world.load(noon) == loaded(slices=1, rows=2)
    assert world.ledger == [(2, 12, noon["sha256"], 2)]
    whole = world.publish(anomaly("1", status="DISMISSED"), anomaly("2", hour(11)), anomaly("3", hour(13)))
    assert world.load(whole) == loaded(slices=1, rows=3)
    assert world.rows == [("1", "DISMISSED"), ("2", "ACTIVE"), ("3", "ACTIVE")]
    assert world.ledger == [(2, 24, whole["sha256"], 3)]
    assert world.load(whole) == loaded(slices=0, rows=0, skipped=1)


def test_load_of_a_half_day_takes_the_whole_object(world: World) -> None:
    noon = world.publish(anomaly("1"), until=12)
    whole = world.publish(anomaly("1"), anomaly("2", hour(13)))
    for part in (noon, whole, noon, noon, whole):
        world.load(part)
        assert world.rows == [("1", "ACTIVE"), ("2", "ACTIVE")]
        assert [entry[2:] for entry in world.ledger] == [(whole["sha256"], 2)]
    assert world.load(whole) == loaded(slices=0, rows=0, skipped=1)


def test_load_of_an_unchanged_day_notes_that_it_is_over(world: World) -> None:
    noon, whole = world.publish(anomaly("1"), until=12), world.publish(anomaly("1"))
    assert noon["sha256"] == whole["sha256"]
    world.load(noon)
    assert world.load(whole) == loaded(slices=1, rows=1)
    assert world.load(noon, whole) == loaded(slices=0, rows=0, skipped=2)
    assert world.ledger == [(2, 24, whole["sha256"], 1)]


def test_load_of_a_day_extracted_at_noon_and_again_when_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noon(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return hour(12).astimezone(tz)

    def load_extract(before: str | datetime) -> dict[str, Any]:
        extracted = operator(world.lake, before=before).execute({})
        load.function([extracted], str(world.warehouse))
        return extracted

    with Tenant(day_of_records("2026-01-02", 20)) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        with monkeypatch.context() as clock:
            clock.setattr(extraction, "datetime", Noon)
            noon = load_extract(hour(12))
        first_half = tenant.window("2026-01-02", hour(12))
        assert world.rows == sorted((str(each["id"]), each["status"]) for each in first_half)
        assert [entry[:2] for entry in world.ledger] == [(2, 12)]
        tenant.dismiss(first_half[0]["id"])
        load_extract("2026-01-03")
        assert world.rows == sorted((str(each["id"]), each["status"]) for each in tenant.records)
        assert [(*entry[:2], entry[3]) for entry in world.ledger] == [(2, 24, 20)]
        load.function([noon], str(world.warehouse))
        assert world.rows == sorted((str(each["id"]), each["status"]) for each in tenant.records)


@pytest.mark.parametrize("start", ["2026-01-02T12:00:00+00:00", "2026-01-02T00:00:00+01:00", "2026-01-02"])
def test_load_of_a_slice_not_from_midnight_utc_is_refused(world: World, start: str) -> None:
    part = world.publish(anomaly("1", hour(12)))
    with pytest.raises(AirflowFailException, match="does not begin at midnight UTC"):
        world.load(part | {"window": [start, part["window"][1]]})
    assert world.rows == []


def test_load_of_a_day_leaves_its_neighbours(world: World) -> None:
    world.load(world.publish(anomaly("1", hour(23.9))))
    world.load(world.publish(anomaly("3", hour(48)), day=2))
    world.load(world.publish(anomaly("2", hour(24)), day=1))
    assert [row[0] for row in world.rows] == ["1", "2", "3"]
    assert [entry[:2] for entry in world.ledger] == [(2, 24), (3, 24), (4, 24)]


def test_the_ledger_tells_what_was_loaded_when_a_later_extract_was_faster(world: World) -> None:
    first = world.publish(anomaly("1"))
    second = world.publish(anomaly("1", status="DISMISSED"))
    assert world.load(first) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]
    assert world.load(second) == loaded(slices=0, rows=0, skipped=1)


def test_a_failure_after_the_deletion_leaves_the_old_rows(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.rows, world.ledger
    later = world.publish(anomaly("1", novelty=1), schema=SCHEMA.append(pa.field("novelty", pa.int64())))
    with pytest.raises(duckdb.BinderException, match="novelty"):
        world.load(later)
    assert (world.rows, world.ledger) == before
    good = world.publish(anomaly("1", status="DISMISSED"))
    assert world.load(good) == loaded(slices=1, rows=1)


def test_a_task_that_is_stopped_leaves_the_old_rows(world: World) -> None:
    world.load(world.publish(anomaly("1")))

    def stopped(connection: duckdb.DuckDBPyConnection) -> None:
        with transaction(connection):
            connection.execute("delete from cloudlock_threats")
            raise KeyboardInterrupt

    with closing(duckdb.connect(str(world.warehouse))) as connection:
        with pytest.raises(KeyboardInterrupt):
            stopped(connection)
        assert connection.execute("select id from cloudlock_threats").fetchall() == [("1",)]


def test_load_that_fails_keeps_the_days_loaded_before(world: World) -> None:
    good = world.publish(anomaly("1"))
    bad = world.publish(anomaly("2", hour(24)), day=1)
    Path(bad["path"].removeprefix("file://")).write_bytes(b"PAR1")
    with pytest.raises(AirflowFailException, match=r"\.parquet cannot be read as Parquet"):
        world.load(good, bad)
    assert world.rows == [("1", "ACTIVE")]
    assert world.load(good, world.publish(anomaly("2", hour(24)), day=1)) == loaded(1, 1, skipped=1)


@pytest.mark.parametrize(
    ("held", "says"), [([], "has 0 rows"), ([("1", 30)], "1 of them outside"), ([("1", 1), ("2", 30)], "1 of")]
)
def test_an_object_that_is_not_what_was_extracted_changes_nothing(
    world: World, held: list[tuple[str, float]], says: str
) -> None:
    world.load(world.publish(anomaly("1")))
    part = world.publish(anomaly("1", status="DISMISSED"))
    world.publish(*(anomaly(key, hour(at)) for key, at in held))
    with pytest.raises(AirflowFailException, match=says):
        world.load(part)
    assert world.rows == [("1", "ACTIVE")]


def test_rows_that_somebody_removed_are_loaded_again(world: World) -> None:
    part = world.publish(anomaly("1"))
    world.load(part)
    with closing(duckdb.connect(str(world.warehouse))) as connection:
        connection.execute("delete from cloudlock_threats")
    assert world.load(part) == loaded(1, 1)


def test_load_of_a_missing_object_fails_and_changes_nothing(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    gone = world.publish(anomaly("1", status="DISMISSED"))
    Path(gone["path"].removeprefix("file://")).unlink()
    with pytest.raises(FileNotFoundError, match=r"threats-2026-01-02.parquet no longer exists.*Clear the extract task"):
        world.load(gone)
    assert world.rows == [("1", "ACTIVE")]


def test_a_warehouse_that_another_process_has_open_is_not_waited_for(world: World) -> None:
    part = world.publish(anomaly("1"))
    world.load(part)
    script = f"import duckdb; held = duckdb.connect({str(world.warehouse)!r}); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(duckdb.IOException, match="lock"):
            world.load(part)
        holder.communicate("\n")
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)


@pytest.mark.slow
def test_first_load_sets_the_variable_of_its_host(world: World) -> None:
    part = world.publish(anomaly("1"))
    folder = world.warehouse.parents[1] / "home"
    (folder / "dags").mkdir(parents=True)
    for name in ("first", "second"):
        lines = [
            "from airflow.sdk import dag",
            "from cloudlock_duckdb import load",
            "@dag(schedule=None)",
            f"def {name}():",
            f"    load([{{'resource': 'threats', 'slices': [{part!r}]}}], warehouse={str(world.warehouse)!r})",
            f"{name}()",
        ]
        (folder / "dags" / f"{name}.py").write_text("\n".join(lines))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")} | {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": str(DAGS),
    }
    command = [sys.executable, "-m", "tests.integration.airflow_home", str(folder / "dags")]
    done = subprocess.run(command, env=environment, cwd=DAGS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes = json.loads(done.stdout)
    assert [outcomes[name]["xcom"] for name in ("first", "second")] == [loaded(1, 1), loaded(0, 0, skipped=1)]
    with closing(sqlite3.connect(folder / "airflow.db")) as database:
        assert database.execute("select key from variable").fetchall() == [(host_variable(str(world.warehouse)),)]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 bucket that only the Airflow connection opens."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    account = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    endpoint = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
    boto3.client("s3", **account, **endpoint).create_bucket(Bucket="lake")
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": endpoint}
    monkeypatch.setenv("AIRFLOW_CONN_LOAD_S3", json.dumps(connection))
    yield "s3://load_s3@lake/cloudlock"
    server.stop()


def test_load_from_s3_uses_the_connection_in_the_path(world: World, bucket: str) -> None:
    world.lake = bucket
    part = world.publish(anomaly("1"), anomaly("2"))
    assert world.load(part) == loaded(slices=1, rows=2)
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)
    changed = world.publish(anomaly("1", status="DISMISSED"))
    assert world.load(changed) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]
    with pytest.raises(FileNotFoundError, match=r"s3://load_s3@lake/.* no longer exists"):
        world.load(changed | {"path": changed["path"] + "x", "sha256": "0"})
