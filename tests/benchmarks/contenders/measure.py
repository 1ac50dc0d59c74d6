"""What every contender is told, and how each is measured.

A contender is a script of its own, so that a peer runs in an environment without this project: its folder is on the
path, nothing else of the project is. It is called with the arguments of `Task` and prints one last line of JSON.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PATH = "/api/v2/threats"


@dataclass(frozen=True, slots=True)
class Task:
    """Read the records created in ``[first, last)`` and leave them in a folder.

    :param url: the server, without the path.
    :param token: opens it.
    :param folder: where the output goes.
    :param first: first instant, ISO 8601.
    :param last: first instant after it.
    :param page: records to ask for in one request.
    :param extra: more for this contender alone.
    """

    url: str
    token: str
    folder: str
    first: str
    last: str
    page: int
    extra: str = ""

    @property
    def authorization(self) -> dict[str, str]:
        """The header that opens the server."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def parameters(self) -> dict[str, str]:
        """What every request has in common."""
        return {"created_after": self.first, "created_before": self.last, "order": "created_at"}

    def query(self, offset: int) -> dict[str, str]:
        """Return the parameters of one page."""
        return {**self.parameters, "limit": str(self.page), "offset": str(offset)}


def given() -> Task:
    """Read the task from the command line."""
    url, token, folder, first, last, page, *extra = sys.argv[1:]
    return Task(url, token, folder, first, last, int(page), *extra)


class Measured:
    """Time, processor and memory from here on: made when the libraries are imported, before anything is done."""

    def __init__(self) -> None:
        _reset_peak()
        self._resident = _status_mib("VmRSS")
        self._cpu = _cpu()
        self._start = time.perf_counter()

    def stop(self) -> None:
        """Take the figures; what comes after it does not count."""
        self.wall = time.perf_counter() - self._start
        self.cpu = _cpu() - self._cpu
        self.peak = _status_mib("VmHWM") - self._resident

    def report(self, rows: int, *packages: str, **more: int) -> None:
        """Print the line that is read by who started this.

        :param rows: how many records were read.
        :param packages: those whose versions matter.
        :param more: ``distinct`` and ``events`` of who leaves no Parquet, or other counts.
        """
        versions = {package: version(package) for package in packages}
        figures = {"rows": rows, "wall": self.wall, "cpu": self.cpu, "peak_mib": self.peak}
        print(json.dumps({**figures, "versions": versions, **more}), flush=True)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _reset_peak() -> None:
    """Make the kernel forget how much memory the imports took, and the processes that they started."""
    Path("/proc/self/clear_refs").write_text("5")


def _status_mib(name: str) -> float:
    """Return the memory of this process alone, from the kernel's own figures."""
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found, f"the kernel does not report {name}"
    return int(found[1]) / 1024
