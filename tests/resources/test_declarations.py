"""Declarations of resources: plain data, complete and consistent."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, asdict

import pytest

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.resources import RESOURCES, Field, ListOf, Resource, Struct, resource_named
from airflow_provider_cloudlock.resources.model import FieldType
from tests.support.field_table import README, field_table, tables_in, updated

every_resource = pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)


def fields_of(resource: Resource) -> Iterator[tuple[str, Field]]:
    """Yield every field and every member of a struct, with its path."""

    def members(type_: FieldType, path: str) -> Iterator[tuple[str, Field]]:
        if isinstance(type_, ListOf):
            yield from members(type_.element, path)
        elif isinstance(type_, Struct):
            yield from fields(type_.members, path)

    def fields(declared: tuple[Field, ...], path: str) -> Iterator[tuple[str, Field]]:
        for each in declared:
            yield f"{path}{each.name}", each
            yield from members(each.type, f"{path}{each.name}.")

    yield from fields(resource.fields, "")


def structs_of(type_: FieldType) -> Iterator[Struct]:
    """Yield the structs in a type."""
    if isinstance(type_, ListOf):
        yield from structs_of(type_.element)
    elif isinstance(type_, Struct):
        yield type_
        for member in type_.members:
            yield from structs_of(member.type)


# --- plain data -------------------------------------------------------------------------------------------------------


def test_resources_import_loads_no_heavy_package() -> None:
    code = (
        "import sys; before = set(sys.modules); import airflow_provider_cloudlock.resources; "
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=README.parent, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["airflow_provider_cloudlock"]


@every_resource
def test_resource_is_plain_immutable_data(resource: Resource) -> None:
    assert json.loads(json.dumps(asdict(resource)))["name"] == resource.name
    assert pickle.loads(pickle.dumps(resource)) == resource
    assert hash(resource) == hash(pickle.loads(pickle.dumps(resource)))
    with pytest.raises(FrozenInstanceError):
        resource.name = "other"  # type: ignore[misc]


# --- complete and consistent ------------------------------------------------------------------------------------------


@every_resource
def test_resource_every_field_has_one_line_description(resource: Resource) -> None:
    for path, field in fields_of(resource):
        assert re.fullmatch(r"[A-Z]\S*( \S+)*[^\s.]", field.description), path
        assert field.csv_name is None or field.csv_name.strip() == field.csv_name != "", path


@every_resource
def test_resource_field_names_are_unique_identifiers(resource: Resource) -> None:
    paths = [path for path, _ in fields_of(resource)]
    assert len(set(paths)) == len(paths)
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", field.name) for _, field in fields_of(resource))
    csv_names = [field.csv_name for _, field in fields_of(resource) if field.csv_name]
    assert len(set(csv_names)) == len(csv_names)


@every_resource
def test_resource_key_time_and_version_fields_exist(resource: Resource) -> None:
    types = {each.name: each.type for each in resource.fields}
    assert types[resource.key] == "string"
    assert resource.time_fields
    assert {types[name] for name in (*resource.time_fields, resource.version)} == {"timestamp"}
    assert resource.version not in resource.time_fields  # the creation time of a record never changes
    assert resource.order in types


@every_resource
def test_resource_filters_compare_existing_text_fields(resource: Resource) -> None:
    types = {each.name: each.type for each in resource.fields}
    for each in resource.filters:
        assert types[each.field] == "string"
        assert len({value.casefold() for value in each.values}) == len(each.values) > 0
        assert resource.filter(each.parameter) is each
    parameters = [each.parameter for each in resource.filters]
    assert len(set(parameters)) == len(parameters)
    assert resource.status is None or resource.status in parameters
    assert resource.filter("unknown") is None


@every_resource
def test_resource_email_members_are_text_members(resource: Resource) -> None:
    for field in resource.fields:
        for struct in structs_of(field.type):
            members = {each.name: each.type for each in struct.members}
            assert struct.email_member is None or members[struct.email_member] == "string", field.name


@every_resource
def test_resource_personal_members_make_field_personal(resource: Resource) -> None:
    found = dict(fields_of(resource))
    for path, field in found.items():
        if field.personal and "." in path:
            assert found[path.rpartition(".")[0]].personal, path


@every_resource
def test_resource_name_path_and_page_sizes_are_valid(resource: Resource) -> None:
    assert RESOURCES[resource.name] is resource
    assert re.fullmatch(r"[a-z][a-z_]*", resource.name)  # a folder of the lake, and part of table names
    assert re.fullmatch(r"[a-z]\S*[a-z]", resource.path)
    assert resource.noun
    assert 1 <= resource.plain_page <= resource.page_cap


# --- catalogue and README ---------------------------------------------------------------------------------------------


def test_resource_named_returns_declaration() -> None:
    assert resource_named("threats") is RESOURCES["threats"]
    threats = RESOURCES["threats"]
    assert (threats.page_cap, threats.plain_page, threats.bounds.granularity) == (100_000, 100, "date")


@pytest.mark.parametrize("unknown", ["Threats", "", None, ["threats"], 5])
def test_resource_named_unknown_raises(unknown: object) -> None:
    with pytest.raises(CloudlockConfigError, match=r"^Unknown resource=.*Known resources: threats"):
        resource_named(unknown)


def test_readme_tables_list_fields_of_every_resource() -> None:
    text = README.read_text(encoding="utf-8")
    assert tables_in(text) == {name: field_table(resource) for name, resource in RESOURCES.items()}
    assert updated(text) == text, "run `python -m tests.support.field_table`"


def test_field_table_lists_members_of_structs() -> None:
    lines = field_table(RESOURCES["threats"]).splitlines()
    assert "| `users` | list of struct |  | yes | Users concerned |" in lines
    assert "| `users.email` | string | User emails | yes | Email address of the user |" in lines
    assert "| `event_count` | int64 | Anomalies Count |  | Number of events |" in lines
    assert [line.split("`")[1] for line in lines[2:] if "." not in line.split("`")[1]] == [
        *(each.name for each in RESOURCES["threats"].fields),
        "_extra",
    ]
