"""Arrow schemas derived from declarations."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_cloudlock.lake.schema import EXTRA, Layout, arrow_type, has_scalar
from airflow_provider_cloudlock.resources import RESOURCES, Field, ListOf, Resource, Struct
from airflow_provider_cloudlock.resources.model import FieldType
from tests.lake.made_up import REPORTS

TIME = pa.timestamp("us", tz="UTC")
OWNER = pa.struct([("mail", pa.string()), ("age", pa.int64()), ("since", TIME)])
PLACE = pa.struct(
    [
        ("city", pa.string()),
        ("seen", TIME),
        ("extent", pa.float64()),
        ("is_home", pa.bool_()),
        ("raw", pa.string()),
    ]
)

every_resource = pytest.mark.parametrize("resource", [*RESOURCES.values(), REPORTS], ids=lambda each: each.name)


def test_layout_of_threats_keeps_its_columns() -> None:
    users = pa.list_(pa.struct([("display_name", pa.string()), ("email", pa.string())]))
    assert Layout.of(RESOURCES["threats"]).schema == pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            ("created_at", TIME),
            ("updated_at", TIME),
            ("detected_at", TIME),
            ("start_time", TIME),
            ("end_time", TIME),
            ("status", pa.string()),
            ("dismissed_at", TIME),
            ("dismiss_reason", pa.string()),
            ("threat_risk", pa.string()),
            ("threat_type", pa.string()),
            ("threat_entity", pa.string()),
            ("short_description", pa.string()),
            ("description", pa.string()),
            ("event_count", pa.int64()),
            ("platforms", pa.list_(pa.string())),
            ("locations", pa.list_(pa.string())),
            ("users", users),
            ("suspicious_ip", pa.string()),
            ("_extra", pa.string()),
        ]
    )


def test_layout_derives_every_declared_type() -> None:
    assert Layout.of(REPORTS).schema == pa.schema(
        [
            pa.field("number", pa.string(), nullable=False),
            ("made_at", TIME),
            ("changed_at", TIME),
            ("state", pa.string()),
            ("score", pa.float64()),
            ("is_open", pa.bool_()),
            ("details", pa.string()),
            ("places", pa.list_(PLACE)),
            ("owner", OWNER),
            ("readers", pa.list_(OWNER)),
            ("matrix", pa.list_(pa.list_(pa.int64()))),
            ("groups", pa.list_(pa.list_(OWNER))),
            ("notes", pa.list_(pa.string())),
            ("_extra", pa.string()),
        ]
    )


@every_resource
def test_layout_only_key_is_required(resource: Resource) -> None:
    layout = Layout.of(resource)
    assert layout.schema.names == [*(each.name for each in resource.fields), EXTRA]
    assert [each.name for each in layout.schema if not each.nullable] == [layout.key] == [resource.key]
    assert [layout.schema.field(name).type for name in resource.time_fields] == [layout.time] * len(
        resource.time_fields
    )


def test_layout_of_same_resource_is_equal() -> None:
    assert Layout.of(REPORTS) == Layout.of(replace(REPORTS))
    assert Layout.of(REPORTS).schema.metadata is None


def test_layout_created_is_first_time_field_not_null() -> None:
    layout = Layout.of(replace(REPORTS, time_fields=("made_at", "changed_at")))
    times = {"made_at": [1, None, None], "changed_at": [2, 3, None]}
    rows = pa.table([pa.array(times.get(each.name, [None] * 3), each.type) for each in layout.schema], layout.schema)
    expected = pa.array([1, 3, None], TIME)
    assert layout.created(rows).combine_chunks().equals(expected)
    assert layout.created(rows.to_batches()[0]).equals(expected)


# --- dictionaries -----------------------------------------------------------------------------------------------------


def test_dictionary_columns_are_repetitive_texts() -> None:
    assert Layout.of(REPORTS).dictionary_columns() == [
        "state",
        "places.list.element.city",
        "owner.mail",
        "readers.list.element.mail",
        "groups.list.element.list.element.mail",
        "_extra",
    ]
    assert {"id", "description"}.isdisjoint(Layout.of(RESOURCES["threats"]).dictionary_columns())


def test_dictionary_columns_leave_out_free_text_members() -> None:
    note = Struct((Field("author", "string", "Author"), Field("text", "string", "Text", free_text=True)))
    with_members = replace(REPORTS, fields=(*REPORTS.fields[:3], Field("comments", ListOf(note), "Comments")))
    assert Layout.of(with_members).dictionary_columns() == ["comments.list.element.author", "_extra"]


@every_resource
def test_dictionary_columns_are_parquet_paths(resource: Resource) -> None:
    layout = Layout.of(resource)
    sink = pa.BufferOutputStream()
    pq.write_table(layout.schema.empty_table(), sink)
    schema = pq.read_metadata(pa.BufferReader(sink.getvalue())).schema
    paths = {schema.column(n).path for n in range(len(schema))}
    assert set(layout.dictionary_columns()) <= paths


# --- types ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("type_", "scalars"),
    [
        ("json", {"json"}),
        (ListOf("bool"), {"bool"}),
        (ListOf(ListOf("float64")), {"float64"}),
        (Struct((Field("a", "string", "A"), Field("b", ListOf("json"), "B"))), {"string", "json"}),
        (ListOf(Struct((Field("a", Struct((Field("b", "int64", "B"),)), "A"),))), {"int64"}),
    ],
)
def test_has_scalar_finds_scalars_at_any_depth(type_: FieldType, scalars: set[str]) -> None:
    every = ("string", "timestamp", "int64", "float64", "bool", "json")
    assert {each for each in every if has_scalar(type_, each)} == scalars


def test_arrow_type_of_empty_struct_has_no_members() -> None:
    assert arrow_type(Struct(())) == pa.struct([])
    assert arrow_type(ListOf("json")) == pa.list_(pa.string())


def test_layout_knows_whether_floats_are_declared() -> None:
    assert Layout.of(REPORTS).has_floats
    assert not Layout.of(RESOURCES["threats"]).has_floats
