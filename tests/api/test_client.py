"""One checked GET, against real sockets."""

from __future__ import annotations

import gc
import gzip
import logging
import re
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
import requests

from airflow_provider_cloudlock import __version__
from airflow_provider_cloudlock.api import body
from airflow_provider_cloudlock.api import client as module
from airflow_provider_cloudlock.api.client import CloudlockClient
from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockConfigError,
    CloudlockError,
    CloudlockRequestError,
    CloudlockResponseError,
    CloudlockUnavailableError,
)
from tests.api.asking import ask, client_of, everything_said
from tests.api.loopback import certificate, listening, proxy, tls
from tests.support import (
    TOKEN,
    Exchange,
    Fault,
    Habits,
    Record,
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
    throttled,
    until_close,
    without,
)
from tests.support.wire import read_head

TEN = day_of_records("2026-01-02", 10)
GENUINE_BACKOFF = module._BACKOFF


def named(value: object) -> str:
    return getattr(value, "name", "")


def refused_address() -> str:
    """Return an address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return "127.0.0.1:{}".format(*listener.getsockname()[1:])


# --- what is sent ---------------------------------------------------------------------------------------------------


def test_a_request_carries_the_token_and_says_who_asks() -> None:
    with Tenant(TEN) as tenant, client_of(tenant) as client:
        assert ask(client, status="Active") == [each for each in TEN if each["status"] == "ACTIVE"]
        (request,) = tenant.seen
    assert (request.method, request.path) == ("GET", "/api/v2/threats")
    assert request.params == {"order": "created_at", "limit": "100", "offset": "0", "status": "Active"}
    assert request.headers["Authorization"] == f"Bearer {TOKEN}"
    assert request.headers["User-Agent"] == f"airflow-provider-cloudlock/{__version__}"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["Accept-Encoding"] == "gzip, deflate"


def test_white_space_around_the_token_is_dropped() -> None:
    with Tenant(TEN) as tenant, client_of(tenant, token=f" \t{TOKEN}\n") as client:
        assert ask(client) == TEN


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "no access token"),
        (" \n", "no access token"),
        ("Bearer abc", "without 'Bearer'"),
        ("abc\r\nX-Evil: 1", "without line breaks"),
        ("abc\ndef", "without line breaks"),
        ("abc\tdef", "characters that no token has"),
        ("abc\x00def", "characters that no token has"),
        ("abc\u2013def", "characters that no token has"),
        ("\u202eabc", "characters that no token has"),
    ],
)
def test_what_is_no_token_is_refused_and_not_repeated(token: str, words: str) -> None:
    with pytest.raises(CloudlockConfigError, match=words) as refused:
        CloudlockClient("http://127.0.0.1:1/api/v2", token)
    assert "abc" not in str(refused.value)


def test_a_netrc_file_has_no_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with Tenant(TEN) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN


def test_a_session_keeps_its_connection_and_counts() -> None:
    with Tenant(TEN, faults={2: responds(503)}) as tenant, client_of(tenant) as client:
        for _ in range(3):
            assert ask(client) == TEN
        assert tenant.connections == 1
        assert (client.requests, client.retries) == (4, 1)
        assert client.earliest_date is not None
        assert abs(client.earliest_date - datetime.now(UTC)) < timedelta(seconds=3)


def test_the_servers_clock_is_noted_where_it_has_one() -> None:
    with Tenant(TEN, Habits(clock=None)) as tenant, client_of(tenant) as client:
        ask(client)
        assert client.earliest_date is None
        tenant.behave(clock=timedelta(days=-2))
        ask(client)
        noted = client.earliest_date
        assert noted is not None
        assert noted < datetime.now(UTC) - timedelta(hours=47)
        tenant.behave(clock=None)
        ask(client)
        assert client.earliest_date == noted


@pytest.mark.parametrize("fault", [None, responds(503)], ids=["all is well", "every other fails"])
def test_requests_keep_the_pace_they_were_told(fault: Fault | None) -> None:
    faults = {n: fault for n in (1, 3) if fault}
    with Tenant(TEN, faults=faults) as tenant, client_of(tenant, requests_per_second=12.5) as client:
        threads = [threading.Thread(target=ask, args=[client]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        starts = [request.at for request in tenant.seen]
    assert len(starts) == 4 + len(faults)
    assert min(later - earlier for earlier, later in pairwise(starts)) > 0.05
    assert starts[-1] - starts[0] > 0.08 * (len(starts) - 1) - 0.03


def test_client_imports_without_deprecation_warning() -> None:
    """Whatever version of tenacity is installed: 9.2 deprecates a parameter that 9.1 needs."""
    ours = f"error::DeprecationWarning:{module.__name__}"
    subprocess.run([sys.executable, "-W", ours, "-c", f"import {module.__name__}"], check=True, timeout=60)


# --- answers that are cut, slow or broken -----------------------------------------------------------------------------

CUTS = [
    short_body(),
    short_body(0.0),
    chunked("middle"),
    chunked("end"),
    until_close(0.5),
    until_close(0.0),
    gzipped(cut=True),
    gzipped() + short_body(),
    gzipped() + chunked("middle"),
    gzipped() + until_close(0.9),
    headed(Content_Encoding="gzip"),
    resets(),
    resets(after=0.5),
    hangs_up(),
    says(b"SSH-2.0-OpenSSH_9.6\r\n"),
    says(b""),
    rewritten(lambda body: body[:-1]),
    rewritten(lambda body: body + b"}"),
    rewritten(lambda body: body + body),
]


@pytest.mark.parametrize("fault", CUTS, ids=named)
def test_a_broken_answer_is_asked_for_again(fault: Fault) -> None:
    with Tenant(TEN, faults={2: fault}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
        assert ask(client) == TEN
        assert len(tenant.seen) == client.requests == 3
        assert client.retries == 1


@pytest.mark.parametrize("fault", CUTS, ids=named)
def test_answers_that_stay_broken_are_an_error_after_five_tries(fault: Fault) -> None:
    with (
        Tenant(TEN, faults=fault) as tenant,
        client_of(tenant) as client,
        pytest.raises((CloudlockUnavailableError, CloudlockResponseError), match=r"GET http://127.*\(offset 0, limit"),
    ):
        ask(client)
    assert len(tenant.seen) == client.requests == 5
    assert client.retries == 4


@pytest.mark.parametrize(
    "fault",
    [
        chunked(),
        until_close(),
        drips(1000, 0.001),
        drips(200, 0.001, head=True),
        gzipped(),
        gzipped() + drips(100, 0.001),
        gzipped() + chunked(),
        gzipped() + until_close(),
        headed(Content_Encoding="identity"),
        headed(Content_Encoding="none"),
        headed(Content_Encoding="UTF-8"),
        gzipped() + headed(Content_Encoding="x-gzip"),
        gzipped() + headed(Content_Encoding="X-GZip"),
        headed(Content_Type="text/plain"),
        rewritten(lambda body: b"\xef\xbb\xbf" + body),
        rewritten(lambda body: b"\r\n " + body + b"\n"),
        bomb(10 << 20),
        bomb(10 << 20, compressed=False),
    ],
    ids=named,
)
def test_an_odd_answer_that_is_whole_is_taken(fault: Fault) -> None:
    with Tenant(TEN, faults={1: fault}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
        assert len(tenant.seen) == 1


@pytest.mark.parametrize("fault", [resets(), hangs_up()], ids=named)
def test_a_kept_alive_connection_that_breaks_is_replaced(fault: Fault) -> None:
    with Tenant(TEN, faults={2: fault}) as tenant, client_of(tenant) as client:
        assert ask(client) == ask(client) == TEN
        assert tenant.connections == 2


def test_a_connection_that_ended_while_nobody_asked_costs_no_try() -> None:
    with Tenant(TEN, faults={1: hangs_up(answered=True)}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
        while tenant._open:  # until the server has ended it
            time.sleep(0.001)
        assert ask(client) == TEN
        assert (len(tenant.seen), client.retries) == (2, 0)


SLOW = [
    hangs(),
    hangs(after=0.5),
    drips(1, 0.01),
    gzipped() + drips(1, 0.01),
    responds(500, "x" * 5000) + drips(1, 0.01),
]


@pytest.mark.parametrize("fault", SLOW, ids=named)
def test_no_answer_takes_longer_than_the_time_it_has(fault: Fault) -> None:
    with Tenant(TEN, faults=fault) as tenant, client_of(tenant, timeout=0.2) as client:
        client.attempts = 2
        began = time.monotonic()
        with pytest.raises(CloudlockUnavailableError, match=r"within (0\.2 s|the time limit)"):
            ask(client)
        assert time.monotonic() - began > 0.35  # both tries had their time
        assert len(tenant.seen) == 2


def drips_until_close(exchange: Exchange) -> None:
    exchange.send(exchange.head({"Connection": "close"}))
    for byte in exchange.body:
        exchange.pause(0.01)
        exchange.send(bytes([byte]))


@pytest.mark.parametrize(
    "fault", [drips(1, 0.01, head=True), Fault("drips until close", drips_until_close)], ids=["head", "until close"]
)
def test_an_answer_cut_off_by_the_time_limit_is_called_late_not_wrong(fault: Fault) -> None:
    with Tenant(TEN, faults=fault) as tenant, client_of(tenant, timeout=0.3) as client:
        client.attempts = 1
        with pytest.raises(CloudlockError) as error:
            ask(client)
    assert type(error.value) is CloudlockUnavailableError
    assert "within 0.3 s" in str(error.value)


def test_a_slow_answer_is_asked_for_again() -> None:
    with Tenant(TEN, faults={1: drips(1, 0.01), 2: hangs()}) as tenant, client_of(tenant, timeout=0.3) as client:
        assert ask(client) == TEN
        assert (tenant.connections, client.retries) == (3, 2)


@pytest.mark.parametrize("through", ["tls", "proxy"])
def test_the_time_limit_holds_through_tls_and_proxies_too(
    through: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    with Tenant(TEN, faults={2: drips(1, 0.01)}) as tenant, tls(tenant, pem) as address, proxy("u", "p") as (place, _):
        options = {"proxy": f"http://u:p@{place}"} if through == "proxy" else {}
        with client_of(tenant, address, ca_bundle=str(pem), timeout=0.4, **options) as client:
            client.attempts = 1
            assert ask(client) == TEN
            with pytest.raises(CloudlockUnavailableError, match="within"):
                ask(client)
            assert ask(client) == TEN


def test_the_time_limit_holds_on_a_connection_that_served_before() -> None:
    with Tenant(TEN, faults={2: drips(20, 0.01)}) as tenant, client_of(tenant, timeout=0.3) as client:
        client.attempts = 1
        assert ask(client) == TEN
        with pytest.raises(CloudlockUnavailableError, match=r"within 0\.3 s"):
            ask(client)
        assert tenant.connections == 1


def test_the_time_limit_of_one_call_does_not_touch_the_next() -> None:
    with Tenant(TEN, faults={2: hangs(0.3)}) as tenant, client_of(tenant, timeout=0.4) as client:
        client.attempts = 1
        ask(client)
        time.sleep(0.2)
        assert ask(client) == TEN
        assert tenant.connections == 1


def slow_names(monkeypatch: pytest.MonkeyPatch, seconds: float) -> threading.Event:
    """Make the first look-up of a name slow; give what is set when it has begun."""
    genuine, begun = socket.getaddrinfo, threading.Event()

    def look_up(*args: Any, **options: Any) -> Any:
        if not begun.is_set():
            begun.set()
            time.sleep(seconds)
        return genuine(*args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return begun


def test_the_time_limit_counts_from_the_look_up_of_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TEN, faults=drips(20, 0.01)) as tenant, client_of(tenant, timeout=0.2) as client:
        client.attempts = 1
        slow_names(monkeypatch, 0.3)
        with pytest.raises(CloudlockUnavailableError, match=r"within 0\.2 s"):
            ask(client)


def test_calls_of_several_threads_have_a_time_limit_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """One begins, another begins and ends, and still the first is held to its time."""
    errors: list[CloudlockError] = []

    def ask_for_the_slow_one() -> None:
        try:
            ask(client, offset="5")
        except CloudlockError as error:
            errors.append(error)

    slow = lambda request: drips(20, 0.02) if request.params["offset"] == "5" else None  # noqa: E731
    with Tenant(TEN, faults=slow) as tenant, client_of(tenant, timeout=0.4) as client:
        client.attempts = 1
        begun = slow_names(monkeypatch, 0.2)
        first = threading.Thread(target=ask_for_the_slow_one)
        first.start()
        assert begun.wait(5)
        assert ask(client) == TEN
        first.join()
    assert [type(error) for error in errors] == [CloudlockUnavailableError]


@pytest.mark.parametrize("fault", [responds(400), drips(1, 0.01)], ids=named)
def test_request_leaves_no_thread_behind(fault: Fault) -> None:
    """Nor one that was abandoned, as far as it comes to the next piece of the body."""
    before = set(threading.enumerate())
    with Tenant(TEN, faults=fault) as tenant, client_of(tenant, timeout=0.3) as client:
        client.attempts = 1
        with pytest.raises(CloudlockError):
            ask(client)
        left = [each for each in set(threading.enumerate()) - before if "_settle" in each.name]
        for thread in left:
            thread.join(5)
        assert not any(thread.is_alive() for thread in left)


def test_silence_is_told_from_slowness(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_READ_TIMEOUT", 0.2)
    for fault in (hangs(), hangs(after=0.5)):
        with Tenant(TEN, faults=fault) as tenant, client_of(tenant, timeout=5) as client:
            client.attempts = 1
            with pytest.raises(CloudlockUnavailableError, match="the server stopped answering within the time limit"):
                ask(client)


# --- answers that are no page -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (html(), "type text/html.*Please sign in"),
        (html(content_type="application/json"), "type application/json.*Please sign in"),
        (responds(200, b""), "0 bytes of type application/json and begins: with nothing"),
        (responds(200, b" \n"), "2 bytes"),
        (replaced({"error": "busy"}), "has 'error'.*busy"),
        (edited(message="Too many requests", items=[]), "has 'message'"),
        (replaced([]), "Expected a JSON object with a list of records.*begins: \\[\\]"),
        (replaced(7), "Expected a JSON object.*begins: 7"),
        (replaced(None), "Expected a JSON object.*begins: null"),
        (without("items"), "no list under 'items'"),
        (edited(items=None), "no list under 'items'"),
        (edited(items=[1]), "a value that is not an object"),
        (rewritten(lambda body: body.replace(b'"id":', b'"id":1,"id":', 1)), "'id' is given twice"),
    ],
    ids=named,
)
def test_what_is_no_page_is_asked_for_again_and_then_an_error(fault: Fault, words: str) -> None:
    with Tenant(TEN, faults={1: fault}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
    with (
        Tenant(TEN, faults=fault) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockResponseError, match=rf"^GET http://127.*was answered with status 200, but.*{words}"),
    ):
        ask(client)
    assert len(tenant.seen) == 5


@pytest.mark.parametrize("status", [201, 204, 206])
def test_a_success_that_is_not_200_is_none(status: int) -> None:
    with (
        Tenant(TEN, faults=responds(status)) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockResponseError, match=f"status {status}.*Only 200 carries records"),
    ):
        ask(client)
    assert len(tenant.seen) == 5


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, br", "compress", "x-unknown"])
def test_an_encoding_not_asked_for_is_an_error_that_names_it(encoding: str) -> None:
    with (
        Tenant(TEN, faults=headed(Content_Encoding=encoding)) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockResponseError, match="packed in another way than gzip or deflate"),
    ):
        ask(client)


# --- answers too large ------------------------------------------------------------------------------------------------


def test_a_bomb_is_refused_before_it_fills_the_memory() -> None:
    with Tenant(TEN, faults=bomb(1 << 40)) as tenant, client_of(tenant) as client:
        client.attempts = 1
        tracemalloc.start()
        try:
            with pytest.raises(CloudlockResponseError, match="beyond what is reasonable"):
                ask(client)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 128 << 20


def test_an_answer_has_a_ceiling_also_when_it_is_not_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "_MAX_BYTES", 4 << 20)
    with Tenant(TEN) as tenant, client_of(tenant) as client:
        whole = len(client.get("threats", {"limit": "100"}, bytes))
    faults = {1: bomb((4 << 20) - whole, compressed=False), 2: bomb((4 << 20) - whole + 1, compressed=False)}
    with Tenant(TEN, faults=faults) as tenant, client_of(tenant) as client:
        client.attempts = 1
        assert len(client.get("threats", {"limit": "100"}, bytes)) == 4 << 20
        with pytest.raises(CloudlockResponseError, match=r"more than 4 MiB.*beyond what is reasonable"):
            client.get("threats", {"limit": "100"}, bytes)


@pytest.mark.parametrize("compressed", [True, False])
def test_of_an_error_only_the_beginning_is_read(compressed: bool) -> None:
    faults = responds(400, "no") + bomb(1 << 40, compressed=compressed)
    with (
        Tenant(TEN, faults=faults) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockRequestError, match="status 400"),
    ):
        ask(client)


# --- statuses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_is_asked_for_again(status: int) -> None:
    with Tenant(TEN, faults={1: responds(status), 2: html(status)}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
        assert (client.requests, client.retries) == (3, 2)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_what_does_not_pass_is_an_error_after_five_tries(status: int) -> None:
    with (
        Tenant(TEN, faults=responds(status)) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockUnavailableError, match=f"status {status}.*Try again later"),
    ):
        ask(client)
    assert len(tenant.seen) == 5


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (400, CloudlockRequestError, "will not be accepted"),
        (404, CloudlockRequestError, "connection's host"),
        (422, CloudlockRequestError, "will not be accepted"),
        (401, CloudlockAuthError, "access token"),
        (403, CloudlockAuthError, "allow-list.*licence"),
        (888, CloudlockAuthError, "newer version"),
    ],
)
def test_what_will_not_pass_is_asked_for_once(status: int, kind: type[CloudlockError], words: str) -> None:
    said = {"message": "Parameter 'limit' is too large", "detail": "internal"}
    with (
        Tenant(TEN, faults=responds(status, said)) as tenant,
        client_of(tenant) as client,
        pytest.raises(kind, match=f"status {status} and says: Parameter 'limit' is too large.*{words}") as refused,
    ):
        ask(client)
    assert len(tenant.seen) == 1
    assert "internal" not in str(refused.value)
    assert getattr(refused.value, "status", status) == status


@pytest.mark.parametrize(
    ("body", "quoted"),
    [
        (b"plain words", "says: plain words."),
        (b'{"message": 7}', 'says: {"message": 7}.'),
        (b'["not", "an object"]', 'says: ["not", "an object"].'),
        (b"<html>\r\n  <b>no</b>\x00\x1b[31m", "says: <html> <b>no</b> [31m."),
        (b"\xff\xfe", "says: \ufffd\ufffd."),
        (b"x" * 100_000, "says: " + "x" * 200 + ". The"),
        (b"[" * 60_000, "says: " + "[" * 200 + ". The"),
        (b"", "was answered with status 400. The"),
    ],
)
def test_the_servers_words_are_quoted_short_and_clean(body: bytes, quoted: str) -> None:
    with (
        Tenant(TEN, faults=responds(400, body)) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockRequestError, match=re.escape(quoted)) as refused,
    ):
        ask(client)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    "broken", [short_body(), resets(after=0.5), gzipped(cut=True), headed(Content_Encoding="br")], ids=named
)
@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (responds(401), CloudlockAuthError, "status 401"),
        (responds(404), CloudlockRequestError, "status 404"),
        (throttled(86400), CloudlockUnavailableError, "asks to wait 86400 s"),
    ],
    ids=named,
)
def test_a_status_counts_also_where_its_words_are_broken_off(
    answer: Fault, broken: Fault, kind: type[CloudlockError], words: str
) -> None:
    with (
        Tenant(TEN, faults=answer + broken) as tenant,
        client_of(tenant) as client,
        pytest.raises(kind, match=words),
    ):
        ask(client)
    assert len(tenant.seen) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_refused_and_the_other_host_never_hears_of_it(status: int) -> None:
    with Tenant(TEN) as other:
        elsewhere = redirects(f"{other.url}/api/v2/threats", status)
        with (
            Tenant(TEN, faults=elsewhere) as tenant,
            client_of(tenant) as client,
            pytest.raises(CloudlockConfigError, match=f"redirects to {other.url}/api/v2/threats; redirects are never"),
        ):
            ask(client)
        assert len(tenant.seen) == 1
        assert other.connections == 0


def test_the_body_of_a_redirect_is_not_read_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests.Response, "content", property(lambda _: pytest.fail("it may be of any size")))
    for location in ("/elsewhere", "http://[bad"):
        with (
            Tenant(TEN, faults=redirects(location)) as tenant,
            client_of(tenant) as client,
            pytest.raises(CloudlockConfigError, match="redirects are never followed"),
        ):
            ask(client)


def test_a_redirect_to_the_same_host_is_refused_too() -> None:
    with (
        Tenant(TEN, faults=redirects("/api/v2/threats?again", 301)) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockConfigError, match="redirects to /api/v2/threats"),
    ):
        ask(client)
    assert len(tenant.seen) == 1


# --- waits ------------------------------------------------------------------------------------------------------------


def gaps(tenant: Tenant) -> list[float]:
    return [later.at - earlier.at for earlier, later in pairwise(tenant.seen)]


def test_throttling_with_403_is_retried_and_slows_down() -> None:
    body = {"message": "Rate limit exceeded"}
    faults = {1: responds(403, body), 2: throttled(0, status=403)}
    with Tenant(TEN, faults=faults) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
        assert (client.requests, client.retries, client.throttled) == (3, 2, 2)


def test_a_wait_that_was_asked_for_is_waited() -> None:
    with Tenant(TEN, faults={1: throttled(2)}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
        assert gaps(tenant)[0] >= 2


def test_a_wait_until_a_date_is_measured_by_the_servers_clock() -> None:
    ahead = Habits(clock=timedelta(hours=1))
    with Tenant(TEN, ahead, faults={1: throttled(timedelta(seconds=1))}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
        assert gaps(tenant)[0] >= 1


@pytest.mark.parametrize(
    ("wait", "named_delay"),
    [(61, "61 s"), (86400, "86400 s"), (9999999999, "9999999999 s"), (timedelta(days=1), "86400 s")],
)
def test_a_wait_longer_than_a_minute_is_left_to_airflow(wait: Any, named_delay: str) -> None:
    with Tenant(TEN, faults=throttled(wait)) as tenant, client_of(tenant) as client:
        with pytest.raises(CloudlockUnavailableError, match=f"asks to wait {named_delay}") as error:
            ask(client)
        assert len(tenant.seen) == 1
    assert error.value.retryable
    assert error.value.retry_after == float(named_delay.removesuffix(" s"))


def waits_without_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the waits of the client from now on; its clock goes on by each, and only by them."""
    waits: list[float] = []
    monkeypatch.setattr(module, "_pause", lambda _, seconds: waits.append(seconds))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: sum(waits)))
    return waits


@pytest.mark.parametrize("status", [429, 503])
def test_waits_of_up_to_a_minute_are_waited_and_bounded_in_number(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_without_waiting(monkeypatch)
    with (
        Tenant(TEN, faults=throttled(60, status=status)) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockUnavailableError, match="asks to wait 60 s"),
    ):
        ask(client)
    assert waits == [60.0] * 4
    assert len(tenant.seen) == 5


def test_without_a_word_of_the_server_waits_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACKOFF", GENUINE_BACKOFF)
    waits = waits_without_waiting(monkeypatch)
    odd = throttled("soon")
    with Tenant(TEN, faults={1: responds(503), 2: odd, 3: resets(), 4: html()}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
    assert [low <= wait <= low + 0.5 for wait, low in zip(waits, (0.5, 1, 2, 4), strict=True)] == [True] * 4


@pytest.mark.parametrize("asked", [0, -5, "0.0", timedelta(seconds=-60), "soon"])
def test_wait_asked_by_server_never_shortens_ours(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACKOFF", GENUINE_BACKOFF)
    waits = waits_without_waiting(monkeypatch)
    with (
        Tenant(TEN, faults=throttled(asked)) as tenant,
        client_of(tenant) as client,
        pytest.raises(CloudlockUnavailableError),
    ):
        ask(client)
    between = [wait for wait in waits if wait >= 0.5]
    assert [low <= wait <= low + 0.5 for wait, low in zip(between, (0.5, 1, 2, 4), strict=True)] == [True] * 4


@pytest.mark.parametrize("name", ["RateLimit-Reset", "X-RateLimit-Reset"])
@pytest.mark.parametrize("is_epoch", [False, True])
def test_wait_lasts_to_the_end_of_the_rate_limit(name: str, is_epoch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = waits_without_waiting(monkeypatch)

    def act(exchange: Exchange) -> None:
        reset = exchange.now.timestamp() + 31 if is_epoch else 30
        exchange.headers[name] = str(int(reset))

    with Tenant(TEN, faults={1: responds(429) + Fault("reset", act)}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
    assert 30 <= max(waits) <= 31


def test_every_retry_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with Tenant(TEN, faults={1: responds(503), 2: throttled(0)}) as tenant, client_of(tenant) as client:
        ask(client)
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "status 503" in told[0]
    assert "Try 2 of 5 follows in 0.0 s" in told[0]
    assert "Try 3 of 5" in told[1]


# --- a token that is replaced ----------------------------------------------------------------------------------------


FRESH = "fresh-Yw3-token-9a8b7c6d"


def test_replaced_token_is_used_after_401(caplog: pytest.LogCaptureFixture) -> None:
    """Responses that echo the new token or the old one reach no log."""
    caplog.set_level(logging.DEBUG)
    faults = {3: echoes_token(500), 4: says(f"HTTP/1.1 503 No\r\nno header {TOKEN} {FRESH}\r\n\r\n".encode())}
    reads: list[None] = []

    def read_token() -> str:
        reads.append(None)
        return f" {FRESH}\n"

    with Tenant(TEN, faults=faults) as tenant, client_of(tenant, read_token=read_token) as client:
        tenant.token = FRESH
        assert ask(client) == ask(client) == TEN
        assert len(reads) == 1
        sent = [request.headers["Authorization"] for request in tenant.seen]
        assert sent == [f"Bearer {TOKEN}"] + [f"Bearer {FRESH}"] * 4
        assert client.retries == 3
    assert "Header" in caplog.text or "header" in caplog.text
    assert TOKEN not in caplog.text
    assert FRESH not in caplog.text


def test_replaced_token_serves_all_threads_of_a_client() -> None:
    reads: list[None] = []

    def read_token() -> str:
        reads.append(None)
        time.sleep(0.05)
        return FRESH

    with Tenant(TEN) as tenant, client_of(tenant, read_token=read_token) as client:
        tenant.token = FRESH
        got: list[list[Record]] = []
        threads = [threading.Thread(target=lambda: got.append(ask(client))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert got == [TEN] * 4
    assert len(reads) == 1


@pytest.mark.parametrize(("current", "requests"), [(TOKEN, 1), ("wrong-too", 2)])
def test_token_refused_again_is_final(current: str, requests: int) -> None:
    with Tenant(TEN, token=FRESH) as tenant, client_of(tenant, token=TOKEN, read_token=lambda: current) as client:
        with pytest.raises(CloudlockAuthError, match="status 401"):
            ask(client)
        assert len(tenant.seen) == requests


def test_replaced_token_that_is_none_is_named() -> None:
    with Tenant(TEN, token=FRESH) as tenant, client_of(tenant, token=TOKEN, read_token=lambda: "") as client:
        with pytest.raises(CloudlockConfigError, match="no access token"):
            ask(client)
        assert len(tenant.seen) == 1


# --- the token stays where it belongs ---------------------------------------------------------------------------------


def test_log_filter_lives_as_long_as_its_client() -> None:
    loggers = [logging.getLogger(f"urllib3.{name}") for name in ("connection", "connectionpool")]
    gc.collect()  # the clients of other tests
    before = [list(each.filters) for each in loggers]
    with Tenant(TEN) as tenant:
        with client_of(tenant):
            assert [len(each.filters) for each in loggers] == [len(each) + 1 for each in before]
        assert [each.filters for each in loggers] == before
        client = CloudlockClient(f"{tenant.url}/api/v2", TOKEN)
        del client
        gc.collect()
        assert [each.filters for each in loggers] == before


def echo(make: Any) -> Fault:
    """Answer with something made of the token that was sent."""

    def act(exchange: Exchange) -> None:
        make(exchange, exchange.request.headers["Authorization"].removeprefix("Bearer "))

    return Fault(f"echo {make.__name__}", act)


def in_html(exchange: Exchange, token: str) -> None:
    exchange.answer(200, f"<html>Hello {token}, {token}", "text/html")


def in_json(exchange: Exchange, token: str) -> None:
    exchange.answer(200, {"error": f"no such token: {token}"})


def in_headers(exchange: Exchange, token: str) -> None:
    exchange.answer(200, "", f"text/plain; token={token}")


def in_location(exchange: Exchange, token: str) -> None:
    exchange.answer(302, "")
    exchange.headers["Location"] = f"https://sso.example.com/?token={token}"


def in_location_encoded(exchange: Exchange, token: str) -> None:
    exchange.answer(302, "")
    exchange.headers["Location"] = f"https://sso.example.com/?token={quote(token, safe='')}"


def as_a_key_given_twice(exchange: Exchange, token: str) -> None:
    exchange.answer(200, f'{{"{token}":1,"{token}":2}}')


def across_the_end_of_a_message(exchange: Exchange, token: str) -> None:
    exchange.answer(400, {"message": "x" * (200 - len(token) // 2) + token + "y" * 50})


def across_the_end_of_an_excerpt(exchange: Exchange, token: str) -> None:
    exchange.answer(200, "x" * (200 - len(token) // 2) + token + "y" * 50)


def across_the_end_of_what_is_read_of_an_error(exchange: Exchange, token: str) -> None:
    exchange.answer(400, " " * ((1 << 16) - len(token) + 1) + token)


def across_the_end_of_what_is_looked_at_of_an_answer(exchange: Exchange, token: str) -> None:
    exchange.answer(200, " " * ((1 << 16) - len(token) + 1) + token)


ECHOES = (
    in_html,
    in_json,
    in_headers,
    in_location,
    in_location_encoded,
    as_a_key_given_twice,
    across_the_end_of_a_message,
    across_the_end_of_an_excerpt,
    across_the_end_of_what_is_read_of_an_error,
    across_the_end_of_what_is_looked_at_of_an_answer,
)


@pytest.mark.parametrize(
    "fault",
    [echoes_token(status) for status in (400, 401, 403, 404, 408, 429, 500, 888)] + [echo(make) for make in ECHOES],
    ids=named,
)
@pytest.mark.parametrize("token", [TOKEN, "c2VjcmV0/dG9r+ZW4tZm9y/dGVzdHM=="])
def test_the_token_is_in_no_message_and_no_log(fault: Fault, token: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        Tenant(TEN, faults=fault, token=token) as tenant,
        client_of(tenant, token=f" {token}\n") as client,
        pytest.raises(CloudlockError) as error,
    ):
        ask(client)
    assert tenant.seen
    for text in (everything_said(error.value), caplog.text):
        assert token[: len(token) // 2] not in text
        assert quote(token[: len(token) // 2], safe="") not in text


# --- certificates and proxies -----------------------------------------------------------------------------------------


def test_a_certificate_must_be_trusted(tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with Tenant(TEN) as tenant, tls(tenant, pem) as address:
        with (
            client_of(tenant, address) as client,
            pytest.raises(CloudlockConfigError, match=r"certificate is not accepted: self-signed.*ca_bundle"),
        ):
            ask(client)
        assert client.requests == 1
        assert tenant.seen == []
        with client_of(tenant, address, ca_bundle=str(pem)) as client:
            assert ask(client) == TEN


def test_the_authorities_of_the_environment_are_trusted_unless_the_connection_names_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, other = certificate(tmp_path), certificate(tmp_path, "tenant.example.com")
    with Tenant(TEN) as tenant, tls(tenant, pem) as address:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
        with client_of(tenant, address) as client:
            assert ask(client) == TEN
        with (
            client_of(tenant, address, ca_bundle=str(other)) as client,
            pytest.raises(CloudlockConfigError, match="certificate is not accepted"),
        ):
            ask(client)


@pytest.mark.parametrize(
    ("name", "days", "words"), [("tenant.example.com", 1, "mismatch"), ("127.0.0.1", -1, "expired")]
)
def test_a_certificate_must_be_the_hosts_own_and_in_force(tmp_path: Path, name: str, days: int, words: str) -> None:
    pem = certificate(tmp_path, name, days=days)
    with (
        Tenant(TEN) as tenant,
        tls(tenant, pem) as address,
        client_of(tenant, address, ca_bundle=str(pem)) as client,
        pytest.raises(CloudlockConfigError, match=f"certificate is not accepted: .*{words}"),
    ):
        ask(client)
    assert tenant.seen == []


@pytest.mark.parametrize("path", ["absent.pem", ""])
def test_a_ca_bundle_that_is_not_there_is_told_at_once(tmp_path: Path, path: str) -> None:
    with pytest.raises(CloudlockConfigError, match=r"ca_bundle.* cannot be used on this worker.*PEM"):
        CloudlockClient("https://127.0.0.1/api/v2", TOKEN, ca_bundle=str(tmp_path / path))


def test_a_ca_bundle_without_certificates_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    with pytest.raises(CloudlockConfigError, match=r"ca_bundle.* cannot be used on this worker.*PEM"):
        CloudlockClient("https://127.0.0.1/api/v2", TOKEN, ca_bundle=str(tmp_path / "empty.pem"))


def test_a_proxy_with_a_password_carries_the_call(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    pem = certificate(tmp_path)
    with Tenant(TEN) as tenant, tls(tenant, pem) as address, proxy("user", "p@ss word") as (place, served):
        options = {"ca_bundle": str(pem), "proxy": f"http://user:p%40ss%20word@{place}"}
        with client_of(tenant, address, **options) as client:
            assert ask(client) == TEN
        assert served == [address.removeprefix("https://")]
        assert "Proxy-Authorization" not in tenant.seen[0].headers
    assert "p%40ss" not in caplog.text


@pytest.mark.parametrize("begins", ["", "HTTP/1.1 200 OK\r\nX: "])
def test_a_proxy_that_drips_is_not_waited_for(begins: str) -> None:
    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(begins.encode())
            for _ in range(200):
                connection.sendall(b"a")
                time.sleep(0.02)

    with Tenant(TEN) as tenant, listening(drip) as place:
        options = {"proxy": f"http://{place}", "timeout": 0.3}
        with client_of(tenant, "https://tenant.example.com", **options) as client:
            client.attempts = 1
            with pytest.raises(CloudlockUnavailableError, match="was not complete within"):
                ask(client)


@pytest.mark.parametrize(
    "answer",
    [
        "HTTP/1.1 2{token} OK\r\n\r\n",
        "HTTP/9.{token} 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{token}\r\n",
        "HTTP/1.1 200 OK\r\nContent-Encoding: {token}\r\nContent-Length: 2\r\n\r\n{{}}",
        'HTTP/1.1 200 OK\r\nContent-Length: 80\r\n\r\n{{"{token}":1,"{token}":2}}' + 80 * " ",
        "HTTP/1.1 500 No\r\nno header {token}\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_a_token_echoed_anywhere_is_not_repeated(answer: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    def echo(connection: socket.socket) -> None:
        with suppress(OSError):
            read_head(connection.makefile("rb"))
            connection.sendall(answer.format(token=TOKEN).encode())

    with Tenant(TEN) as tenant, listening(echo) as place, client_of(tenant, f"http://{place}") as client:
        client.attempts = 2
        with pytest.raises(CloudlockError) as error:
            ask(client)
    said = everything_said(error.value) + repr(error.value.__context__) + caplog.text
    assert TOKEN.casefold() not in said.casefold()


@pytest.mark.parametrize(
    "place", ["http://user:hush-hush@", "http://user:hush-hush@proxy:99999", "http://u:hush-hush/@p"]
)
def test_an_odd_proxy_of_the_environment_is_told_at_once(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", place)
    with pytest.raises(CloudlockConfigError, match="worker's HTTP_PROXY or HTTPS_PROXY is not usable") as error:
        CloudlockClient("https://tenant.example.com/api/v2", TOKEN)
    assert "hush" not in everything_said(error.value)


def test_a_bundle_of_the_environment_that_is_none_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    with pytest.raises(CloudlockConfigError, match=r"REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE '/nowhere/ca.pem' cannot"):
        CloudlockClient("https://tenant.example.com/api/v2", TOKEN)


@pytest.mark.parametrize("item", [b"{}", b"0", b"[]"])
def test_a_list_of_next_to_nothing_is_refused_before_it_is_parsed(item: bytes) -> None:
    body = b'{"items":[' + (item + b",") * (9_000_000 // len(item)) + item + b"]}"
    with Tenant(TEN, faults=rewritten(body) + gzipped()) as tenant, client_of(tenant) as client:
        client.attempts = 1
        with pytest.raises(CloudlockResponseError, match="next to nothing"):
            ask(client, lambda _: pytest.fail("parsed"))


@pytest.mark.parametrize(
    ("password", "refusal", "kind", "words", "requests"),
    [
        ("wrong-hush", "", CloudlockConfigError, "refuses its user or password.*407.*connection's proxy", 1),
        ("hush", "403 Forbidden", CloudlockConfigError, "refuses to connect to this host.*403.*allow it", 1),
        ("hush", "405 Not Allowed", CloudlockConfigError, "refuses to connect to this host.*405", 1),
        ("hush", "503 Busy", CloudlockUnavailableError, "cannot connect to this host.*503.*Try again later", 5),
        ("hush", "429 Slowly", CloudlockUnavailableError, "cannot connect to this host.*429", 5),
    ],
)
def test_proxy_refusal_is_told_from_one_of_cloudlock(
    caplog: pytest.LogCaptureFixture, password: str, refusal: str, kind: type[CloudlockError], words: str, requests: int
) -> None:
    caplog.set_level(logging.DEBUG)
    with Tenant(TEN) as tenant, proxy("user", "hush", refusal) as (place, _):
        options = {"proxy": f"http://user:{password}@{place}"}
        with client_of(tenant, "https://tenant.example.com", **options) as client:
            with pytest.raises(kind, match=f"the proxy {words}") as error:
                ask(client)
            assert client.requests == requests
        assert tenant.seen == []
    assert "hush" not in everything_said(error.value) + caplog.text


def test_proxy_407_to_plain_request_is_final() -> None:
    with Tenant(TEN, faults=responds(407)) as between, Tenant(TEN) as tenant:
        with (
            client_of(tenant, proxy=between.url) as client,
            pytest.raises(CloudlockConfigError, match="refuses its user or password"),
        ):
            ask(client)
        assert (len(between.seen), len(tenant.seen)) == (1, 0)


def test_a_proxy_serves_plain_http_too_and_no_proxy_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant asked as a proxy answers by itself: what it has seen tells which way a call went."""
    with Tenant(TEN) as between, Tenant(TEN) as tenant:
        way = between.url.replace("http://", "http://user:secret@")
        with client_of(tenant, proxy=way) as client:
            assert ask(client) == TEN
        assert between.seen[0].target.startswith(f"{tenant.url}/api/v2/threats?")
        assert between.seen[0].headers["Proxy-Authorization"].startswith("Basic ")
        assert tenant.seen == []
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with client_of(tenant, proxy=way) as client:
            assert ask(client) == TEN
        assert (len(between.seen), len(tenant.seen)) == (1, 1)


def test_the_proxy_of_the_environment_is_used_and_the_connections_own_comes_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Tenant(TEN) as environments, Tenant(TEN) as own, Tenant(TEN) as tenant:
        monkeypatch.setenv("http_proxy", environments.url)
        with client_of(tenant) as client:
            ask(client)
        assert len(environments.seen) == 1
        with client_of(tenant, proxy=own.url) as client:
            ask(client)
        assert (len(environments.seen), len(own.seen), len(tenant.seen)) == (1, 1, 0)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://",
        "http://:hush-hush@",
        "http://127.0.0.1:port",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http:// 127.0.0.1:1",
        "http://user:hush-hush\u2013@127.0.0.1:1",
        "http://user:hush-hush\n@127.0.0.1:1",
        "127.0.0.1:3128",
        "proxy.example.com:3128",
        "socks5://127.0.0.1:1",
        "nonsense://127.0.0.1:1",
    ],
)
def test_a_proxy_address_that_is_none_is_told_at_once(address: str) -> None:
    with pytest.raises(CloudlockConfigError, match=r"proxy is not usable. Give http://host:port") as error:
        CloudlockClient("https://127.0.0.1/api/v2", TOKEN, proxy=address)
    assert "hush" not in everything_said(error.value)


@pytest.mark.parametrize("address", ["http://", "nonsense://127.0.0.1:1", "http://127.0.0.1:port"])
def test_a_proxy_of_the_environment_that_is_none_is_wrong_set_up(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("http_proxy", address)
    with (
        Tenant(TEN) as tenant,
        pytest.raises(CloudlockConfigError, match="HTTP_PROXY"),
        client_of(tenant) as client,
    ):
        ask(client)
    assert tenant.seen == []


# --- nobody there -----------------------------------------------------------------------------------------------------


def test_a_refused_connection_says_so() -> None:
    client = CloudlockClient(f"http://{refused_address()}/api/v2", TOKEN)
    with pytest.raises(CloudlockUnavailableError, match=r"the connection was refused\. Check the connection's host"):
        ask(client)
    assert client.requests == 5


def test_a_proxy_that_is_not_there_says_so() -> None:
    client = CloudlockClient("http://127.0.0.1:1/api/v2", TOKEN, proxy=f"http://{refused_address()}")
    with pytest.raises(CloudlockUnavailableError, match="the proxy cannot be reached"):
        ask(client)


def test_an_unknown_host_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = CloudlockClient("https://tenant.invalid/api/v2", TOKEN)
    with pytest.raises(CloudlockUnavailableError, match="the host's name cannot be resolved"):
        ask(client)


@pytest.mark.parametrize(
    ("connect", "timeout", "words"),
    [(0.2, 5, r"no connection within the time limit\. Check host and firewall"), (5, 0.2, r"within (0\.2 s|the time)")],
)
def test_nobody_accepting_says_so(monkeypatch: pytest.MonkeyPatch, connect: float, timeout: float, words: str) -> None:
    monkeypatch.setattr(module, "_CONNECT_TIMEOUT", connect)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        client = CloudlockClient("http://{}:{}/api/v2".format(*listener.getsockname()), TOKEN, timeout=timeout)
        client.attempts = 1
        with pytest.raises(CloudlockUnavailableError, match=words):
            ask(client)
        for each in waiting:
            each.close()


def test_what_parse_raises_beyond_a_bad_answer_passes_through() -> None:
    def refuse(body: bytes) -> None:
        raise CloudlockConfigError(f"{len(body) > 0}")

    with Tenant(TEN) as tenant, client_of(tenant) as client, pytest.raises(CloudlockConfigError, match=r"^True$"):
        ask(client, refuse)
    assert len(tenant.seen) == 1


def test_gzip_of_several_members_is_one_body() -> None:
    def act(exchange: Exchange) -> None:
        exchange.headers["Content-Encoding"] = "gzip"
        exchange.body = gzip.compress(exchange.body[:100]) + gzip.compress(exchange.body[100:])

    with Tenant(TEN, faults={1: Fault("members", act)}) as tenant, client_of(tenant) as client:
        assert ask(client) == TEN
