"""Answers sent badly: cut, slow, broken off, too big."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import Literal

from .faults import Fault
from .wire import Exchange

_BLOCK = 1 << 20


def short_body(share: float = 0.5) -> Fault:
    """Promise the whole body by Content-Length, send a share of it, end the connection."""

    def act(exchange: Exchange) -> None:
        _send_share(exchange, share)
        exchange.close()

    return Fault(f"short_body({share})", act)


def chunked(cut: Literal["middle", "end"] | None = None) -> Fault:
    """Send the body in chunks; cut in the ``middle`` of one, or before the last, empty one (``end``)."""

    def act(exchange: Exchange) -> None:
        half = exchange.part(0.5)
        chunks = b"".join(_chunk(piece) for piece in (half, exchange.body[len(half) :]) if piece)
        data = {"middle": chunks[: len(chunks) * 3 // 4], "end": chunks, None: chunks + _chunk(b"")}[cut]
        exchange.send(exchange.head({"Transfer-Encoding": "chunked"}) + data)
        if cut:
            exchange.close()

    return Fault(f"chunked({cut=})", act)


def until_close(share: float = 1.0) -> Fault:
    """Send the body, or a share of it, without any length: the end of the connection is its end."""

    def act(exchange: Exchange) -> None:
        exchange.send(exchange.head({"Connection": "close"}) + exchange.part(share))
        exchange.close()

    return Fault(f"until_close({share})", act)


def drips(size: int, seconds: float, *, head: bool = False) -> Fault:
    """Send the body ``size`` bytes at a time, so many seconds apart; with ``head`` the head too."""

    def act(exchange: Exchange) -> None:
        top = exchange.head({"Content-Length": len(exchange.body)})
        if not head:
            exchange.send(top)
        slow = top + exchange.body if head else exchange.body
        for start in range(0, len(slow), size):
            if start:
                exchange.pause(seconds)
            exchange.send(slow[start : start + size])

    return Fault(f"drips({size}, {seconds})", act)


def hangs(seconds: float | None = None, *, after: float | None = None) -> Fault:
    """Fall silent, for ever or so long, before the answer; or in it, after this share of the body."""

    def act(exchange: Exchange) -> None:
        sent = 0 if after is None else _send_share(exchange, after)
        exchange.pause(seconds)
        if after is not None:
            exchange.send(exchange.body[sent:])

    return Fault(f"hangs({seconds}, {after=})", act)


def resets(after: float | None = None) -> Fault:
    """Break the connection with RST, before the answer or after this share of the body."""

    def act(exchange: Exchange) -> None:
        if after is not None:
            _send_share(exchange, after)
        exchange.reset()

    return Fault(f"resets({after=})", act)


def hangs_up(*, answered: bool = False) -> Fault:
    """End the connection without a word, before the answer or, kept alive till then, after it."""

    def act(exchange: Exchange) -> None:
        if answered:
            exchange.deliver()
        exchange.close()

    return Fault(f"hangs_up({answered=})", act)


def says(data: bytes) -> Fault:
    """Send these bytes in place of an HTTP message, and end the connection."""

    def act(exchange: Exchange) -> None:
        exchange.send(data)
        exchange.close()

    return Fault("says", act)


def bomb(size: int, *, compressed: bool = True) -> Fault:
    """Send the body behind ``size`` bytes of blanks, as JSON allows: only a ceiling tells it from a good answer."""

    def act(exchange: Exchange) -> None:
        encoding = {"Content-Encoding": "gzip"} if compressed else {}
        exchange.send(exchange.head(encoding | {"Transfer-Encoding": "chunked"}))
        for piece in _gzip_stream(exchange.body, size) if compressed else _plain_stream(exchange.body, size):
            exchange.send(_chunk(piece))
        exchange.send(_chunk(b""))

    return Fault(f"bomb({size}, {compressed=})", act)


def _send_share(exchange: Exchange, share: float) -> int:
    """Send the head and a share of the body, and return how many bytes of it."""
    part = exchange.part(share)
    exchange.send(exchange.head({"Content-Length": len(exchange.body)}) + part)
    return len(part)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _plain_stream(body: bytes, blanks: int) -> Iterator[bytes]:
    block = b" " * _BLOCK
    for _ in range(blanks // _BLOCK):
        yield block
    yield b" " * (blanks % _BLOCK) + body


def _gzip_stream(body: bytes, blanks: int) -> Iterator[bytes]:
    """Compress one block, then repeat its bytes: a full flush makes every block independent of those before."""
    yield gzip.compress(b"")[:10]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    block = b" " * _BLOCK
    packed = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    check = 0
    for _ in range(blanks // _BLOCK):
        check = zlib.crc32(block, check)
        yield packed
    rest = b" " * (blanks % _BLOCK) + body
    yield packer.compress(rest) + packer.flush()
    yield zlib.crc32(rest, check).to_bytes(4, "little") + ((blanks + len(body)) % 2**32).to_bytes(4, "little")
