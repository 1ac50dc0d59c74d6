"""Guards: small pieces of code without which the provider would break its promise or leak a secret.

``guards.toml`` lists them. ``python -m tests.guards`` removes one after the other and runs the tests that must fail
then.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

#: The folder of the package, the DAGs and the tests.
TREE = Path(__file__).parents[2]


class GuardError(Exception):
    """The list of guards does not match the code."""


@dataclass(frozen=True)
class Guard:
    """A piece of code that is located by the name of its function and by its syntax, whatever its formatting.

    :param name: name of the guard.
    :param prevents: what happens without it.
    :param function: file and qualified name, such as ``folder/module.py::Class.method``.
    :param code: expression or statement that occurs once in the function; the whole body if empty.
    :param without: code in its place.
    :param tests: tests that must fail without it, as pytest names them.
    """

    name: str
    prevents: str
    function: str
    without: str
    tests: tuple[str, ...]
    code: str = ""

    @property
    def path(self) -> str:
        """File of the guard."""
        return self.function.partition("::")[0]

    def removed(self, source: str) -> str:
        """Return the source code of a file without the guard.

        :raises GuardError: if the guard is not found exactly once.
        """
        module = ast.parse(source)
        function = self._function(module)
        if not self.code:
            function.body = ast.parse(self.without).body
        else:
            replacement = _Replacement(_node(self.code), _node(self.without))
            function.body = [replacement.visit(statement) for statement in function.body]
            if replacement.count != 1:
                raise GuardError(f"{self.name}: {self.function} contains the code {replacement.count} times, not once")
        return ast.unparse(ast.fix_missing_locations(module))

    def _function(self, module: ast.Module) -> ast.FunctionDef:
        found: list[ast.AST] = [module]
        for name in self.function.partition("::")[2].split("."):
            inner = [node for each in found for node in getattr(each, "body", [])]
            found = [node for node in inner if getattr(node, "name", "") == name]
        if len(found) != 1 or not isinstance(found[0], ast.FunctionDef):
            raise GuardError(f"{self.name}: found {len(found)} functions {self.function}")
        return found[0]


class _Replacement(ast.NodeTransformer):
    """Replaces nodes that equal another one, and counts them."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new, self.count = ast.dump(old), new, 0

    def visit(self, node: ast.AST) -> ast.AST:
        if ast.dump(node) != self._old:
            return self.generic_visit(node)
        self.count += 1
        return self._new


def _node(code: str) -> ast.AST:
    (statement,) = ast.parse(code).body
    return statement.value if isinstance(statement, ast.Expr) else statement


def every_guard() -> list[Guard]:
    """Return the guards of the list."""
    with (Path(__file__).parent / "guards.toml").open("rb") as file:
        return [Guard(name, **each | {"tests": tuple(each["tests"])}) for name, each in tomllib.load(file).items()]
