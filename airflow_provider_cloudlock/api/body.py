"""The body of an answer, unpacked and within reason."""

from __future__ import annotations

import io
import json
import threading

import requests

from airflow_provider_cloudlock.exceptions import CloudlockResponseError

#: The most decoded bytes of one answer; 100,000 records of three times the usual size are 300 MB.
_MAX_BYTES = 1 << 30
#: From so many bytes on, an answer that unpacks to more than so many times its size is no list of records.
_MAX_RATIOS = ((192 << 20, 100), (32 << 20, 200))
_CHUNK = 1 << 20
#: From so many bytes on, fewer than so many for each comma are no list of records, but would take much memory as one.
_LEAST_DENSE = (8 << 20, 8)

_ENCODINGS = ("gzip", "x-gzip", "deflate")
#: Values of Content-Encoding that name no compression, a character set put into the wrong header among them.
_NO_ENCODINGS = ("", "identity", "none", "utf-8", "utf8")


def read_body(response: requests.Response, where: str, abandoned: threading.Event, at_most: int | None = None) -> bytes:
    """Read a body to its end, unpacked; or, with ``at_most``, no more than its beginning.

    :param abandoned: set when the body is no longer waited for.
    :raises CloudlockResponseError: when it is packed in an unknown way, or unreasonably large.
    """
    raw = response.raw
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in _ENCODINGS + _NO_ENCODINGS:
        if at_most is not None:
            return b""
        # Its name is not repeated: a server may echo anything there.
        raise CloudlockResponseError(f"{where}: the answer is packed in another way than gzip or deflate.")
    announced = 0 if at_most is not None else raw.length_remaining or 0
    if announced > _MAX_BYTES:
        raise CloudlockResponseError(
            f"{where}: the answer announces {announced >> 20} MiB, beyond what is reasonable. "
            "Ask for smaller pages if it is genuine."
        )
    size = 0
    with io.BytesIO() as body:  # closed, as the error of a refused answer lives on while it is asked for again
        while not abandoned.is_set() and (chunk := raw.read1(_CHUNK, decode_content=True)):
            size += body.write(chunk)
            if at_most is not None and size >= at_most:
                return body.getvalue()[:at_most]
            ratio = next((most for least, most in _MAX_RATIOS if size > least), size)
            if size > _MAX_BYTES or size > ratio * raw.tell():
                raise CloudlockResponseError(
                    f"{where}: the answer unpacks to more than {size >> 20} MiB out of {raw.tell() >> 10} KiB sent, "
                    "beyond what is reasonable. Ask for smaller pages if it is genuine."
                )
        return body.getvalue()


def check_dense(body: bytes) -> None:
    """Look whether a large body says anything: millions of empty objects are small, and large when they are parsed.

    :raises CloudlockResponseError: when it holds next to nothing.
    """
    least, each = _LEAST_DENSE
    if len(body) > least and body.count(b",") * each > len(body):
        raise CloudlockResponseError("It is a list of next to nothing, and too long for that.")


def message_of(body: bytes) -> str | None:
    """The server's own words in the body of an error: the text under ``message``."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return None
    message = said.get("message") if isinstance(said, dict) else None
    return message if isinstance(message, str) else None
