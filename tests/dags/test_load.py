"""The load into DuckDB, against real files."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from cloudlock_duckdb import load, transaction
from moto.server import ThreadedMotoServer

from airflow_provider_cloudlock.lake.schemas import SCHEMAS

Part = dict[str, Any]
Record = dict[str, Any]

DAY = datetime(2026, 1, 2, tzinfo=UTC)
SCHEMA = SCHEMAS["threats"]


def hour(n: float) -> datetime:
    """Return the instant so many hours into the day."""
    return DAY + timedelta(hours=n)


def anomaly(key: str, created: datetime | None = DAY, **fields: Any) -> Record:
    """Make a row of the lake."""
    return {"id": key, "created_at": created, "status": "ACTIVE"} | fields


class World:
    """A lake, a warehouse, and what an extract would tell."""

    def __init__(self, folder: Path) -> None:
        self.lake = f"file://{folder}/lake"
        self.warehouse = folder / "new" / "warehouse.duckdb"

    def publish(self, *records: Record, hours: tuple[float, float] = (0, 24), schema: pa.Schema = SCHEMA) -> Part:
        """Put an object into the lake, and return what the extract tells about it."""
        start, end = map(hour, hours)
        path = f"{self.lake}/threats/created_date=2026-01-02/{start:%H}--{end:%H}.parquet"
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(records), schema), sink)
        data = sink.getvalue().to_pybytes()
        target = ObjectStoragePath(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return {
            "window": [start.isoformat(), end.isoformat()],
            "path": path,
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
        """Hours, hash and rows of every load that counts."""
        return self.ask(
            "select hour(timezone('UTC', window_start)), "
            "date_diff('hour', window_start, window_end), sha256, rows from cloudlock_loads order by all"
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world with nothing in it."""
    return World(tmp_path)


def loaded(slices: int, rows: int, skipped: int = 0) -> dict[str, int]:
    """Return what the task tells."""
    return {"slices_loaded": slices, "slices_skipped": skipped, "rows_loaded": rows}


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


def test_only_the_changed_slice_is_replaced(world: World) -> None:
    morning = world.publish(anomaly("1"), hours=(0, 12))
    world.load(morning, world.publish(anomaly("2", hour(12)), anomaly("3", hour(13)), hours=(12, 24)))
    changed = world.publish(anomaly("2", hour(12), status="DISMISSED"), anomaly("4", hour(14)), hours=(12, 24))
    assert world.load(morning, changed) == loaded(slices=1, rows=2, skipped=1)
    assert world.rows == [("1", "ACTIVE"), ("2", "DISMISSED"), ("4", "ACTIVE")]
    assert world.ledger == [(0, 12, morning["sha256"], 1), (12, 12, changed["sha256"], 2)]


def test_what_an_extract_wrote_before_it_crashed_is_loaded(world: World) -> None:
    part = world.publish(anomaly("1"))
    assert world.load(part | {"changed": False}) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "ACTIVE")]


def test_a_slice_may_become_empty(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    empty = world.publish()
    assert world.load(empty) == loaded(slices=1, rows=0)
    assert world.rows == []
    assert world.ledger == [(0, 24, empty["sha256"], 0)]


def test_slices_of_equal_bytes_are_told_apart(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    empty = [world.publish(hours=(0, 6)), world.publish(hours=(6, 24))]
    assert empty[0]["sha256"] == empty[1]["sha256"]
    assert world.load(*empty) == loaded(slices=2, rows=0)
    world.load(world.publish(anomaly("1")))
    assert world.load(*empty[::-1]) == loaded(slices=2, rows=0)
    assert world.rows == []


def test_a_record_without_created_at_counts_by_its_detection(world: World) -> None:
    world.load(world.publish(anomaly("1", None, detected_at=hour(3))))
    world.load(world.publish(anomaly("1", None, detected_at=hour(3), status="DISMISSED")))
    assert world.rows == [("1", "DISMISSED")]


def test_the_results_of_several_tasks_are_loaded_at_once(world: World) -> None:
    parts = [world.publish(anomaly(str(n), hour(n)), hours=(n, n + 1)) for n in range(3)]
    extracts = [{"resource": "threats", "slices": [part]} for part in parts]
    assert load.function(extracts, str(world.warehouse)) == loaded(slices=3, rows=3)
    assert world.rows == [("0", "ACTIVE"), ("1", "ACTIVE"), ("2", "ACTIVE")]


def test_a_bigger_window_replaces_its_parts(world: World) -> None:
    world.load(
        world.publish(anomaly("1"), hours=(0, 12)),
        world.publish(anomaly("2", hour(12)), hours=(12, 24)),
    )
    whole = world.publish(anomaly("1"), anomaly("2", hour(12)), anomaly("3", hour(13)))
    world.load(whole)
    assert world.rows == [("1", "ACTIVE"), ("2", "ACTIVE"), ("3", "ACTIVE")]
    assert world.ledger == [(0, 24, whole["sha256"], 3)]


def test_a_part_loaded_over_the_whole_makes_the_whole_due_again(world: World) -> None:
    whole = world.publish(anomaly("1"), anomaly("2", hour(12)))
    world.load(whole)
    part = world.publish(anomaly("1", status="DISMISSED"), hours=(0, 12))
    world.load(part)
    assert world.rows == [("1", "DISMISSED"), ("2", "ACTIVE")]
    assert world.ledger == [(0, 12, part["sha256"], 1)]
    assert world.load(whole) == loaded(slices=1, rows=2)
    assert world.rows == [("1", "ACTIVE"), ("2", "ACTIVE")]


def test_windows_that_only_touch_are_left_alone(world: World) -> None:
    world.load(world.publish(anomaly("1", hour(11.9)), hours=(0, 12)))
    world.load(world.publish(anomaly("3", hour(18)), hours=(18, 24)))
    world.load(world.publish(anomaly("2", hour(12)), hours=(12, 18)))
    assert [row[0] for row in world.rows] == ["1", "2", "3"]
    assert [entry[:2] for entry in world.ledger] == [(0, 12), (12, 6), (18, 6)]


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


def test_the_slices_before_a_failure_stay_loaded(world: World) -> None:
    good = world.publish(anomaly("1"), hours=(0, 12))
    bad = world.publish(anomaly("2", hour(12)), hours=(12, 24))
    Path(bad["path"].removeprefix("file://")).write_bytes(b"PAR1")
    with pytest.raises(AirflowFailException, match=r"\.parquet cannot be read as Parquet"):
        world.load(good, bad)
    assert world.rows == [("1", "ACTIVE")]
    assert world.load(good, world.publish(anomaly("2", hour(12)), hours=(12, 24))) == loaded(1, 1, skipped=1)


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


def test_a_missing_object_is_explained_and_changes_nothing(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    gone = world.publish(anomaly("1", status="DISMISSED"))
    Path(gone["path"].removeprefix("file://")).unlink()
    with pytest.raises(FileNotFoundError, match=r"00--00.parquet is not in the lake.*Clear the extract task"):
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


def test_a_lake_on_s3_is_read_through_its_connection(world: World, bucket: str) -> None:
    world.lake = bucket
    part = world.publish(anomaly("1"), anomaly("2"))
    assert world.load(part) == loaded(slices=1, rows=2)
    assert world.load(part) == loaded(slices=0, rows=0, skipped=1)
    changed = world.publish(anomaly("1", status="DISMISSED"))
    assert world.load(changed) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]
    with pytest.raises(FileNotFoundError, match=r"s3://load_s3@lake/.* is not in the lake"):
        world.load(changed | {"path": changed["path"] + "x", "sha256": "0"})
