"""Fields of a connection: base URL and access token."""

from __future__ import annotations

import pytest

from airflow_provider_cloudlock.connection import base_url, usable_token
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from tests.api.asking import everything_said
from tests.support import TOKEN


@pytest.mark.parametrize(
    ("host", "port", "expected"),
    [
        ("https://tenant.example.com", None, "https://tenant.example.com/api/v2"),
        ("https://tenant.example.com/", None, "https://tenant.example.com/api/v2"),
        ("https://tenant.example.com/api/v2", None, "https://tenant.example.com/api/v2"),
        ("https://tenant.example.com/api/v2/", None, "https://tenant.example.com/api/v2"),
        ("https://tenant.example.com/gateway", None, "https://tenant.example.com/gateway/api/v2"),
        ("https://tenant.example.com/gateway/api/v2", None, "https://tenant.example.com/gateway/api/v2"),
        ("tenant.example.com", None, "https://tenant.example.com/api/v2"),
        ("tenant.example.com/api/v2", None, "https://tenant.example.com/api/v2"),
        ("tenant.example.com:8443", None, "https://tenant.example.com:8443/api/v2"),
        ("tenant.example.com", 8443, "https://tenant.example.com:8443/api/v2"),
        ("https://tenant.example.com:8443", 9, "https://tenant.example.com:8443/api/v2"),
        ("  https://Tenant.Example.com ", None, "https://tenant.example.com/api/v2"),
        ("HTTPS://tenant.example.com", None, "https://tenant.example.com/api/v2"),
        ("https://[2001:db8::1]:8443/api/v2", None, "https://[2001:db8::1]:8443/api/v2"),
        ("http://localhost:8080", None, "http://localhost:8080/api/v2"),
        ("https://cloudlock", None, "https://cloudlock/api/v2"),
        ("cloudlock:8443", None, "https://cloudlock:8443/api/v2"),
        ("localhost", None, "https://localhost/api/v2"),
        ("http://127.0.0.1", 8080, "http://127.0.0.1:8080/api/v2"),
        ("http://127.8.9.10:1", None, "http://127.8.9.10:1/api/v2"),
        ("http://[::1]:8080", None, "http://[::1]:8080/api/v2"),
    ],
)
def test_addresses(host: str, port: int | None, expected: str) -> None:
    assert base_url(host, port) == expected


@pytest.mark.parametrize("host", [None, "", "  "])
def test_no_address_says_where_it_belongs(host: str | None) -> None:
    with pytest.raises(CloudlockConfigError, match=r"no host.*https://tenant\.example\.com.*Cloudlock support"):
        base_url(host)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("http://tenant.example.com", "send the token in clear"),
        ("http://127.0.0.1.example.com", "send the token in clear"),
        ("http://localhost.example.com", "send the token in clear"),
        ("http://10.0.0.1", "send the token in clear"),
        ("http://0.0.0.0", "send the token in clear"),
        ("ftp://tenant.example.com", "not http"),
        ("file:///etc/passwd", "not http"),
        ("https://", "no host"),
        ("https://:8443", "no host"),
        ("https://user:secret@tenant.example.com", "a user or a password"),
        ("https://secret@tenant.example.com", "a user or a password"),
        ("https://127.0.0.1@tenant.example.com", "a user or a password"),
        ("https://tenant.example.com?token=secret", "a query or a fragment"),
        ("https://tenant.example.com/#secret", "a query or a fragment"),
        ("https://tenant.example.com?", "a query or a fragment"),
        ("https://tenant.example.com//api/v2", "path is not plain"),
        ("https://tenant.example.com/a/../api/v2", "path is not plain"),
        ("https://tenant.example.com/./api/v2", "path is not plain"),
        ("https://tenant.example.com/%2e%2e/api/v2", "path is not plain"),
        ("https://tenant.example.com\\@elsewhere.example.com", "backslashes"),
        ("https://tenant.example.com/api v2", "spaces"),
        ("https://tenant.example.com/\nsecret", "control"),
        ("https://tenant.example.com/\x00", "control"),
        ("https://tenant.example.com:port", "no address, or its port"),
        ("https://tenant.example.com:99999", "no address, or its port"),
        ("https://[2001:db8::1", "no address, or its port"),
        ("c2VjcmV0dG9rZW4", "a single word, as a token is"),
        ("c2VjcmV0dG9rZW4/", "a single word, as a token is"),
    ],
)
def test_addresses_that_are_refused(host: str, why: str) -> None:
    with pytest.raises(CloudlockConfigError, match=why) as refused:
        base_url(host)
    assert "https://tenant.example.com, with or without /api/v2" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "c2Vj" not in str(refused.value)


@pytest.mark.parametrize(
    "host",
    [
        "https://tenant.example.com:{}",
        "https://[{}]",
        "https://[{}",
        "https://{}@tenant.example.com",
        "https://user:{}@tenant.example.com",
        "https://tenant.example.com/?token={}",
        "https://tenant.example.com/#{}",
        "http://tenant.example.com/{}",
        "Bearer {}",
    ],
)
def test_base_url_refused_host_is_shown_nowhere(host: str) -> None:
    with pytest.raises(CloudlockConfigError) as error:
        base_url(host.format(TOKEN))
    assert TOKEN.casefold() not in everything_said(error.value).casefold()


@pytest.mark.parametrize("token", ["https://tenant.example.com", "http://127.0.0.1/api/v2"])
def test_usable_token_address_raises(token: str) -> None:
    with pytest.raises(CloudlockConfigError, match="password holds an address") as error:
        usable_token(token)
    assert token not in everything_said(error.value)
