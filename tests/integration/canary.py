"""Recognizable secrets, and the search for them in the files of a run."""

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

#: Only letters and digits, which no escaping changes, however often it is applied.
Words = tuple[str, ...]


@dataclass(frozen=True)
class Canary:
    """A secret that is found in whole or in part, in any encoding.

    :param text: the secret: words, separated by characters that URLs, JSON, HTML and shells escape.
    :param words: its words; each of them counts as a leak.
    """

    text: str
    words: Words

    def is_in(self, data: bytes) -> bool:
        """Return whether some bytes contain a word of it, in any case, escaping or width of characters."""
        narrow = data.replace(b"\0", b"")
        return any(form in narrow.lower() for form in _plain(self.words)) or any(
            form in narrow for form in _base64(self.words)
        )


def _plain(words: Words) -> Iterator[bytes]:
    for word in words:
        yield word.lower().encode()
        yield word.encode().hex().encode()


def _base64(words: Words) -> Iterator[bytes]:
    """Yield the Base64 characters of each word for every offset that it can begin at."""
    for word in words:
        for before in range(3):
            encoded = base64.b64encode(b" " * before + word.encode())
            yield encoded[(before * 8 + 5) // 6 : (before + len(word)) * 8 // 6]


TOKEN_WORDS = ("Zq7Canary0f1e", "Xw4Canary9b8a", "Kp2Canary5d6c")
TOKEN = Canary('{}/{}+"{}\\%&=='.format(*TOKEN_WORDS), TOKEN_WORDS)
PASSWORD_WORDS = ("Hm3Finch7a2b", "Vt8Finch1c4d")
#: Password of the proxy, percent-encoded in its URL.
PASSWORD = Canary("{}@/{}".format(*PASSWORD_WORDS), PASSWORD_WORDS)

#: Encodings in which servers, proxies and libraries quote a text.
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
    """Yield names and bytes of all files below a folder, and the values in databases and Parquet files."""
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
    """Yield the values of a database row by row, as the file may split a value over pages."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [name for (name,) in database.execute("select name from sqlite_master where type = 'table'")]
        for table in tables:
            for row in database.execute(f'select * from "{table}"'):
                values = [value if isinstance(value, bytes) else str(value).encode() for value in row]
                yield f"{where} table {table}", b"\n".join(values)
