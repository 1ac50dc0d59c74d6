"""One request and its answer on the wire, raw enough to misbehave."""

from __future__ import annotations

import json
import select
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from email.utils import format_datetime
from http.client import parse_headers, responses
from io import BufferedReader
from typing import Any
from urllib.parse import parse_qsl, urlsplit

_BODILESS = {204, 304}
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class GoneError(ConnectionError):
    """The client left, or the server is being stopped."""


@dataclass(frozen=True)
class Request:
    """A request as it came.

    :param number: counted from one, over all connections.
    :param connection: the number of its connection, counted from one.
    :param target: path and query as sent; ``params`` is the query read.
    :param at: when its head had been read, by ``time.monotonic()``.
    """

    number: int
    connection: int
    method: str
    target: str
    headers: Message = field(repr=False)
    at: float

    @property
    def path(self) -> str:
        """The path alone."""
        return urlsplit(self.target).path

    @property
    def params(self) -> dict[str, str]:
        """The query, decoded."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


def read_head(reader: BufferedReader) -> tuple[str, str, Message] | None:
    """Read a request to its end: method, target, headers; None when the client has no more."""
    line = reader.readline().decode("latin-1").split()
    if len(line) != 3:
        return None
    headers = parse_headers(reader)
    reader.read(int(headers.get("Content-Length", 0)))
    return line[0], line[1], headers


class Exchange:
    """The answer to one request: a status, headers and a body to be changed, and the socket to be misused.

    A fault changes the answer, sends it in its own way, or both. What no fault has begun to send is sent well.

    :param request: what was asked.
    :param now: the server's clock.
    """

    def __init__(self, connection: socket.socket, request: Request, now: datetime) -> None:
        self._connection = connection
        self.request = request
        self.now = now
        self.status = 200
        self.headers = {"Content-Type": "application/json"}
        self.body = b""
        self.ascii_only = False
        self.begun = False  # something of the answer is on the wire
        self.closing = request.headers.get("Connection", "").lower() == "close"

    @property
    def envelope(self) -> Any:
        """The JSON of the body: a copy, to be changed and set again."""
        return json.loads(self.body)

    @envelope.setter
    def envelope(self, value: object) -> None:
        self.body = json.dumps(value, ensure_ascii=self.ascii_only, separators=(",", ":")).encode()

    def answer(self, status: int, body: object, content_type: str = "application/json") -> None:
        """Make this the answer: bytes and text as they are, anything else as JSON."""
        self.status = status
        self.headers["Content-Type"] = content_type
        if isinstance(body, (bytes, str)):
            self.body = body.encode() if isinstance(body, str) else body
        else:
            self.envelope = body

    def deliver(self) -> None:
        """Send the answer as it should be."""
        if self.status in _BODILESS:
            self.send(self.head())
        else:
            self.send(self.head({"Content-Length": len(self.body)}))
            self.send(self.body)

    def head(self, framing: Mapping[str, object] | None = None) -> bytes:
        """Return status line and headers, with those that say how long the body is."""
        lines = [f"HTTP/1.1 {self.status} {responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in (self.headers | dict(framing or {})).items()]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def part(self, share: float) -> bytes:
        """Return the first part of the body: never all of it when the share is below one."""
        return self.body[: int(len(self.body) * share)]

    def send(self, data: bytes) -> None:
        """Put bytes on the wire."""
        self.begun = True
        self._connection.sendall(data)

    def pause(self, seconds: float | None = None) -> None:
        """Be silent for so long, or for ever; ends early, with GoneError, when nobody waits any more."""
        readable, _, _ = select.select([self._connection], [], [], seconds)
        if readable:
            raise GoneError("nobody waits for this answer any more")

    def close(self) -> None:
        """End the connection after what has been sent, with FIN."""
        self.begun = self.closing = True

    def reset(self) -> None:
        """End the connection with RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.close()

    def date(self) -> str:
        """Return the server's clock as HTTP writes it."""
        return format_datetime(self.now, usegmt=True)
