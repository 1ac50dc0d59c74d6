"""Destination -> store."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from airflow.sdk import BaseHook, ObjectStoragePath
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.io import attach

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.lake.store import Store
from airflow_provider_cloudlock.lake.store_errors import failure, failures

#: Names in S3 and GCS have 1,024 bytes at most; the files below a destination need some 110 of them.
_MOST_BYTES = 900
#: Limit of a folder's name on the usual file systems.
_MOST_BYTES_OF_A_PART = 255
_PLAIN = re.compile(r"(?:[^%\\?:]|:(?!:))*")


def store_at(destination: object) -> Store:
    """Open a destination.

    :param destination: the operator's parameter, rendered.
    :raises CloudlockConfigError: if it is not a plain address, or cannot be opened with its Airflow connection.
    :raises CloudlockUnavailableError: if a service that its connection needs, such as AWS STS, does not respond.
    """
    text = destination.rstrip("/") if isinstance(destination, str) else ""
    scheme, _, rest = text.rpartition("://")
    if not scheme or (scheme in ("file", "local") and not rest.startswith("/")):
        # A path alone would be a folder on whichever worker runs the task, where a forgotten "s3://" goes unnoticed.
        raise CloudlockConfigError(
            f"destination={repr(destination)[:300]} is not an address. Give one such as "
            "s3://aws_default@lake/cloudlock, or file:///data/lake/cloudlock for a folder on the worker."
        )
    authority, *parts = rest.split("/")
    if ":" in authority.rpartition("@")[0]:
        # The destination is not quoted, as it may contain a secret.
        raise CloudlockConfigError(
            "The destination contains a user name and a password. Put them into an Airflow connection and give its "
            "id: s3://aws_default@lake/cloudlock."
        )
    fault = _fault_of_all(text) or next((fault for part in parts if (fault := _fault(part))), None)
    if fault is not None:
        raise CloudlockConfigError(
            f"destination={text[:300]!r} {fault}. Use plain names, such as s3://aws_default@lake/cloudlock."
        )
    write_options = _write_options(scheme, authority)
    try:
        path = ObjectStoragePath(text)
        fs = path.fs
    except (AttributeError, ImportError, TypeError, ValueError) as error:
        raise CloudlockConfigError(
            f"destination={destination!r} cannot be opened: {error}. Install the provider of that store, such "
            "as airflow-provider-cloudlock[s3], [gcs] or [azure], and check the destination's Airflow connection."
        ) from error
    except failures() as error:
        raise failure(text, "opened", error) from error
    if str(path).rstrip("/") != text:
        # ObjectStoragePath drops a trailing "#", for example: two destinations would be the same.
        raise CloudlockConfigError(f"destination={text!r} would be opened as {str(path)!r}. Give that instead.")
    return Store(fs, path.path, text, plain_uri(path), write_options)


def _write_options(scheme: str, authority: str) -> dict[str, Any]:
    """Return the field ``write_options`` in the extra of a destination's Airflow connection.

    :raises CloudlockConfigError: if there is no such connection. The Amazon provider would use the worker's own
        credentials, or none.
    """
    conn_id, has_connection, bucket = authority.rpartition("@")
    if not has_connection:
        return {}
    try:
        extra: object = BaseHook.get_connection(conn_id).extra_dejson
    except AirflowNotFoundException as error:
        if "fs" in vars(attach(scheme, conn_id)):  # by the DAG, in place of a connection
            return {}
        raise CloudlockConfigError(
            f"There is no Airflow connection {conn_id!r}, which the destination {scheme}://{authority} names. Create "
            f"it, or correct the destination; {scheme}://{bucket} uses the credentials of the worker."
        ) from error
    options = extra.get("write_options", {}) if isinstance(extra, dict) else {}
    if not isinstance(options, dict):
        raise CloudlockConfigError(
            f"write_options={options!r} in the extra of the Airflow connection {conn_id!r} is not an object. Give "
            'names and values, such as {"ServerSideEncryption": "aws:kms"}.'
        )
    return options


def plain_uri(path: ObjectStoragePath) -> str:
    """Return the address of a path without the Airflow connection, as other tools understand it."""
    protocol = path.protocol if path.protocol != "local" else "file"
    return f"{protocol}://{path.path.rstrip('/')}"


def _fault_of_all(text: str) -> str | None:
    """Return what is wrong with a destination as a whole, None if nothing is."""
    if len(text.encode("utf-8", "replace")) > _MOST_BYTES:
        return f"has more than {_MOST_BYTES} bytes"
    if not text.isprintable() or not all(each.isascii() or each.isalnum() for each in text):
        return "contains characters that are not printable, or are neither ASCII nor letters or digits"
    if unicodedata.normalize("NFKC", text) != text:
        return "contains compatibility characters, which look like others"
    if not _PLAIN.fullmatch(text):
        return "contains a backslash, a percent sign, a question mark or '::', which stores interpret differently"
    return None


def _fault(part: str) -> str | None:
    """Return what is wrong with one part of a destination, None if nothing is."""
    if part in ("", ".", ".."):
        return "has a part that is empty, '.' or '..'"
    if part != part.strip():
        return "has a part that begins or ends with a space"
    if len(part.encode()) > _MOST_BYTES_OF_A_PART:
        return f"has a part of more than {_MOST_BYTES_OF_A_PART} bytes"
    return None
