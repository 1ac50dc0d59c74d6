"""Switches every guard of the product off in turn, and shows the test that misses it: ``python -m tests.guards``.

It works on copies of the tree, ends with 1 when no test misses a guard, or the list speaks of what is there no more,
and takes some minutes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tests.guards import PACKAGE, TREE, Guard, every_guard

#: What the tests need of the tree.
_NEEDED = (PACKAGE, "tests", "dags", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")
#: Asked when the tests that a guard names do not miss it.
_SUITE = ("api", "hooks", "lake", "operators", "test_instants.py", "test_strict_json.py", "test_threads.py")

#: Takes the clock that limits the tests themselves for one of the product's.
_MISLED = "tests/api/test_client.py::test_no_clock_runs_on_after_a_call"

#: Seconds that one test may take, and all of a run.
_TEST_LIMIT = 20
_RUN_LIMIT = 400

_FAILED = re.compile(r"^(?:FAILED|ERROR) tests/(\S+?(?:::\w+)+)", re.MULTILINE)
_BEGUN = re.compile(r"^tests/(\S+?(?:::\w+)+)", re.MULTILINE)
_PASSED, _FAILURES = 0, 1


class BrokenError(Exception):
    """The tests could not be run, so that they tell nothing."""


@dataclass(frozen=True)
class Found:
    """What became of one guard.

    :param by: the test that missed it, empty when none did.
    :param note: what else there is to say.
    :param seconds: that it took to find out.
    """

    guard: Guard
    by: str
    note: str
    seconds: float


def main() -> int:
    """Look at the guards, and return the exit status."""
    guards = every_guard()
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[each.name for each in guards])
    parser.add_argument("--list", action="store_true", help="show the guards and what they protect from")
    parser.add_argument("-j", type=int, default=1, metavar="N", help="so many at once")
    options = parser.parse_args()
    guards = [each for each in guards if not options.only or each.name in options.only]
    if options.list:
        for each in guards:
            print(f"{each.name:24} {each.file:24} {each.against}")
        return 0
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        snapshot = _copied(TREE, Path(folder) / "snapshot")  # the tree may change while they are looked at
        rotten = [fault for each in guards if (fault := each.fault(snapshot))]
        if rotten:
            print("\n".join(rotten))
            return 1
        try:
            _check_imports(snapshot)
        except BrokenError as error:
            print(error)
            return 1
        return _report(guards, snapshot, options.j)


def _report(guards: Sequence[Guard], snapshot: Path, at_once: int) -> int:
    """Switch the guards off, and print what was found."""
    print(f"{'guard':24} {'protects from':62}   s  caught by")
    uncaught = []
    with ThreadPoolExecutor(at_once) as pool:
        for found in pool.map(partial(_look, snapshot=snapshot), guards):
            by = (found.by.replace("::", " ") or "NOTHING") + found.note
            print(f"{found.guard.name:24} {found.guard.against:62} {found.seconds:3.0f}  {by}", flush=True)
            if not found.by:
                uncaught.append(found.guard.name)
    print(f"{len(guards) - len(uncaught)} of {len(guards)} guards are caught.", *uncaught)
    return 1 if uncaught else 0


def _look(guard: Guard, snapshot: Path) -> Found:
    """Switch one guard off, and look which test misses it."""
    start = time.monotonic()
    note = ""
    try:
        with tempfile.TemporaryDirectory(prefix="guard-", dir=snapshot.parent) as folder:
            tree = _copied(snapshot, Path(folder) / "tree")
            path = guard.path(tree)
            path.write_text(guard.switched_off(tree), encoding="utf-8")
            shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)  # it may be too young to be seen as stale
            by = _missed_by(tree, guard.tests)
            if not by:
                by = _missed_by(tree, _SUITE)
                note = " (not named)" if by else ""
            if by and not _passes(snapshot, by.split(" ", 1)[0]):
                raise BrokenError(f"{by} fails with the guard too")
    except BrokenError as error:
        by, note = "", f" ({error})"
    return Found(guard, by, note, time.monotonic() - start)


@cache
def _passes(tree: Path, test: str) -> bool:
    """Whether a test passes where nothing is switched off."""
    return not _missed_by(tree, [test])


def _missed_by(tree: Path, tests: Sequence[str]) -> str:
    """Run tests; tell the first one that fails, empty when all pass.

    :raises BrokenError: when they cannot be run.
    """
    if not tests:
        return ""
    options = [
        "-o",
        "addopts=",
        "-x",
        "-vv",
        "--tb=no",
        "-rfE",
        "--color=no",
        f"--timeout={_TEST_LIMIT}",
        "--timeout-method=thread",
    ]
    plugins = ["-p", "pytest_timeout", "-p", "no:cacheprovider", "--deselect", _MISLED]
    with tempfile.TemporaryDirectory(dir=tree.parent) as scratch, tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *plugins, *options, *(f"tests/{test}" for test in tests)],
            cwd=tree,
            env=_environment(tree) | {"TMPDIR": scratch},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(_RUN_LIMIT)
        except subprocess.TimeoutExpired:
            return "a run without end"
        finally:
            _end(process)
        output.seek(0)
        said = output.read()
    if status == _PASSED:
        return ""
    if status == _FAILURES and (failed := _FAILED.search(said)):
        return failed[1]
    begun = _BEGUN.findall(said)
    if begun and status == _FAILURES and "+ Timeout +" in said:
        return f"{begun[-1]} without end"
    if begun and status < 0:
        return f"{begun[-1]} by a crash"
    raise BrokenError("pytest ends with {}: {}".format(status, " ".join(said.split())[-300:]))


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a run with all that it started and did not end."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()


def _check_imports(tree: Path) -> None:
    """Look whether a run in a copy imports the copy, not what is installed.

    :raises BrokenError: when it does not.
    """
    code = f"import {PACKAGE}, tests; print({PACKAGE}.__file__); print(tests.__file__)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=_environment(tree), capture_output=True, text=True, check=True
    ).stdout
    if not all(Path(each).is_relative_to(tree) for each in said.split("\n") if each):
        raise BrokenError(f"A run in {tree} imports {said.split()}.")


def _environment(tree: Path) -> dict[str, str]:
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    return rest | {"PYTHONPATH": str(tree), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # to load them all takes long


def _copied(source: Path, target: Path) -> Path:
    target.mkdir()
    for name in _NEEDED:
        path = source / name
        if path.is_dir():
            shutil.copytree(path, target / name)
        else:
            shutil.copy2(path, target / name)
    return target.resolve()


if __name__ == "__main__":
    sys.exit(main())
