"""Remove each guard in turn, and report the tests that fail without it: ``python -m tests.guards``.

It works on copies of the tree, and exits with 1 if the tests of a guard pass without it.
"""

from __future__ import annotations

import argparse
import ast
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.guards import TREE, Guard, every_guard

_COPIED = ("airflow_provider_cloudlock", "dags", "tests", "pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE")
#: Loading only these plugins takes a third of the time of loading all.
_PYTEST = (
    *(sys.executable, "-m", "pytest", "-q", "-o", "addopts=", "--timeout=60", "--timeout-method=thread"),
    *("-p", "pytest_timeout", "-p", "xdist.plugin", "-p", "no:cacheprovider"),
)
#: Exit statuses of pytest.
_PASSED, _FAILED = 0, 1


def main() -> int:
    """Check the guards, and return the exit status."""
    guards = every_guard()
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=[guard.name for guard in guards])
    parser.add_argument("--list", action="store_true", help="list the guards and what they prevent")
    parser.add_argument("-j", type=int, default=1, metavar="N", help="number of guards checked concurrently")
    options = parser.parse_args()
    guards = [guard for guard in guards if not options.only or guard.name in options.only]
    if options.list:
        for guard in guards:
            print(f"{guard.name:28} {guard.prevents}")
        return 0
    with TemporaryDirectory(prefix="guards-") as folder:
        snapshot = _copy(TREE, Path(folder) / "snapshot")
        for path in {guard.path for guard in guards}:  # a removal loses the formatting of the file as well
            _write(snapshot / path, ast.unparse(ast.parse((snapshot / path).read_text(encoding="utf-8"))))
        tests = sorted({test for guard in guards for test in guard.tests})
        if _run(snapshot, [*tests, "-n", str(options.j)], stdout=None) != _PASSED:
            print("The tests fail with all guards in place.")
            return 1
        with ThreadPoolExecutor(options.j) as pool:
            found = pool.map(lambda guard: _check(guard, snapshot), guards)
            return max([_report(guard, passed) for guard, passed in zip(guards, found, strict=True)])


def _check(guard: Guard, snapshot: Path) -> list[str]:
    """Remove a guard, and return those of its tests that do not fail."""
    with TemporaryDirectory(dir=snapshot.parent) as folder:
        tree = _copy(snapshot, Path(folder) / "tree")
        _write(tree / guard.path, guard.removed((snapshot / guard.path).read_text(encoding="utf-8")))
        return [test for test in guard.tests if _run(tree, ["-x", test]) != _FAILED]


def _report(guard: Guard, passed: Sequence[str]) -> int:
    """Print the result for a guard, and return 1 if a test did not fail."""
    verdict = "NOT CAUGHT by" if passed else "caught by"
    print(f"{guard.name}: {verdict} {', '.join(passed or guard.tests)}", flush=True)
    return 1 if passed else 0


def _run(tree: Path, options: Sequence[str], stdout: int | None = subprocess.DEVNULL) -> int:
    """Run pytest in a tree, and return its exit status."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHONPATH"))}
    with TemporaryDirectory(dir=tree.parent) as scratch:
        variables = {"PYTHONPATH": str(tree), "TMPDIR": scratch, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        process = subprocess.Popen(
            [*_PYTEST, *options], cwd=tree, env=rest | variables, stdout=stdout, stderr=stdout, start_new_session=True
        )
        try:
            return process.wait()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # servers of a run that timed out


def _copy(source: Path, target: Path) -> Path:
    target.mkdir()
    for name in _COPIED:
        copy = shutil.copytree if (source / name).is_dir() else shutil.copy2
        copy(source / name, target / name)
    return target.resolve()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    shutil.rmtree(path.parent / "__pycache__", ignore_errors=True)  # bytecode of the same second counts as current


if __name__ == "__main__":
    sys.exit(main())
