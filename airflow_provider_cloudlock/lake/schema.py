"""Arrow schemas, derived from the declarations of resources: never inferred, so that every day has the same types."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from airflow_provider_cloudlock.resources import Field, ListOf, Resource, Struct
from airflow_provider_cloudlock.resources.model import FieldType

#: Incremented whenever a column is added or changed.
SCHEMA_VERSION = 1

#: Column with the JSON text of what the other columns cannot hold; null for an ordinary record.
EXTRA = "_extra"

_SCALARS = {
    "string": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "int64": pa.int64(),
    "float64": pa.float64(),
    "bool": pa.bool_(),
    "json": pa.string(),
}


def arrow_type(type_: FieldType) -> pa.DataType:
    """Return the Arrow type of a declared type."""
    if isinstance(type_, ListOf):
        return pa.list_(arrow_type(type_.element))
    if isinstance(type_, Struct):
        return pa.struct([pa.field(each.name, arrow_type(each.type)) for each in type_.members])
    return _SCALARS[type_]


def has_scalar(type_: FieldType, scalar: str) -> bool:
    """Whether a declared type is a scalar type, or contains it at any depth."""
    if isinstance(type_, ListOf):
        return has_scalar(type_.element, scalar)
    if isinstance(type_, Struct):
        return any(has_scalar(each.type, scalar) for each in type_.members)
    return type_ == scalar


@dataclass(frozen=True, slots=True)
class Layout:
    """How the records of a resource lie in a table.

    :param resource: the resource.
    :param schema: its columns, ``_extra`` last.
    """

    resource: Resource
    schema: pa.Schema

    @classmethod
    def of(cls, resource: Resource) -> Layout:
        """Return the layout of a resource."""
        columns = [pa.field(each.name, arrow_type(each.type), each.name != resource.key) for each in resource.fields]
        return cls(resource, pa.schema([*columns, pa.field(EXTRA, pa.string())]))

    @property
    def key(self) -> str:
        """Column that identifies a record."""
        return self.resource.key

    @property
    def has_floats(self) -> bool:
        """Whether a column holds floating-point numbers, which may be rounded."""
        return any(has_scalar(each.type, "float64") for each in self.resource.fields)

    @property
    def time(self) -> pa.DataType:
        """Type of the creation time."""
        return _SCALARS["timestamp"]

    def created(self, rows: pa.Table | pa.RecordBatch) -> pa.ChunkedArray | pa.Array:
        """Return the creation time of every row: that of the first time field which is not null."""
        return pc.coalesce(*(rows[name] for name in self.resource.time_fields))

    def dictionary_columns(self) -> list[str]:
        """Return the columns whose values repeat; a dictionary makes all others slower and larger."""
        others = (each for each in self.resource.fields if each.name != self.key)
        return [*(path for each in others for path in _repetitive(each)), EXTRA]


def _repetitive(field: Field) -> list[str]:
    """Return the Parquet paths of the repetitive texts in a field."""
    if field.free_text:
        return []
    path, type_ = field.name, field.type
    while isinstance(type_, ListOf):
        path, type_ = f"{path}.list.element", type_.element
    if isinstance(type_, Struct):
        return [f"{path}.{inner}" for each in type_.members for inner in _repetitive(each)]
    return [path] if type_ == "string" else []
