"""What went wrong in one HTTP call, said in words that help."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote

import requests
import urllib3

from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockConfigError,
    CloudlockError,
    CloudlockRequestError,
    CloudlockResponseError,
    CloudlockUnavailableError,
)

#: Retryable besides 5xx: request timeout, too early, too many requests.
_RETRYABLE = frozenset({408, 425, 429})
#: Headers that say when a rate limit ends, in seconds or as seconds of the Unix epoch, and how many requests are left.
_RESETS = ("RateLimit-Reset", "X-RateLimit-Reset")
_REMAINING = ("RateLimit-Remaining", "X-RateLimit-Remaining")
#: Larger numbers of seconds are instants of the Unix epoch: this is 2001, or a wait of 31 years.
_EPOCH = 1e9

#: What gateways that throttle with 403 write.
_RATE_LIMIT = re.compile("rate.?(limit|exceeded)|too many|throttl", re.IGNORECASE)
#: Message of http.client and urllib3 for a proxy's response to CONNECT.
_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (\d{3})\b")

#: What an unusable proxy of the environment comes out as; the API's own address and a connection's proxy were checked.
_BAD_PROXY = (
    requests.exceptions.InvalidProxyURL,
    requests.exceptions.InvalidSchema,
    urllib3.exceptions.LocationParseError,
    urllib3.exceptions.ProxySchemeUnknown,
)

#: How Cisco's own clients are told that they are too old (seen in the Cloudlock apps for Splunk).
_CLIENT_REFUSED = 888


def clean(text: str, tokens: Iterable[str], length: int = 200) -> str:
    """Make a piece of a response fit for a message: one line, no token, cut to ``length`` characters."""
    for token in tokens:
        text = _spellings(token).sub("***", text.replace(token, "***").replace(quote(token, safe=""), "***"))
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return text if len(text) <= length else text[:length] + "..."


@lru_cache(maxsize=8)
def _spellings(token: str) -> re.Pattern[str]:
    """Match a token however it is escaped: letters and digits stay as they are, what is between them may grow."""
    pieces = re.split("([0-9A-Za-z]+)", token)
    words = pieces[1::2] or [re.escape(token)]
    # Atomic, so that the time stays linear whatever the text.
    gaps = (f"(?>.{{1,{32 * len(gap)}}}?{word})" for gap, word in zip(pieces[2::2], words[1:], strict=False))
    return re.compile(words[0] + "".join(gaps), re.DOTALL)


def http_date(value: str | None) -> datetime | None:
    """Read an HTTP date.

    :return: the instant in UTC, None when there is none that can be read.
    """
    if value is None:
        return None
    try:
        parsed = parsedate_to_datetime(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Mapping[str, str], status: int) -> float | None:
    """Return how many seconds the server asks to wait, None if it does not say.

    ``Retry-After`` has seconds, or a date that is compared with the server's own ``Date``. Where it is absent and a
    rate limit is exhausted, the end of that limit counts.

    :param headers: response headers.
    :param status: HTTP status.
    """
    now = http_date(headers.get("Date")) or datetime.now(UTC)
    value = headers.get("Retry-After")
    if value is not None:
        until = http_date(value)
        return _seconds(value) if until is None else max(0.0, (until - now).total_seconds())
    if status == 429 or any(_seconds(headers.get(name)) == 0 for name in _REMAINING):
        for reset in filter(None, (_seconds(headers.get(name)) for name in _RESETS)):
            return max(0.0, reset - now.timestamp()) if reset > _EPOCH else reset
    return None


def _seconds(value: str | None) -> float | None:
    value = (value or "").strip()
    return float(value) if re.fullmatch(r"\d{1,15}(\.\d+)?", value, re.ASCII) else None


def from_status(
    status: int, headers: Mapping[str, str], said: str, where: str, tokens: Iterable[str]
) -> CloudlockError:
    """Return the error for a response whose status is not 200.

    :param status: HTTP status.
    :param headers: response headers.
    :param said: message or beginning of the body, cleaned.
    :param where: the request.
    :param tokens: access tokens to redact.
    """
    says = f" and says: {said.rstrip('. ')}" if said else ""
    answered = f"{where} was answered with status {status}{says}."
    delay = retry_after(headers, status)
    is_throttled = status == 403 and ("Retry-After" in headers or delay is not None or _RATE_LIMIT.search(said))
    if status in _RETRYABLE or is_throttled or 500 <= status < 600:
        asks = f" It asks to wait {delay:.0f} s." if delay is not None else ""
        return CloudlockUnavailableError(f"{answered}{asks} Try again later.", status, delay)
    if status == 401:
        return CloudlockAuthError(
            f"{answered} Cloudlock refuses the access token: it is wrong, or was recycled. Generate one in Cloudlock "
            "(Settings > Authentication & API) and put it into the connection's password."
        )
    if status == 403:
        page = " It is an HTML page, which a proxy of your network may have sent: allow the host there."
        return CloudlockAuthError(
            f"{answered} Cloudlock knows the token but refuses the call: check that this worker's public address is on "
            "the allow-list (Settings > Authentication & API) and that the licence covers this resource."
            + (page if "html" in headers.get("Content-Type", "") else "")
        )
    if status == 407:
        return _refused_by_proxy(status, where)
    if status == _CLIENT_REFUSED:
        return CloudlockAuthError(
            f"{answered} Cloudlock uses this status for clients that it no longer serves: look for a newer version "
            "of airflow-provider-cloudlock, then ask Cloudlock support."
        )
    if 300 <= status < 400:
        target = clean(headers.get("Location", "nowhere"), tokens)
        return CloudlockConfigError(
            f"{answered} It redirects to {target}; redirects are never followed, so that the token goes to no other "
            "host. Correct the connection's host."
        )
    if status == 404:
        return CloudlockRequestError(
            f"{answered} Check the connection's host; a resource that the licence does not cover may look like this "
            "too.",
            status,
        )
    if 400 <= status < 500:
        return CloudlockRequestError(f"{answered} The request will not be accepted as it is.", status)
    return CloudlockResponseError(f"{answered} Only 200 carries records.")


def from_exception(error: Exception, where: str) -> CloudlockError:
    """Turn a failure of the transport into an error.

    :param error: what requests or urllib3 raised.
    :param where: the request.
    """
    causes = list(_causes(error))
    certificate = next((cause for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)), None)
    if certificate is not None:
        return CloudlockConfigError(
            f"{where}: the server's certificate is not accepted: {certificate.verify_message}. Check the connection's "
            "host; where your network inspects TLS, name its authority in the connection's ca_bundle."
        )
    if any(isinstance(cause, _BAD_PROXY) for cause in causes):
        return CloudlockConfigError(
            f"{where}: the proxy's address is not usable. Correct the connection's proxy, or the worker's HTTP_PROXY "
            "and HTTPS_PROXY."
        )
    if isinstance(error, requests.exceptions.ProxyError):
        refused = next(filter(None, (_REFUSED_TUNNEL.match(str(cause)) for cause in causes)), None)
        if refused is not None:
            return _refused_by_proxy(int(refused[1]), where)
        return CloudlockUnavailableError(f"{where}: the proxy cannot be reached. Check its address.")
    if any(isinstance(cause, urllib3.exceptions.NameResolutionError) for cause in causes):
        return CloudlockUnavailableError(f"{where}: the host's name cannot be resolved. Check the connection's host.")
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return CloudlockUnavailableError(f"{where}: no connection within the time limit. Check host and firewall.")
    if any(isinstance(cause, urllib3.exceptions.ReadTimeoutError | TimeoutError) for cause in causes):
        return CloudlockUnavailableError(f"{where}: the server stopped answering within the time limit.")
    if any(isinstance(cause, ConnectionRefusedError) for cause in causes):
        return CloudlockUnavailableError(f"{where}: the connection was refused. Check the connection's host.")
    return CloudlockUnavailableError(f"{where}: the answer broke off ({type(causes[-1]).__name__}).")


def _refused_by_proxy(status: int, where: str) -> CloudlockError:
    if status == 407:
        return CloudlockConfigError(
            f"{where}: the proxy refuses its user or password, or asks for them (status 407). Correct the connection's "
            "proxy, or the worker's HTTPS_PROXY. The request is not retried, as the account may get locked."
        )
    if status in _RETRYABLE or status >= 500:
        return CloudlockUnavailableError(
            f"{where}: the proxy cannot connect to this host (status {status}). Try again later."
        )
    return CloudlockConfigError(
        f"{where}: the proxy refuses to connect to this host (status {status}), so nothing reached Cloudlock. Ask "
        "those who run the proxy to allow it."
    )


def _causes(error: BaseException | None) -> list[BaseException]:
    """The error and what lies beneath it, outermost first; urllib3 keeps its causes in several places."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        inner = getattr(error, "reason", None) or error.__cause__ or error.__context__
        if not isinstance(inner, BaseException):
            inner = next((a for a in error.args if isinstance(a, BaseException)), None) or error.__context__
        error = inner
    return found
