"""The words with which a resource is declared. Imports neither pyarrow nor requests: a DAG file may load it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from airflow_provider_cloudlock.exceptions import CloudlockConfigError

#: ``json`` is any JSON value, kept as its text.
Scalar = Literal["string", "timestamp", "int64", "float64", "bool", "json"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a record, which becomes a column of the lake.

    :param name: name in the API and in the lake.
    :param type: type of the column.
    :param description: one line for readers of the table.
    :param csv_name: name of the field in the CSV export of Cloudlock's UI, None if the export lacks it.
    :param personal: whether the field may identify a person.
    :param free_text: whether its values rarely repeat, so that a Parquet dictionary would only cost time and space.
    """

    name: str
    type: FieldType
    description: str
    csv_name: str | None = None
    personal: bool = False
    free_text: bool = False


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list. A value that is not a list stands for a list of that one element.

    :param element: type of the elements.
    """

    element: FieldType


@dataclass(frozen=True, slots=True)
class Struct:
    """An object with known members.

    :param members: its fields.
    :param email_member: member that is meant where the API sends an email address instead of the object; a list of
        such objects may then come as one text of comma-separated addresses.
    """

    members: tuple[Field, ...]
    email_member: str | None = None


FieldType: TypeAlias = Scalar | ListOf | Struct


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter of the endpoint.

    :param parameter: name of the query parameter.
    :param field: field of the record that it compares, without regard to case.
    :param values: the documented values.
    """

    parameter: str
    field: str
    values: tuple[str, ...]

    def value(self, given: object) -> str | None:
        """Return a value as the vendor writes it, whatever the case it was given in; None for none.

        :raises CloudlockConfigError: if the value is not documented.
        """
        if given is None:
            return None
        for known in self.values:
            if isinstance(given, str) and given.casefold() == known.casefold():
                return known
        raise CloudlockConfigError(
            f"Unknown {self.parameter}={given!r}. Give one of {', '.join(self.values)}, or leave it out."
        )


@dataclass(frozen=True, slots=True)
class Bounds:
    """The query parameters that bound the creation time.

    :param after: name of the lower bound.
    :param before: name of the upper bound, None if the endpoint has none.
    :param granularity: how finely the vendor documents the bounds.
    """

    after: str = "created_after"
    before: str | None = "created_before"
    granularity: Literal["date", "time"] = "time"


@dataclass(frozen=True, slots=True)
class Resource:
    """A list endpoint.

    :param name: name in this package and in the lake.
    :param noun: what one counts, in the plural: ``anomalies``.
    :param path: path below the base URL of the API.
    :param page_cap: the most records per page that the vendor documents for this endpoint.
    :param plain_page: page size that the vendor documents for every list.
    :param order: sort key that lists the oldest record first and never changes for a record.
    :param bounds: parameters that bound the creation time.
    :param filters: filters, with their documented values.
    :param status: the parameter among ``filters`` that ``status=`` of hook and operator sets, None if there is none.
    :param lookback: parameter that takes a number of days to look back, None if there is none.
    :param key: field that identifies a record.
    :param time_fields: fields that hold the creation time; the first one present counts.
    :param version: field with the time of the last update.
    :param fields: every documented field, in the order of the columns.
    """

    name: str
    noun: str
    path: str
    page_cap: int
    plain_page: int
    order: str
    bounds: Bounds
    filters: tuple[Filter, ...]
    status: str | None
    lookback: str | None
    key: str
    time_fields: tuple[str, ...]
    version: str
    fields: tuple[Field, ...]

    def filter(self, parameter: str) -> Filter | None:
        """Return the filter that a query parameter sets, None if there is none."""
        return next((each for each in self.filters if each.parameter == parameter), None)

    def status_value(self, given: object) -> str | None:
        """Return a status as the vendor writes it, None for none.

        :raises CloudlockConfigError: if the resource has no such status.
        """
        if given is None:
            return None
        by_status = self.filter(self.status) if self.status else None
        if by_status is None:
            raise CloudlockConfigError(f"The resource {self.name} has no status filter. Leave out status={given!r}.")
        return by_status.value(given)
