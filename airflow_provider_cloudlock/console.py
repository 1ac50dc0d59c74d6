"""How a command of this package speaks: its result to standard output, all else to standard error, errors in words."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import NoReturn

from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_cloudlock.exceptions import CloudlockError


@contextmanager
def at_work() -> Iterator[None]:
    """Do a command's work, with nothing of it on standard output, which may be for JSON.

    :raises SystemExit: with status 2 and the error's words, when it cannot be done.
    """
    # As for Airflow's own commands: connections are looked up in its database too.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (CloudlockError, AirflowNotFoundException) as error:
        fail(str(error))
    except Exception:  # noqa: BLE001 - Python would end with status 1, which speaks of the lake
        traceback.print_exc()
        raise SystemExit(2) from None


def fail(why: str) -> NoReturn:
    """End the command with status 2."""
    sys.stderr.write(f"{why}\n")
    raise SystemExit(2)
