"""The tenant: who may come in, what changes meanwhile, and how it ends."""

from __future__ import annotations

import socket
import threading

import pytest

from . import TOKEN, Tenant, bomb, day_of_records, drips, hangs, headed, ids, record, short_body
from .client import Client, ask

DAY, NEXT = "2026-01-02", "2026-01-03"
TEN = day_of_records(DAY, 10)


def test_only_the_token_and_the_path_open() -> None:
    with Tenant() as tenant, Client(tenant) as right, Client(tenant, token="other") as wrong:
        assert wrong.get()[0] == 401
        assert right.get()[0] == 200
        tenant.path = "/api/v2/incidents"
        assert right.get()[0] == 404
        assert tenant.seen[0].headers["authorization"] == "Bearer other"


def test_the_set_may_move_between_pages() -> None:
    late = record(1, "2026-01-02T12:00:00Z")
    script = {
        2: lambda t: t.delete(*ids(TEN[:2])),
        3: lambda t: t.insert(late),
        4: lambda t: (t.change(TEN[9]["id"], created_at=NEXT), t.dismiss(TEN[4]["id"])),
    }
    with Tenant(TEN, before=script) as tenant:
        totals = [ask(tenant, created_before=NEXT)["total"] for _ in range(4)]
        assert totals == [10, 8, 9, 8]
        assert tenant.steady(DAY, NEXT) == ids(TEN[2:9])
        assert "1" in ids(tenant.window(DAY, NEXT))
        assert next(r for r in tenant.records if r["id"] == TEN[4]["id"])["status"] == "DISMISSED"
        with pytest.raises(KeyError, match="no record with id 77"):
            tenant.delete(77)


def test_a_change_may_look_at_the_request() -> None:
    with Tenant(TEN, before=lambda t, request: request.number > 1 and t.delete(t.records[0]["id"])) as tenant:
        assert [ask(tenant)["total"] for _ in range(3)] == [10, 9, 8]


def test_leaving_is_quick_while_everything_hangs() -> None:
    faults = {1: hangs(), 2: hangs(after=0.1), 3: drips(1, 0.5), 4: bomb(1 << 40)}
    with Tenant(TEN, faults=faults) as tenant:
        address = tenant.url.removeprefix("http://").split(":")
        left = [socket.create_connection((address[0], int(address[1]))) for _ in range(6)]
        for connection in left[:4]:
            connection.sendall(f"GET {tenant.path} HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode())
        left[4].sendall(b"GET /half")
        tenant.wait_for(4)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("tenant")]
    for connection in left:
        connection.close()


def test_a_fault_that_never_came_is_told() -> None:
    with (
        pytest.raises(AssertionError, match=r"1 requests came; never played: short_body\(0.5\) at request 3"),
        Tenant(faults={1: headed(X="y"), 3: short_body()}) as tenant,
    ):
        ask(tenant)


def test_a_script_that_fails_is_told() -> None:
    with (
        pytest.raises(KeyError, match="no record with id 5"),
        Tenant(before={1: lambda tenant: tenant.delete(5)}) as tenant,
        Client(tenant) as client,
    ):
        client.get()


def test_waiting_for_requests_that_do_not_come() -> None:
    with Tenant() as tenant, pytest.raises(TimeoutError, match="0 of 1 requests"):
        tenant.wait_for(1, timeout=0.01)
