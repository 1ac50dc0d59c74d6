"""Asking a tenant as the provider does."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.api.records import RecordFormat
from airflow_provider_cloudlock.resources import RESOURCES
from tests.support import Record, Tenant


@contextmanager
def client_of(tenant: Tenant, base: str | None = None, **options: Any) -> Iterator[CloudlockClient]:
    """Make a client of a tenant.

    :param base: the address to ask instead of the tenant's own.
    """
    token = options.pop("token", tenant.token)
    with closing(CloudlockClient(f"{base or tenant.url}/api/v2", token, **options)) as client:
        yield client


def ask(client: CloudlockClient, parse: Callable[[bytes], Any] | None = None, **parameters: str) -> list[Record]:
    """Ask for one page of records."""
    asked = {"order": "created_at", "limit": "100", "offset": "0", **parameters}
    page = client.get("threats", asked, parse or RecordFormat(RESOURCES["threats"]).decode)
    return [record for _, record in page.records.values()] if parse is None else page


def everything_said(error: BaseException) -> str:
    """Return all that a log shows of an error: its words, and those of what lies beneath it."""
    return "".join(traceback.format_exception(error)) + repr(error)
