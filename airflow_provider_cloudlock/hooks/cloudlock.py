"""Airflow connection -> API client."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from airflow_provider_cloudlock.api.address import base_url
from airflow_provider_cloudlock.api.resources import (
    DEFAULT_CONNECTIONS,
    DEFAULT_PAGE_SIZE,
    Query,
    Resource,
    resource_named,
)
from airflow_provider_cloudlock.exceptions import (
    CloudlockConfigError,
    CloudlockError,
    CloudlockResponseError,
)
from airflow_provider_cloudlock.instants import check_window, days_of, parse_bound

# requests is imported when a client is made: a Dag file that names an operator must not pay for it.
if TYPE_CHECKING:
    from datetime import datetime

    from airflow_provider_cloudlock.api.client import CloudlockClient
    from airflow_provider_cloudlock.api.envelope import Records
    from airflow_provider_cloudlock.api.paging import Reader
    from airflow_provider_cloudlock.pages import Gathering, Page, PageFormat

P = TypeVar("P", bound="Page")
G = TypeVar("G", bound="Gathering[Any]")

_FIELDS = ("page_size", "timeout", "max_connections", "requests_per_second", "ca_bundle", "proxy")


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

        :raises CloudlockConfigError: when the connection cannot be used.
        """
        from airflow_provider_cloudlock.api.client import DEFAULT_TIMEOUT, CloudlockClient

        connection = self.get_connection(self.cloudlock_conn_id)
        if connection.conn_type not in ("", None, self.conn_type):
            # Its password is meant for something else.
            raise CloudlockConfigError(
                f"{self.cloudlock_conn_id!r} is a connection of the type {connection.conn_type!r}. Give the id of one "
                f"of the type {self.conn_type!r}."
            )
        token = (connection.password or "").strip()
        mask_secret(token)  # Airflow masks the password as it is stored, white space included
        extra = self._extra
        if extra.get("proxy"):
            mask_secret(extra["proxy"])
        return CloudlockClient(
            base_url(connection.host, connection.port),
            token,
            timeout=_positive("timeout", extra.get("timeout")) or DEFAULT_TIMEOUT,
            requests_per_second=_positive("requests_per_second", extra.get("requests_per_second")),
            ca_bundle=_text("ca_bundle", extra.get("ca_bundle")),
            proxy=_text("proxy", extra.get("proxy")),
        )

    def get_conn(self) -> CloudlockClient:
        """Return the API client of the connection."""
        return self.client

    def reader(self, resource: Resource, page_format: PageFormat[P, G], page_size: int | None = None) -> Reader[P, G]:
        """Return what reads whole result sets of a resource.

        :param resource: what to read.
        :param page_format: makes pages of the answers: dicts, or Arrow.
        :param page_size: records asked for in one request, None for what the connection says, else 10,000.
        :raises CloudlockConfigError: when the page size or the connection cannot be used.
        """
        from airflow_provider_cloudlock.api.paging import Reader

        size = _whole("page_size", page_size, 1, resource.page_cap)
        if size is None:
            size = _whole("page_size", _number(self._extra.get("page_size")), 1, resource.page_cap)
        connections = _whole("max_connections", _number(self._extra.get("max_connections")), 1, 16)
        return Reader(
            self.client,
            resource,
            page_format,
            size or min(DEFAULT_PAGE_SIZE, resource.page_cap),
            connections or DEFAULT_CONNECTIONS,
        )

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
        """Read records as the API sends them; the parameters are those of the vendor's page.

        A window with both ends is read day by day, any other query at once; records are given when the day, or the
        query, is proved whole, so that none is missing and none comes twice.

        :param resource: what to read.
        :param created_after: first instant of the window; without a zone it is UTC.
        :param created_before: first instant after the window.
        :param status: ``Active`` or ``Dismissed``.
        :param start_time: how many days to look back.
        :param order: sort key, such as ``-start_time``; the default is oldest first.
        :param limit: the most records wanted, None for all.
        :param offset: records to skip.
        :param page_size: records asked for in one request, None for what the connection says, else 10,000.
        :raises CloudlockConfigError: before the first request, when a parameter makes no sense.
        :raises CloudlockError: when the records cannot be read as a whole.
        """
        from airflow_provider_cloudlock.api.envelope import RecordFormat

        found = resource_named(resource)
        query = _query(found, created_after, created_before, status, start_time, order)
        wanted = _whole("limit", limit, 1)
        skip = _whole("offset", offset, 0) or 0
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
        """Ask for the API's own total: good for a plan, no proof of anything.

        :param resource: what to count.
        :param created_after: first instant of the window; without a zone it is UTC.
        :param created_before: first instant after the window.
        :param status: ``Active`` or ``Dismissed``.
        :param start_time: how many days to look back.
        :return: the total, None when the API gives none.
        :raises CloudlockConfigError: before the request, when a parameter makes no sense.
        """
        from airflow_provider_cloudlock.api.envelope import RecordFormat

        found = resource_named(resource)
        query = _query(found, created_after, created_before, status, start_time, None)
        return self.reader(found, RecordFormat(found)).total(query)

    def test_connection(self) -> tuple[bool, str]:
        """Make one small call and say in words how it went."""
        try:
            total = CloudlockHook(self.cloudlock_conn_id)._count_once()
        except CloudlockResponseError as error:
            return False, f"Something answers at this address, but it is not the Cloudlock API. {error}"
        except (CloudlockError, AirflowNotFoundException) as error:
            return False, str(error)
        return True, "Cloudlock answers" + (f", and speaks of {total} anomalies." if total is not None else ".")

    def _count_once(self) -> int | None:
        self.client.attempts = 1  # somebody is waiting for the answer
        return self.count("threats")

    @cached_property
    def _extra(self) -> dict[str, Any]:
        extra = {
            name: value
            for name, value in self.get_connection(self.cloudlock_conn_id).extra_dejson.items()
            if value not in (None, "")
        }
        unknown = sorted(set(extra) - set(_FIELDS))
        if unknown:
            raise CloudlockConfigError(
                f"The connection {self.cloudlock_conn_id!r} has the unknown field {unknown[0]!r} in its extra. "
                f"Known fields: {', '.join(_FIELDS)}."
            )
        return extra


def _records(reader: Reader[Any, Records], query: Query, wanted: int | None, skip: int) -> Iterator[dict[str, Any]]:
    """Give the records of a query, skipping at the server only where it counts what we count."""
    from dataclasses import replace

    if query.start is not None and query.end is not None and query.order is None:
        parts = [replace(query, start=start, end=end) for start, end in days_of(query.start, query.end)]
    elif query.start is None and query.end is None:
        parts, skip = [replace(query, offset=skip)], 0
    else:
        parts = [query]
    for part in parts:
        needed = None if wanted is None else wanted + skip
        for record in reader.read(part, needed).records:
            if skip:
                skip -= 1
                continue
            yield record
            if wanted is not None:
                wanted -= 1
                if not wanted:
                    return


def _query(
    resource: Resource,
    created_after: object,
    created_before: object,
    status: object,
    start_time: object,
    order: object,
) -> Query:
    """Check what the user gave, before anything is asked."""
    start = None if created_after is None else parse_bound("created_after", created_after)
    end = None if created_before is None else parse_bound("created_before", created_before)
    check_window(start, end)
    if order is not None and not (isinstance(order, str) and re.fullmatch(r"-?[a-z_]+", order)):
        raise CloudlockConfigError(
            f"order={order!r} is no sort key. Give a field's name, with '-' before it for the newest or largest first."
        )
    return Query(
        start=start,
        end=end,
        status=status_named(resource, status),
        start_time=_whole("start_time", start_time, 1),
        order=order,
    )


def status_named(resource: Resource, status: object) -> str | None:
    """Give a status as the vendor writes it, whatever its case.

    :raises CloudlockConfigError: when the resource has no such status.
    """
    if status is None:
        return None
    for known in resource.statuses:
        if isinstance(status, str) and status.casefold() == known.casefold():
            return known
    raise CloudlockConfigError(f"status={status!r} is not known. Give one of {', '.join(resource.statuses)}, or none.")


def _whole(name: str, value: object, least: int, most: int | None = None) -> int | None:
    if value is None:
        return None
    if type(value) is not int or value < least or (most is not None and value > most):
        bounds = f"from {least} to {most}" if most is not None else f"of at least {least}"
        raise CloudlockConfigError(f"{name}={value!r} is not a whole number {bounds}.")
    return value


def _positive(name: str, value: object) -> float | None:
    number = _number(value)
    if number is None:
        return None
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number < float("inf"):
        raise CloudlockConfigError(f"The connection's {name}={value!r} is not a positive number.")
    return float(number)


def _number(value: object) -> object:
    """Read a number that came as text, as in a connection written as a URI; anything else stays as it is."""
    if isinstance(value, str):
        for kind in (int, float):
            try:
                return kind(value)
            except ValueError:
                continue
    return value


def _text(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise CloudlockConfigError(f"The connection's {name} is not a text.")
    return value
