"""The views of what became of the anomalies, in both databases."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import cloudlock_duckdb
import cloudlock_postgres
import duckdb
import psycopg
import pytest
import sqlglot
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.duckdb.operators.duckdb import DuckDBExecuteQueryOperator
from airflow.sdk import DAG
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dags.conftest import DAGS, SCHEMA
from tests.support import instant
from tests.support.postgres import postgres

SQL = "sql/cloudlock_threats_history.sql"
VIEWS = (DAGS / SQL).read_text()
CURRENT, WAITS, OPEN = (f"cloudlock_threats_{name}" for name in ("current", "time_to_dismissal", "open_by_day"))
DAY, HOUR, MICROSECOND = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)

Row = tuple[Any, ...]


class Database(Protocol):
    """A connection to either of them."""

    def execute(self, query: str, parameters: Any = None, /) -> Any:
        """Run a statement."""


class Warehouse:
    """The tables as a sample makes them, the views, and a few words to fill and ask them."""

    def __init__(self, database: Database, placeholder: str) -> None:
        self.database = database
        self._placeholder = placeholder

    def write(self, table: str, **values: Any) -> None:
        """Insert a row; texts of instants are UTC."""
        for name in values:
            if name.endswith(("_at", "_start", "_end")):
                values[name] = instant(values[name])
        marks = ", ".join([self._placeholder] * len(values))
        self.database.execute(f"insert into {table} ({', '.join(values)}) values ({marks})", list(values.values()))

    def anomaly(self, key: str, created: str | datetime | None, status: str | None = "ACTIVE", **values: Any) -> None:
        """Insert an anomaly."""
        self.write("cloudlock_threats", id=key, created_at=created, status=status, **values)

    def loaded(self, start: str | datetime, end: str | datetime, resource: str = "threats") -> None:
        """Note a load."""
        self.write("cloudlock_loads", resource=resource, window_start=start, window_end=end, sha256="", rows=0, path="")

    def days(self, first: str, number: int) -> None:
        """Note the loads of whole days on end."""
        start = at(first)
        for n in range(number):
            self.loaded(start + n * DAY, start + (n + 1) * DAY)

    def ask(self, query: str) -> list[Row]:
        """Ask a question."""
        answer: list[Row] = self.database.execute(query).fetchall()
        return answer

    @property
    def now(self) -> list[Row]:
        """What has become of each anomaly."""
        return self.ask(f"select id, state, opened_at, closed_at, hours_to_dismissal from {CURRENT} order by id")

    @property
    def waits(self) -> list[Row]:
        """Time to dismissal."""
        return self.ask(f"select * from {WAITS} order by week, threat_risk")

    @property
    def open(self) -> list[Row]:
        """Open anomalies by day."""
        return self.ask(f"select * from {OPEN} order by day")


def in_duckdb() -> Warehouse:
    """Make a warehouse in memory."""
    database = duckdb.connect()
    database.execute(cloudlock_duckdb.TABLES)
    database.execute(VIEWS)
    return Warehouse(database, "?")


@pytest.fixture(scope="module")
def server() -> Iterator[dict[str, Any]]:
    """A Postgres server for the tests of this module."""
    with postgres() as connection:
        yield json.loads(connection)


@pytest.fixture
def login(server: dict[str, Any]) -> Iterator[psycopg.Connection[Row]]:
    """A connection to a schema with the tables alone."""
    with closing(
        psycopg.connect(host=server["host"], user=server["login"], dbname=server["schema"], autocommit=True)
    ) as connection:
        connection.execute('drop schema if exists "History" cascade')
        connection.execute('create schema "History"')
        connection.execute('set search_path to "History"')
        for statement in cloudlock_postgres.TABLES:
            connection.execute(statement)
        yield connection


@pytest.fixture(params=["duckdb", "postgres"])
def warehouse(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    """An empty warehouse."""
    if request.param == "postgres":
        connection = request.getfixturevalue("login")
        connection.execute(VIEWS)
        yield Warehouse(connection, "%s")
    else:
        warehouse = in_duckdb()
        yield warehouse
        warehouse.database.close()  # type: ignore[attr-defined]


def at(text: str) -> datetime:
    """Read an instant of UTC."""
    moment = instant(text)
    assert moment is not None
    return moment


# --- each anomaly once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (("2026-01-02", "2026-01-05"), ("2026-01-03", "2026-01-05 00:00:00.000001")),
        (("2026-01-03", "2026-01-05"), ("2026-01-02", "2026-01-05 00:00:00.000001")),
        (("2026-01-03", None), ("2026-01-02", "2026-01-01")),
        (("2026-01-02", "2026-01-05"), ("2026-01-03", "2026-01-05")),
        (("2026-01-02", None), ("2026-01-03", None)),
    ],
    ids=["moved later", "moved earlier", "no update known", "same update", "nothing known"],
)
def test_what_was_updated_last_counts(
    warehouse: Warehouse, older: tuple[str, str | None], newer: tuple[str, str], reverse: bool
) -> None:
    for created, updated, status in sorted([(*older, "ACTIVE"), (*newer, "DISMISSED")], key=str, reverse=reverse):
        warehouse.anomaly("1", created, status, updated_at=updated)
    assert warehouse.now == [("1", "dismissed", at(newer[0]), None, None)]


def test_current_view_has_every_column(warehouse: Warehouse) -> None:
    names = [column[0] for column in warehouse.database.execute(f"select * from {CURRENT}").description]
    assert sorted(names) == sorted([*SCHEMA.names, "state", "opened_at", "closed_at", "hours_to_dismissal"])


def test_current_view_keeps_the_columns_of_the_table(warehouse: Warehouse) -> None:
    warehouse.anomaly("1", "2026-01-02", "dismissed", dismissed_at="2026-01-01")
    warehouse.anomaly("2", None, None, detected_at="2026-01-03")
    columns = ", ".join(name for name in SCHEMA.names if name not in ("users", "_extra"))
    before = warehouse.ask(f"select {columns} from cloudlock_threats order by id")
    assert warehouse.ask(f"select {columns} from {CURRENT} order by id") == before


@pytest.mark.parametrize(
    ("status", "state"),
    [
        *[(status, "active") for status in ("ACTIVE", "Active", "active")],
        *[(status, "dismissed") for status in ("DISMISSED", "Dismissed", "dISMISSEd")],
        *[(status, "other") for status in (None, "", "RESOLVED", "ACTIVE ", "INACTIVE", "active|dismissed")],
    ],
)
def test_states(warehouse: Warehouse, status: str | None, state: str) -> None:
    warehouse.anomaly("1", "2026-01-02", status, dismissed_at="2026-01-02T01:00")
    closed = at("2026-01-02T01:00") if state == "dismissed" else None
    assert warehouse.now == [("1", state, at("2026-01-02"), closed, closed and 1)]


def test_the_status_does_not_depend_on_the_language(login: psycopg.Connection[Row]) -> None:
    # As a Turkish database has it. What comes before pg_catalog is taken for it.
    for name, from_, to in (("lower", "I", "ı"), ("upper", "i", "İ")):
        login.execute(
            f"create function {name}(text) returns text language sql immutable as "
            f"$$ select pg_catalog.{name}(replace($1, '{from_}', '{to}')) $$"
        )
    login.execute('set search_path to "History", pg_catalog')
    assert login.execute("select lower('ACTIVE'), upper('active')").fetchall() == [("actıve", "ACTİVE")]
    login.execute(VIEWS)
    warehouse = Warehouse(login, "%s")
    for n, status in enumerate(("ACTIVE", "Active", "Dismissed", "DISMISSED")):
        warehouse.anomaly(str(n), "2026-01-02", status)
    assert [row[1] for row in warehouse.now] == ["active", "active", "dismissed", "dismissed"]


@pytest.mark.parametrize(
    ("dismissed", "hours"),
    [("2026-01-02", 0), ("2026-01-02T00:36", 0.6), ("2026-01-01T23:59:59.999999", None), (None, None)],
)
def test_a_dismissal_before_the_creation_makes_no_sense(
    warehouse: Warehouse, dismissed: str | None, hours: float | None
) -> None:
    warehouse.anomaly("1", None, "DISMISSED", detected_at=at("2026-01-02"), dismissed_at=dismissed)
    closed = dismissed and at(dismissed) if hours is not None else None
    assert warehouse.now == [("1", "dismissed", at("2026-01-02"), closed, hours)]


# --- time to dismissal ------------------------------------------------------------------------------------------------


def test_percentiles_of_a_week(warehouse: Warehouse) -> None:
    start = at("2026-01-05T00:00")  # a Monday
    for n, hours in enumerate((1, 2, 3, 10)):
        warehouse.anomaly(f"d{n}", start + n * HOUR, "DISMISSED", dismissed_at=start + (n + hours) * HOUR)
    warehouse.anomaly("open", start + 7 * DAY - MICROSECOND, "ACTIVE")
    warehouse.anomaly("reopened", start, "ACTIVE", dismissed_at=start + HOUR)
    warehouse.anomaly("when?", start, "DISMISSED")
    warehouse.anomaly("before?", start, "DISMISSED", dismissed_at=start - HOUR)
    warehouse.anomaly("what?", start, "RESOLVED", dismissed_at=start + HOUR)
    ((week, risk, created, dismissed, still_open, unclear, median, p90, longest),) = warehouse.waits
    assert (week, risk, created, dismissed, still_open, unclear) == (date(2026, 1, 5), None, 9, 4, 2, 3)
    assert (median, p90, longest) == (2.5, pytest.approx(7.9), 10)


def test_weeks_and_risks_are_told_apart(warehouse: Warehouse) -> None:
    monday = at("2026-01-05T00:00")
    for n, (created, risk) in enumerate(
        [(monday - MICROSECOND, "a"), (monday, "a"), (monday, "b"), (monday, None), (monday + 7 * DAY, "a")]
    ):
        warehouse.anomaly(str(n), created, "DISMISSED", threat_risk=risk, dismissed_at=created + n * HOUR)
    assert sorted([(f"{row[0]:%d}", *row[1:3], row[6]) for row in warehouse.waits], key=str) == [
        ("05", "a", 1, 1),
        ("05", "b", 1, 2),
        ("05", None, 1, 3),
        ("12", "a", 1, 4),
        ("29", "a", 1, 0),
    ]


def test_a_week_without_dismissals(warehouse: Warehouse) -> None:
    warehouse.anomaly("1", "2026-01-05")
    assert [row[2:] for row in warehouse.waits] == [(1, 0, 1, 0, None, None, None)]


# --- open by day ------------------------------------------------------------------------------------------------------


def test_open_by_day(warehouse: Warehouse) -> None:
    warehouse.days("2026-01-01", 7)
    dismissed = {
        "same day": ("2026-01-02T01:00", "2026-01-02T23:59:59.999999"),
        "at midnight": ("2026-01-02T01:00", "2026-01-03T00:00"),
        "at once": ("2026-01-03T00:00", "2026-01-03T00:00"),
        "later": ("2026-01-02T23:59:59.999999", "2026-01-05T12:00"),
        "after the last day": ("2026-01-06T12:00", "2026-01-08T03:00"),
    }
    for key, (created, closed) in dismissed.items():
        warehouse.anomaly(key, created, "Dismissed", dismissed_at=closed)
    warehouse.anomaly("open", "2026-01-03T05:00", "Active")
    warehouse.anomaly("when?", "2026-01-02T05:00", "DISMISSED")
    warehouse.anomaly("what?", "2026-01-06T05:00", "RESOLVED")
    assert [(row[0].day, *row[1:]) for row in warehouse.open] == [
        # day, complete, created, dismissed, still_open, unclear
        (1, True, 0, 0, 0, 0),
        (2, True, 4, 1, 2, 1),
        (3, True, 2, 2, 2, 1),
        (4, True, 0, 0, 2, 1),
        (5, True, 0, 1, 1, 1),
        (6, True, 2, 0, 2, 2),
        (7, True, 0, 0, 2, 2),
    ]


def test_open_by_day_of_partial_days_is_not_complete(warehouse: Warehouse) -> None:
    warehouse.days("2026-01-01", 1)
    warehouse.loaded("2026-01-02", "2026-01-02T23:59:59.999999")
    warehouse.days("2026-01-04", 1)
    warehouse.loaded("2026-01-05", "2026-01-05T06:00")
    warehouse.loaded("2026-01-03", "2026-01-04", "incidents")
    warehouse.loaded("2026-01-07", "2026-01-08", "incidents")
    assert [(row[0].day, row[1]) for row in warehouse.open] == [
        (1, True),
        (2, False),
        (3, False),
        (4, True),
        (5, False),
    ]


def test_anomalies_without_a_note_of_their_load(warehouse: Warehouse) -> None:
    warehouse.anomaly("1", "2026-01-02")
    warehouse.anomaly("2", "2026-01-04", "DISMISSED", dismissed_at="2026-01-06")
    assert [(row[0].day, *row[1:5]) for row in warehouse.open] == [
        (2, False, 1, 0, 1),
        (3, False, 0, 0, 1),
        (4, False, 1, 0, 2),
    ]


def test_nothing_yet(warehouse: Warehouse) -> None:
    assert (warehouse.now, warehouse.waits, warehouse.open) == ([], [], [])


# --- sessions and runs ------------------------------------------------------------------------------------------------


#: Where the clocks go forward, where a whole day was left out, and where a day begins at an odd time.
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kathmandu")


def test_the_zone_of_the_session_changes_nothing(warehouse: Warehouse) -> None:
    """Berlin's clocks went forward on 29 March 2026, a Sunday; Apia went without 30 December 2011."""
    for first in ("2011-12-28", "2026-03-27"):
        warehouse.days(first, 5)
    for n, created in enumerate(("2011-12-29T12:00", "2026-03-28T12:00", "2026-03-28T23:30", "2026-03-29T23:30")):
        warehouse.anomaly(str(n), at(created), "DISMISSED", dismissed_at=at(created) + 2 * DAY)
    answers = []
    for zone in ZONES:
        warehouse.database.execute(f"set TimeZone = '{zone}'")
        answers.append((warehouse.now, warehouse.waits, warehouse.open))
    now, waits, open_ = answers[0]
    assert all(answer == answers[0] for answer in answers)
    assert [row[4] for row in now] == [48] * 4
    assert [(row[0], row[2], row[8]) for row in waits] == [(date(2011, 12, 26), 1, 48), (date(2026, 3, 23), 3, 48)]
    days = [row[0] for row in open_]
    assert days == [days[0] + n * DAY for n in range(len(days))]
    assert days[2] == date(2011, 12, 30)
    assert [row[4] for row in open_[:5]] == [0, 1, 1, 0, 0]
    assert [row[4] for row in open_[-5:]] == [0, 2, 3, 1, 0]


def test_views_may_be_made_again_and_follow_the_tables(warehouse: Warehouse) -> None:
    warehouse.database.execute(VIEWS)
    warehouse.anomaly("1", "2026-01-02")
    assert [row[1] for row in warehouse.now] == ["active"]
    warehouse.database.execute(VIEWS)
    assert [row[4] for row in warehouse.open] == [1]


@pytest.mark.usefixtures("login")
def test_as_tasks(server: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_POSTGRES_DEFAULT", json.dumps(server))
    warehouse = str(tmp_path / "warehouse.duckdb")
    with closing(duckdb.connect(warehouse)) as connection:
        connection.execute(cloudlock_duckdb.TABLES)
    with DAG("history", template_searchpath=str(DAGS), schedule=None):
        tasks = [
            SQLExecuteQueryOperator(
                task_id="postgres",
                conn_id="postgres_default",
                sql=SQL,
                hook_params={"options": '-c search_path="{{ params.schema }}"'},
            ),
            DuckDBExecuteQueryOperator(task_id="duckdb", database="{{ params.warehouse }}", sql=SQL),
        ]
    for task in tasks * 2:
        context: Any = {"params": {"schema": "History", "warehouse": warehouse}, "ti": None}
        task.resolve_template_files()
        task.render_template_fields(context)
        task.execute(context)
    with closing(duckdb.connect(warehouse, read_only=True)) as connection:
        assert connection.execute(f"from {OPEN}").fetchall() == []
    reader = psycopg.connect(host=server["host"], user=server["login"], dbname=server["schema"])
    with closing(reader):
        assert reader.execute(f'select * from "History".{OPEN}').fetchall() == []


@pytest.mark.parametrize("dialect", ["duckdb", "postgres", "snowflake", "bigquery", "redshift", "databricks"])
def test_other_warehouses_can_read_it(dialect: str) -> None:
    statements = [statement for statement in sqlglot.parse(VIEWS, read=dialect) if statement is not None]
    assert [(type(each).__name__, each.args["kind"], each.find(sqlglot.exp.Table).name) for each in statements] == [
        ("Create", "VIEW", name) for name in (CURRENT, WAITS, OPEN)
    ]


# --- against a plain model --------------------------------------------------------------------------------------------


START = at("2026-03-26T00:00")
#: Where days, weeks and the clocks of many a zone turn, and a moment on either side.
INSTANTS = st.builds(
    lambda days, hours, nudge: START + days * DAY + hours * HOUR + nudge * MICROSECOND,
    st.integers(0, 7),
    st.sampled_from([0, 0, 1, 12, 23]),
    st.sampled_from([0, 0, -1, 1]),
)
ANOMALIES = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abcdefgh"),
            "created_at": st.none() | INSTANTS,
            "detected_at": INSTANTS,
            "updated_at": st.none() | INSTANTS,
            "status": st.sampled_from(["ACTIVE", "Active", "DISMISSED", "Dismissed", "dismissed", "NEW", None]),
            "dismissed_at": st.none() | INSTANTS,
            "threat_risk": st.sampled_from(["Account Compromise", None]),
        }
    ),
    max_size=8,
    unique_by=lambda row: (row["id"], row["created_at"] or row["detected_at"]),
)
#: Hours that were loaded of each day.
LOADED = st.dictionaries(st.integers(0, 7), st.sampled_from([1, 12, 23, 24, 24]))


def opened(row: dict[str, Any]) -> datetime:
    created: datetime = row["created_at"] or row["detected_at"]
    return created


def closed(row: dict[str, Any]) -> datetime | None:
    when: datetime | None = row["dismissed_at"]
    return when if state(row) == "dismissed" and when is not None and when >= opened(row) else None


def state(row: dict[str, Any]) -> str:
    status = str(row["status"]).lower()
    return status if status in ("active", "dismissed") else "other"


def percentile(values: list[float], share: float) -> float | None:
    if len(values) < 2:
        return values[0] if values else None
    return statistics.quantiles(values, n=10, method="inclusive")[round(share * 10) - 1]


def expected_waits(rows: list[dict[str, Any]]) -> set[Row]:
    groups: dict[tuple[date, str | None], list[dict[str, Any]]] = {}
    for row in rows:
        day = opened(row).date()
        groups.setdefault((day - day.weekday() * DAY, row["threat_risk"]), []).append(row)
    answer = set()
    for group, members in groups.items():
        ends = [(closed(row), opened(row)) for row in members]
        hours = sorted((end - start) / HOUR for end, start in ends if end is not None)
        states = Counter(state(row) for row in members)
        counts = (len(members), len(hours), states["active"], len(members) - len(hours) - states["active"])
        figures = (percentile(hours, 0.5), percentile(hours, 0.9), max(hours, default=None))
        answer.add((*group, *counts, *(figure if figure is None else round(figure, 6) for figure in figures)))
    return answer


def expected_open(rows: list[dict[str, Any]], loads: dict[int, int]) -> list[Row]:
    known = {opened(row).date() for row in rows} | {(START + n * DAY).date() for n in loads}
    answer: list[Row] = []
    for n in range((max(known) - min(known)).days + 1 if known else 0):
        day = min(known) + n * DAY
        end = datetime(day.year, day.month, day.day, tzinfo=UTC) + DAY
        so_far = [row for row in rows if opened(row) < end]
        unclear = [row for row in so_far if state(row) != "active" and closed(row) is None]
        still = [row for row in so_far if row not in unclear and (closed(row) or end) >= end]
        answer.append(
            (
                day,
                loads.get((day - START.date()).days) == 24,
                sum(opened(row).date() == day for row in rows),
                sum(end is not None and end.date() == day for end in map(closed, rows)),
                len(still),
                len(unclear),
            )
        )
    return answer


def newest(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    def rank(row: dict[str, Any]) -> tuple[datetime, datetime]:
        return row["updated_at"] or START - 9 * DAY, opened(row)

    return [max((row for row in rows if row["id"] == key), key=rank) for key in sorted({row["id"] for row in rows})]


@pytest.fixture(scope="module")
def kept() -> Iterator[Warehouse]:
    """A warehouse for many examples."""
    warehouse = in_duckdb()
    yield warehouse
    warehouse.database.close()  # type: ignore[attr-defined]


@settings(deadline=None, max_examples=60)
@given(rows=ANOMALIES, loads=LOADED, zone=st.sampled_from(ZONES))
def test_views_equal_a_plain_model(
    kept: Warehouse, rows: list[dict[str, Any]], loads: dict[int, int], zone: str
) -> None:
    kept.database.execute("delete from cloudlock_threats; delete from cloudlock_loads")
    kept.database.execute(f"set TimeZone = '{zone}'")
    for row in rows:
        kept.write("cloudlock_threats", **row)
    for n, hours in loads.items():
        kept.loaded(START + n * DAY, START + n * DAY + hours * HOUR)
    last = newest(rows)
    assert [row[:4] for row in kept.now] == [(row["id"], state(row), opened(row), closed(row)) for row in last]
    found = kept.waits
    assert {(*row[:6], *(x if x is None else round(x, 6) for x in row[6:])) for row in found} == expected_waits(last)
    assert len(found) == len(expected_waits(last))
    assert kept.open == expected_open(last, loads)
