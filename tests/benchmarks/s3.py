"""Serve S3 in a process of its own, and count its requests: ``python -m tests.benchmarks.s3``.

``GET /__stats`` returns the number of requests of each kind since ``GET /__reset``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from tests.integration.bucket import S3

_FILES = {"/_receipts/": "receipt", "/_quarantine/": "quarantine", ".parquet": "object"}


class CountingS3(S3):
    """moto's server with a latency.

    :param latency: seconds before each response.
    """

    def __init__(self, latency: float) -> None:
        super().__init__()
        self._latency = latency

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if not path.startswith("/__"):
            time.sleep(self._latency)
            return super()._answer(environ, start_response)
        counts = Counter(map(kind_of, self.calls))
        if path == "/__reset":
            self.calls.clear()
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(counts).encode()]


def kind_of(call: str) -> str:
    """Return the kind of a request: ``LIST``, or its method with the file that it is about.

    :param call: method and target, as in ``S3.calls``.
    """
    method, target = call.split(" ", 1)
    path, _, query = target.partition("?")
    if "list-type=2" in query:
        return "LIST"
    return f"{method} {next((name for part, name in _FILES.items() if part in path), 'bucket')}"


def main() -> None:
    """Serve until the standard input ends; the first line printed is the URL."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each response (%(default)s)")
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    with CountingS3(parser.parse_args().latency) as s3:
        print(s3.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
