"""Everything this package raises, ordered by what the caller should do.

::

    CloudlockError
    ├── CloudlockConfigError       wrong set-up: mend it, a retry cannot help
    ├── CloudlockAuthError         token, allow-list or licence: mend it, a retry cannot help
    ├── CloudlockRequestError      the API refuses the request: a retry cannot help
    ├── CloudlockUnavailableError  network, time, 429, 5xx: was retried, try again later
    ├── CloudlockResponseError     not what the API promises: was retried, try again later
    ├── CloudlockDriftError        the records kept moving while they were read: try again later
    └── CloudlockDataError         records that cannot be kept: look at them, a retry cannot help

Every message says what happened, where, and what to do next.
"""

from __future__ import annotations


class CloudlockError(Exception):
    """Base of all errors of this package."""

    #: Whether trying again later can help without anybody changing anything.
    retryable = False


class CloudlockConfigError(CloudlockError, ValueError):
    """A parameter, the connection or the destination is wrong."""


class CloudlockAuthError(CloudlockError):
    """Cloudlock refuses the caller: 401, 403 or 888."""


class CloudlockRequestError(CloudlockError):
    """Cloudlock refuses the request with another 4xx status.

    :param message: what happened, where, what to do.
    :param status: the HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class CloudlockUnavailableError(CloudlockError):
    """Cloudlock could not be reached or asked for patience: network, time limits, 429, 5xx.

    :param message: what happened, where, what to do.
    :param status: the HTTP status, None when there was no answer.
    :param retry_after: seconds that the server asked to wait, None when it did not say.
    """

    retryable = True

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class CloudlockResponseError(CloudlockError):
    """The answer is not what the API promises, so nothing in it can be trusted."""

    retryable = True


class CloudlockDriftError(CloudlockError):
    """The set of records kept changing while it was read, so no reading of it could be proved whole."""

    retryable = True


class CloudlockDataError(CloudlockError):
    """Records, or files already in the lake, that cannot be kept without losing something."""
