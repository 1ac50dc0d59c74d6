"""A token that was pasted into the wrong field."""

from __future__ import annotations

import pytest

from airflow_provider_cloudlock.api.address import base_url
from airflow_provider_cloudlock.api.settings import usable_token
from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from tests.api.asking import everything_said
from tests.support import TOKEN


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
def test_a_refused_host_is_shown_nowhere(host: str) -> None:
    with pytest.raises(CloudlockConfigError) as error:
        base_url(host.format(TOKEN))
    assert TOKEN.casefold() not in everything_said(error.value).casefold()


@pytest.mark.parametrize("token", ["https://tenant.example.com", "http://127.0.0.1/api/v2"])
def test_an_address_is_no_token(token: str) -> None:
    with pytest.raises(CloudlockConfigError, match="password holds an address") as error:
        usable_token(token)
    assert token not in everything_said(error.value)
