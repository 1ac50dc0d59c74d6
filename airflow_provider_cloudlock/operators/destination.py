"""Destination -> store."""

from __future__ import annotations

import re
import unicodedata

from airflow.sdk import ObjectStoragePath

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.lake.store import Store

#: Names in S3 and GCS have 1,024 bytes at most; the files below a destination need some 110 of them.
_MOST_BYTES = 900
#: Limit of a folder's name on the usual file systems.
_MOST_BYTES_OF_A_PART = 255
_PLAIN = re.compile(r"(?:[^%\\?:]|:(?!:))*")


def store_at(destination: object) -> Store:
    """Open a destination.

    :param destination: the operator's parameter, rendered.
    :raises CloudlockConfigError: if it is not a plain absolute location, or its kind of store cannot be opened.
    """
    text = destination.rstrip("/") if isinstance(destination, str) else ""
    scheme, _, rest = text.rpartition("://")
    if scheme in ("", "file", "local") and not rest.startswith("/"):
        raise CloudlockConfigError(
            f"destination={destination!r} is not an absolute location. Give one such as "
            "s3://aws_default@lake/cloudlock or file:///data/lake/cloudlock."
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
    try:
        path = ObjectStoragePath(text)
        fs = path.fs
    except (ValueError, ImportError) as error:
        raise CloudlockConfigError(
            f"destination={destination!r} cannot be opened: {error}. Install the provider of that store, such "
            "as airflow-provider-cloudlock[s3], [gcs] or [azure]."
        ) from error
    if str(path).rstrip("/") != text:
        # ObjectStoragePath drops a trailing "#", for example: two destinations would be the same.
        raise CloudlockConfigError(f"destination={text!r} would be opened as {str(path)!r}. Give that instead.")
    return Store(fs, path.path, text, plain_uri(path))


def plain_uri(path: ObjectStoragePath) -> str:
    """Return the address of a path without the Airflow connection, as other tools understand it."""
    protocol = path.protocol if path.protocol not in ("", "local") else "file"
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
