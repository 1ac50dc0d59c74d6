"""Destination -> store."""

from __future__ import annotations

import re
import unicodedata

from airflow.sdk import ObjectStoragePath

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.lake.store import Store

#: Names in S3 and GCS have 1,024 bytes at most; what comes below a destination needs some 110 of them.
_MOST_BYTES = 900
#: The most of a folder's name on the usual file systems.
_MOST_BYTES_OF_A_PART = 255
_PLAIN = re.compile(r"(?:[^%\\?:]|:(?!:))*")


def store_at(destination: object, resource: str) -> Store:
    """Open the folder of a resource.

    :param destination: what the user wrote, rendered.
    :param resource: its name.
    :raises CloudlockConfigError: when it is no plain absolute location, or its kind of store cannot be opened.
    """
    text = destination.rstrip("/") if isinstance(destination, str) else ""
    scheme, _, rest = text.rpartition("://")
    if scheme in ("", "file", "local") and not rest.startswith("/"):
        raise CloudlockConfigError(
            f"destination={destination!r} is no absolute location. Give one such as "
            "s3://aws_default@lake/cloudlock or file:///data/lake/cloudlock."
        )
    authority, *parts = rest.split("/")
    if ":" in authority.rpartition("@")[0]:
        # Not repeated: it may be a secret.
        raise CloudlockConfigError(
            "The destination holds a user and a password. Put them into an Airflow connection, and give its id: "
            "s3://aws_default@lake/cloudlock."
        )
    fault = _fault_of_all(text) or next((fault for part in parts if (fault := _fault(part))), None)
    if fault is not None:
        raise CloudlockConfigError(
            f"destination={text[:300]!r} {fault}. Spell it out in plain names, such as s3://aws_default@lake/cloudlock."
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
        # A "#" with nothing behind it is lost on the way, for one: two destinations would be the same.
        raise CloudlockConfigError(f"destination={text!r} would be opened as {str(path)!r}. Write it like that.")
    return Store(fs, f"{path.path.rstrip('/')}/{resource}", f"{text}/{resource}")


def _fault_of_all(text: str) -> str | None:
    """Tell what is wrong with a destination as a whole."""
    if len(text.encode("utf-8", "replace")) > _MOST_BYTES:
        return f"has more than {_MOST_BYTES} bytes"
    if not text.isprintable() or not all(each.isascii() or each.isalnum() for each in text):
        return "holds characters that are not printable, or beyond ASCII and no letters or digits"
    if unicodedata.normalize("NFKC", text) != text:
        return "holds characters that look like others"
    if not _PLAIN.fullmatch(text):
        return "holds a backslash, a percent sign, a question mark or '::', which stores take in different ways"
    return None


def _fault(part: str) -> str | None:
    """Tell what is wrong with one part of a destination."""
    if part in ("", ".", ".."):
        return "has a part that is empty, '.' or '..'"
    if part != part.strip():
        return "has a part that begins or ends with a space"
    if len(part.encode()) > _MOST_BYTES_OF_A_PART:
        return f"has a part of more than {_MOST_BYTES_OF_A_PART} bytes"
    return None
