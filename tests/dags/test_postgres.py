"""The load into Postgres, against a real server."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from cloudlock_postgres import CONNECTION, SCHEMA, load

from airflow_provider_cloudlock.lake.decode import ArrowFormat
from tests.benchmarks.records import Day
from tests.dags.conftest import DAGS, DAY, THREATS, anomaly, hour, loaded, slice_of
from tests.dags.conftest import SCHEMA as THREAT
from tests.operators.lake import connection, operator
from tests.support import Tenant, day_of_records
from tests.support.postgres import postgres

Part = dict[str, Any]
Record = dict[str, Any]

NUMBERS = itertools.count()
#: A lock that tests hold to stop a load at a known place.
GATE = 42


class World:
    """A lake, a schema of the warehouse, and what an extract would tell."""

    def __init__(self, folder: Path, server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        self.lake = folder
        self.monkeypatch = monkeypatch
        self.schema = f"World_{next(NUMBERS)}"
        self.server = server
        self.log_in()
        self.run(f'create schema "{self.schema}"')

    def log_in(self, **change: Any) -> None:
        """Make the Airflow connection."""
        self.monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", json.dumps(self.server | change))

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """Open a connection of a reader."""
        server = self.server
        options = f'-c search_path="{self.schema}" -c timezone=UTC'
        return psycopg.connect(
            host=server["host"], user=server["login"], dbname=server["schema"], options=options, autocommit=True
        )

    def run(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements, and return what the last one answers."""
        with closing(self.connect()) as reader:
            for statement in statements:
                cursor = reader.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def publish(self, *records: Record, day: int = 0, until: float = 24, schema: pa.Schema = THREAT) -> Part:
        """Put an object of records into the lake."""
        return self.put(pa.Table.from_pylist(list(records), schema), day, until)

    def put(self, table: pa.Table, day: int = 0, until: float = 24) -> Part:
        """Put an object into the lake, and return the slice as the extract does."""
        part = slice_of(f"file://{self.lake}", day, until)
        file = Path(part["path"].removeprefix("file://"))
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, file)
        return part | {"rows": table.num_rows, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}

    def load(self, *parts: Part) -> dict[str, int]:
        """Run the task on what one extract told."""
        done: dict[str, int] = load.function([{"resource": "threats", "slices": list(parts)}], self.schema)
        return done

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Id and status of every anomaly in the warehouse."""
        return self.run("select id, status from cloudlock_threats order by 1, 2")

    @property
    def ledger(self) -> list[tuple[Any, ...]]:
        """Day of January, hours, hash and rows of every load."""
        return self.run(
            "select extract(day from window_start)::int, extract(epoch from window_end - window_start)::int / 3600, "
            "sha256, rows from cloudlock_loads order by window_start, window_end"
        )

    @property
    def state(self) -> tuple[Any, ...]:
        """Everything in the warehouse, the time of the loads and the version of every row included."""
        return tuple(
            self.run(f"select xmin::text, ctid::text, {table}::text from {table} order by 2")
            for table in ("cloudlock_threats", "cloudlock_loads")
        )

    def gate(self, event: str) -> None:
        """Make every load wait for a lock before it deletes or inserts rows."""
        self.run(
            "create or replace function gate() returns trigger language plpgsql as "
            f"$$ begin perform pg_advisory_xact_lock({GATE}); return null; end $$",
            f"create trigger gate before {event} on cloudlock_threats for each statement execute function gate()",
        )

    def wait_for_waiting(self, sessions: int, objid: int | None = None) -> None:
        """Wait until so many sessions wait for an advisory lock."""
        only = "" if objid is None else f"and objid = {objid}"
        waiting = f"select count(*) from pg_locks where locktype = 'advisory' and not granted {only}"
        deadline = time.monotonic() + 30
        while self.run(waiting) != [(sessions,)]:
            assert time.monotonic() < deadline, self.run("select state, wait_event, query from pg_stat_activity")
            time.sleep(0.01)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server for the tests of this module."""
    with postgres() as connection:
        yield connection


@pytest.fixture
def world(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A world with nothing in it."""
    return World(tmp_path, json.loads(server), monkeypatch)


def test_every_field_arrives(world: World) -> None:
    at = hour(1.5) + timedelta(microseconds=1)
    users = [{"display_name": None, "email": "ada@example.com"}, {"display_name": 'Łódź "\\" 🌍', "email": None}, None]
    record = anomaly(
        "7",
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
        description='from 🌍 \\ {a,"b"} \' \x7f',
        event_count=-(2**63),
        platforms=["office365", 'a,"b"', '\\{"}', "", " ", None, "NULL"],
        locations=[],
        users=users,
        suspicious_ip="2001:db8::1",
        _extra='{"new": 1}',
    )
    assert set(record) == set(THREAT.names)
    world.load(world.publish(record))
    with closing(world.connect()) as reader:
        cursor = reader.execute("select * from cloudlock_threats")
        assert cursor.description is not None
        names = [column.name for column in cursor.description]
        assert names == THREAT.names
        row = cursor.fetchone()
    assert row is not None
    assert dict(zip(names, row, strict=True)) == record | {"_extra": {"new": 1}}
    types = dict(
        world.run(
            "select attname, atttypid::regtype::text from pg_attribute "
            "where attrelid = 'cloudlock_threats'::regclass and attnum > 0"
        )
    )
    assert {types[name] for name in names if name.endswith(("_at", "_time"))} == {"timestamp with time zone"}
    assert (types["platforms"], types["users"], types["_extra"]) == ("text[]", "jsonb", "json")


def test_nothing_arrives_as_nothing(world: World) -> None:
    nothing = dict.fromkeys(THREAT.names)
    world.load(world.publish(nothing | anomaly("1"), nothing | anomaly("2") | {"users": [], "platforms": []}))
    assert world.run("select id, users, platforms, _extra from cloudlock_threats order by 1") == [
        ("1", None, None, None),
        ("2", [], [], None),
    ]


def test_what_did_not_fit_a_column_is_kept_to_the_last_character(world: World) -> None:
    extras = [
        '{"b": 1.10000000000000000000000000000001, "a":1e400,"a":  -0.0}',
        '{"nul": "\\u0000", "half a pair": "\\ud800"}',
        '{"deep": ' + "[" * 1_000 + "]" * 1_000 + "}",
    ]
    world.load(world.publish(*(anomaly(str(n), _extra=extra) for n, extra in enumerate(extras))))
    assert world.run("select _extra::text from cloudlock_threats order by id") == [(extra,) for extra in extras]
    assert world.run("select _extra ->> 'b' from cloudlock_threats where id = '0'") == [(extras[0][6:40],)]


def test_a_nul_is_written_as_json_does(world: World, caplog: pytest.LogCaptureFixture) -> None:
    odd = {"users": [None, {"display_name": "a\0", "email": None}], "platforms": ["\0b", None], "description": "\0\0"}
    world.load(world.publish(anomaly("1"), anomaly("2", **odd), anomaly("3", users=[])))
    assert world.run("select id, users, platforms, description from cloudlock_threats order by 1") == [
        ("1", None, None, None),
        ("2", [None, {"display_name": "a\\u0000", "email": None}], ["\\u0000b", None], "\\u0000\\u0000"),
        ("3", [], None, None),
    ]
    warned = [record.getMessage().split(".")[0] for record in caplog.records if record.levelname == "WARNING"]
    assert warned == [f"There are NUL characters in {name}" for name in ("description", "platforms", "users")]


def test_rows_that_somebody_removed_are_loaded_again(world: World) -> None:
    part = world.publish(anomaly("1"))
    world.load(part)
    world.run("delete from cloudlock_threats returning 1")
    assert world.load(part) == loaded(slices=1, rows=1)


def test_load_of_100_000_rows_equals_the_lake(world: World) -> None:
    days = [whole := threats(100_000), whole.slice(50_000, 1_000).combine_chunks()]
    part = world.put(days[0])
    world.load(world.publish(anomaly("0", hour(-1)), day=-1))
    world.load(world.publish(anomaly("00", hour(24)), day=1))
    assert world.load(part) == loaded(slices=1, rows=100_000)
    assert in_warehouse(world).equals(days[0])
    assert world.load(world.put(days[1])) == loaded(slices=1, rows=1_000)
    assert in_warehouse(world).equals(days[1])
    assert world.run("select count(*) from cloudlock_threats") == [(1_002,)]


def threats(rows: int) -> pa.Table:
    """Return a day of threats: those of an answer of the API again and again, each with an id and a time of its own."""
    records = Day(DAY.date(), 4_000, 0.01)
    body = b'{"items":[' + bytes(records.items(0, 4_000)).rstrip(b",") + b"]}"
    page = ArrowFormat(THREATS).decode(body)
    start, step = int(DAY.timestamp() * 1_000_000), timedelta(days=1) // timedelta(microseconds=1) // rows
    times = pa.array(range(start, start + rows * step, step), pa.int64()).cast(THREAT.field("created_at").type)
    table = pa.concat_tables([page.table] * (rows // 4_000))
    table = table.set_column(0, THREAT.field("id"), pa.array(map(str, range(rows))))
    return table.set_column(1, THREAT.field("created_at"), times).combine_chunks()


def in_warehouse(world: World) -> pa.Table:
    """Return the rows of the day, as the lake has them."""
    uri = f"postgresql:///{world.server['schema']}?host={world.server['host']}&user={world.server['login']}"
    with closing(adbc_driver_postgresql.dbapi.connect(uri)) as reader, reader.cursor() as cursor:
        day = f"created_at >= '{DAY:%Y-%m-%d}Z' and created_at < '{hour(24):%Y-%m-%d}Z'"
        cursor.execute(f'select * from "{world.schema}".cloudlock_threats where {day} order by created_at, id')
        table = cursor.fetch_arrow_table()
    users = pa.array([value and json.loads(value) for value in table["users"].to_pylist()], THREAT.field("users").type)
    place = table.schema.get_field_index("users")
    return table.set_column(place, "users", users).cast(THREAT).combine_chunks()


def test_load_of_loaded_days_changes_nothing(world: World) -> None:
    parts = [world.publish(anomaly("1")), world.publish(anomaly("2", hour(24)), day=1)]
    assert world.load(*parts) == loaded(slices=2, rows=2)
    before = world.state
    assert world.load(*parts[::-1], parts[1]) == loaded(slices=0, rows=0, skipped=3)
    assert world.state == before


def test_load_of_days_in_any_order_loads_all(world: World) -> None:
    parts = [world.publish(anomaly(str(n), hour(24 * n)), day=n) for n in range(6)]
    world.load(parts[4], parts[1])
    world.load(parts[5], parts[0], parts[1])
    world.load(*parts)
    assert world.rows == [(str(n), "ACTIVE") for n in range(6)]
    assert world.ledger == [(2 + n, 24, parts[n]["sha256"], 1) for n in range(6)]


def test_load_of_two_days_replaces_only_the_changed_one(world: World) -> None:
    first = world.publish(anomaly("1"))
    world.load(first, world.publish(anomaly("2", hour(24)), anomaly("3", hour(25)), day=1))
    changed = world.publish(anomaly("2", hour(24), status="DISMISSED"), anomaly("4", hour(26)), day=1)
    assert world.load(first, changed) == loaded(slices=1, rows=2, skipped=1)
    assert world.rows == [("1", "ACTIVE"), ("2", "DISMISSED"), ("4", "ACTIVE")]
    assert world.ledger == [(2, 24, first["sha256"], 1), (3, 24, changed["sha256"], 2)]


def test_what_an_extract_wrote_before_it_crashed_is_loaded(world: World) -> None:
    assert world.load(world.publish(anomaly("1")) | {"changed": False}) == loaded(slices=1, rows=1)


def test_load_of_an_empty_object_empties_the_day(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    empty = world.publish()
    assert world.load(empty) == loaded(slices=1, rows=0)
    assert world.rows == []
    assert world.ledger == [(2, 24, empty["sha256"], 0)]


def test_a_record_without_created_at_counts_by_its_detection(world: World) -> None:
    world.load(world.publish(anomaly("1", None, detected_at=hour(3))))
    world.load(world.publish(anomaly("1", None, detected_at=hour(3), status="DISMISSED")))
    assert world.rows == [("1", "DISMISSED")]


def test_load_of_a_record_in_two_days_keeps_both(world: World) -> None:
    world.load(world.publish(anomaly("1", hour(11))))
    world.load(world.publish(anomaly("1", hour(24)), day=1))
    assert world.rows == [("1", "ACTIVE"), ("1", "ACTIVE")]


def test_load_of_several_extracts_loads_all(world: World) -> None:
    parts = [world.publish(anomaly(str(n), hour(24 * n)), day=n) for n in range(3)]
    extracts = [{"resource": "threats", "slices": [part]} for part in parts]
    assert load.function(extracts, world.schema) == loaded(slices=3, rows=3)


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
    assert world.load(whole) == loaded(slices=0, rows=0, skipped=1)


def test_load_of_an_unchanged_day_notes_that_it_is_over(world: World) -> None:
    noon, whole = world.publish(anomaly("1"), until=12), world.publish(anomaly("1"))
    assert noon["sha256"] == whole["sha256"]
    world.load(noon)
    assert world.load(whole) == loaded(slices=1, rows=1)
    assert world.load(noon, whole) == loaded(slices=0, rows=0, skipped=2)


def test_load_of_a_day_leaves_its_neighbours(world: World) -> None:
    world.load(world.publish(anomaly("1", hour(23.9))))
    world.load(world.publish(anomaly("3", hour(48)), day=2))
    world.load(world.publish(anomaly("2", hour(24)), day=1))
    assert [row[0] for row in world.rows] == ["1", "2", "3"]
    assert [entry[:2] for entry in world.ledger] == [(2, 24), (3, 24), (4, 24)]


def test_load_of_an_older_slice_takes_the_newest_object(world: World) -> None:
    older = world.publish(anomaly("1"))
    newer = world.publish(anomaly("1", status="DISMISSED"))
    assert world.load(older) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]
    assert world.load(newer) == loaded(slices=0, rows=0, skipped=1)
    assert world.load(older) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]
    assert world.ledger == [(2, 24, newer["sha256"], 1)]


def test_load_that_waited_takes_the_newest_object(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    world.gate("delete")
    older = world.publish(anomaly("1", status="OLDER"))
    with closing(world.connect()) as holder, ThreadPoolExecutor() as pool:
        holder.execute(f"select pg_advisory_lock({GATE})")
        first = pool.submit(world.load, older)
        world.wait_for_waiting(1)
        second = pool.submit(world.load, older | {"sha256": "of a receipt that is older still"})
        world.wait_for_waiting(2)
        newer = world.publish(anomaly("1", status="NEWER"))
        holder.execute(f"select pg_advisory_unlock({GATE})")
        assert first.result() == second.result() == loaded(slices=1, rows=1)
    assert world.rows == [("1", "NEWER")]
    assert world.ledger == [(2, 24, newer["sha256"], 1)]


def test_concurrent_loads_make_no_duplicates(world: World) -> None:
    world.log_in(extra={"options": "-cdefault_transaction_isolation=serializable"})
    records = [anomaly(str(n), hour(n / 25)) for n in range(1_000)]
    parts = [world.publish(*records[:600]), world.publish(*records[600:], day=1)]
    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(lambda n: world.load(*parts[:: n % 2 or -1]), range(8)))
    assert sum(each["slices_loaded"] for each in done) == 2
    assert sum(each["slices_skipped"] for each in done) == 14
    assert world.run("select count(*), count(distinct id) from cloudlock_threats") == [(1_000, 1_000)]
    assert [entry[3] for entry in world.ledger] == [600, 400]


def test_a_killed_load_leaves_the_old_rows(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.state
    world.gate("insert")
    part = world.publish(anomaly("1", status="DISMISSED"))
    extracts = [{"resource": "threats", "slices": [part]}]
    script = f"from cloudlock_postgres import load; load.function({extracts!r}, {world.schema!r})"
    with closing(world.connect()) as holder:
        holder.execute(f"select pg_advisory_lock({GATE})")
        with subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"PYTHONPATH": str(DAGS)}) as worker:
            world.wait_for_waiting(1, GATE)
            worker.kill()
        # The insert itself goes on, and succeeds.
        holder.execute(f"select pg_advisory_unlock({GATE})")
    # A load after it waits until the server has put an end to it.
    world.run("drop trigger gate on cloudlock_threats")
    assert world.state == before
    assert world.load(part) == loaded(slices=1, rows=1)
    assert world.rows == [("1", "DISMISSED")]


def test_a_reader_sees_the_slice_as_it_was_or_as_it_is(world: World) -> None:
    world.load(world.publish(*(anomaly(str(n)) for n in range(100))))
    world.gate("insert")
    with closing(world.connect()) as holder, ThreadPoolExecutor() as pool:
        holder.execute(f"select pg_advisory_lock({GATE})")
        running = pool.submit(world.load, world.publish(*(anomaly(str(n)) for n in range(50))))
        world.wait_for_waiting(1, GATE)
        assert len(world.rows) == 100
        holder.execute(f"select pg_advisory_unlock({GATE})")
        running.result()
    assert len(world.rows) == 50


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


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("drop column description", 'column "description" of relation "cloudlock_threats" does not exist'),
        ("add column team text not null default 'x', add check (team <> 'x' or status = 'ACTIVE')", "check constraint"),
        ("alter column dismiss_reason set not null", 'null value in column "dismiss_reason"'),
        ("alter column event_count type date using null", 'column "event_count" is of type date'),
    ],
)
def test_a_table_that_does_not_fit_is_left_as_it_is(world: World, change: str, complaint: str) -> None:
    world.load(world.publish(anomaly("1", dismiss_reason="")))
    world.run(f"alter table cloudlock_threats {change}")
    before = world.state
    with pytest.raises(adbc_driver_manager.Error, match=complaint):
        world.load(world.publish(anomaly("1", status="DISMISSED")))
    assert world.state == before


def test_a_column_of_ones_own_that_must_be_filled_is_named(world: World) -> None:
    world.load(world.publish())
    world.run("alter table cloudlock_threats add column team text not null")
    before = world.state
    with pytest.raises(adbc_driver_manager.Error, match='null value in column "team"'):
        world.load(world.publish(anomaly("1")))
    assert world.state == before
    world.run("alter table cloudlock_threats alter column team set default 'soc'")
    assert world.load(world.publish(anomaly("1"))) == loaded(slices=1, rows=1)


def test_an_object_with_a_new_column_changes_nothing(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    before = world.state
    later = world.publish(anomaly("1", novelty=1), schema=THREAT.append(pa.field("novelty", pa.int64())))
    with pytest.raises(adbc_driver_manager.Error, match='column "novelty" of relation "cloudlock_threats"'):
        world.load(later)
    assert world.state == before


def test_an_object_without_a_column_is_loaded_without(world: World) -> None:
    part = world.publish(anomaly("1"), schema=THREAT.remove(THREAT.get_field_index("suspicious_ip")))
    assert world.load(part) == loaded(slices=1, rows=1)


def test_nothing_is_left_behind(world: World) -> None:
    world.load(world.publish(anomaly("1")))
    assert world.run("select relname from pg_class where relname like '%staging%' or relpersistence = 't'") == []
    tables = f"select relname from pg_class where relnamespace = '\"{world.schema}\"'::regnamespace and relkind = 'r'"
    assert sorted(world.run(tables)) == [("cloudlock_loads",), ("cloudlock_threats",)]


def test_load_without_a_right_fails_and_says_which(world: World) -> None:
    loader = f"loader_of_{world.schema}"
    part = world.publish(anomaly("1"))
    world.run(f'create role "{loader}" login')
    world.log_in(login=loader)

    def refusal() -> str:
        with pytest.raises(AirflowFailException) as refused:
            world.load(part)
        assert f'grant usage, create on schema "{world.schema}" to "{loader}"' in str(refused.value)
        assert "create table" not in str(refused.value)
        return str(refused.value)

    assert refusal().startswith("no schema has been selected to create in ")
    world.run(f'grant usage on schema "{world.schema}" to "{loader}"')
    assert refusal().startswith(f"permission denied for schema {world.schema} ")
    world.log_in()
    world.load(part)
    world.log_in(login=loader)
    assert refusal().startswith("permission denied for table cloudlock_loads ")
    world.run(f'grant select, insert, delete on all tables in schema "{world.schema}" to "{loader}"')
    assert world.load(world.publish(anomaly("1", status="DISMISSED"))) == loaded(slices=1, rows=1)


@pytest.mark.parametrize(
    "extra",
    [
        {"keepalives_idle": 30, "keepalives": True, "connect_timeout": "5", "application_name": "a b&c=d+%2B"},
        {"iam": False, "cursor": "dictcursor", "sqlalchemy_query": {"sslmode": "disable"}, "sslmode": "prefer"},
        {"options": "-c application_name=load -c statement_timeout=60000", "nested": {"a": [1]}, "sslcert": None},
    ],
)
def test_load_takes_libpq_options_from_the_extra(world: World, extra: dict[str, Any]) -> None:
    world.log_in(extra=extra, password="p@ss word/?#%")
    world.run(
        "create or replace function note() returns trigger language plpgsql as "
        "$$ begin raise exception 'named %', current_setting('application_name'); end $$",
    )
    assert world.load(world.publish(anomaly("1"))) == loaded(slices=1, rows=1)
    world.run("create trigger note before insert on cloudlock_threats execute function note()")
    name = {"options": "load", "iam": ""}.get(next(iter(extra)), extra.get("application_name"))
    with pytest.raises(adbc_driver_manager.Error, match=f"named {re.escape(name)}\n"):
        world.load(world.publish(anomaly("1"), anomaly("2")))


def test_a_schema_is_a_plain_name(world: World) -> None:
    part = world.publish(anomaly("1"))
    world.load(part)
    before = world.state
    quoting = ['"; drop table cloudlock_threats; --', "'; DROP TABLE x;--", 'a"b', "a.b", "a b"]
    for name in [*quoting, "", "1a", "ä", "a" * 64]:
        with pytest.raises(ParamValidationError):
            SCHEMA.resolve(name)
    for name in [*quoting, "", "1a", "ä", "a" * 64, f"{world.schema}\n"]:
        with pytest.raises(AirflowFailException, match="is no plain name"):
            load.function([{"resource": "threats", "slices": [part]}], name)
    assert world.state == before
    assert SCHEMA.resolve(world.schema) == world.schema


def test_a_schema_that_is_not_there_is_named(world: World) -> None:
    with pytest.raises(AirflowFailException, match=r"no schema has been selected to create in .*schema 'nowhere'"):
        load.function([{"resource": "threats", "slices": [world.publish(anomaly("1"))]}], "nowhere")


def test_a_path_is_not_sql(world: World) -> None:
    part = world.publish(anomaly("1"))
    odd = world.lake / "'; drop table cloudlock_threats; --.parquet"
    Path(part["path"].removeprefix("file://")).rename(odd)
    assert world.load(part | {"path": f"file://{odd}"}) == loaded(slices=1, rows=1)
    assert world.run("select path from cloudlock_loads") == [(f"file://{odd}",)]


def test_what_an_extract_left_is_what_a_load_brings(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    records = day_of_records("2026-01-02", 300)
    with Tenant(records) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        extracted = operator(f"file://{world.lake}/extracted").execute({})
    assert load.function([extracted], world.schema) == loaded(slices=1, rows=300)
    files = list(world.lake.glob("extracted/threats/created_date=*/*.parquet"))
    assert in_warehouse(world).equals(pq.ParquetFile(files[0]).read().replace_schema_metadata().combine_chunks())
    assert load.function([extracted], world.schema) == loaded(slices=0, rows=0, skipped=1)
