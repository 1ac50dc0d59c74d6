"""The table of a resource's fields in README.md; ``python -m tests.support.field_table`` writes it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from airflow_provider_cloudlock.lake.schema import EXTRA
from airflow_provider_cloudlock.resources import RESOURCES, Field, ListOf, Resource, Struct
from airflow_provider_cloudlock.resources.model import FieldType

README = Path(__file__).parents[2] / "README.md"

_HEADER = "| field | type | name in the CSV export | personal data | description |\n|---|---|---|---|---|\n"
_SECTION = re.compile(r"(<!-- fields: (\w+) -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
_REST = Field(
    EXTRA,
    "json",
    "What the other columns cannot hold, as a JSON object; null for an ordinary record",
    personal=True,
)


def field_table(resource: Resource) -> str:
    """Return the fields of a resource, and the members of its structs, as a Markdown table."""
    return _HEADER + "".join(row for each in (*resource.fields, _REST) for row in _rows(each, ""))


def tables_in(text: str) -> dict[str, str]:
    """Return the tables in a text, by the name of their resource."""
    return {name: table for _, name, table in _SECTION.findall(text)}


def updated(text: str) -> str:
    """Return a text with its tables written anew."""
    return _SECTION.sub(lambda match: match[1] + field_table(RESOURCES[match[2]]), text)


def _rows(field: Field, path: str) -> Iterator[str]:
    name = f"{path}{field.name}"
    cells = (f"`{name}`", _type(field.type), field.csv_name or "", "yes" if field.personal else "", field.description)
    yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"
    element = field.type
    while isinstance(element, ListOf):
        element = element.element
    if isinstance(element, Struct):
        for member in element.members:
            yield from _rows(member, f"{name}.")


def _type(type_: FieldType) -> str:
    if isinstance(type_, ListOf):
        return f"list of {_type(type_.element)}"
    if isinstance(type_, Struct):
        return "struct"
    return "string (JSON)" if type_ == "json" else type_


if __name__ == "__main__":
    README.write_text(updated(README.read_text(encoding="utf-8")), encoding="utf-8")
