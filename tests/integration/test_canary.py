"""The search for secrets finds planted ones; otherwise it would prove nothing if it finds none."""

from __future__ import annotations

import base64
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.canary import ECHOES, PASSWORD, TOKEN, Canary, contents

OTHER_FORMS: dict[str, Callable[[str], str]] = {
    "the first half": lambda text: text[: len(text) // 2],
    "the second half": lambda text: text[len(text) // 2 :],
    "small letters": str.lower,
    "hex": lambda text: text.encode().hex(),
    "base64": lambda text: base64.b64encode(text.encode()).decode(),
    "base64 of a header": lambda text: base64.b64encode(f"Bearer {text}".encode()).decode(),
    "base64 of a pair": lambda text: base64.urlsafe_b64encode(f"u:{text}".encode()).decode(),
    "wide": lambda text: text.encode("utf-16").decode("latin-1"),
}


@pytest.mark.parametrize("secret", [TOKEN, PASSWORD], ids=["token", "password"])
@pytest.mark.parametrize("form", [*ECHOES.values(), *OTHER_FORMS.values()], ids=[*ECHOES, *OTHER_FORMS])
def test_canary_is_found_in_every_form(secret: Canary, form: Callable[[str], str]) -> None:
    assert secret.is_in(f"before{form(secret.text)}after".encode())
    assert not secret.is_in(form("another").encode())


def test_contents_covers_files_databases_and_parquet(tmp_path: Path) -> None:
    (tmp_path / TOKEN.words[0]).mkdir()
    (tmp_path / ".hidden").write_text(TOKEN.text)
    table = pa.table({"a": [TOKEN.text]})
    pq.write_table(table, tmp_path / "rows.parquet", compression="zstd")
    pq.write_table(pa.table({"a": [1]}).replace_schema_metadata({"b": TOKEN.text}), tmp_path / "metadata.parquet")
    with closing(sqlite3.connect(tmp_path / "some.db")) as database, database:
        database.execute("pragma page_size = 512").close()
        database.execute("create table t (a, b)")
        database.execute("insert into t values (?, ?)", ("x" * 470 + TOKEN.text, 1))
        database.execute("insert into t values (?, ?)", (None, TOKEN.text.encode()))
    found = {where for where, data in contents(tmp_path) if TOKEN.is_in(data)}
    assert found >= {TOKEN.words[0], ".hidden", "rows.parquet rows", "metadata.parquet metadata", "some.db table t"}
