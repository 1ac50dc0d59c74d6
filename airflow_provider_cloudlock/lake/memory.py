"""Settings of the process that keep a worker small."""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import suppress

#: Held while a page is decoded or a row group encoded: both take several times the memory of what they make.
ARROW_LOCK = threading.Lock()

#: ``M_ARENA_MAX`` of glibc's ``mallopt``.
_ARENA_MAX = -8


def limit_malloc_arenas() -> None:
    """Make all threads share one heap, which halves the memory of a task.

    Otherwise the allocators of Arrow and of the C library keep for every thread what it once needed. Call it before
    pyarrow is imported, which is when Arrow chooses its allocator. To opt out, set the environment variables with which
    Arrow and glibc are configured themselves: ``ARROW_DEFAULT_MEMORY_POOL`` and ``MALLOC_ARENA_MAX``.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    if "MALLOC_ARENA_MAX" not in os.environ:
        with suppress(AttributeError):  # another C library
            ctypes.CDLL(None).mallopt(_ARENA_MAX, 1)


def release_unused_memory() -> None:
    """Return unused memory to the system; worth its time after a range, not after a page."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
