"""Serve the API on loopback without ever being the bottleneck: ``python -m tests.benchmarks.server``.

It serves ``GET /api/v2/threats`` as the sandbox does, with the sandbox's own parser of parameters: ``created_after`` is
inclusive, ``created_before`` exclusive, both to the microsecond. Its only order is oldest first; requests for another
order, or for none, are refused. A page is a slice of bytes that were rendered before.

``GET /__truth`` with the same bounds returns what a complete read finds, and renders records that are not rendered yet;
``GET /__stats`` returns statistics of the requests since ``GET /__reset``.
"""

from __future__ import annotations

import argparse
import gzip
import json
import socketserver
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_cloudlock.sandbox.query import MAX_LIMIT, BadParameter, Query, parse_query
from airflow_provider_cloudlock.sandbox.server import THREATS
from tests.benchmarks.records import Day

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKEN = "benchmark-token"
FIRST = date(2025, 1, 1)

Pieces = list[bytes | memoryview]


@dataclass
class Stats:
    """Statistics of the requests."""

    started: list[float] = field(default_factory=list)
    most_at_once: int = 0
    busy: float = 0.0
    _since: float = 0.0
    _under_way: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request while it is being served."""
        with self._lock:
            self.started.append(time.monotonic())
            if not self._under_way:
                self._since = self.started[-1]
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            yield
        finally:
            with self._lock:
                self._under_way -= 1
                if not self._under_way:
                    self.busy += time.monotonic() - self._since

    def told(self) -> dict[str, float]:
        """Return the figures; ``busy`` is the time during which at least one request was being served."""
        with self._lock:
            started, busy, most_at_once = list(self.started), self.busy, self.most_at_once
        first, most = 0, 0
        for last, moment in enumerate(started):
            while moment - started[first] >= 1:
                first += 1
            most = max(most, last - first + 1)
        return {
            "requests": len(started),
            "most_in_a_second": most,
            "most_at_once": most_at_once,
            "busy": busy,
        }


class Tenant:
    """Days of records, each rendered when it is first requested.

    :param days: number of days, from ``FIRST`` on.
    :param rows: records per day.
    :param odd: share of odd records.
    """

    def __init__(self, days: int, rows: int, odd: float) -> None:
        self._days = days
        self._lock = threading.Lock()
        self._day = cache(lambda number: Day(FIRST + timedelta(days=number), rows, odd))

    def parts(self, query: Query) -> list[tuple[Day, int, int]]:
        """Return the days within the bounds, each with the first position and the one after the last."""
        beginning = datetime.combine(FIRST, time_of_day(), UTC)
        end = beginning + timedelta(days=self._days)
        after, before = max(query.created_after or beginning, beginning), min(query.created_before or end, end)
        if after >= before:
            return []
        whole = timedelta(days=1)
        numbers = range((after - beginning) // whole, -((beginning - before) // whole))
        with self._lock:
            found = [self._day(number) for number in numbers]
        return [(day, day.place(after), day.place(before)) for day in found]

    def page(self, query: Query) -> tuple[Pieces, int]:
        """Return the body of a response in pieces, and its length."""
        parts = self.parts(query)
        total = sum(last - first for _, first, last in parts)
        begin = min(query.offset, total)
        stop = min(begin + query.limit, total)
        head = b'{"limit":%d,"offset":%d,"total":%d,"results":%d,"items":['
        pieces: Pieces = [head % (query.limit, query.offset, total, stop - begin)]
        length, passed = len(pieces[0]), 0
        for day, first, last in parts:
            low, high = max(begin - passed, 0), min(stop - passed, last - first)
            if low < high:
                pieces.append(day.items(first + low, first + high))
                length += len(pieces[-1])
            passed += last - first
        if stop > begin:  # the comma behind the last record
            pieces[-1] = memoryview(pieces[-1])[:-1]
            length -= 1
        return [*pieces, b"]}"], length + 2

    def truth(self, query: Query) -> dict[str, int]:
        """Return what a complete read finds."""
        parts = self.parts(query)
        rows = sum(last - first for _, first, last in parts)
        events = sum(day.events(first, last) for day, first, last in parts)
        return {"rows": rows, "distinct": rows, "events": events}


class Server(socketserver.ThreadingTCPServer):
    """A thread for each connection."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, tenant: Tenant, options: argparse.Namespace) -> None:
        self.tenant = tenant
        self.page_cap: int = options.page_cap
        self.latency: float = options.latency
        self.gzip: bool = options.gzip
        self.stats = Stats()
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(socketserver.StreamRequestHandler):
    """HTTP/1.1 with persistent connections; much faster than the standard library's, for pages of 100 records."""

    server: Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Serve requests until the client closes the connection."""
        while line := self.rfile.readline(65_536):
            target = line.split()[1].decode()
            headers = {}
            while (header := self.rfile.readline(65_536)).strip():
                name, _, value = header.decode("latin-1").partition(":")
                headers[name.lower()] = value.strip()
            self._answer(target, headers)

    def _answer(self, target: str, headers: dict[str, str]) -> None:
        url = urlsplit(target)
        if url.path == "/__stats":
            self._send_json(200, self.server.stats.told())
        elif url.path == "/__reset":
            self.server.stats = Stats()
            self._send_json(200, {})
        elif headers.get("authorization") != f"Bearer {TOKEN}":
            self._send_json(401, {"message": "The access token is missing or wrong."})
        elif url.path not in (THREATS, "/__truth"):
            self._send_json(404, {"message": f"Only {THREATS} can be read."})
        else:
            self._answer_query(url.path, parse_qsl(url.query, keep_blank_values=True), headers)

    def _answer_query(self, path: str, parameters: list[tuple[str, str]], headers: dict[str, str]) -> None:
        try:
            query = parse_query(parameters, datetime.now(UTC), self.server.page_cap)
            if query.order != "created_at" or query.descending:
                raise BadParameter("order must be created_at.")
        except BadParameter as error:
            self._send_json(400, {"message": str(error)})
            return
        if path == "/__truth":
            self._send_json(200, self.server.tenant.truth(query))
            return
        with self.server.stats.counted():
            time.sleep(self.server.latency)
            pieces, length = self.server.tenant.page(query)
            if self.server.gzip and "gzip" in headers.get("accept-encoding", ""):
                body = gzip.compress(b"".join(pieces), compresslevel=1)
                self._send(200, [body], len(body), "Content-Encoding: gzip\r\n")
            else:
                self._send(200, pieces, length)

    def _send_json(self, status: int, content: dict[str, str] | dict[str, int] | dict[str, float]) -> None:
        body = json.dumps(content).encode()
        self._send(status, [body], len(body))

    def _send(self, status: int, pieces: Pieces, length: int, more: str = "") -> None:
        head = (
            f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{more}\r\n".encode()
        )
        if length < 1 << 20:  # in one packet, and at once
            self.request.sendall(b"".join([head, *pieces]))
        else:
            self.request.sendall(head)
            for piece in pieces:
                self.request.sendall(piece)


def main() -> None:
    """Serve until the standard input ends; the first line printed is the URL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=1, help=f"days that have records, from {FIRST} on (%(default)s)")
    parser.add_argument("--rows", type=int, default=100_000, help="records per day (%(default)s)")
    parser.add_argument("--page-cap", type=int, default=MAX_LIMIT, help="most records per page (%(default)s)")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each response (%(default)s)")
    parser.add_argument("--odd", type=float, default=0.0, help="share of odd records, 0 to 1 (%(default)s)")
    parser.add_argument("--gzip", action="store_true", help="compress responses with level 1")
    options = parser.parse_args()
    server = Server(Tenant(options.days, options.rows, options.odd), options)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()
    server.shutdown()


if __name__ == "__main__":
    main()
