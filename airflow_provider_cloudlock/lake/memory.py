"""Keeps a worker small: what one page took serves for the next one, whichever thread reads it."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import suppress

#: Held by whoever decodes a page or encodes a row group: both take several times what they make.
ONE_AT_A_TIME = threading.Lock()

#: ``M_ARENA_MAX`` of glibc's ``mallopt``.
_ARENA_MAX = -8


def be_frugal() -> None:
    """Have all threads take memory from one place.

    Left alone, Arrow's allocator and the C library's keep for every thread what it once needed, and a task that reads
    pages with several threads takes twice as much. Call it before pyarrow is imported: Arrow chooses its allocator
    then. Whoever sets ``ARROW_DEFAULT_MEMORY_POOL`` chooses for themselves.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the system what is free; worth its time after a slice, not after a page."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
