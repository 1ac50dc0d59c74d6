"""Secrets made to be found again, and the search for them in whatever a run left."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow.parquet as pq

#: Of letters and digits alone: no way of escaping a text changes them, however often it is applied.
Words = tuple[str, ...]


@dataclass(frozen=True)
class Canary:
    """A secret that is found whole or in part, and however it was encoded.

    :param text: the secret: words, and between them what URLs, JSON, HTML and shells escape.
    :param words: each of them gives the secret away.
    """

    text: str
    words: Words

    def is_in(self, data: bytes) -> bool:
        """Tell whether a word of it is in some bytes, in any case, escaping or width of characters."""
        narrow = data.replace(b"\0", b"")
        return any(form in narrow.lower() for form in _plain(self.words)) or any(
            form in narrow for form in _base64(self.words)
        )


def _plain(words: Words) -> Iterator[bytes]:
    for word in words:
        yield word.lower().encode()
        yield word.encode().hex().encode()


def _base64(words: Words) -> Iterator[bytes]:
    """Give the letters that come out wherever among the bytes encoded a word begins."""
    for word in words:
        for before in range(3):
            encoded = base64.b64encode(b" " * before + word.encode())
            yield encoded[(before * 8 + 5) // 6 : (before + len(word)) * 8 // 6]


TOKEN_WORDS = ("Zq7Canary0f1e", "Xw4Canary9b8a", "Kp2Canary5d6c")
TOKEN = Canary('{}/{}+"{}\\%&=='.format(*TOKEN_WORDS), TOKEN_WORDS)
PASSWORD_WORDS = ("Hm3Finch7a2b", "Vt8Finch1c4d")
#: Of the proxy; its URL holds it percent-encoded.
PASSWORD = Canary("{}@/{}".format(*PASSWORD_WORDS), PASSWORD_WORDS)

#: Ways in which servers, proxies and libraries write a text that they repeat.
ECHOES: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json in json": lambda text: json.dumps(json.dumps(text))[1:-1],
    "json, slashes too": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json, for web pages": lambda text: "".join(c if c.isalnum() else f"\\u{ord(c):04X}" for c in text),
    "percent": lambda text: quote(text, safe=""),
    "percent, small letters": lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b"),
    "percent, but for slashes": quote,
    "form": quote_plus,
    "html": escape,
    "html, by number": lambda text: "".join(c if c.isalnum() else f"&#{ord(c)};" for c in text),
}


def contents(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give everything below a folder: names, bytes, and what databases and Parquet objects hold, unpacked."""
    for path in sorted(folder.rglob("*")):
        where = str(path.relative_to(folder))
        yield where, str(path).encode()
        if path.is_file():
            yield where, path.read_bytes()
        if path.suffix == ".db":
            yield from _rows(path, where)
        if path.suffix == ".parquet":
            file = pq.ParquetFile(path)
            yield f"{where} metadata", repr((file.metadata.metadata, file.schema_arrow.metadata)).encode()
            yield f"{where} rows", repr(file.read().to_pylist()).encode()


def _rows(path: Path, where: str) -> Iterator[tuple[str, bytes]]:
    """Give the values of a database one by one: in the file a value may be broken over pages."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for row in database.execute(f'select * from "{table}"'):
                values = [value if isinstance(value, bytes) else str(value).encode() for value in row]
                yield f"{where} table {table}", b"\n".join(values)
