"""One validated GET: authentication, TLS, time limits, retries, size limits."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, wait
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

import requests
import tenacity
import urllib3
from requests.utils import select_proxy, should_bypass_proxies

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.api import failures
from airflow_provider_cloudlock.api.body import check_dense, message_of, read_body
from airflow_provider_cloudlock.connection import check_proxy, usable_bundle, usable_token
from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockError,
    CloudlockResponseError,
    CloudlockUnavailableError,
)
from airflow_provider_cloudlock.threads import in_thread

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds that one request may take as a whole, when the connection does not say.
DEFAULT_TIMEOUT = 300.0
_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 120.0

#: The most of an answer that is looked at for words to repeat.
_EXCERPT_BYTES = 1 << 16

#: The longest ``Retry-After`` that is waited for inside a task, in seconds: beyond it the worker slot is worth more.
_LONGEST_WAIT = 60.0
# Not wait_exponential_jitter, whose parameters differ between tenacity 9.1 and 9.2.
_BACKOFF = tenacity.wait_exponential(multiplier=0.5, max=30.0) + tenacity.wait_random(0, 0.5)


class _Session(requests.Session):
    """Knows no redirects: no other host gets the token, and no body of any size is read to find out where one leads."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        return None


class _Redaction(logging.Filter):
    """Redact access tokens in log records of urllib3, which quotes malformed response headers.

    :param tokens: the tokens; the client adds to this list.
    """

    _LOGGERS = ("urllib3.connection", "urllib3.connectionpool")

    def __init__(self, tokens: list[str]) -> None:
        super().__init__()
        self._tokens = tokens

    def install(self) -> None:
        """Filter from now on."""
        for name in self._LOGGERS:
            logging.getLogger(name).addFilter(self)

    def remove(self) -> None:
        """Filter no more."""
        for name in self._LOGGERS:
            logging.getLogger(name).removeFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact a record if it contains a token."""
        text = record.getMessage()
        redacted = failures.clean(text, self._tokens, len(text))
        if redacted.count("***") > text.count("***"):
            record.msg, record.args = redacted, ()
            record.exc_info = record.exc_text = None
        return True


class CloudlockClient:
    """Sends requests to Cloudlock, and returns a response only if it is complete and valid.

    :param base_url: as :func:`~airflow_provider_cloudlock.connection.base_url` returns it.
    :param token: access token; white space around it is dropped.
    :param read_token: returns the token that is valid now; called if Cloudlock refuses the one in use.
    :param timeout: seconds that one request may take as a whole.
    :param requests_per_second: the most requests sent in a second, None for no limit.
    :param ca_bundle: path of a PEM file with the authorities to trust instead of the usual ones.
    :param proxy: URL of the proxy for every request; hosts that ``NO_PROXY`` names go without. None for the
        environment's ``HTTPS_PROXY``.
    :raises CloudlockConfigError: when one of these cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        read_token: Callable[[], str] | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        requests_per_second: float | None = None,
        ca_bundle: str | None = None,
        proxy: str | None = None,
    ) -> None:
        #: Of the API, without a slash at its end.
        self.base_url = base_url
        #: The token in use, preceded by those that it replaced: responses to them may still come.
        self._tokens = [usable_token(token)]
        self._read_token = read_token
        redaction = _Redaction(self._tokens)
        redaction.install()
        self._remove_redaction = weakref.finalize(self, redaction.remove)
        self._timeout = timeout
        # A little slower, so that what arrives at the server never exceeds it however unevenly the way there is.
        self.interval = 1.05 / requests_per_second if requests_per_second else 0.0
        verify: str | bool = True if ca_bundle is None else usable_bundle(ca_bundle)
        proxies = {}
        if proxy is not None:
            check_proxy(proxy)
            if not should_bypass_proxies(base_url, no_proxy=None):
                proxies = {"http": proxy, "https": proxy}
        self._lock, self._token_lock = threading.Lock(), threading.Lock()
        self._closed = False
        self._next_start = 0.0
        self._session = _Session()
        self._session.headers.update(
            {
                "User-Agent": f"airflow-provider-cloudlock/{__version__}",
                "Accept": "application/json",
                "Accept-Encoding": "gzip, deflate",
            }
        )
        # What the environment says of proxies and certificates is asked once: for each request it takes long.
        settings = self._session.merge_environment_settings(base_url, proxies, stream=True, verify=verify, cert=None)
        self._verify, self._proxies = settings["verify"], settings["proxies"]
        is_used = ca_bundle is None and base_url.startswith("https:")
        if is_used and isinstance(self._verify, str) and not Path(self._verify).is_dir():
            usable_bundle(self._verify, "The worker's REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE")
        chosen = select_proxy(base_url, self._proxies)
        if chosen and proxy is None and not chosen.startswith("socks"):
            chosen = chosen if "://" in chosen else f"http://{chosen}"
            check_proxy(chosen, "The worker's HTTP_PROXY or HTTPS_PROXY")
        self._session.trust_env = False  # also keeps .netrc out
        #: How often one request is tried.
        self.attempts = 5
        #: Requests sent, and those among them that repeated a failed one.
        self.requests = 0
        self.retries = 0
        #: Bytes of answers, unpacked.
        self.bytes = 0
        #: Answers that said that there were too many requests.
        self.throttled = 0
        #: The earliest that the server's clock was since somebody set this to None.
        self.earliest_date: datetime | None = None
        #: Seconds by which the server's clock was ahead of the worker's at the last answer.
        self.clock_skew: int | None = None

    def get(
        self,
        path: str,
        parameters: Mapping[str, str],
        parse: Callable[[bytes], T],
        dropped: threading.Event | None = None,
        tries: int = 0,
    ) -> T:
        """Send a request and parse the response; retry a temporary failure after growing, jittered waits.

        If Cloudlock refuses the caller, and the token was replaced meanwhile, the request is repeated with the new one.

        :param path: path below the base URL.
        :param parameters: query parameters.
        :param parse: parses the body; a CloudlockResponseError that it raises counts as a failure of the request.
        :param dropped: set when the response is no longer needed; no further request is sent then.
        :param tries: how often to send the request at most, 0 for ``attempts``.
        :raises CloudlockError: of the kind that says what to do.
        """
        where = f"GET {self.base_url}/{path}"
        if "offset" in parameters:
            where += f" (offset {parameters['offset']}, limit {parameters['limit']})"
        dropped = dropped or threading.Event()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, CloudlockError) and error.retryable),
            stop=_stop_after(tries or self.attempts),
            wait=_wait,
            sleep=lambda seconds: _pause(dropped, seconds),
            before_sleep=self._note_retry,
            reraise=True,
        )
        token = self._tokens[-1]
        try:
            result: T = retrying(self._attempt, where, path, parameters, parse, dropped)
        except CloudlockAuthError as error:
            if not self._is_replaced(token):
                raise
            log.warning("%s The connection contains another token now, with which the request is repeated.", error)
            with self._lock:
                self.retries += 1
            result = retrying(self._attempt, where, path, parameters, parse, dropped)
        return result

    def close(self) -> None:
        """Close the connections that were kept alive, and send nothing more."""
        self._closed = True
        self._session.close()
        self._remove_redaction()

    def _attempt(
        self,
        where: str,
        path: str,
        parameters: Mapping[str, str],
        parse: Callable[[bytes], T],
        dropped: threading.Event,
    ) -> T:
        self._wait_for_turn(dropped)
        body, content_type = self._within_timeout(where, path, parameters)
        with self._lock:
            self.bytes += len(body)
        try:
            check_dense(body)
            return parse(body)
        except CloudlockResponseError as error:
            why = self.clean(str(error))
        raise CloudlockResponseError(
            f"{where} was answered with status 200, but: {why} The answer has {len(body)} bytes of type "
            f"{self.clean(content_type)} and begins: {self._excerpt(body) or 'with nothing'}"
        )

    def _is_replaced(self, token: str) -> bool:
        """Return whether a refused token was replaced; the first thread to ask reads the connection again."""
        with self._token_lock:
            if token == self._tokens[-1] and self._read_token is not None:
                current = usable_token(self._read_token())
                if current != token:
                    self._tokens.append(current)
            return token != self._tokens[-1]

    def _within_timeout(self, where: str, path: str, parameters: Mapping[str, str]) -> tuple[bytes, str]:
        """Fetch in a thread that is abandoned when the time is over, wherever it waits: for a name, TLS or a byte.

        The timeouts of a socket start anew with every byte, so a server that sends one now and then passes them.
        """
        abandoned = threading.Event()
        fetching = in_thread(partial(self._fetch, where, path, parameters, abandoned))
        try:
            if not wait([fetching], self._timeout).done:
                raise CloudlockUnavailableError(
                    f"{where}: the response was not complete within {self._timeout:g} s. Try again later, request "
                    "smaller pages, or raise the connection's timeout."
                )
        finally:
            abandoned.set()
        failure = fetching.exception()
        if isinstance(failure, requests.RequestException | urllib3.exceptions.HTTPError | OSError):
            # Raised without a cause, which may quote the response as it came.
            raise failures.from_exception(failure, where)
        return fetching.result()

    def _fetch(
        self, where: str, path: str, parameters: Mapping[str, str], abandoned: threading.Event
    ) -> tuple[bytes, str]:
        """Return the body of a response with status 200, and its type."""
        with self._session.get(
            f"{self.base_url}/{path}",
            params=parameters,
            headers={"Authorization": f"Bearer {self._tokens[-1]}"},
            stream=True,
            # A second longer than the whole request may take, whose error says more; then the thread ends as well.
            timeout=(min(_CONNECT_TIMEOUT, self._timeout), min(_READ_TIMEOUT, self._timeout + 1)),
            verify=self._verify,
            proxies=dict(self._proxies),
        ) as response:
            self._note_date(failures.http_date(response.headers.get("Date")))
            if response.status_code != 200:
                try:
                    beginning = read_body(response, where, abandoned, _EXCERPT_BYTES)
                except (urllib3.exceptions.HTTPError, OSError):
                    beginning = b""  # the status is enough
                said = self.clean(message_of(beginning) or "") or self._excerpt(beginning)
                raise failures.from_status(response.status_code, response.headers, said, where, self._tokens)
            return read_body(response, where, abandoned), response.headers.get("Content-Type", "none")

    def _note_date(self, date: datetime | None) -> None:
        if date is not None:
            with self._lock:
                self.earliest_date = min(date, self.earliest_date or date)
            self.clock_skew = round((date - datetime.now(UTC)).total_seconds())

    def _excerpt(self, body: bytes) -> str:
        """Clean the beginning of a body, without its end, where a token may be cut off."""
        text = body[:_EXCERPT_BYTES].decode("utf-8", "replace")
        longest = max(map(len, self._tokens))
        return self.clean(text[: -8 * longest] if len(body) >= _EXCERPT_BYTES else text)

    def clean(self, text: str, length: int = 200) -> str:
        """Make a text of the server fit for a message or a log."""
        return failures.clean(text, self._tokens, length)

    def _wait_for_turn(self, dropped: threading.Event) -> None:
        """Keep the starts of requests apart, over all threads that use this client."""
        while not (dropped.is_set() or self._closed):
            with self._lock:
                now = time.monotonic()
                if now >= self._next_start:
                    self._next_start = now + self.interval
                    self.requests += 1
                    return
                wait = self._next_start - now
            _pause(dropped, wait)
        raise CancelledError("request cancelled")

    def _note_retry(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        with self._lock:
            self.retries += 1
            if isinstance(error, CloudlockUnavailableError) and error.status in (403, 429):
                self.throttled += 1
                self._next_start = max(self._next_start, time.monotonic() + state.upcoming_sleep)
        log.warning(
            "%s Try %d of %d follows in %.1f s.", error, state.attempt_number + 1, self.attempts, state.upcoming_sleep
        )


def _pause(dropped: threading.Event, seconds: float) -> None:
    dropped.wait(seconds)


def _stop_after(attempts: int) -> Callable[[tenacity.RetryCallState], bool]:
    def stop(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= attempts or (_asked_wait(state) or 0) > _LONGEST_WAIT

    return stop


def _wait(state: tenacity.RetryCallState) -> float:
    """Return the larger of our own delay and the one that the server asks for."""
    return max(_BACKOFF(state), _asked_wait(state) or 0.0)


def _asked_wait(state: tenacity.RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after if isinstance(error, CloudlockUnavailableError) else None
