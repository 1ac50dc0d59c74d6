"""The loads into cloud warehouses: their SQL by a parser of each dialect, and run in DuckDB where it can be."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import cloudlock_threats_bigquery as bigquery
import cloudlock_threats_databricks as databricks
import cloudlock_threats_redshift as redshift
import cloudlock_threats_snowflake as snowflake
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import redshift_connector
import sqlglot
from airflow.dag_processing.dagbag import DagBag
from airflow.providers.amazon.aws.hooks.redshift_sql import RedshiftSQLHook
from airflow.providers.amazon.aws.transfers.s3_to_redshift import S3ToRedshiftOperator
from airflow.sdk import DAG
from airflow.sdk.definitions._internal.expandinput import MappedArgument
from airflow.sdk.exceptions import AirflowFailException, ParamValidationError
from cloudlock_sql import slices
from packaging.version import Version
from sqlglot import ErrorLevel, exp

from tests.dags.conftest import DAGS, DAY, SCHEMA, hour, slice_of

Part = dict[str, Any]

WAREHOUSES = ["snowflake", "bigquery", "redshift", "databricks"]
READ = datetime(2026, 1, 3, 0, 0, 7, tzinfo=UTC)
S3, GS = "s3://aws_default@my-bucket/cloudlock", "gs://google_cloud_default@my-bucket/cloudlock"
FILE = "threats/created_date=2026-01-02/threats-2026-01-02.parquet"


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RedshiftSQLHook, "get_first", lambda self, sql: {"select sysdate": (READ,)}[sql])


def told(lake: str = S3, day: int = 0, until: float = 24, rows: int = 3, **fields: Any) -> Part:
    """Return a slice as the extract does."""
    return {
        **slice_of(lake, day, until),
        "rows": rows,
        "bytes": 4711,
        "changed": True,
        "proof": "single_response",
        "sha256": "0" * 64,
        "vanished_kept": 0,
        "quarantined": 0,
    } | fields


def extract(*parts: Part) -> dict[str, Any]:
    """Return what the extract returns."""
    return {"resource": "threats", "window": [], "rows": 0, "slices": list(parts)}


def load_of(warehouse: str, part: Part) -> list[str]:
    """Return the statements that load a slice."""
    found: list[list[str]]
    match warehouse:
        case "snowflake":
            found = snowflake.statements.function(extract(part), "cloudlock_lake")
        case "databricks":
            found = databricks.statements.function(extract(part), "main.security", "s3://my-bucket/cloudlock")
        case "redshift":
            found = [load["sql"] for load in redshift.plan.function(extract(part), "public")]
    return found[0]


def tables_of(dags: dict[str, DAG], warehouse: str) -> list[str]:
    """Return the statements that make the tables, rendered."""
    dag = dags[f"cloudlock_threats_{warehouse}"]
    task = dag.task_dict["tables"]
    context: Any = {
        "params": dag.params.dump(),
        "ti": SimpleNamespace(xcom_pull=lambda _: [{"staging": "cloudlock_stage_a"}, {"staging": "cloudlock_stage_b"}]),
    }
    match warehouse:
        case "bigquery":
            return [task.render_template(task.op_args, context)[0]["query"]["query"]]
        case "databricks":
            return list(task.render_template(task.op_args, context)[0])
        case "redshift":
            return RedshiftSQLHook.split_sql_string(task.render_template(task.sql, context), strip_semicolon=True)
    return list(task.render_template(task.sql, context))


def parsed(statement: str, dialect: str) -> exp.Expression:
    """Parse exactly one statement, all of it."""
    (found,) = sqlglot.parse(statement, read=dialect, error_level=ErrorLevel.RAISE)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def dags() -> dict[str, DAG]:
    """Return the DAGs of the warehouses."""
    found = {}
    for warehouse in WAREHOUSES:
        bag = DagBag(str(DAGS / f"cloudlock_threats_{warehouse}.py"))
        assert bag.import_errors == {}
        found |= bag.dags
    return found


# The files


def test_files_are_read_fast_without_network_connections_or_the_big_providers() -> None:
    script = """
import importlib, json, socket, sys, time
import airflow.sdk, airflow.models.dag
from airflow.sdk.bases.hook import BaseHook

def refuse(*args, **kwargs):
    raise AssertionError("a DAG file must not ask for this")

socket.socket.connect = socket.getaddrinfo = BaseHook.get_connection = refuse
for name in ("google", "snowflake", "databricks"):
    sys.modules[f"airflow.providers.{name}"] = None
sys.path.append(sys.argv[1])
took = {}
for name in sys.argv[2:]:
    begun = time.process_time()
    importlib.import_module(f"cloudlock_threats_{name}")
    took[name] = time.process_time() - begun
print(json.dumps(took))
"""
    for _ in range(2):  # the first run may compile what was never imported before
        run = subprocess.run(
            [sys.executable, "-c", script, str(DAGS), *WAREHOUSES], capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stderr
        took = json.loads(run.stdout.splitlines()[-1])
    assert set(took) == set(WAREHOUSES)
    assert max(took.values()) < 1, took


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_everything_is_described(dags: dict[str, DAG], warehouse: str) -> None:
    dag = dags[f"cloudlock_threats_{warehouse}"]
    assert dag.tags == {"cloudlock", "security"}
    assert dag.doc_md.strip().startswith("# Cloudlock threats")
    assert dag.max_active_runs == 1
    dag.params.validate()
    for name in dag.params:
        assert dag.params.get_param(name).description, name
        user = "refresh_days=REFRESH" if name == "refresh_days" else f"{{{{ params.{name} }}}}"
        assert user in Path(dag.fileloc).read_text(), f"{name} has no user"
    for task in dag.tasks:
        assert task.owner == "security-data"
        assert task.retries == 4


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_tables_are_there_before_the_first_load(dags: dict[str, DAG], warehouse: str) -> None:
    first = "load.copy" if warehouse == "redshift" else "load"
    assert first in dags[f"cloudlock_threats_{warehouse}"].task_dict["tables"].downstream_task_ids


@pytest.mark.parametrize("warehouse", ["bigquery", "databricks"])
def test_what_has_no_lock_loads_one_at_a_time(dags: dict[str, DAG], warehouse: str) -> None:
    load: Any = dags[f"cloudlock_threats_{warehouse}"].task_dict["load"]
    assert load.partial_kwargs["max_active_tis_per_dag"] == 1


def test_a_failed_load_is_not_hidden_by_the_cleaning(dags: dict[str, DAG]) -> None:
    clean = dags["cloudlock_threats_redshift"].task_dict["clean"]
    assert clean.trigger_rule == "all_success"
    assert clean.upstream_task_ids == {"load.swap"}


# The SQL


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_the_tables_are_those_of_the_lake(dags: dict[str, DAG], warehouse: str) -> None:
    expected = {
        "snowflake": ["VARCHAR", "TIMESTAMPLTZ", "DECIMAL(19, 0)", "ARRAY", "ARRAY"],
        "bigquery": [
            "STRING",
            "TIMESTAMP",
            "INT64",
            "ARRAY<STRING>",
            "ARRAY<STRUCT<display_name STRING, email STRING>>",
        ],
        "redshift": ["VARCHAR(MAX)", "TIMESTAMP", "BIGINT", "SUPER", "SUPER"],
        "databricks": [
            "STRING",
            "TIMESTAMP",
            "BIGINT",
            "ARRAY<STRING>",
            "ARRAY<STRUCT<display_name: STRING, email: STRING>>",
        ],
    }[warehouse]
    kinds = [pa.string(), pa.timestamp("us", tz="UTC"), pa.int64(), pa.list_(pa.string()), SCHEMA.field("users").type]
    types = dict(zip(kinds, expected, strict=True))
    create = parsed(tables_of(dags, warehouse)[0], warehouse)
    assert isinstance(create, exp.Create)
    assert create.args["exists"] is True
    columns = list(create.this.find_all(exp.ColumnDef))
    columns = [column for column in columns if column.parent is create.this]  # not the fields of a struct
    assert [(column.name, column.kind.sql(warehouse)) for column in columns] == [
        (field.name, types[field.type]) for field in SCHEMA
    ]
    required = [column.name for column in columns if column.find(exp.NotNullColumnConstraint)]
    assert required == [field.name for field in SCHEMA if not field.nullable]


@pytest.mark.parametrize("warehouse", WAREHOUSES)
def test_all_tables_are_made_only_when_missing(dags: dict[str, DAG], warehouse: str) -> None:
    creates = [parsed(statement, warehouse) for statement in tables_of(dags, warehouse)]
    assert all(isinstance(create, exp.Create) and create.args["exists"] for create in creates)
    assert [create.find(exp.Table).name.split(".")[-1] for create in creates] == {
        "snowflake": ["cloudlock_threats", "cloudlock_lock"],
        "bigquery": ["cloudlock_threats"],
        "redshift": ["cloudlock_threats", "cloudlock_loads", "cloudlock_stage_a", "cloudlock_stage_b"],
        "databricks": ["cloudlock_threats"],
    }[warehouse]


def test_bigquery_has_a_partition_for_each_day_of_the_lake(dags: dict[str, DAG]) -> None:
    create = parsed(tables_of(dags, "bigquery")[0], "bigquery")
    assert create.find(exp.PartitionedByProperty).this.name == "_PARTITIONDATE"


def test_staging_tables_are_dropped_in_the_end(dags: dict[str, DAG]) -> None:
    clean = dags["cloudlock_threats_redshift"].task_dict["clean"]
    context: Any = {"params": {"schema": "s"}, "ti": SimpleNamespace(xcom_pull=lambda _: [{"staging": "a"}])}
    sql = clean.render_template(clean.sql, context)
    assert [parsed(each, "redshift").sql("redshift") for each in RedshiftSQLHook.split_sql_string(sql)] == [
        "DROP TABLE IF EXISTS s.a"
    ]


@pytest.mark.parametrize(
    ("warehouse", "order"),
    [
        ("snowflake", [exp.Transaction, exp.Update, exp.Delete, exp.Copy, exp.Select, exp.Commit]),
        # LOCK is a Command, the one statement the parser does not know
        (
            "redshift",
            [
                *(exp.Transaction, exp.Command, exp.Select, exp.Delete, exp.Insert),
                *(exp.Delete, exp.Insert, exp.Commit),
            ],
        ),
        ("databricks", [exp.Select, exp.Insert]),
    ],
)
def test_a_load_in_its_order(warehouse: str, order: list[type[exp.Expression]]) -> None:
    found = [parsed(statement, warehouse) for statement in load_of(warehouse, told())]
    assert [type(each) for each in found] == order
    for command in (each for each in found if isinstance(each, exp.Command)):
        assert command.sql() == "LOCK public.cloudlock_loads"


def where_of(warehouse: str, part: Part) -> exp.Expression:
    """Return the condition on the rows that are replaced."""
    found = [parsed(statement, warehouse) for statement in load_of(warehouse, part)]
    if warehouse == "databricks":
        return next(each for each in found if isinstance(each, exp.Insert)).args["where"]
    return next(each for each in found if isinstance(each, exp.Delete)).args["where"]


@pytest.mark.parametrize("until", [24, 6.5, 1 / 3_600_000_000])
@pytest.mark.parametrize("warehouse", ["snowflake", "redshift", "databricks"])
def test_load_replaces_the_half_open_day_of_the_slice(warehouse: str, until: float) -> None:
    where = where_of(warehouse, told(until=until))
    bounds = {}
    for kind in (exp.GTE, exp.LT):
        compared = next(
            each for each in where.find_all(kind) if isinstance(each.this, exp.Coalesce) and not each.find(exp.Subquery)
        )
        assert [compared.this.this.name, *(each.name for each in compared.this.expressions)] == [
            "created_at",
            "detected_at",
        ]
        bound = datetime.fromisoformat(compared.expression.find(exp.Literal).this)
        bounds[kind] = (bound if bound.tzinfo else bound.replace(tzinfo=UTC)).isoformat()
    assert [bounds[exp.GTE], bounds[exp.LT]] == [DAY.isoformat(), hour(24).isoformat()]
    assert not where.find(exp.Or)


def test_snowflake_names_the_one_object_and_loads_it_whole_or_not_at_all() -> None:
    statement = parsed(load_of("snowflake", told())[3], "snowflake")
    assert isinstance(statement, exp.Copy)
    assert statement.this.name == "cloudlock_threats"
    options = {param.this.name.lower(): param for param in statement.args["params"]}
    assert [each.this for each in options["files"].find_all(exp.Literal)] == [FILE]
    assert "pattern" not in options
    assert options["on_error"].expression.name == "abort_statement"
    assert options["match_by_column_name"].expression.name == "case_insensitive"
    assert options["force"].sql("snowflake") == "force = TRUE"
    assert "use_vectorized_scanner=TRUE" in options["file_format"].sql("snowflake")
    assert statement.args["files"][0].sql("snowflake") == "@cloudlock_lake"


def test_databricks_reads_the_object_by_its_name() -> None:
    for statement in load_of("databricks", told()):
        source = parsed(statement, "databricks").find(exp.From).this
        assert (source.db, source.name) == ("parquet", f"s3://my-bucket/cloudlock/{FILE}")
    swap = parsed(load_of("databricks", told())[1], "databricks")
    assert swap.expression.named_selects == SCHEMA.names


def test_load_of_slices_includes_unchanged_ones() -> None:
    parts = [told(changed=False), told(day=1)]
    assert len(snowflake.statements.function(extract(*parts), "stage")) == 2
    assert len(databricks.statements.function(extract(*parts), "main.s", "/Volumes/a/b")) == 2
    assert len(redshift.plan.function(extract(*parts), "public")) == 2
    parts = [told(GS, changed=False), told(GS, day=1)]
    assert len(bigquery.jobs.function(extract(*parts), "my-project.security")) == 2


# What does not become SQL


@pytest.mark.parametrize(
    "lake",
    [
        *("s3://b/it's", "s3://b/a`b", 's3://b/a"b', "s3://b/a b", "s3://b/a;b", "s3://b/a$b", "s3://b/{{ x }}"),
        *("s3://b/a\\b", "s3://b/a\n", "s3://b/é", "s3://b'/a", "s3://x'@b/a", "s3://b/a%b", "s3://b//a", "plain"),
    ],
)
def test_a_name_with_meaning_in_sql_is_refused(lake: str) -> None:
    with pytest.raises(AirflowFailException, match="is not put into SQL"):
        slices(extract(told(lake)))


@pytest.mark.parametrize("tail", ["'", "\n", "?", ".crc"])
def test_nothing_may_follow_the_name(tail: str) -> None:
    with pytest.raises(AirflowFailException, match="is not put into SQL"):
        slices(extract(told() | {"path": told()["path"] + tail}))


def test_another_resource_is_refused() -> None:
    with pytest.raises(AirflowFailException, match="no slice of threats"):
        slices(extract(told() | {"path": told()["path"].replace("/threats/", "/incidents/")}))


@pytest.mark.parametrize("day", [-1, 1])
def test_slices_of_an_object_of_another_day_are_refused(day: int) -> None:
    with pytest.raises(AirflowFailException, match="is not the slice of"):
        slices(extract(told() | {"window": told(day=day)["window"]}))


def test_slices_of_a_path_with_two_days_are_refused() -> None:
    with pytest.raises(AirflowFailException, match="no slice of threats"):
        slices(extract(told() | {"path": told()["path"].replace("threats-2026-01-02", "threats-2026-01-03")}))


def test_slices_not_from_midnight_utc_are_refused() -> None:
    with pytest.raises(AirflowFailException, match="does not begin at midnight UTC"):
        slices(extract(told() | {"window": [hour(12).isoformat(), hour(24).isoformat()]}))


@pytest.mark.parametrize(("scheme", "good"), [("gs", GS), ("s3", S3)])
def test_a_lake_out_of_reach_is_refused(scheme: str, good: str) -> None:
    assert slices(extract(told(good)), scheme)
    bad = S3 if scheme == "gs" else GS
    with pytest.raises(AirflowFailException, match=rf"begins with {scheme}://\."):
        slices(extract(told(bad)), scheme)
    with pytest.raises(AirflowFailException, match="begins with"):
        slices(extract(told("file:///lake")), scheme)


def test_a_warehouse_reads_the_store_beside_it() -> None:
    with pytest.raises(AirflowFailException, match=r"begins with s3://\."):
        redshift.plan.function(extract(told(GS)), "public")
    with pytest.raises(AirflowFailException, match=r"begins with gs://\."):
        bigquery.jobs.function(extract(told(S3)), "my-project.security")


@pytest.mark.parametrize(
    ("lake", "connection", "bucket", "key"),
    [
        (S3, "aws_default", "my-bucket", f"cloudlock/{FILE}"),
        ("s3://my.bucket", None, "my.bucket", FILE),
        ("abfs://az-1@box/a/b=c", "az-1", "box", f"a/b=c/{FILE}"),
        ("file:///srv/lake", None, "", f"srv/lake/{FILE}"),
    ],
)
def test_the_connection_is_no_part_of_the_name(lake: str, connection: str | None, bucket: str, key: str) -> None:
    (part,) = slices(extract(told(lake)))
    assert (part.connection, part.bucket, part.key, part.file) == (connection, bucket, key, FILE)
    assert (part.start, part.end, part.rows) == (DAY, hour(24), 3)


@pytest.mark.parametrize(
    ("warehouse", "param", "good", "bad"),
    [
        ("snowflake", "stage", ["a", "a.b", "a.b.c"], ["a.b.c.d", "a b", "a;b", "1a", "", "a'"]),
        ("redshift", "schema", ["public", "_x1"], ["a.b", "a b", "a;b", "1a", "", "a'"]),
        ("databricks", "schema", ["a", "main.security"], ["a.b.c", "a b", "a;b", "", "a`"]),
        (
            "databricks",
            "location",
            ["s3://b", "gs://b/a", "abfss://c@a.dfs.core.windows.net/x", "/Volumes/m/s/v"],
            ["s3://x@b/a", "s3://b/", "s3://b/a`", "file:///a", "b/a", "s3://b/a b", ""],
        ),
        ("bigquery", "dataset", ["my-project.a_b"], ["a_b", "my-project.a.b", "my-project.a`", "my-project.", ""]),
    ],
)
def test_params_are_plain_names(
    dags: dict[str, DAG], warehouse: str, param: str, good: list[str], bad: list[str]
) -> None:
    rule = dags[f"cloudlock_threats_{warehouse}"].params.get_param(param)
    assert [rule.resolve(value) for value in good] == good
    for value in bad:
        with pytest.raises(ParamValidationError):
            rule.resolve(value)


@pytest.mark.parametrize("value", ["x; drop table y", "security'", "é", "public\n"])
def test_what_the_form_let_through_is_refused_before_it_is_sql(value: str) -> None:
    with pytest.raises(AirflowFailException, match="is not put into SQL"):
        snowflake.statements.function(extract(), value)
    with pytest.raises(AirflowFailException, match="is not put into SQL"):
        redshift.plan.function(extract(), value)
    with pytest.raises(AirflowFailException, match="is not put into SQL"):
        databricks.statements.function(extract(), value, "s3://b")
    with pytest.raises(AirflowFailException, match="is not put into SQL"):
        databricks.statements.function(extract(), "main", f"s3://{value}")
    with pytest.raises(AirflowFailException, match="is not put into SQL"):
        bigquery.jobs.function(extract(), f"my-project.{value}")


# The SQL of two warehouses at work, in DuckDB


class World:
    """A lake and a warehouse that understands the dialect of another."""

    def __init__(self, folder: Path, warehouse: str) -> None:
        self.lake, self.warehouse = folder, warehouse
        self.database = duckdb.connect()
        empty = folder / "empty.parquet"
        pq.write_table(SCHEMA.empty_table(), empty)
        self.database.execute("set timezone = 'UTC'")
        self.database.execute(f"create table cloudlock_threats as from read_parquet('{empty}')")
        self.database.execute("create table cloudlock_lock as select 'threats' as resource, 0 as loads")
        self.database.execute(
            "create table cloudlock_loads (window_start timestamp, window_end timestamp, read_at timestamp)"
        )

    def publish(self, *records: tuple[str, float], day: int = 0, until: float = 24) -> Part:
        """Put an object into the lake, and return the slice as the extract does."""
        part = told(day=day, until=until, rows=len(records))
        rows = [{"id": key, "created_at": None, "detected_at": hour(at), "platforms": ["box"]} for key, at in records]
        file = self.file(part)
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), file)
        return part

    def file(self, part: Part) -> Path:
        """Tell where the object of a slice lies."""
        return self.lake / slices(extract(part))[0].file

    def source(self, part: Part) -> str:
        """Name the object to DuckDB."""
        return f"read_parquet('{self.file(part)}', hive_partitioning = false)"

    def stage(self, part: Part) -> None:
        """Do what COPY does for Redshift."""
        self.database.execute(f"create or replace table stage as from {self.source(part)}")

    def load(self, part: Part, read_at: datetime = READ, *, staged: bool = False) -> None:
        """Load a slice; what fails leaves nothing behind."""
        if self.warehouse == "redshift":
            if not staged:
                self.stage(part)
            sql = redshift.swap(slices(extract(part))[0], "main", "stage", read_at)
        else:
            sql = load_of("snowflake", part)
        try:
            for statement in sql:
                self.run(parsed(statement, self.warehouse), part)
        except duckdb.Error:
            self.database.rollback()
            raise

    def run(self, statement: exp.Expression, part: Part) -> None:
        """Run a statement of the other dialect."""
        match statement:
            case exp.Command():  # LOCK: there is one session
                return
            case exp.Copy():
                text = f"insert into cloudlock_threats by name from {self.source(part)}"
            case _:
                text = statement.sql("duckdb", unsupported_level=ErrorLevel.RAISE)
        self.database.execute(text)

    @property
    def rows(self) -> list[str]:
        """Ids of the rows of the warehouse."""
        return [key for (key,) in self.database.execute("select id from cloudlock_threats order by id").fetchall()]


@pytest.fixture(params=["snowflake", "redshift"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Return an empty warehouse."""
    world = World(tmp_path, request.param)
    yield world
    world.database.close()


def test_load_of_a_day_leaves_its_neighbours(world: World) -> None:
    for part in (
        world.publish(("before", -0.001), day=-1),
        world.publish(("first", 0), ("old", 5), ("last", 23.999)),
        world.publish(("after", 24), day=1),
    ):
        world.load(part)
    assert world.rows == ["after", "before", "first", "last", "old"]
    world.load(world.publish(("first", 0), ("new", 7), ("last", 23.999)), READ + timedelta(days=1))
    assert world.rows == ["after", "before", "first", "last", "new"]


def test_load_of_days_twice_in_any_order_loads_each_once(world: World) -> None:
    days = [world.publish((f"day{n}", 24 * n), day=n) for n in range(3)]
    for n in (2, 0, 1, 1, 2, 0):
        world.load(days[n])
    assert world.rows == ["day0", "day1", "day2"]


def test_load_of_a_whole_day_replaces_its_first_half(world: World) -> None:
    noon = world.publish(("a", 5), ("b", 11), until=12)
    world.load(noon)
    assert world.rows == ["a", "b"]
    whole = world.publish(("a", 5), ("b", 11), ("c", 13))
    world.load(whole, READ + timedelta(days=1))
    assert world.rows == ["a", "b", "c"]
    for days, part in enumerate((noon, whole), 2):
        world.load(part, READ + timedelta(days=days))
        assert world.rows == ["a", "b", "c"]


def test_an_empty_slice_empties_its_window(world: World) -> None:
    world.load(world.publish(("old", 5)))
    world.load(world.publish(), READ + timedelta(days=1))
    assert world.rows == []


def test_an_object_with_more_rows_than_were_extracted_is_newer(world: World) -> None:
    part = world.publish(("a", 5))
    world.publish(("a", 5), ("b", 6))
    world.load(part)
    assert world.rows == ["a", "b"]


def test_an_object_with_fewer_rows_changes_nothing(world: World) -> None:
    world.load(world.publish(("a", 5), ("b", 6)))
    part = told(rows=2)
    world.publish(("a", 5))
    with pytest.raises(duckdb.ConversionException, match="The object has"):
        world.load(part, READ + timedelta(days=1))
    assert world.rows == ["a", "b"]


def test_a_missing_object_changes_nothing(world: World) -> None:
    world.load(world.publish(("a", 5)))
    part = world.publish(("a", 5), ("b", 6))
    world.file(part).unlink()
    with pytest.raises(duckdb.IOException, match="No files found"):
        world.load(part, READ + timedelta(days=1))
    assert world.rows == ["a"]


def test_an_object_of_another_day_changes_nothing(world: World) -> None:
    world.load(world.publish(("a", 5)))
    part = world.publish(("b", 30))
    with pytest.raises(duckdb.ConversionException, match="The object has"):
        world.load(part, READ + timedelta(days=1))
    assert world.rows == ["a"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[World]:
    """Return an empty warehouse that understands Redshift."""
    world = World(tmp_path, "redshift")
    yield world
    world.database.close()


def test_redshift_swap_of_an_older_copy_keeps_the_newer_rows(cluster: World) -> None:
    old = cluster.publish(("old", 0.5))
    cluster.stage(old)
    cluster.database.execute("alter table stage rename to waiting")
    cluster.load(cluster.publish(("new", 0.5)), READ + timedelta(seconds=1))
    cluster.database.execute("drop table stage; alter table waiting rename to stage")
    cluster.load(old, READ, staged=True)
    assert cluster.rows == ["new"]
    ledger = cluster.database.execute("select read_at from cloudlock_loads").fetchall()
    assert ledger == [((READ + timedelta(seconds=1)).replace(tzinfo=None),)]


def test_a_swap_that_could_not_tell_it_was_done_is_done_again(cluster: World) -> None:
    part = cluster.publish(("a", 5))
    for _ in range(2):
        cluster.load(part)
    assert cluster.rows == ["a"]
    cluster.load(cluster.publish(("a", 5), ("b", 6)))  # copied again
    assert cluster.rows == ["a", "b"]
    assert cluster.database.execute("select count(*) from cloudlock_loads").fetchall() == [(1,)]


def test_redshift_ledger_has_one_row_per_day(cluster: World) -> None:
    for n in range(3):
        cluster.load(cluster.publish(("a", 5)), READ + timedelta(days=n))
    cluster.load(cluster.publish(("b", 25), day=1))
    assert cluster.database.execute("select count(*) from cloudlock_loads").fetchall() == [(2,)]


@pytest.mark.parametrize("count", [2, 3])
def test_databricks_counts_before_it_replaces(tmp_path: Path, count: int) -> None:
    world = World(tmp_path, "databricks")
    part = world.publish(*((str(n), n) for n in range(count)))
    check = parsed(load_of("databricks", part | {"rows": 3})[0], "databricks")
    check.find(exp.From).this.replace(exp.to_table("objects"))
    world.database.execute(f"create table objects as from {world.source(part)}")
    text = check.sql("duckdb").replace("RAISE_ERROR(", "ERROR(")
    if count < 3:
        with pytest.raises(duckdb.Error, match="only 2 of the 3 rows extracted"):
            world.database.execute(text).fetchall()
    else:
        assert world.database.execute(text).fetchall() == [(3,)]


# BigQuery


@pytest.mark.parametrize("until", [24, 12])
def test_bigquery_replaces_the_partition_of_the_day(until: float) -> None:
    assert bigquery.jobs.function(extract(told(GS, until=until, rows=5)), "my-project.security") == [
        {
            "job": {
                "load": {
                    "sourceUris": [f"gs://my-bucket/cloudlock/{FILE}"],
                    "sourceFormat": "PARQUET",
                    "parquetOptions": {"enableListInference": True},
                    "destinationTable": {
                        "projectId": "my-project",
                        "datasetId": "security",
                        "tableId": "cloudlock_threats$20260102",
                    },
                    "createDisposition": "CREATE_NEVER",
                    "writeDisposition": "WRITE_TRUNCATE",
                }
            },
            "rows": 5,
        }
    ]


@pytest.fixture
def bigquery_hook(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Stand in for the provider, which is not installed here: tells what it was asked, answers as it is told."""
    said: dict[str, Any] = {"output_rows": 3}

    class BigQueryHook:
        def __init__(self, *, gcp_conn_id: str, use_legacy_sql: bool) -> None:
            said.update(conn_id=gcp_conn_id, legacy=use_legacy_sql)

        def insert_job(self, *, configuration: dict[str, Any], location: str) -> Any:
            said.update(job=configuration, location=location)
            if "error" in said:
                raise said["error"]
            return SimpleNamespace(**({"output_rows": said["output_rows"]} if "load" in configuration else {}))

    name = "airflow.providers.google"
    for tail in ("", ".cloud", ".cloud.hooks", ".cloud.hooks.bigquery"):
        monkeypatch.setitem(sys.modules, name + tail, ModuleType(name + tail))
    monkeypatch.setattr(sys.modules[f"{name}.cloud.hooks.bigquery"], "BigQueryHook", BigQueryHook, raising=False)
    return said


def test_bigquery_runs_jobs_to_their_end(bigquery_hook: dict[str, Any]) -> None:
    (load,) = bigquery.jobs.function(extract(told(GS)), "my-project.security")
    bigquery.run.function(location="EU", **load)
    assert bigquery_hook == {
        "conn_id": "google_cloud_default",
        "legacy": False,
        "job": load["job"],
        "location": "EU",
        "output_rows": 3,
    }
    bigquery.run.function({"query": {"query": bigquery.TABLE, "useLegacySql": False}}, "EU")
    assert "query" in bigquery_hook["job"]


def test_bigquery_tells_when_rows_are_missing(bigquery_hook: dict[str, Any]) -> None:
    (load,) = bigquery.jobs.function(extract(told(GS)), "my-project.security")
    bigquery_hook["output_rows"] = 2
    with pytest.raises(AirflowFailException, match="has only 2 of the 3 rows extracted"):
        bigquery.run.function(location="EU", **load)
    bigquery_hook["output_rows"] = 4
    bigquery.run.function(location="EU", **load)


def test_bigquery_says_what_went_wrong(bigquery_hook: dict[str, Any]) -> None:
    (load,) = bigquery.jobs.function(extract(told(GS)), "my-project.security")
    bigquery_hook["error"] = FileNotFoundError("404 Not found: URI gs://my-bucket")
    with pytest.raises(FileNotFoundError, match="Not found: URI"):
        bigquery.run.function(location="EU", **load)


# Redshift


def operator_of(dags: dict[str, DAG], task_id: str, load: dict[str, Any]) -> Any:
    """Return a task of the mapped group as it runs for a slice."""
    task: Any = copy(dags["cloudlock_threats_redshift"].task_dict[task_id])
    for name in task.template_fields:
        value = getattr(task, name)
        if isinstance(value, MappedArgument):
            setattr(task, name, load[value._key])
    task.render_template_fields({"params": {"schema": "public"}})
    return task


@pytest.mark.skipif(
    Version(importlib.metadata.version("apache-airflow-providers-amazon")) < Version("9.34"),
    reason="the sample for Redshift needs the Amazon provider 9.34, which takes a connection from a mapped task",
)
@pytest.mark.parametrize(
    ("lake", "extra", "credentials"),
    [
        (S3, {"role_arn": "arn:aws:iam::123456789012:role/lake"}, "aws_iam_role=arn:aws:iam::123456789012:role/lake"),
        ("s3://my-bucket/cloudlock", {}, "aws_access_key_id=id;aws_secret_access_key=key"),
        ("s3://other@my-bucket/cloudlock", {"role_arn": "arn:aws:iam::1:role/x"}, "aws_iam_role=arn:aws:iam::1:role/x"),
    ],
)
def test_redshift_copies_the_object_into_a_staging_table_of_its_own(
    dags: dict[str, DAG], monkeypatch: pytest.MonkeyPatch, lake: str, extra: dict[str, str], credentials: str
) -> None:
    name = "OTHER" if "other@" in lake else "AWS_DEFAULT"
    connection = {"conn_type": "aws", "login": "id", "password": "key", "extra": extra}
    monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    ran: list[tuple[list[str], bool]] = []
    monkeypatch.setattr(RedshiftSQLHook, "run", lambda self, sql, autocommit: ran.append((sql, autocommit)))
    (load,) = redshift.plan.function(extract(told(lake)), "public")
    task = operator_of(dags, "load.copy", load)
    assert isinstance(task, S3ToRedshiftOperator)
    task.execute({})
    (((begin, delete, statement, commit), autocommit),) = ran
    assert autocommit is False
    assert (begin, commit) == ("BEGIN;", "COMMIT")
    staging = f"public.{load['staging']}"
    assert parsed(delete, "redshift").sql("redshift") == f"DELETE FROM {staging}"
    assert parsed(statement, "redshift").sql("redshift") == (
        f"COPY {staging} FROM 's3://my-bucket/cloudlock/{FILE}' CREDENTIALS '{credentials}' "
        "FORMAT PARQUET SERIALIZETOJSON"
    )


def test_redshift_loads_have_staging_tables_of_their_own() -> None:
    parts = extract(told(), told(day=1))
    loads = redshift.plan.function(parts, "public") + redshift.plan.function(parts, "public")
    assert len({load["staging"] for load in loads}) == 4
    for load in loads:
        assert sum(load["staging"] in statement for statement in load["sql"]) == 2


class Session:
    """A session of Redshift that fails at the statement it is told."""

    def __init__(self, fails_at: str | None) -> None:
        self.autocommit, self.log, self.fails_at = None, [], fails_at
        self.rowcount, self.description = -1, None

    def cursor(self) -> Session:
        return self

    def execute(self, statement: str) -> None:
        self.log.append(statement)
        if self.fails_at and statement.startswith(self.fails_at):
            raise redshift_connector.ProgrammingError("Invalid digit")

    def commit(self) -> None:
        self.log.append("COMMIT by the hook")

    def close(self) -> None:
        self.log.append("close")


@pytest.mark.parametrize("fails_at", [None, "select cast", "insert"])
def test_redshift_swaps_in_one_session_or_not_at_all(
    dags: dict[str, DAG], monkeypatch: pytest.MonkeyPatch, fails_at: str | None
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_REDSHIFT_DEFAULT", json.dumps({"conn_type": "redshift", "extra": {"ssl": True}}))
    sessions: list[Session] = []

    def connect(**_: Any) -> Session:
        sessions.append(Session(fails_at))
        return sessions[-1]

    monkeypatch.setattr(redshift_connector, "connect", connect)
    (load,) = redshift.plan.function(extract(told()), "public")
    task = operator_of(dags, "load.swap", load)
    if fails_at is None:
        task.execute({})
    else:
        with pytest.raises(redshift_connector.ProgrammingError):
            task.execute({})
    (session,) = sessions
    assert session.autocommit is False
    done = [line for line in session.log if line != "close"]
    if fails_at is None:
        assert done == [*load["sql"], "COMMIT by the hook"]
    else:
        assert done == load["sql"][: len(done)]
        assert "commit" not in done
    assert session.log[-1] == "close"  # which takes back what was not committed


def test_every_sample_is_tested_here() -> None:
    users = {path.stem for path in DAGS.glob("cloudlock_threats_*.py") if "cloudlock_sql" in path.read_text()}
    assert users == {importlib.import_module(f"cloudlock_threats_{name}").__name__ for name in WAREHOUSES}
