"""The logs of contenders that are made of Airflow."""

from __future__ import annotations

import logging
import os
import sys
from types import TracebackType


def settle_logs() -> None:
    """Silence them, as they cost time; with ``BENCHMARK_LOGS`` set, print what a task's log shows, secrets masked."""
    if not os.environ.get("BENCHMARK_LOGS"):
        logging.disable(logging.CRITICAL)
        return
    from airflow.sdk.log import configure_logging

    configure_logging(output=sys.stderr, colored_console_log=False)
    sys.excepthook = _log


def _log(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Log what ends the task, as Airflow does, instead of having Python print it."""
    logging.getLogger("task").error("Task failed with exception", exc_info=(kind, error, trace))
