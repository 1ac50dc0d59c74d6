"""The guards of the product, and what is left of a file when one of them is switched off.

A guard is a few characters of the product without which it would break its promise, or give its secrets away, and
all else would go on as before. ``guards.toml`` names them all; ``python -m tests.guards`` shows that tests miss each.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

#: The folder that holds the package and its tests.
TREE = Path(__file__).parents[2]
PACKAGE = "airflow_provider_cloudlock"


class RottenError(Exception):
    """The list speaks of what is there no more."""


@dataclass(frozen=True)
class Guard:
    """One guard.

    :param name: what it is called.
    :param against: what it protects from.
    :param file: where it is, below the package, or in ``dags``.
    :param old: its text, which the file holds once.
    :param new: the text instead of it.
    :param tests: those that should miss it, below ``tests``, as pytest names them.
    """

    name: str
    against: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def path(self, tree: Path) -> Path:
        """Where it is in a tree."""
        return tree / self.file if self.file.startswith("dags/") else tree / PACKAGE / self.file

    def switched_off(self, tree: Path) -> str:
        """Return the file without the guard.

        :raises RottenError: when the guard is not found there, or what is left is no Python.
        """
        path = self.path(tree)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        found = text.count(self.old)
        if found != 1:
            raise RottenError(f"{self.name}: its text is found {found} times in {self.file} instead of once")
        changed = text.replace(self.old, self.new)
        try:
            before, after = ast.parse(text), ast.parse(changed)
        except SyntaxError as error:
            raise RottenError(f"{self.name}: {self.file} is no Python without it ({error})") from None
        if ast.dump(before) == ast.dump(after):
            raise RottenError(f"{self.name}: {self.file} is the same without it")
        return changed

    def fault(self, tree: Path) -> str | None:
        """Tell what is wrong with what the list says, None when all of it is there."""
        try:
            self.switched_off(tree)
        except RottenError as error:
            return str(error)
        for test in self.tests:
            name, _, function = test.partition("::")
            path = tree / "tests" / name
            if not path.exists() or (function and f"\ndef {function}(" not in path.read_text(encoding="utf-8")):
                return f"{self.name}: there is no {test}"
        return None


def every_guard() -> list[Guard]:
    """Read the list."""
    with (Path(__file__).parent / "guards.toml").open("rb") as file:
        return [Guard(name, **each | {"tests": tuple(each["tests"])}) for name, each in tomllib.load(file).items()]
