"""How much of an answer is read."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest

from airflow_provider_cloudlock.api import body
from airflow_provider_cloudlock.exceptions import CloudlockResponseError
from tests.api.asking import ask, client_of
from tests.support import Exchange, Fault, Tenant, day_of_records, gzipped, hangs

TEN = day_of_records("2026-01-02", 10)


def test_an_answer_that_announces_too_much_is_not_read_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the last one hardly anything ever comes."""
    with Tenant(TEN, faults={3: hangs(after=0.1)}) as tenant, client_of(tenant) as client:
        client.attempts = 1
        assert ask(client) == TEN
        monkeypatch.setattr(body, "_MAX_BYTES", client.bytes)
        assert ask(client) == TEN
        monkeypatch.setattr(body, "_MAX_BYTES", client.bytes // 2 - 1)
        with pytest.raises(CloudlockResponseError, match=r"announces \d MiB, beyond what is reasonable"):
            ask(client)


@pytest.mark.parametrize(
    ("most", "whole"), [(((1 << 10, 3),), False), (((1 << 20, 3),), True), (((1 << 10, 30),), True)]
)
def test_the_larger_an_answer_the_less_it_may_be_packed(
    monkeypatch: pytest.MonkeyPatch, most: tuple[tuple[int, int], ...], whole: bool
) -> None:
    """A thousand records of one day unpack to some ten times what was sent."""
    monkeypatch.setattr(body, "_MAX_RATIOS", most)
    records = day_of_records("2026-01-02", 1000)
    with Tenant(records, faults=gzipped()) as tenant, client_of(tenant) as client:
        client.attempts = 1
        if whole:
            assert len(client.get("threats", {"limit": "1000"}, bytes)) > 1 << 18
        else:
            with pytest.raises(CloudlockResponseError, match="beyond what is reasonable"):
                client.get("threats", {"limit": "1000"}, bytes)


@pytest.mark.parametrize("window", [15, -15], ids=["zlib", "raw"])
def test_read_body_refuses_deflate_bomb(window: int) -> None:
    """Whatever version of urllib3 decompresses it."""

    def act(exchange: Exchange) -> None:
        packer = zlib.compressobj(wbits=window)
        exchange.headers["Content-Encoding"] = "deflate"
        exchange.body = b"".join(packer.compress(bytes(1 << 20)) for _ in range(256)) + packer.flush()

    with Tenant(TEN, faults=Fault("deflate", act)) as tenant, client_of(tenant) as client:
        client.attempts = 1
        tracemalloc.start()
        try:
            with pytest.raises(CloudlockResponseError, match="beyond what is reasonable"):
                ask(client)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 128 << 20
