"""The sandbox over a real socket."""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

from airflow_provider_cloudlock.sandbox.server import Sandbox

PATH = "/api/v2/threats"
FIRST, LAST = date(2026, 1, 1), date(2026, 1, 10)
NOW = datetime(2026, 2, 1, tzinfo=UTC)
NO_ZONE = NOW.replace(tzinfo=None)
BEARER = {"Authorization": "Bearer sandbox-token"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(first_day=FIRST, last_day=LAST, now=NOW) as running:
        yield running


def ask(
    sandbox: Sandbox,
    path: str = PATH,
    *,
    method: str = "GET",
    headers: dict[str, str] = BEARER,
    body: bytes | None = None,
    **parameters: Any,
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=5)
    try:
        connection.request(method, f"{path}?{urlencode(parameters)}" if parameters else path, body, headers)
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def answer(sandbox: Sandbox, **parameters: Any) -> dict[str, Any]:
    response, body = ask(sandbox, **parameters)
    assert response.status == 200, body
    envelope: dict[str, Any] = json.loads(body)
    assert envelope["results"] == len(envelope["items"])
    return envelope


def items(sandbox: Sandbox, **parameters: Any) -> list[dict[str, Any]]:
    """The items of the largest page, oldest first."""
    found: list[dict[str, Any]] = answer(sandbox, **{"limit": 100_000, "order": "created_at"} | parameters)["items"]
    return found


def test_envelope_and_defaults(sandbox: Sandbox) -> None:
    envelope = answer(sandbox)
    assert list(envelope) == ["limit", "offset", "total", "results", "items"]
    assert (envelope["limit"], envelope["offset"], envelope["total"]) == (20, 0, 400)
    newest_first = sandbox.anomalies()[::-1]
    assert envelope["items"] == newest_first[:20]


def test_headers(sandbox: Sandbox) -> None:
    response, body = ask(sandbox)
    assert response.version == 11
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Content-Length"] == str(len(body))
    assert response.headers["Date"].endswith("GMT")
    assert response.headers["Content-Encoding"] is None


def test_pages_put_together_are_the_whole(sandbox: Sandbox) -> None:
    read: list[dict[str, Any]] = []
    while page := answer(sandbox, limit=33, offset=len(read), order="created_at")["items"]:
        read += page
    assert read == sandbox.anomalies()
    assert answer(sandbox, offset=1_000)["total"] == 400


def test_a_page_cap_is_announced() -> None:
    with Sandbox(first_day=FIRST, last_day=LAST, now=NOW, page_cap=7) as sandbox:
        envelope = answer(sandbox, limit=10_000, offset=3, order="created_at")
        assert (envelope["limit"], envelope["results"], envelope["total"]) == (7, 7, 400)
        assert envelope["items"] == sandbox.anomalies()[3:10]


@pytest.mark.parametrize("key", ["created_at", "updated_at", "start_time", "id"])
def test_order(sandbox: Sandbox, key: str) -> None:
    ascending = items(sandbox, order=key)
    assert ascending == sorted(sandbox.anomalies(), key=lambda item: (item[key], item["id"]))
    assert items(sandbox, order=f"-{key}") == ascending[::-1]


def test_created_after_is_inclusive_and_created_before_exclusive(sandbox: Sandbox) -> None:
    second = sandbox.anomalies(date(2026, 1, 2), date(2026, 1, 2))
    third = sandbox.anomalies(date(2026, 1, 3), date(2026, 1, 3))
    assert items(sandbox, created_after="2026-01-02", created_before="2026-01-03") == second
    assert items(sandbox, created_after=second[-1]["created_at"], created_before="2026-01-03T00:00") == second[-1:]
    assert items(sandbox, created_after="2026-01-03", created_before=third[0]["created_at"]) == []
    after, before = second[10]["created_at"], second[30]["created_at"]
    between = [item for item in second if after <= item["created_at"] < before]
    assert items(sandbox, created_after=after, created_before=before) == between
    assert items(sandbox, created_after="2026-01-04", created_before="2026-01-03") == []


@pytest.mark.parametrize(
    "form",
    [
        "2026-01-02T23:59",
        "2026-01-02T23:59:00",
        "2026-01-02T23:59:00.0",
        "2026-01-02T23:59:00.000000",
        "2026-01-02T23:59Z",
        "2026-01-02T23:59:00+00:00",
        "2026-01-03T05:29:00.000+05:30",
    ],
)
def test_forms_of_an_instant(sandbox: Sandbox, form: str) -> None:
    expected = [item for item in sandbox.anomalies() if item["created_at"] >= "2026-01-02T23:59:00.000000+00:00"]
    assert items(sandbox, created_after=form) == expected


def test_start_time_counts_days_back_on_created_at(sandbox: Sandbox) -> None:
    sandbox.set_now(datetime(2026, 1, 10, 12, 30, tzinfo=UTC))
    found = items(sandbox, start_time=3)
    assert found == [item for item in sandbox.anomalies() if item["created_at"] >= "2026-01-07T12:30:00.000000+00:00"]
    assert items(sandbox, start_time=3, created_after="2026-01-09") == items(sandbox, created_after="2026-01-09")
    assert items(sandbox, start_time=3, created_after="2026-01-01") == found


@pytest.mark.parametrize("status", ["Active", "Dismissed", "ACTIVE", "dismissed"])
def test_status(sandbox: Sandbox, status: str) -> None:
    found = items(sandbox, status=status)
    assert found == [item for item in sandbox.anomalies() if item["status"] == status.upper()]
    assert 0 < len(found) < 400


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "0"), ("limit", "100001"), ("limit", "ten"), ("limit", ""), ("limit", "1e3"), ("limit", "9" * 5_000),
        ("offset", "-1"), ("offset", "1.5"), ("offset", "²"),
        ("start_time", "0"), ("start_time", "0.5"), ("start_time", "2026-01-01"),
        ("status", "open"), ("status", ""),
        ("order", "severity"), ("order", "--id"), ("order", ""),
        ("created_after", "yesterday"), ("created_after", "2026-02-30"), ("created_after", "2026-1-2"),
        ("created_after", "20260102"), ("created_after", "2026-01-02T25:00"), ("created_after", "2026-01-02 10:00"),
        ("created_after", "2026-01-02T10"), ("created_after", "2026-01-02Z"), ("created_after", ""),
        ("created_before", "0001-01-01T00:00+14:00"), ("created_before", "2026-01-02T10:00:00.1234567"),
        ("created_befor", "2026-01-02"),
    ],
)  # fmt: skip
def test_a_bad_value_is_refused_by_name(sandbox: Sandbox, name: str, value: str) -> None:
    response, body = ask(sandbox, f"{PATH}?{urlencode({name: value})}")
    assert response.status == 400
    message = json.loads(body)
    assert list(message) == ["message"]
    assert name in message["message"]


def test_a_parameter_given_twice_is_refused(sandbox: Sandbox) -> None:
    response, body = ask(sandbox, f"{PATH}?limit=1&limit=2")
    assert (response.status, json.loads(body)) == (400, {"message": "A parameter was given twice."})


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "sandbox-token"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer  sandbox-token"},
        {"Authorization": "Basic sandbox-token"},
    ],
)
@pytest.mark.parametrize("path", [PATH, "/elsewhere"])
def test_without_the_token_nothing_is_answered(sandbox: Sandbox, path: str, headers: dict[str, str]) -> None:
    response, body = ask(sandbox, path, headers=headers)
    assert response.status == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert list(json.loads(body)) == ["message"]


@pytest.mark.parametrize("path", ["/", "/api/v2", "/threats", f"{PATH}/", "/api/v2/incidents"])
def test_an_unknown_path_is_not_found(sandbox: Sandbox, path: str) -> None:
    response, body = ask(sandbox, path)
    assert response.status == 404
    assert list(json.loads(body)) == ["message"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"])
def test_only_get_is_allowed(sandbox: Sandbox, method: str) -> None:
    sent = b"{}" if method in ("POST", "PUT", "PATCH") else None
    response, body = ask(sandbox, method=method, body=sent)
    assert response.status == 405
    assert response.headers["Connection"] == ("close" if sent else None), "its body must not be read as a request"
    assert response.headers["Allow"] == "GET"
    assert body == b"" if method == "HEAD" else list(json.loads(body)) == ["message"]


def test_an_anomaly_shows_from_its_creation_on(sandbox: Sandbox) -> None:
    third = sandbox.anomalies(date(2026, 1, 3), date(2026, 1, 3))[20]
    created = datetime.fromisoformat(third["created_at"])
    sandbox.set_now(created - timedelta(microseconds=1))
    assert third["id"] not in [item["id"] for item in items(sandbox)]
    sandbox.set_now(created)
    shown = items(sandbox)
    assert third["id"] in [item["id"] for item in shown]
    assert max(item["created_at"] for item in shown) == third["created_at"]
    assert shown == sandbox.anomalies()


def test_a_dismissal_shows_when_its_time_has_come(sandbox: Sandbox) -> None:
    final = next(item for item in sandbox.anomalies() if item["status"] == "DISMISSED")
    at = datetime.fromisoformat(final["dismissed_at"])

    def shown() -> dict[str, Any]:
        return next(item for item in items(sandbox) if item["id"] == final["id"])

    sandbox.set_now(at - timedelta(microseconds=1))
    assert shown() == final | {
        "status": "ACTIVE", "dismissed_at": None, "dismiss_reason": None, "updated_at": final["created_at"],
    }  # fmt: skip
    assert final["id"] not in [item["id"] for item in items(sandbox, status="Dismissed")]
    sandbox.set_now(at)
    assert shown() == final
    assert items(sandbox, order="-updated_at")[0]["id"] == final["id"]


def test_dismiss(sandbox: Sandbox) -> None:
    active = items(sandbox, status="Active")
    first, second = active[0], active[1]
    sandbox.dismiss(first["id"], "Known business travel")
    sandbox.dismiss(second["id"], at=NOW + timedelta(hours=1))
    stamp = "2026-02-01T00:00:00.000000+00:00"
    after_first = first | {
        "status": "DISMISSED", "dismissed_at": stamp, "dismiss_reason": "Known business travel", "updated_at": stamp,
    }  # fmt: skip
    assert items(sandbox, order="-updated_at")[0] == after_first
    assert items(sandbox, status="Active") == active[1:]
    sandbox.set_now(NOW + timedelta(hours=1))
    assert items(sandbox, status="Active") == active[2:]
    sandbox.set_now(NOW)
    assert items(sandbox, status="Active") == active[1:]


def test_dismiss_takes_the_place_of_a_dismissal_to_come(sandbox: Sandbox) -> None:
    final = next(item for item in sandbox.anomalies() if item["status"] == "DISMISSED")
    sandbox.dismiss(final["id"], "Mistaken", at=datetime.fromisoformat(final["created_at"]))
    shown = next(item for item in items(sandbox) if item["id"] == final["id"])
    assert (shown["dismissed_at"], shown["dismiss_reason"]) == (final["created_at"], "Mistaken")


def test_dismiss_refuses_what_cannot_be(sandbox: Sandbox) -> None:
    anomalies = sandbox.anomalies()
    for unknown in (0, -1, 7, anomalies[0]["id"] - 1, anomalies[-1]["id"] + 1, anomalies[39]["id"] + 1, 10**30):
        with pytest.raises(LookupError, match=f"no anomaly {unknown} "):
            sandbox.dismiss(unknown)
    with pytest.raises(ValueError, match="was created at"):
        sandbox.dismiss(anomalies[0]["id"], at=datetime(2025, 12, 31, tzinfo=UTC))
    with pytest.raises(ValueError, match="needs a time zone"):
        sandbox.dismiss(anomalies[0]["id"], at=NO_ZONE)
    sandbox.set_now(datetime(2026, 1, 9, 12, tzinfo=UTC))
    for later in (anomalies[9 * 40 - 1], anomalies[-1]):
        with pytest.raises(LookupError, match="no anomaly"):
            sandbox.dismiss(later["id"])
    assert sandbox.anomalies(last=date(2026, 1, 2)) == anomalies[:80]


def test_the_clock_may_run() -> None:
    minutes = iter(range(1_000))
    with Sandbox(now=lambda: NOW + timedelta(minutes=next(minutes))) as sandbox:
        assert sandbox.now < sandbox.now
        sandbox.set_now(None)
        assert abs(sandbox.now - datetime.now(UTC)) < timedelta(seconds=5)


def test_the_days_end_with_today_by_default() -> None:
    sandbox = Sandbox(now=NOW)
    assert (sandbox.first_day, sandbox.last_day) == (date(2026, 1, 3), date(2026, 2, 1))
    assert sandbox.anomalies()[-1]["created_at"] == "2026-02-01T00:00:00.000000+00:00"
    sandbox.set_now(NOW + timedelta(days=2))
    assert (sandbox.first_day, sandbox.last_day) == (date(2026, 1, 3), date(2026, 2, 3))
    assert Sandbox(last_day=LAST, now=NOW).first_day == date(2025, 12, 12)


def test_days_do_not_depend_on_the_range_around_them() -> None:
    wide = Sandbox(first_day=date(2025, 12, 1), now=NOW)
    narrow = Sandbox(first_day=FIRST, last_day=LAST, now=NOW)
    assert wide.anomalies(FIRST, LAST) == narrow.anomalies()
    assert Sandbox(first_day=FIRST, last_day=LAST, now=NOW, seed=1).anomalies() != narrow.anomalies()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"now": NO_ZONE}, "needs a time zone"),
        ({"now": lambda: NO_ZONE, "first_day": FIRST}, "needs a time zone"),
        ({"token": ""}, "printable ASCII"),
        ({"token": "two words"}, "printable ASCII"),
        ({"page_cap": 0}, "page_cap must be"),
        ({"page_cap": 100_001}, "page_cap must be"),
        ({"per_day": -1}, "per_day must be"),
        ({"first_day": LAST, "last_day": FIRST}, "is after"),
    ],
)
def test_nonsense_is_refused_at_once(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sandbox(**arguments)


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [("gzip", True), ("br, GZIP;q=0.5", True), ("gzip;q=0", False), ("gzip; q=0.0, br", False), ("identity", False)],
)
def test_gzip_where_the_client_takes_it(sandbox: Sandbox, accepted: str, compressed: bool) -> None:
    response, body = ask(sandbox, headers=BEARER | {"Accept-Encoding": accepted})
    assert response.headers["Content-Encoding"] == ("gzip" if compressed else None)
    assert json.loads(gzip.decompress(body) if compressed else body)["items"] == sandbox.anomalies()[::-1][:20]


def test_a_small_body_is_not_compressed(sandbox: Sandbox) -> None:
    response, _ = ask(sandbox, headers=BEARER | {"Accept-Encoding": "gzip"}, limit=1)
    assert response.headers["Content-Encoding"] is None


def test_requests_are_remembered_and_logged_without_the_token(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        ask(sandbox, limit=1, status="Active")
        ask(sandbox, headers={})
    seen = [(request.method, request.path, dict(request.params), request.status) for request in sandbox.requests]
    assert seen == [("GET", PATH, {"limit": "1", "status": "Active"}, 200), ("GET", PATH, {}, 401)]
    assert PATH in caplog.text
    assert sandbox.token not in caplog.text + repr(sandbox.requests)


def test_a_connection_is_kept_alive_until_the_sandbox_stops() -> None:
    sandbox = Sandbox(first_day=FIRST, now=NOW)
    with pytest.raises(RuntimeError, match="not running"):
        _ = sandbox.url
    sandbox.start()
    with pytest.raises(RuntimeError, match="running already"):
        sandbox.start()
    connection = http.client.HTTPConnection(urlsplit(sandbox.url).netloc, timeout=5)
    connection.request("GET", PATH, headers=BEARER)
    connection.getresponse().read()
    kept = connection.sock
    connection.request("GET", PATH, headers=BEARER)
    connection.getresponse().read()
    assert connection.sock is kept
    port = urlsplit(sandbox.url).port
    before = threading.active_count()
    sandbox.stop()
    sandbox.stop()
    assert kept.recv(1) == b""
    connection.close()
    assert threading.active_count() == before - 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    sandbox.start()
    assert answer(sandbox)["total"] > 0
    sandbox.stop()


def test_a_client_that_hangs_up_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with Sandbox(first_day=FIRST, last_day=FIRST, per_day=5_000, now=NOW) as sandbox:
        answer(sandbox)
        with socket.create_connection(("127.0.0.1", urlsplit(sandbox.url).port or 0), timeout=5) as rude:
            target = f"{PATH}?limit=100000"
            rude.sendall(f"GET {target} HTTP/1.1\r\nAuthorization: Bearer sandbox-token\r\n\r\n".encode())
        assert answer(sandbox)["total"] == 5_000
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_many_clients_at_once(sandbox: Sandbox) -> None:
    expected = sandbox.anomalies()
    found: list[list[dict[str, Any]]] = []
    clients = [threading.Thread(target=lambda: found.append(items(sandbox))) for _ in range(8)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert found == [expected] * 8
