"""Faults: what goes wrong with an answer, and nothing else."""

from __future__ import annotations

import gzip
import http.client
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

from . import (
    TOKEN,
    Fault,
    Tenant,
    bomb,
    chunked,
    day_of_records,
    drips,
    echoes_token,
    edited,
    gzipped,
    hangs,
    hangs_up,
    headed,
    html,
    redirects,
    replaced,
    resets,
    responds,
    rewritten,
    says,
    short_body,
    swapped,
    throttled,
    until_close,
    without,
)
from .client import Client, ask

TEN = day_of_records("2026-01-02", 10)


def test_other_statuses_headers_and_bodies() -> None:
    faults = [
        responds(888),
        responds(503, {"message": "later"}, {"X-Why": "test"}),
        responds(204),
        responds(206),
        responds(200, b""),
        redirects("http://127.0.0.1:1/elsewhere"),
        html(content_type="application/json"),
        echoes_token(),
        throttled(2),
        throttled(timedelta(hours=1), status=503),
        headed(Content_Encoding="br"),
    ]
    with Tenant(TEN, faults=dict(enumerate(faults, 1))) as tenant, Client(tenant) as client:
        answers = [client.get() for _ in faults]
        assert tenant.connections == 1
    assert [status for status, _, _ in answers] == [888, 503, 204, 206, 200, 302, 200, 401, 429, 503, 200]
    headers, bodies = [a[1] for a in answers], [a[2] for a in answers]
    assert (headers[1]["X-Why"], bodies[1], bodies[2], bodies[4]) == ("test", b'{"message":"later"}', b"", b"")
    assert "Content-Length" not in headers[2]
    assert json.loads(bodies[3])["results"] == 10
    assert headers[5]["Location"].endswith("elsewhere")
    assert (headers[6]["Content-Type"], bodies[6][:9]) == ("application/json", b"<!DOCTYPE")
    assert TOKEN.encode() in bodies[7]
    assert headers[8]["Retry-After"] == "2"
    assert parsedate_to_datetime(headers[9]["Retry-After"]) > datetime.now(UTC) + timedelta(minutes=59)
    assert headers[10]["Content-Encoding"] == "br"


def test_other_bodies() -> None:
    first = str(TEN[-1]["id"])
    faults = [
        edited(items=lambda items: items[:7], results=3),
        without("items"),
        replaced(lambda envelope: envelope["items"]),
        replaced(None),
        rewritten(lambda body: b"\xef\xbb\xbf" + body[:-1]),
        swapped(f'"id":{first}', '"id":NaN'),
        edited(items=None) + gzipped(),
        gzipped(cut=True),
    ]
    with Tenant(TEN, faults=dict(enumerate(faults, 1))) as tenant, Client(tenant) as client:
        bodies = [client.get()[2] for _ in faults]
        assert len(ask(tenant)["items"]) == 10  # the truth is untouched
    assert (len(json.loads(bodies[0])["items"]), json.loads(bodies[0])["results"]) == (7, 3)
    assert list(json.loads(bodies[1])) == ["limit", "offset", "total", "results"]
    assert len(json.loads(bodies[2])) == 10
    assert bodies[3] == b"null"
    assert bodies[4].startswith(b"\xef\xbb\xbf{")
    assert bodies[4].endswith(b"]")
    assert b'"id":NaN' in bodies[5]
    assert json.loads(gzip.decompress(bodies[6]))["items"] is None
    with pytest.raises(EOFError):
        gzip.decompress(bodies[7])


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (short_body(), http.client.IncompleteRead),
        (chunked("middle"), http.client.IncompleteRead),
        (chunked("end"), http.client.IncompleteRead),
        (resets(), ConnectionResetError),
        (resets(after=0.5), ConnectionResetError),
        (hangs_up(), http.client.RemoteDisconnected),
        (says(b"SSH-2.0-OpenSSH_9.6\r\n"), http.client.BadStatusLine),
        (hangs(), TimeoutError),
        (hangs(after=0.5), TimeoutError),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_broken_deliveries_are_felt_and_the_next_request_is_served(fault: Fault, error: type[Exception]) -> None:
    with Tenant(TEN, faults={1: fault}) as tenant:
        with Client(tenant, timeout=0.2) as client, pytest.raises(error):
            client.get()
        assert ask(tenant)["results"] == 10


@pytest.mark.parametrize(
    ("fault", "least"),
    [
        (chunked(), 0.0),
        (drips(1000, 0.01), 0.06),
        (drips(2000, 0.01, head=True), 0.03),
        (hangs(0.05), 0.05),
        (hangs(0.05, after=0.5), 0.05),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_odd_deliveries_that_are_whole_and_keep_the_connection(fault: Fault, least: float) -> None:
    with Tenant(TEN, faults={1: fault}) as tenant, Client(tenant) as client:
        began = time.monotonic()
        assert client.page()["results"] == 10
        assert time.monotonic() - began >= least
        assert client.page()["results"] == 10
        assert tenant.connections == 1


def test_a_body_that_ends_with_the_connection() -> None:
    with Tenant(TEN, faults={1: until_close(), 2: until_close(0.5)}) as tenant:
        assert ask(tenant)["results"] == 10
        with Client(tenant) as client, pytest.raises(json.JSONDecodeError):
            client.page()


def test_a_kept_alive_connection_may_end_without_notice() -> None:
    with Tenant(TEN, faults={1: hangs_up(answered=True)}) as tenant, Client(tenant) as client:
        assert client.page()["results"] == 10
        with pytest.raises(ConnectionError):
            client.page()


@pytest.mark.parametrize("size", [10, 3_000_000])
@pytest.mark.parametrize("compressed", [True, False])
def test_a_bomb_is_a_right_answer_but_for_its_size(compressed: bool, size: int) -> None:
    with Tenant(TEN, faults={1: bomb(size, compressed=compressed)}) as tenant, Client(tenant) as client:
        sent, whole = client.get()[2], client.get()[2]
    assert (gzip.decompress(sent) if compressed else sent) == b" " * size + whole
    assert not compressed or len(sent) < len(whole) + size / 100


def test_faults_may_be_for_all_requests_or_chosen_by_looking() -> None:
    with Tenant(TEN, faults=edited(total=3)) as tenant:
        assert [ask(tenant)["total"] for _ in range(2)] == [3, 3]
    with Tenant(TEN, faults=lambda request: edited(total=3) if "offset" in request.params else None) as tenant:
        assert [ask(tenant)["total"], ask(tenant, offset=1)["total"]] == [10, 3]


def test_a_swap_that_finds_nothing_is_told() -> None:
    with (
        pytest.raises(LookupError, match="nothing to swap"),
        Tenant(TEN, faults={1: swapped('"id": 7', "")}) as tenant,
        Client(tenant) as client,
    ):
        client.get()
