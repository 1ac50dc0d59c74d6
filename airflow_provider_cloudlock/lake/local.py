"""Files on a local disk: replaced whole, and nothing left of processes that died."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

#: Seconds after which whoever keeps a folder locked is taken to hang; a file takes far less.
_PATIENCE = 60.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine that ask for the same lock out of a folder, which is made if missing.

    :raises BlockingIOError: when one keeps it for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    free = Retrying(
        retry=retry_if_exception_type(BlockingIOError),
        stop=stop_after_delay(_PATIENCE),
        wait=wait_fixed(0.02),
        reraise=True,
    )
    try:
        free(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # some network file systems know no such locks; then there is none


def replace(local: Path, target: Path) -> None:
    """Copy a file beside its target and rename it: a rename is atomic only within one file system.

    The copy is locked while it is written, so that :func:`sweep` can tell it from one left by a process that died.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target)
    staged = target.parent / f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with staged.open("xb") as file, local.open("rb") as source:
            with suppress(OSError):  # some network file systems know no locks; there, nothing is swept either
                fcntl.flock(file, fcntl.LOCK_EX)
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
            os.replace(staged, target)
    finally:
        staged.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)


def sweep(target: Path) -> None:
    """Remove what processes that died while they replaced a file left beside it."""
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        with suppress(FileNotFoundError), leftover.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # in use, or nobody can say
                continue
            leftover.unlink()
