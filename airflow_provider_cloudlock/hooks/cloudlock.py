"""Airflow connection -> API client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from airflow_provider_cloudlock.api.query import Query
from airflow_provider_cloudlock.connection import as_number, as_text, base_url, positive_number, whole_number
from airflow_provider_cloudlock.exceptions import (
    CloudlockConfigError,
    CloudlockError,
    CloudlockResponseError,
    CloudlockUnavailableError,
)
from airflow_provider_cloudlock.instants import check_window, parse_bound
from airflow_provider_cloudlock.resources import Resource, resource_named

# requests is imported when a client is created, as a DAG file is parsed without it.
if TYPE_CHECKING:
    from datetime import datetime

    from airflow.sdk import Connection

    from airflow_provider_cloudlock.api.client import CloudlockClient
    from airflow_provider_cloudlock.api.pagination.reader import Reader
    from airflow_provider_cloudlock.api.records import RecordPage, Records
    from airflow_provider_cloudlock.pages import Collector, Page, PageFormat

P = TypeVar("P", bound="Page")
C = TypeVar("C", bound="Collector[Any]")

#: Records per request, and requests in flight, if neither the caller nor the connection says.
DEFAULT_PAGE_SIZE = 10_000
DEFAULT_CONNECTIONS = 4

_FIELDS = (
    "page_size",
    "timeout",
    "max_connections",
    "requests_per_second",
    "max_tasks",
    "tenant",
    "ca_bundle",
    "proxy",
)


class CloudlockHook(BaseHook):
    """Reads Cisco Cloudlock with the access token of an Airflow connection of type ``cloudlock``.

    :param cloudlock_conn_id: the connection. Its host is the API server, its password the access token.
    """

    conn_name_attr = "cloudlock_conn_id"
    default_conn_name = "cloudlock_default"
    conn_type = "cloudlock"
    hook_name = "Cisco Cloudlock"

    def __init__(self, cloudlock_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.cloudlock_conn_id = cloudlock_conn_id

    @cached_property
    def client(self) -> CloudlockClient:
        """The API client of the connection.

        :raises CloudlockConfigError: if the connection cannot be used.
        """
        from airflow_provider_cloudlock.api.client import DEFAULT_TIMEOUT, CloudlockClient

        connection, extra = self._read_connection(), self._extra
        if connection.conn_type not in ("", None, self.conn_type):
            # Its password belongs to another service.
            raise CloudlockConfigError(
                f"{self.cloudlock_conn_id!r} is a connection of the type {connection.conn_type!r}. Give the id of one "
                f"of the type {self.conn_type!r}."
            )
        if extra.get("proxy"):
            mask_secret(extra["proxy"])
        rate = positive_number("requests_per_second", extra.get("requests_per_second"))
        tasks = whole_number("max_tasks", as_number(extra.get("max_tasks")), 1)
        return CloudlockClient(
            base_url(connection.host, connection.port),
            _token(connection),
            read_token=partial(self._read_token, connection.host, connection.port),
            timeout=positive_number("timeout", extra.get("timeout")) or DEFAULT_TIMEOUT,
            requests_per_second=rate and rate / (tasks or 1),
            ca_bundle=as_text("ca_bundle", extra.get("ca_bundle")),
            proxy=as_text("proxy", extra.get("proxy")),
        )

    @property
    def tenant(self) -> str:
        """Name of the Cloudlock tenant, by default the connection id."""
        return as_text("tenant", self._extra.get("tenant")) or self.cloudlock_conn_id

    def get_conn(self) -> CloudlockClient:
        """Return the API client of the connection."""
        return self.client

    def reader(self, resource: Resource, page_format: PageFormat[P, C], page_size: int | None = None) -> Reader[P, C]:
        """Return a reader of complete result sets.

        :param resource: what to read.
        :param page_format: decodes the pages, into dicts or Arrow.
        :param page_size: records per request, None for what the connection says, else 10,000.
        :raises CloudlockConfigError: if the page size or the connection cannot be used.
        """
        from airflow_provider_cloudlock.api.endpoint import Endpoint
        from airflow_provider_cloudlock.api.pagination.reader import Reader

        size = whole_number("page_size", page_size, 1, resource.page_cap)
        if size is None:
            size = whole_number("page_size", as_number(self._extra.get("page_size")), 1)
        connections = whole_number("max_connections", as_number(self._extra.get("max_connections")), 1, 16)
        endpoint = Endpoint(
            self.client,
            resource,
            page_format,
            min(size or DEFAULT_PAGE_SIZE, resource.page_cap),
            is_page_size_fixed=size is not None,
            connections=connections or DEFAULT_CONNECTIONS,
        )
        return Reader(endpoint)

    def iter_records(
        self,
        resource: str = "threats",
        *,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        status: str | None = None,
        start_time: int | None = None,
        order: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        page_size: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield records as the API sends them; the parameters are those of the vendor's page.

        Records are yielded when the range that they were fetched with is complete, so that none is missing and none
        comes twice. A window of up to 31 days is one range.

        :param resource: what to read.
        :param created_after: first instant of the window; without a zone it is UTC.
        :param created_before: first instant after the window.
        :param status: ``Active`` or ``Dismissed``.
        :param start_time: number of days to look back.
        :param order: sort key, such as ``-start_time``; the default is oldest first.
        :param limit: the most records to yield, None for all.
        :param offset: records to skip.
        :param page_size: records per request, None for what the connection says, else 10,000.
        :raises CloudlockConfigError: before the first request, if an argument is invalid.
        :raises CloudlockError: if the records cannot be read completely.
        """
        from airflow_provider_cloudlock.api.records import RecordFormat

        found = resource_named(resource)
        query = _query(found, created_after, created_before, status, start_time, order)
        wanted = whole_number("limit", limit, 1)
        skip = whole_number("offset", offset, 0) or 0
        reader = self.reader(found, RecordFormat(found), page_size)
        return _records(reader, query, wanted, skip)

    def count(
        self,
        resource: str = "threats",
        *,
        created_after: str | datetime | None = None,
        created_before: str | datetime | None = None,
        status: str | None = None,
        start_time: int | None = None,
    ) -> int | None:
        """Return the API's own count of a window: an estimate, which may be wrong.

        :param resource: what to count.
        :param created_after: first instant of the window; without a zone it is UTC.
        :param created_before: first instant after the window.
        :param status: ``Active`` or ``Dismissed``.
        :param start_time: number of days to look back.
        :return: the count, None if the API gives none.
        :raises CloudlockConfigError: before the request, if an argument is invalid.
        """
        from airflow_provider_cloudlock.api.records import RecordFormat

        found = resource_named(resource)
        query = _query(found, created_after, created_before, status, start_time, None)
        return self.reader(found, RecordFormat(found)).endpoint.total(query)

    def test_connection(self) -> tuple[bool, str]:
        """Send one small request, and return whether it succeeded with a message for people."""
        try:
            total = CloudlockHook(self.cloudlock_conn_id)._count_once()
        except CloudlockResponseError as error:
            return False, f"The server at this address is not the Cloudlock API. {error}"
        except (CloudlockError, AirflowNotFoundException) as error:
            return False, str(error)
        return True, "Connected to Cloudlock" + (f"; it reports {total} anomalies." if total is not None else ".")

    def _count_once(self) -> int | None:
        self.client.attempts = 1  # somebody waits for the response
        return self.count("threats")

    def _read_connection(self) -> Connection:
        try:
            return self.get_connection(self.cloudlock_conn_id)
        except AirflowNotFoundException:
            raise AirflowNotFoundException(
                f"Airflow has no connection {self.cloudlock_conn_id!r}, or cannot read it. Create one of the type "
                f"{self.hook_name} (conn_type {self.conn_type!r}) with the API server as host and the access token as "
                "password, or correct cloudlock_conn_id."
            ) from None

    def _read_token(self, host: str | None, port: int | None) -> str:
        """Return the token that the connection contains now.

        :param host: host of the connection that the client was made of.
        :param port: its port.
        :raises CloudlockUnavailableError: if anything but the password changed, as the client uses the rest.
        """
        current = self._read_connection()
        if (host, port, self._extra) != (current.host, current.port, self._fields(current)):
            raise CloudlockUnavailableError(
                f"Cloudlock refuses the access token, and the connection {self.cloudlock_conn_id!r} was changed while "
                "the task was running. A retry uses the connection as it is now."
            )
        return _token(current)

    @cached_property
    def _extra(self) -> dict[str, Any]:
        return self._fields(self._read_connection())  # without the connection itself, which contains the token

    def _fields(self, connection: Connection) -> dict[str, Any]:
        """Return the extra fields of a connection."""
        try:
            extra = json.loads(connection.extra or "{}")
        except ValueError:
            extra = None
        if not isinstance(extra, dict):
            # The extra is not quoted, as it may contain the proxy's password.
            raise CloudlockConfigError(
                f"The extra of the connection {self.cloudlock_conn_id!r} is not a JSON object. Give one such as "
                '{"requests_per_second": 2}, or leave it empty.'
            )
        extra = {name: value for name, value in extra.items() if value not in (None, "")}
        unknown = sorted(set(extra) - set(_FIELDS))
        if unknown:
            raise CloudlockConfigError(
                f"The connection {self.cloudlock_conn_id!r} has the unknown field {unknown[0]!r} in its extra. "
                f"Known fields: {', '.join(_FIELDS)}."
            )
        return extra


def _token(connection: Connection) -> str:
    """Return the token of a connection, masked: Airflow masks the password as it is stored, white space included."""
    token = (connection.password or "").strip()
    mask_secret(token)
    return token


def _records(
    reader: Reader[RecordPage, Records], query: Query, wanted: int | None, skip: int
) -> Iterator[dict[str, Any]]:
    """Yield the records of a query, skipping at the server only where it counts what we count."""
    from dataclasses import replace

    if query.start is None and query.end is None:
        query, skip = replace(query, offset=skip), 0
    needed = None if wanted is None else wanted + skip
    for number, record in enumerate(_unlimited(reader, query, needed)):
        if number < skip:
            continue
        yield record
        if number + 1 == needed:
            return


def _unlimited(reader: Reader[RecordPage, Records], query: Query, needed: int | None) -> Iterator[dict[str, Any]]:
    if needed is not None or query.order is not None:
        yield from reader.read(query, needed).records
        return
    for range_ in query.ranges(lambda: reader.endpoint.total(query)):
        for found in reader.read_range(range_):
            yield from found.records


def _query(
    resource: Resource,
    created_after: object,
    created_before: object,
    status: object,
    start_time: object,
    order: object,
) -> Query:
    """Return a query from what the caller gave, validated before the first request."""
    start = None if created_after is None else parse_bound("created_after", created_after)
    end = None if created_before is None else parse_bound("created_before", created_before)
    check_window(start, end)
    if order is not None and not (isinstance(order, str) and re.fullmatch(r"-?[a-z_]+", order)):
        raise CloudlockConfigError(
            f"Invalid order={order!r}: expected the name of a field, with '-' before it for a descending order."
        )
    if start_time is not None and resource.lookback is None:
        raise CloudlockConfigError(f"The resource {resource.name} takes no start_time. Leave it out.")
    value = resource.status_value(status)
    return Query(
        start=start,
        end=end,
        filters={} if value is None or resource.status is None else {resource.status: value},
        lookback=whole_number("start_time", start_time, 1),
        order=order,
    )
