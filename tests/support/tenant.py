"""A stand-in for a Cloudlock tenant: real sockets on 127.0.0.1, a ground-truth table, habits, and faults to order."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Condition, Event
from types import TracebackType
from typing import Any, Self

from .faults import Fault
from .habits import Habits, RefusalError, answer
from .records import Record, stamp
from .table import Table
from .wire import Exchange, Request, read_head

#: The access token a tenant expects: a word to search logs and files for.
TOKEN = "canary-Zq7-token-0f1e2d3c"

_CONNECTIONS = 256

Faults = Fault | Mapping[int, Fault] | Callable[[Request], Fault | None]
Changes = Mapping[int, Callable[["Tenant"], object]] | Callable[["Tenant", Request], object]


class Tenant:
    """An API server to be used as a context: it listens inside, and leaving it fails where its script did not play out.

    ::

        with Tenant(day_of_records("2026-01-02", 250), Habits(cap=100), faults={2: resets()},
                    before={3: lambda tenant: tenant.delete(tenant.records[0]["id"])}) as tenant:
            ...  # ask tenant.url for /api/v2/threats, with tenant.token
            assert tenant.seen[1].params["offset"] == "99"

    :param records: what it holds at first.
    :param habits: how it answers; the most ordinary way when left out.
    :param faults: what goes wrong: one fault for every request, by request number, or chosen by looking at it.
    :param before: what changes before a request is answered: by request number, or done before each.
    :param token: what it wants as ``Authorization: Bearer ...``.
    :param resource: the last part of ``/api/v2/...``, the one path it knows.
    """

    def __init__(
        self,
        records: Iterable[Record] = (),
        habits: Habits | None = None,
        *,
        faults: Faults | None = None,
        before: Changes | None = None,
        token: str = TOKEN,
        resource: str = "threats",
    ) -> None:
        self.table = Table(records)
        self.habits = habits or Habits()
        self.token = token
        self.path = f"/api/v2/{resource}"
        self._faults: Faults = {} if faults is None else faults
        self._before: Changes = {} if before is None else before
        self._seen: list[Request] = []
        self._news = Condition()
        self._stopping = Event()
        self._open: set[socket.socket] = set()
        self._conversations: list[Future[None]] = []

    # --- the truth, and changes of it ---------------------------------------------------------------------------------

    @property
    def records(self) -> list[Record]:
        """What it holds now."""
        return self.table.records

    def window(self, start: str | datetime, end: str | datetime) -> list[Record]:
        """Return the records created in ``[start, end)`` now, by (creation, id)."""
        return self.table.window(start, end)

    def steady(self, start: str | datetime, end: str | datetime) -> list[str]:
        """Return the ids created in ``[start, end)`` that were there all the time: neither come, moved nor gone."""
        return self.table.steady(start, end)

    def insert(self, *records: Record) -> None:
        """Add records."""
        self.table.insert(*records)

    def delete(self, *ids: object) -> None:
        """Remove the records with these ids."""
        self.table.delete(*ids)

    def change(self, record_id: object, **fields: Any) -> None:
        """Set fields of a record: ``change(7, created_at=...)`` moves it."""
        self.table.change(record_id, **fields)

    def dismiss(self, *ids: object) -> None:
        """Dismiss the records with these ids, now."""
        now = stamp(self._now())
        for record_id in ids:
            self.change(
                record_id, status="DISMISSED", dismissed_at=now, dismiss_reason="Known business travel", updated_at=now
            )

    def behave(self, **habits: Any) -> None:
        """Change habits from now on: ``behave(cap=50)``."""
        self.habits = replace(self.habits, **habits)

    # --- what came in -------------------------------------------------------------------------------------------------

    @property
    def seen(self) -> list[Request]:
        """The requests so far, in the order they came."""
        with self._news:
            return list(self._seen)

    @property
    def connections(self) -> int:
        """How many connections were opened so far."""
        return len(self._conversations)

    @property
    def unplayed(self) -> list[str]:
        """What is scripted for a request that never came."""
        faults = self._faults if isinstance(self._faults, Mapping) else {}
        changes = self._before if isinstance(self._before, Mapping) else {}
        script = [(n, fault.name) for n, fault in faults.items()] + [(n, "a change") for n in changes]
        return [f"{name} at request {n}" for n, name in sorted(script) if n > len(self._seen)]

    def wait_for(self, requests: int, timeout: float = 5.0) -> None:
        """Return when so many requests have come in all."""
        with self._news:
            if not self._news.wait_for(lambda: len(self._seen) >= requests, timeout):
                raise TimeoutError(f"{len(self._seen)} of {requests} requests came within {timeout} s")

    # --- life ---------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Its address without a path, ``http://127.0.0.1:<port>``."""
        host, port = self._address
        return f"http://{host}:{port}"

    def __enter__(self) -> Self:
        """Listen, on a port of its own."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=_CONNECTIONS)
        self._address: tuple[str, int] = self._listener.getsockname()
        self._pool = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="tenant")
        self._accepting = self._pool.submit(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop at once, whatever hangs; raise what the script raised, or tell what of it never came to pass."""
        self._stop()
        for conversation in (self._accepting, *self._conversations):
            conversation.result()
        if error is None and self.unplayed:
            raise AssertionError(f"{len(self._seen)} requests came; never played: {', '.join(self.unplayed)}")

    def _stop(self) -> None:
        with self._news:
            self._stopping.set()
            for connection in self._open:
                with suppress(OSError):  # it may have ended by itself
                    connection.shutdown(socket.SHUT_RDWR)
        socket.create_connection(self._address).close()  # wakes the listener
        self._pool.shutdown()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with self._news:
                if self._stopping.is_set():
                    connection.close()
                    return
                self._open.add(connection)
                number = len(self._conversations) + 1
                self._conversations.append(self._pool.submit(self._converse, connection, number))

    def _converse(self, connection: socket.socket, number: int) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while head := read_head(reader):
                    if self._serve(connection, self._note(number, *head)).closing:
                        break
        except ConnectionError:
            pass  # the client left, as it may
        finally:
            with self._news:
                self._open.discard(connection)

    def _note(self, connection: int, method: str, target: str, headers: Any) -> Request:
        with self._news:
            request = Request(len(self._seen) + 1, connection, method, target, headers, time.monotonic())
            self._seen.append(request)
            self._news.notify_all()
        return request

    def _serve(self, connection: socket.socket, request: Request) -> Exchange:
        if not isinstance(self._before, Mapping):
            self._before(self, request)
        elif change := self._before.get(request.number):
            change(self)
        exchange = Exchange(connection, request, self._now())
        exchange.ascii_only = self.habits.ascii_only
        if self.habits.clock is not None:
            exchange.headers["Date"] = exchange.date()
        self._answer(exchange)
        if fault := self._fault(request):
            fault.act(exchange)
        if not exchange.begun:
            exchange.deliver()
        return exchange

    def _fault(self, request: Request) -> Fault | None:
        if isinstance(self._faults, Fault):
            return self._faults
        return self._faults.get(request.number) if isinstance(self._faults, Mapping) else self._faults(request)

    def _answer(self, exchange: Exchange) -> None:
        """Answer as a tenant of its habits does."""
        request = exchange.request
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            exchange.answer(401, {"message": "Invalid access token"})
        elif request.path != self.path:
            exchange.answer(404, {"message": f"No such resource: {request.path}"})
        elif request.method != "GET":
            exchange.answer(405, {"message": f"Method not allowed: {request.method}"})
        else:
            try:
                envelope = answer(request.params, self.table, self.habits, request.number, exchange.now)
            except RefusalError as refusal:
                exchange.answer(400, {"message": str(refusal)})
            else:
                exchange.answer(200, envelope)

    def _now(self) -> datetime:
        return datetime.now(UTC) + (self.habits.clock or timedelta())
