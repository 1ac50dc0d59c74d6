"""Output and exit status of the commands: results on standard output, logs and errors on standard error."""

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
def cli_errors() -> Iterator[None]:
    """Run a command with logs on standard error, and turn errors into exit status 2.

    :raises SystemExit: with status 2 if the command fails; the message is written to standard error.
    """
    # Airflow's own commands set this too: without it, connections are not looked up in the metadata database.
    os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.stdout:
            handler.setStream(sys.stderr)
    try:
        with redirect_stdout(sys.stderr):
            yield
    except (CloudlockError, AirflowNotFoundException) as error:
        fail(str(error))
    except Exception:  # noqa: BLE001 - Python would exit with status 1, which means that an audit has findings
        traceback.print_exc()
        raise SystemExit(2) from None


def fail(message: str) -> NoReturn:
    """Write a message to standard error and exit with status 2."""
    sys.stderr.write(f"{message}\n")
    raise SystemExit(2)
