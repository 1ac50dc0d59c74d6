#!/usr/bin/env -S uv run
# /// script
# requires-python = ">=3.11"
# ///
"""
Run the fast tests with each supported Airflow and Python, and with the lowest and the newest dependencies.

    uv run .ci/matrix.py                              # all legs
    uv run .ci/matrix.py newest-python-3.14           # one leg
    uv run .ci/matrix.py lowest-python-3.11 -- tests/api -k 429

A leg that cannot be installed or whose tests fail is named at the end, and the exit status is 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
#: Airflow releases with the pins of their official constraints. The pins are those for Python 3.12; those for other
#: Pythons differ in few packages.
AIRFLOWS = ("3.2.1", "3.3.1")
#: Tests that are skipped are listed with their reasons.
FAST = ("-rs", "-m", "not slow and not waits")


def legs() -> dict[str, tuple[str, list[str]]]:
    """Return for each leg its Python and what is installed beside the package."""
    found = {
        f"airflow-{airflow}-python-{python}": (
            python,
            ["--constraints", f".ci/constraints/airflow-{airflow}.txt", f"apache-airflow=={airflow}"],
        )
        for airflow in AIRFLOWS
        for python in PYTHONS
    }
    # The lowest versions have no wheels for later Pythons.
    found["lowest-python-3.11"] = ("3.11", ["--resolution", "lowest-direct"])
    return found | {f"newest-python-{python}": (python, []) for python in PYTHONS}


def run(folder: Path, python: str, packages: list[str], pytest: list[str]) -> None:
    """
    Install and test one leg.

    :param folder: an empty folder for its virtual environment.
    :param python: version of Python.
    :param packages: arguments of ``uv pip install`` beside the package and what its tests need.
    :param pytest: arguments of pytest.
    :raises subprocess.CalledProcessError: if a command fails.
    """
    # Without --no-config, uv would apply the pins of pyproject.toml.
    install = ["uv", "pip", "install", "--quiet", "--no-config", "--compile-bytecode", "--editable", "."]
    for command in (
        ["uv", "venv", "--quiet", "--no-config", "--no-project", "--clear", "--python", python, str(folder)],
        [*install, "--group", "dev", *packages],
        [f"{folder}/bin/python", "-m", "pytest", *FAST, *pytest],
    ):
        path = f"{folder}/bin{os.pathsep}{os.environ['PATH']}"
        subprocess.run(command, cwd=ROOT, env=os.environ | {"PATH": path, "VIRTUAL_ENV": str(folder)}, check=True)


def main(arguments: list[str]) -> int:
    """Run the named legs, all if none is named; return the exit status."""
    known = legs()
    end = arguments.index("--") if "--" in arguments else len(arguments)
    names, pytest = arguments[:end] or list(known), arguments[end + 1 :]
    if unknown := [name for name in names if name not in known]:
        print(f"No such leg: {', '.join(unknown)}. Legs: {', '.join(known)}", file=sys.stderr)
        return 2
    results = {}
    for name in names:
        print(f"\n=== {name}", flush=True)
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
            try:
                run(Path(folder), *known[name], pytest)
            except (subprocess.CalledProcessError, OSError) as error:
                results[name] = f"FAILED: {error}"
            else:
                results[name] = "passed"
        results[name] += f" ({time.monotonic() - began:.0f} s)"
    print()
    for name, result in results.items():
        print(f"{name}: {result}")
    return int(any("FAILED" in result for result in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
