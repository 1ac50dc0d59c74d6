"""Files on a local disk: replaced in one step, with nothing left behind by processes that died."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

#: Errors of ``fsync`` on file systems that do not support it on folders, such as some of network disks. PostgreSQL
#: ignores the first two there, too.
_NO_FSYNC = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)
#: Seconds after which the holder of a lock is taken to hang; publishing a file takes far less.
_LOCK_TIMEOUT = 60.0


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, which is created if missing, against other processes and threads of this machine.

    :raises BlockingIOError: if another one holds it for too long.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> None:
    retrying = Retrying(
        retry=retry_if_exception_type(BlockingIOError),
        stop=stop_after_delay(_LOCK_TIMEOUT),
        wait=wait_fixed(0.02),
        reraise=True,
    )
    try:
        retrying(fcntl.flock, handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return  # some network file systems do not support such locks; then there is none


def replace(local: Path, target: Path, staging: Path) -> None:
    """Copy a file to the disk of its target and rename it, as a rename is atomic only within one file system.

    The copy is locked while it is written, so that :func:`sweep` can tell it from one left by a process that died.

    :param staging: folder for the copy, which no reader of the lake looks into.
    """
    for folder in (target.parent, staging):
        folder.mkdir(parents=True, exist_ok=True)
    sweep(target, staging)
    staged = staging / f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with staged.open("xb") as file, local.open("rb") as source:
            with suppress(OSError):  # some network file systems do not support locks; there, nothing is swept either
                fcntl.flock(file, fcntl.LOCK_EX)
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
            os.replace(staged, target)
    finally:
        staged.unlink(missing_ok=True)
    handle = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(handle)  # the rename itself
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise
    finally:
        os.close(handle)


def sweep(target: Path, staging: Path) -> None:
    """Remove what processes that died while they replaced a file left behind."""
    for leftover in staging.glob(f".{target.name}.*.tmp"):
        with suppress(FileNotFoundError), leftover.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # in use, or that cannot be known
                continue
            leftover.unlink()
