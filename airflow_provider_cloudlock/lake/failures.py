"""What goes wrong with stores and disks, in words that say what to do.

Messages quote codes alone, never what a library wrote: it may hold a signed address.
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

#: What the libraries of stores raise beside OSError. One that is not loaded raises nothing.
_OF_LIBRARIES = (
    ("aiohttp", "ClientError"),
    ("azure.core.exceptions", "AzureError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)
_FULL = (errno.ENOSPC, errno.EDQUOT)
#: What a disk refuses however often it is asked.
_REFUSED = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG),
    *(errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP),
)
#: What S3 says of keys that went out of date while the task was at work: the next try begins with new ones.
_EXPIRED = ("ExpiredToken", "ExpiredTokenException")


def failures() -> tuple[type[Exception], ...]:
    """Return what an operation of a store may raise."""
    loaded = ((sys.modules[module], name) for module, name in _OF_LIBRARIES if module in sys.modules)
    return (OSError, *(getattr(module, name) for module, name in loaded))


def code(error: BaseException) -> str:
    """Return a store's own name for an error, else the HTTP status, else the system's name or the kind of error."""
    known = _s3(error).get("Error", {}).get("Code") or getattr(error, "error_code", None) or _status(error)
    if known:
        return str(getattr(known, "value", known))
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else type(error).__name__


def is_refusal(error: BaseException) -> bool:
    """Whether a store or a disk refuses for good, and somebody has to mend something."""
    told = code(error)
    if told in _EXPIRED:
        return False
    return (
        isinstance(error, PermissionError | FileNotFoundError)
        or getattr(error, "errno", None) in _REFUSED
        or _status(error) in (401, 403, 404)
        or told.startswith("KMS.")
    )


@contextmanager
def explained(uri: str, done: str) -> Iterator[None]:
    """Say what a failure in a store means.

    :param uri: what it is about, as the user spells it.
    :param done: what is done to it, such as ``written``.
    :raises CloudlockConfigError: when the store refuses for good.
    :raises CloudlockUnavailableError: when it may serve a later try.
    """
    try:
        yield
    except failures() as error:
        if getattr(error, "errno", None) in _FULL:
            raise _full(f"{uri} could not be {done}", error) from error
        raise failure(uri, done, error) from error


def failure(uri: str, done: str, error: BaseException) -> CloudlockError:
    """Say what one error means."""
    what = f"{uri} could not be {done} ({code(error)})"
    if isinstance(error, FileNotFoundError) or _status(error) == 404:
        return CloudlockConfigError(
            f"{what}: its bucket or folder is not there any more. Create it again, or correct the destination."
        )
    if isinstance(error, BlockingIOError):
        return CloudlockUnavailableError(
            f"{what}: another process on this machine has kept the folder locked for far longer than a file takes. "
            "What was there stands. If that process hangs, end it; a retry begins anew."
        )
    if is_refusal(error):
        return CloudlockConfigError(
            f"{what}: this is not allowed, or not possible there. What was there stands. Let the destination's "
            "connection, or the worker's user, list, read, write and remove files there, and use the key that "
            "encrypts them; or correct the destination."
        )
    return CloudlockUnavailableError(
        f"{what}: the store failed, or could not be reached. What was there stands, or was replaced as a whole. Try "
        "again later; a retry finds out which."
    )


@contextmanager
def temporary() -> Iterator[None]:
    """Say what it means when the worker's temporary files cannot be written.

    :raises CloudlockConfigError: when the folder cannot be used.
    :raises CloudlockUnavailableError: when it is full.
    """
    try:
        yield
    except OSError as error:
        what = f"The worker's temporary folder {tempfile.tempdir or ''} cannot be written".replace("  ", " ")
        if error.errno in _FULL:
            raise _full(what, error) from error
        if error.errno == errno.ENOENT or error.errno in _REFUSED:
            raise CloudlockConfigError(
                f"{what} ({code(error)}). Give the worker another one, by the environment variable TMPDIR, or mend "
                "its permissions and limits."
            ) from error
        raise


def _full(what: str, error: Exception) -> CloudlockError:
    return CloudlockUnavailableError(
        f"{what}: the disk is full ({code(error)}). What was there stands. Make room; a later try begins anew."
    )


def _s3(error: BaseException) -> dict[str, Any]:
    """Return what S3 answered."""
    answers = (getattr(each, "response", None) for each in (error, error.__cause__))
    return next((answer for answer in answers if isinstance(answer, dict)), {})


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that an error is about, None when there is none."""
    if str(error).startswith("Forbidden"):  # all that gcsfs tells
        return 403
    answer = _s3(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    known = (answer, *(getattr(error, name, None) for name in ("status_code", "code", "status")))
    return next((int(each) for each in known if str(each).isdigit()), None)
