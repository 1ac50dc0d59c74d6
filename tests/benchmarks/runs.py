"""Run contenders against servers, in processes of their own, and check that their output is complete."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from tests.benchmarks.cases import Case, Entry, Setting
from tests.benchmarks.peers import command, environment
from tests.benchmarks.server import TOKEN

#: Limit of one run, in seconds.
_TIMEOUT = 3_600


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of an entry.

    :param figures: figures of the contender; empty if it failed.
    :param stats: statistics of the server.
    :param versions: versions of the contender's packages.
    :param fault: what is wrong, if anything: it failed, or records are missing, repeated or made up.
    """

    figures: dict[str, float]
    stats: dict[str, float]
    versions: dict[str, str]
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    url: str

    def ask(self, path: str, **parameters: str) -> dict[str, float]:
        """Request a path that exists for benchmarks only."""
        request = urllib.request.Request(f"{self.url}{path}?{urlencode(parameters)}")
        request.add_header("Authorization", f"Bearer {TOKEN}")
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            found: dict[str, float] = json.load(answer)
        return found

    def truth(self, entry: Entry) -> dict[str, float]:
        """Return what a complete read of an entry's window finds, and have its records rendered."""
        end = entry.start + entry.window
        return self.ask(
            "/__truth",
            order="created_at",
            created_after=entry.start.isoformat(),
            created_before=end.isoformat(),
        )


@contextmanager
def serving(setting: Setting) -> Iterator[Served]:
    """Run an API server in a process of its own."""
    with started("tests.benchmarks.server", *setting.options()) as served:
        yield served


@contextmanager
def started(module: str, *options: str) -> Iterator[Served]:
    """Run a server in a process of its own.

    :param module: prints the URL first, and serves until its standard input is closed.
    :param options: command line options.
    """
    arguments = [sys.executable, "-m", module, *options]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Served(process.stdout.readline().strip())


def measure(case: Case, rounds: int, tell: Callable[[str], None]) -> list[list[Sample]]:
    """Run every entry of a case once in each round.

    :param tell: called with the name of each run.
    :return: the samples of each entry.
    """
    samples: list[list[Sample]] = [[] for _ in case.entries]
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory())
        servers = {each: stack.enter_context(serving(each)) for each in {entry.setting for entry in case.entries}}
        truths = [servers[entry.setting].truth(entry) for entry in case.entries]
        folder = Path(home, "output")
        for number in range(rounds):
            for entry, truth, found in zip(case.entries, truths, samples, strict=True):
                tell(f"round {number + 1} of {rounds}: {entry.label}")
                if not entry.again:
                    if folder.exists():
                        shutil.rmtree(folder)
                    folder.mkdir()
                found.append(_run(entry, servers[entry.setting], truth, str(folder), home))
    return samples


def _run(entry: Entry, server: Served, truth: dict[str, float], folder: str, home: str) -> Sample:
    server.ask("/__reset")
    done = subprocess.run(
        [*command(entry.contender), *entry.arguments(server.url, TOKEN, folder)],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
    )
    stats = server.ask("/__stats")
    if done.returncode:
        words = (done.stderr.strip() or done.stdout.strip() or f"ended with {done.returncode}").splitlines()[-1]
        return Sample({}, stats, {}, f"failed: {words[:200]}")
    told = json.loads(done.stdout.splitlines()[-1])
    versions = told.pop("versions")
    return Sample(told, stats, versions, _fault(entry, told, truth, folder))


def _fault(entry: Entry, told: dict[str, float], truth: dict[str, float], folder: str) -> str:
    """Compare the output of a contender with the records of the server."""
    checked = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.check", folder], capture_output=True, text=True, check=True
    )
    brought = told | json.loads(checked.stdout)
    wrong = [
        f"{brought[name]:,} {name} where there are {truth[name]:,}"
        for name in ("rows", "distinct", "events")
        if name in brought and brought[name] != truth[name]
    ]
    if entry.again and told["written"]:
        wrong.append(f"{told['written']:,} slices were written again though nothing had changed")
    return "; ".join(wrong)
