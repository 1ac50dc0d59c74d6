"""Errors of stores and disks, with what to do about them.

Messages quote error codes, never the text of a library: it may contain a signed URL.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockError, CloudlockUnavailableError

#: Exceptions of store libraries that are not OSErrors. A library that is not loaded raises none. adlfs and gcsfs also
#: raise RuntimeError and ValueError.
_OF_LIBRARIES = (
    ("aiohttp", "ClientError"),
    ("azure.core.exceptions", "AzureError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: Errors of a disk that a retry does not change.
_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG),
    *(errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP),
)
#: Error codes of S3 with a status that is otherwise permanent: credentials that expired while the task was running, for
#: which the next try gets new ones, and requests that were damaged on their way.
_TEMPORARY = ("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "BadDigest", "IncompleteBody")
#: Statuses below 500 after which a later try may succeed.
_TEMPORARY_STATUS = (307, 408, 409, 412, 425, 429)
#: Exceptions of botocore for settings that it rejects before it sends a request.
_REJECTED = {
    *("EndpointProviderError", "InvalidRegionError", "NoRegionError"),
    *("ParamValidationError", "PartialCredentialsError", "ProfileNotFound"),
}


def failures() -> tuple[type[Exception], ...]:
    """Return the exceptions that an operation of a store may raise."""
    loaded = ((sys.modules[module], name) for module, name in _OF_LIBRARIES if module in sys.modules)
    return (OSError, RuntimeError, ValueError, *(getattr(module, name) for module, name in loaded))


def code(error: BaseException) -> str:
    """Return the store's error code, else the HTTP status, else the text of ``errno`` or the exception's name."""
    known = _s3(error).get("Error", {}).get("Code") or getattr(_origin(error), "error_code", None) or _status(error)
    if known:
        return str(getattr(known, "value", known))
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else type(error).__name__


def is_denied(error: BaseException) -> bool:
    """Whether a file, folder or bucket does not exist, or access to it is denied permanently."""
    found = code(error)
    if found in _TEMPORARY:
        return False
    return (
        isinstance(error, PermissionError | FileNotFoundError)
        or getattr(error, "errno", None) in _REFUSED
        or _status(error) in (401, 403, 404)
        or found.startswith("KMS.")
    )


def _is_rejected(error: BaseException) -> bool:
    """Whether a store, or its library, rejects a request in a way that a retry does not change."""
    status = _status(error)
    if status is None:
        return type(error) is ValueError or not _REJECTED.isdisjoint(each.__name__ for each in type(error).__mro__)
    return code(error) not in _TEMPORARY and (
        status in (501, 505) or (300 <= status < 500 and status not in _TEMPORARY_STATUS)
    )


@contextmanager
def explained(uri: str, done: str) -> Iterator[None]:
    """Raise a failure of a store as an error of this package.

    :param uri: file or folder concerned, as the user spells it.
    :param done: what is done to it, such as ``written``.
    :raises CloudlockConfigError: if the store refuses permanently.
    :raises CloudlockUnavailableError: if a later try may succeed.
    """
    try:
        yield
    except CloudlockError:
        raise
    except failures() as error:
        if getattr(error, "errno", None) in _FULL:
            raise _full(f"{uri} could not be {done}", error) from error
        raise failure(uri, done, error) from error


def failure(uri: str, done: str, error: BaseException) -> CloudlockError:
    """Return the error of this package for a failure of a store."""
    what = f"{uri} could not be {done} ({code(error)})"
    if isinstance(error, FileNotFoundError) or _status(error) == 404:
        return CloudlockConfigError(
            f"{what}: its bucket or folder no longer exists. Create it again, or correct the destination."
        )
    if isinstance(error, BlockingIOError):
        return CloudlockUnavailableError(
            f"{what}: another process on this machine has held the lock of the folder for far longer than publishing "
            "a file takes. The existing files are unchanged. Kill the other process if it hangs, then retry."
        )
    if is_denied(error):
        return CloudlockConfigError(
            f"{what}: this is not allowed, or not possible there. The existing files are unchanged. Allow the "
            "destination's connection, or the worker's user, to list, read, write and remove files there and to use "
            "the key that encrypts them; or correct the destination."
        )
    if _is_rejected(error):
        return CloudlockConfigError(
            f"{what}: the store rejects the request, and would reject a retry. The existing files are unchanged. "
            f"{_hint(error)}"
        )
    return CloudlockUnavailableError(
        f"{what}: the store failed, or could not be reached. The existing file is unchanged, or was replaced as a "
        "whole. Try again later; a retry finds out which."
    )


def _hint(error: BaseException) -> str:
    if _s3(error) or type(error).__module__.startswith("botocore."):
        return (
            "Check the bucket's name, and in the extra of the destination's Airflow connection region_name, "
            "endpoint_url and write_options. A server other than Amazon's may also need "
            '{"config_kwargs": {"request_checksum_calculation": "when_required"}}.'
        )
    return "Check the destination, its Airflow connection, and write_options in the extra of that connection."


@contextmanager
def temporary() -> Iterator[None]:
    """Raise a failure to write the worker's temporary files as an error of this package.

    :raises CloudlockConfigError: if the folder cannot be used.
    :raises CloudlockUnavailableError: if it is full.
    """
    try:
        yield
    except OSError as error:
        what = f"The worker's temporary folder {tempfile.tempdir or ''} cannot be written".replace("  ", " ")
        if error.errno in _FULL:
            raise _full(what, error) from error
        if error.errno == errno.ENOENT or error.errno in _REFUSED:
            raise CloudlockConfigError(
                f"{what} ({code(error)}). Give the worker another one, by the environment variable TMPDIR, or fix "
                "its permissions and limits."
            ) from error
        raise


def _full(what: str, error: Exception) -> CloudlockError:
    return CloudlockUnavailableError(
        f"{what}: the disk is full ({code(error)}). The existing files are unchanged. Free some space, then retry."
    )


def _s3(error: BaseException) -> dict[str, Any]:
    """Return the response of S3 that an error was raised for, empty if there is none."""
    responses = (getattr(each, "response", None) for each in (error, error.__cause__))
    return next((each for each in responses if isinstance(each, dict)), {})


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error was raised for, None if there is none."""
    for text, status in (("Forbidden", 403), ("Bad Request", 400), ("Bucket is requester pays", 400)):
        if str(error).startswith(text):  # gcsfs reports no more
            return status
    first = _s3(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    known = (first, *(getattr(_origin(error), name, None) for name in ("status_code", "code", "status")))
    return next((int(each) for each in known if str(each).isdigit()), None)


def _origin(error: BaseException) -> BaseException:
    """Return the error of Azure's client that adlfs wraps in a RuntimeError, else the error itself."""
    return error.__cause__ if type(error) is RuntimeError and error.__cause__ else error
