"""The words and the kinds of failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from requests.structures import CaseInsensitiveDict

from airflow_provider_cloudlock.api import failures
from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockConfigError,
    CloudlockError,
    CloudlockRequestError,
    CloudlockResponseError,
    CloudlockUnavailableError,
)

WHERE = "GET https://tenant.example.com/api/v2/threats (offset 99, limit 100)"


def failure(status: int, **headers: str) -> CloudlockError:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return failures.from_status(status, CaseInsensitiveDict(named), "no luck", WHERE, ["token"])


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (201, CloudlockResponseError, "Only 200 carries records"),
        (204, CloudlockResponseError, "Only 200 carries records"),
        (206, CloudlockResponseError, "Only 200 carries records"),
        (301, CloudlockConfigError, "redirects are never followed"),
        (304, CloudlockConfigError, "It redirects to nowhere"),
        (400, CloudlockRequestError, "will not be accepted"),
        (401, CloudlockAuthError, "recycled.*connection's password"),
        (403, CloudlockAuthError, "allow-list.*licence"),
        (404, CloudlockRequestError, "connection's host.*licence"),
        (408, CloudlockUnavailableError, "Try again later"),
        (409, CloudlockRequestError, "will not be accepted"),
        (422, CloudlockRequestError, "will not be accepted"),
        (425, CloudlockUnavailableError, "Try again later"),
        (429, CloudlockUnavailableError, "Try again later"),
        (500, CloudlockUnavailableError, "Try again later"),
        (599, CloudlockUnavailableError, "Try again later"),
        (600, CloudlockResponseError, "Only 200 carries records"),
        (888, CloudlockAuthError, "newer version"),
    ],
)
def test_every_status_has_its_kind_and_says_what_where_and_what_to_do(
    status: int, kind: type[CloudlockError], words: str
) -> None:
    error = failure(status)
    assert type(error) is kind
    with pytest.raises(kind, match=rf"^{WHERE.replace('(', '.').replace(')', '.')} was answered with status {status}"):
        raise error
    with pytest.raises(kind, match=f"and says: no luck.*{words}"):
        raise error
    assert getattr(error, "status", status) == status


@pytest.mark.parametrize(
    ("said", "headers"),
    [
        ("API rate limit exceeded", {}),
        ("Rate exceeded", {}),
        ('{"reason": "userRateLimitExceeded"}', {}),
        ("Too many requests", {}),
        ("Request was throttled.", {}),
        ("Forbidden", {"Retry-After": "7"}),
        ("Forbidden", {"Retry-After": "soon"}),
        ("Forbidden", {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "7"}),
    ],
)
def test_from_status_403_of_rate_limit_is_retryable(said: str, headers: dict[str, str]) -> None:
    error = failures.from_status(403, CaseInsensitiveDict(headers), said, WHERE, [])
    assert isinstance(error, CloudlockUnavailableError)
    assert error.status == 403


@pytest.mark.parametrize(
    ("said", "headers"),
    [
        ("Forbidden", {}),
        ("Address not on the allow-list", {"X-RateLimit-Remaining": "12", "X-RateLimit-Reset": "7"}),
    ],
)
def test_from_status_403_without_rate_limit_is_final(said: str, headers: dict[str, str]) -> None:
    assert type(failures.from_status(403, headers, said, WHERE, [])) is CloudlockAuthError


@pytest.mark.parametrize(
    ("content_type", "expected"), [("text/html; charset=utf-8", True), ("application/json", False)]
)
def test_from_status_403_as_html_names_proxy(content_type: str, expected: bool) -> None:
    error = failures.from_status(403, {"Content-Type": content_type}, "no luck", WHERE, [])
    assert ("a proxy of your network" in str(error)) is expected


def test_only_what_may_pass_is_worth_another_try() -> None:
    kinds = {kind.__name__: kind.retryable for kind in CloudlockError.__subclasses__()}
    assert kinds == {
        "CloudlockConfigError": False,
        "CloudlockAuthError": False,
        "CloudlockRequestError": False,
        "CloudlockUnavailableError": True,
        "CloudlockResponseError": True,
        "CloudlockDriftError": True,
        "CloudlockDataError": False,
    }


def test_a_silent_server_is_not_quoted() -> None:
    error = failures.from_status(500, {}, "", WHERE, ["token"])
    assert "says" not in str(error)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0),
        ("2", 2),
        (" 2 ", 2),
        ("1.5", 1.5),
        ("86400", 86400),
        ("9999999999", 9999999999),
        ("9" * 16, None),
        ("-1", None),
        ("1e3", None),
        ("٣", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_in_seconds(value: str, seconds: float | None) -> None:
    assert failures.retry_after({"Retry-After": value}, 429) == seconds
    error = failure(429, Retry_After=value)
    assert isinstance(error, CloudlockUnavailableError)
    assert error.retry_after == seconds
    assert (f"asks to wait {seconds:.0f} s" in str(error)) if seconds is not None else ("wait" not in str(error))


def test_retry_after_as_a_date_is_measured_by_the_servers_own_clock() -> None:
    now = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC)  # years behind ours
    later = format_datetime(now + timedelta(seconds=30), usegmt=True)
    date = format_datetime(now, usegmt=True)
    assert failures.retry_after({"Retry-After": later, "Date": date}, 503) == 30
    assert failures.retry_after({"Retry-After": date, "Date": later}, 503) == 0
    assert failures.retry_after({"Retry-After": later}, 503) == 0
    ahead = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert 28 <= (failures.retry_after({"Retry-After": ahead, "Date": "broken"}, 503) or 0) <= 30


DATE = "Fri, 02 Jan 2026 00:00:00 GMT"


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"RateLimit-Reset": "30"}, 30),
        (429, {"X-RateLimit-Reset": "30"}, 30),
        (429, {"X-RateLimit-Reset": "1767312030", "Date": DATE}, 30),
        (429, {"RateLimit-Reset": "1767311999", "Date": DATE}, 0),
        (429, {"RateLimit-Reset": "30", "Retry-After": "2"}, 2),
        (429, {"RateLimit-Reset": "30", "Retry-After": "-2"}, None),
        (429, {"RateLimit-Reset": "soon", "X-RateLimit-Reset": "7"}, 7),
        (429, {"RateLimit-Reset": "0"}, None),
        (502, {"X-RateLimit-Reset": "30", "X-RateLimit-Remaining": "12"}, None),
        (502, {"X-RateLimit-Reset": "30"}, None),
        (503, {"X-RateLimit-Reset": "30", "X-RateLimit-Remaining": "0"}, 30),
    ],
)
def test_end_of_rate_limit_counts_like_retry_after(status: int, headers: dict[str, str], seconds: float | None) -> None:
    assert failures.retry_after(CaseInsensitiveDict(headers), status) == seconds


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("Fri, 02 Jan 2026 03:04:05 GMT", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("Fri, 02 Jan 2026 03:04:05 +0100", datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)),
        ("Fri, 02 Jan 2026 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("Fri, 32 Jan 2026 03:04:05 GMT", None),
        ("Fri, 02 Jan 99999999 03:04:05 GMT", None),
    ],
)
def test_http_dates(value: str | None, expected: datetime | None) -> None:
    assert failures.http_date(value) == expected


def test_a_date_beyond_the_calendar_is_no_date() -> None:
    assert failures.http_date("Fri, 31 Dec 9999 23:59:59 -2359") is None


def test_a_servers_words_are_one_short_line_without_the_token() -> None:
    assert failures.clean("a\r\n\tb \x1b[31m\u2028c\u202ed", ["token"]) == "a b [31m c d"
    assert failures.clean("say token, token!", ["token"]) == "say ***, ***!"
    assert failures.clean("?t=a%2Fb%2B%3D or a/b+=", ["a/b+="]) == "?t=*** or ***"
    assert failures.clean("x" * 201, ["token"]) == "x" * 200 + "..."
    assert failures.clean("x" * 200, ["token"]) == "x" * 200
    across = "x" * 197 + "token" + "y" * 50
    assert failures.clean(across, ["token"]) == "x" * 197 + "***" + "..."
