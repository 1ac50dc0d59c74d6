r"""
Load Cloudlock threats from the lake into Postgres: one transaction for each UTC day.

The official Arrow provider sends the Parquet object, batch by batch, into a temporary table; SQL then replaces the rows
of the day with its rows. The ledger table ``cloudlock_loads`` records which object each day was loaded from, so a load
brings in only what the warehouse does not have, and may run twice, late, in any order or concurrently with another.

What a load brings in is the object that lies in the lake when its turn has come, whatever the extract said of it: an
older receipt can never bring back older rows.

Postgres can keep everything the lake holds but one: a NUL character. It is written ``\u0000``, as in JSON.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowFailException
from cloudlock_common import day_of, default_of, local_copy

from airflow_provider_cloudlock.threads import one_ahead

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection
    from airflow.sdk import Connection as AirflowConnection

log = logging.getLogger(__name__)

#: An ordinary Airflow connection of the type Postgres.
CONNECTION = "postgres_default"

_NAME = "^(?!pg_)[A-Za-z_][A-Za-z0-9_]{0,62}$"

SCHEMA = Param(
    default_of("schema", "public"),
    type="string",
    pattern=_NAME,
    description="Schema of the tables `cloudlock_threats` and `cloudlock_loads`, which are made when missing. The "
    f"schema itself must exist, in the database of the connection `{CONNECTION}`.",
)

#: ``_extra`` is json, which keeps the text to the last character; jsonb would forget how numbers were written and which
#: keys came twice, and refuse a NUL and half a surrogate pair. The index finds the rows of a day; it is unique, so that
#: none can be there twice. The id alone is not: a record whose creation time changed may be in two days of the lake.
TABLES = (
    """
    create table if not exists "cloudlock_threats" (
        "id" text not null,
        "created_at" timestamptz,
        "updated_at" timestamptz,
        "detected_at" timestamptz,
        "start_time" timestamptz,
        "end_time" timestamptz,
        "status" text,
        "dismissed_at" timestamptz,
        "dismiss_reason" text,
        "threat_risk" text,
        "threat_type" text,
        "threat_entity" text,
        "short_description" text,
        "description" text,
        "event_count" bigint,
        "platforms" text[],
        "locations" text[],
        "users" jsonb,
        "suspicious_ip" text,
        "_extra" json
    )
    """,
    """
    create unique index if not exists "cloudlock_threats_time_id"
    on "cloudlock_threats" (coalesce("created_at", "detected_at"), "id")
    """,
    """
    create table if not exists "cloudlock_loads" (
        "resource" text not null,
        "window_start" timestamptz not null,
        "window_end" timestamptz not null,
        "sha256" text not null,
        "rows" bigint not null,
        "path" text not null,
        "loaded_at" timestamptz not null default current_timestamp,
        primary key ("resource", "window_start", "window_end")
    )
    """,
)

#: Columns that are sent as text, and the types that Postgres casts them to. Lists of texts are among them, as Arrow's
#: driver before 1.13 (Airflow's constraints have 1.11 and 1.12) writes a null in a list as an empty text.
CASTS = {"platforms": "text[]", "locations": "text[]", "users": "jsonb", "_extra": "json"}

#: Parameters of libpq that may stand in the connection's extra. Airflow's PostgresHook takes other entries there too
#: (``cursor``, ``iam``), and libpq refuses an address with an unknown one. ``client_encoding`` is left out: the driver
#: reads UTF-8.
LIBPQ = re.compile(
    "application_name|channel_binding|connect_timeout|fallback_application_name|gssencmode|gsslib|hostaddr|keepalives|"
    "keepalives_count|keepalives_idle|keepalives_interval|krbsrvname|load_balance_hosts|options|passfile|require_auth|"
    "requirepeer|service|ssl_max_protocol_version|ssl_min_protocol_version|sslcert|sslcertmode|sslcompression|sslcrl|"
    "sslcrldir|sslkey|sslmode|sslpassword|sslrootcert|sslsni|target_session_attrs|tcp_user_timeout"
)

#: SQLSTATE of a missing right, and of a schema that does not exist or may not be used.
DENIED, NO_SCHEMA = "42501", "3F000"

#: Rows held in memory at a time.
BATCH = 10_000


@task
def load(extracts: Sequence[dict[str, Any]], schema: str) -> dict[str, int]:
    """
    Bring the warehouse level with the lake for every slice the extracts name.

    :param extracts: what ``CloudlockToObjectStorageOperator`` returned, once for each of its tasks.
    :param schema: the schema of the tables.
    """
    from airflow.providers.apache.arrow.hooks.adbc import AdbcHook

    if not re.fullmatch(_NAME, schema):
        raise AirflowFailException(
            f"schema {schema!r} is no plain name: 1 to 63 ASCII letters, digits and underscores, no digit first, "
            "not pg_."
        )
    hook = AdbcHook(adbc_conn_id=CONNECTION)
    hook.driver = "adbc_driver_postgresql"  # a connection of the type Postgres does not name it
    hook.uri = address(hook.connection)
    done = {"slices_loaded": 0, "slices_skipped": 0, "rows_loaded": 0}
    with closing(hook.get_conn()) as connection:
        # What mapped tasks return is a lazy sequence, and a loop takes a failed look-up for its end: [:] fetches all of
        # it or fails.
        for extract in extracts[:]:
            for part in extract["slices"]:
                with transaction(connection, schema):
                    if is_loaded(connection, extract["resource"], part):
                        done["slices_skipped"] += 1
                    else:
                        done["rows_loaded"] += load_slice(connection, extract["resource"], part)
                        done["slices_loaded"] += 1
    log.info("%s: %s", schema, done)
    return done


def address(connection: AirflowConnection) -> str:
    """
    Write an Airflow connection as libpq reads it, with everything as a parameter: a host may be the path of a socket.

    ``Connection.get_uri()`` is not such an address: it writes spaces as ``+`` and nested values as ``__extra__``.
    """
    fields = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
    }
    extra = {name: value for name, value in connection.extra_dejson.items() if LIBPQ.fullmatch(name)}
    # libpq writes true and false as 1 and 0.
    values = {name: int(value) if isinstance(value, bool) else value for name, value in (extra | fields).items()}
    given = {name: value for name, value in values.items() if isinstance(value, str | int | float) and value != ""}
    return f"postgresql:///?{urlencode(given, quote_via=quote)}"


@contextmanager
def transaction(connection: Connection, schema: str) -> Iterator[None]:
    """
    Commit what happens inside, all of it or, on any error, nothing; one load at a time.

    The others wait here, and then see what this one did. As the object is fetched inside, a later load never has an
    older one.
    """
    try:
        ask(connection, "set transaction isolation level read committed")
        ask(connection, f'set local search_path to "{schema}"')
        ask(connection, "select pg_advisory_xact_lock(hashtextextended($1, 0))::text", f"cloudlock_loads of {schema}")
        # Not asked for every time, so that a load needs no right to make tables where somebody made them for it.
        if ask(connection, "select to_regclass('cloudlock_loads') is null") == [(True,)]:
            for statement in TABLES:
                ask(connection, statement)
        yield
    except BaseException as error:
        connection.rollback()
        state = getattr(error, "sqlstate", None)
        if state in (DENIED, NO_SCHEMA):
            (login,) = ask(connection, "select current_user::text")[0]
            raise AirflowFailException(missing_right(str(error), login, schema)) from error
        raise
    connection.commit()


def missing_right(message: str, login: str, schema: str) -> str:
    """Return which right is missing, in the server's words, and how to give it."""
    # The driver quotes the whole statement before the server's message.
    words = message.rpartition("ERROR:")[2].partition("\n")[0].strip()
    return (
        f"{words} (login {login!r} of the connection {CONNECTION}, schema {schema!r}). If the schema does not exist, "
        f'create it. The login needs: grant usage, create on schema "{schema}" to "{login}"; or, if somebody else '
        f'creates the tables: grant usage on schema "{schema}" and grant select, insert, delete on "cloudlock_threats" '
        'and "cloudlock_loads". It also needs the right to create temporary tables in the database.'
    )


def is_loaded(connection: Connection, resource: str, part: dict[str, Any]) -> bool:
    """
    Return whether the warehouse holds this very object, by the ledger, and as many rows.

    The extract's ``changed`` is not read: an extract that was stopped after it wrote, and before it returned, reports
    on its retry that nothing changed.
    """
    start, end = day_of(part)
    found = ask(
        connection,
        'select 1 from "cloudlock_loads" '
        'where "resource" = $1 and "window_start" = $2 and "window_end" >= $3 and "sha256" = $4 and "rows" = '
        '(select count(*) from "cloudlock_threats" '
        'where coalesce("created_at", "detected_at") >= $2 and coalesce("created_at", "detected_at") < $5)',
        *(resource, start, datetime.fromisoformat(part["window"][1]), part["sha256"], end),
    )
    return bool(found)


def load_slice(connection: Connection, resource: str, part: dict[str, Any]) -> int:
    """Replace the rows of a slice's day with those of its object, and return their number."""
    start, end = day_of(part)
    with local_copy(part) as (file, sha256):
        rows, columns = stage(connection, file)
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(f'"{name}"::{CASTS[name]}' if name in CASTS else f'"{name}"' for name in columns)
    ask(
        connection,
        'delete from "cloudlock_threats" '
        'where coalesce("created_at", "detected_at") >= $1 and coalesce("created_at", "detected_at") < $2',
        *(start, end),
    )
    ask(connection, f'insert into "cloudlock_threats" ({names}) select {values} from "cloudlock_staging"')
    ask(connection, 'drop table "cloudlock_staging"')
    ask(
        connection,
        'delete from "cloudlock_loads" where "resource" = $1 and "window_start" < $2 and "window_end" > $3',
        *(resource, end, start),
    )
    ask(
        connection,
        'insert into "cloudlock_loads" ("resource", "window_start", "window_end", "sha256", "rows", "path") '
        "values ($1, $2, $3, $4, $5, $6)",
        *(resource, start, datetime.fromisoformat(part["window"][1]), sha256, rows, part["path"]),
    )
    return rows


def stage(connection: Connection, file: Path) -> tuple[int, list[str]]:
    """Send a Parquet file into the temporary table ``cloudlock_staging``, and return its rows and columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, page_checksum_verification=True) as parquet, connection.cursor() as cursor:
        # The next batch is prepared while one is sent.
        batches = one_ahead(storable(batch) for batch in parquet.iter_batches(BATCH))
        schema = storable(pa.RecordBatch.from_pylist([], parquet.schema_arrow)).schema
        reader = pa.RecordBatchReader.from_batches(schema, batches)
        return cursor.adbc_ingest("cloudlock_staging", reader, mode="create", temporary=True), schema.names


def storable(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Write NUL characters as Postgres can hold them, lists of objects as JSON, and lists of texts as arrays of SQL."""
    import pyarrow as pa

    columns = {}
    for name, values in zip(batch.schema.names, batch.columns, strict=True):
        columns[name] = without_nul(values)
        if not columns[name].equals(values):
            log.warning("There are NUL characters in %s. Postgres cannot hold them: they are written \\u0000.", name)
        if pa.types.is_list(values.type):
            write = as_json if pa.types.is_struct(values.type.value_type) else as_array
            columns[name] = write(columns[name])
    return pa.RecordBatch.from_pydict(columns)


def as_json(lists: pa.ListArray) -> pa.StringArray:
    """Write lists of flat objects as JSON. The same people come again and again: each is written once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    objects = lists.values
    names = [field.name for field in objects.type]

    @cache
    def dump(*values: object) -> str:
        return json.dumps(dict(zip(names, values, strict=True)))

    texts = pa.array(map(dump, *(values.to_pylist() for values in objects.flatten())), pa.string())
    return joined(lists, pc.if_else(objects.is_valid(), texts, "null"), "[", "]")


def as_array(lists: pa.ListArray) -> pa.StringArray:
    """Write lists of texts as Postgres reads arrays."""
    import pyarrow.compute as pc

    escaped = pc.replace_substring_regex(lists.values, r'(["\\])', r"\\\1")
    return joined(lists, pc.fill_null(pc.binary_join_element_wise('"', escaped, '"', ""), "NULL"), "{", "}")


def joined(lists: pa.ListArray, texts: pa.StringArray, opening: str, closing: str) -> pa.StringArray:
    """Return one text for each list, made of the texts of its items; a null list stays null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    items = pc.binary_join(pa.ListArray.from_arrays(lists.offsets, texts), ", ")
    return pc.if_else(lists.is_valid(), pc.binary_join_element_wise(opening, items, closing, ""), None)


def without_nul(values: pa.Array) -> pa.Array:
    r"""Write every NUL character, however deep, as ``\u0000``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if pa.types.is_string(kind):
        return pc.replace_substring(values, "\0", "\\u0000")
    if pa.types.is_list(kind):
        buffers, items = values.buffers()[:2], without_nul(values.values)
        return pa.Array.from_buffers(kind, len(values), buffers, offset=values.offset, children=[items])
    if pa.types.is_struct(kind):
        fields = [without_nul(field) for field in values.flatten()]
        return pa.StructArray.from_arrays(fields, fields=list(kind), mask=values.is_null())
    return values


def ask(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement, and return what it answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []
