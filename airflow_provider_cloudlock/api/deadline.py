"""A limit on the whole of one HTTP call.

The socket's own timeout starts anew with every byte, so a server that drips would hold a worker for ever. Here the
socket in use is shut down when the time is over, wherever the call waits: connecting, for headers, or in the body.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.poolmanager import PoolManager


class Deadline:
    """The time limit of the call under way in this thread.

    :param seconds: how long the call may take.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._copy: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def watch(self, sock: socket.socket | None) -> None:
        """Tell which socket the call uses from now on."""
        with self._lock:
            self._forget()
            self._socket = sock
            if self.expired:
                self._shut_down()

    def watch_new(self, sock: socket.socket) -> None:
        """Tell of a socket that is to be wrapped: a proxy has to be asked for a tunnel, or TLS to be agreed on.

        A copy is kept, as the socket itself is gone as soon as it is wrapped.
        """
        self.watch(copy := sock.dup())
        with self._lock:
            self._copy = copy

    def start(self) -> None:
        """Start the clock."""
        self._timer.start()

    def cancel(self) -> None:
        """Stop the clock and forget the socket: it may serve the next call."""
        self._timer.cancel()
        with self._lock:
            self._forget()

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            self._shut_down()

    def _forget(self) -> None:
        self._socket = None
        if self._copy is not None:
            self._copy.close()
            self._copy = None

    def _shut_down(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # already closed
                # Not SSLSocket.shutdown, which would tear down the TLS state under the thread that is reading.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


_running = threading.local()


@contextmanager
def deadline(seconds: float) -> Iterator[Deadline]:
    """Bound the HTTP call made inside, by this thread and through :class:`DeadlineAdapter`."""
    limit = Deadline(seconds)
    _running.deadline = limit
    limit.start()
    try:
        yield limit
    finally:
        limit.cancel()
        _running.deadline = None


def _watch(sock: socket.socket | None) -> None:
    limit = getattr(_running, "deadline", None)
    if limit is not None:
        limit.watch(sock)


def _watch_new(sock: socket.socket) -> socket.socket:
    limit = getattr(_running, "deadline", None)
    if limit is not None:
        limit.watch_new(sock)
    return sock


class _WatchedHTTPConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _watch_new(super()._new_conn())

    def connect(self) -> None:
        super().connect()
        _watch(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watch(self.sock)  # a kept-alive connection does not connect again
        super().request(*args, **kwargs)


class _WatchedHTTPSConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _watch_new(super()._new_conn())

    def connect(self) -> None:
        super().connect()
        _watch(self.sock)

    def request(self, *args: Any, **kwargs: Any) -> None:
        _watch(self.sock)
        super().request(*args, **kwargs)


class _HTTPPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHTTPConnection


class _HTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPSConnection


class DeadlineAdapter(HTTPAdapter):
    """The transport of :mod:`requests`, with sockets that obey :func:`deadline`."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _use_watched_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Make the pool of connections through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _use_watched_pools(manager)
        return manager


def _use_watched_pools(manager: PoolManager) -> None:
    manager.pool_classes_by_scheme = {"http": _HTTPPool, "https": _HTTPSPool}
