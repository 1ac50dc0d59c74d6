"""HTTP/1.1 over sockets: connections, headers and compression, for whatever gives the answers."""

from __future__ import annotations

import contextlib
import gzip
import logging
import re
import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

log = logging.getLogger(__name__)

#: Method, target and Authorization header in; status and JSON out.
Answer = Callable[[str, str, str | None], tuple[HTTPStatus, bytes]]

#: Below this a body gains nothing from being compressed.
GZIP_FROM = 1_024
_ACCEPTS_GZIP = re.compile(r"\bgzip\b(?!\s*;\s*q=0(\.0*)?\s*(,|$))", re.IGNORECASE)


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    """A thread for each connection; stopping closes the connections too, also those kept alive.

    :param address: host and port to listen on
    :param answer: gives the answers
    """

    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], answer: Answer) -> None:
        self.answer = answer
        self._connections: dict[socket.socket, threading.Thread] = {}
        super().__init__(address, _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="cloudlock-sandbox", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Answer from now on, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything, and return when every thread has ended."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for connection, thread in self._connections.copy().items():
            # The client may have closed it meanwhile.
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection in a thread that is remembered until it ends."""
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self._connections[request] = thread
        thread.start()

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        super().shutdown_request(request)
        self._connections.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong; a client that hangs up is nothing wrong."""
        if isinstance(sys.exc_info()[1], ConnectionError):
            log.debug("a client hung up before it was answered")
        else:
            log.exception("the sandbox failed to answer a request")


class _Handler(BaseHTTPRequestHandler):
    server: Server
    server_version = "CloudlockSandbox"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    # A head and a small body leave in one packet, and at once.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        status, body = self.server.answer(self.command, self.path, self.headers.get("Authorization"))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if len(body) > GZIP_FROM and _ACCEPTS_GZIP.search(self.headers.get("Accept-Encoding", "")):
            body = gzip.compress(body, compresslevel=1)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        if status == HTTPStatus.UNAUTHORIZED:
            self.send_header("WWW-Authenticate", "Bearer")
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            # A request's body is never read, so what follows on this connection would be taken for a request.
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET

    def log_message(self, template: str, *args: Any) -> None:
        # As repr: the request line is the client's, and may hold control characters.
        log.debug("%r", template % args)
