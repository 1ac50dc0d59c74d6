"""The list of guards matches the code and the tests."""

from __future__ import annotations

import ast

import pytest

from tests.guards import TREE, Guard, GuardError, every_guard

SOURCE = """
class One:
    def method(self, value):
        if (value   is None):  # explained
            return 0
        return value + value
"""


def functions_of(path: str) -> set[str]:
    """Return the names of all functions of a file, those of classes included."""
    tree = ast.parse((TREE / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("guard", every_guard(), ids=lambda guard: guard.name)
def test_guard_is_found_once_and_its_tests_exist(guard: Guard) -> None:
    assert guard.removed((TREE / guard.path).read_text(encoding="utf-8"))
    assert guard.tests
    for test in guard.tests:
        path, *scopes, name = test.split("::")
        # The methods of a class may be inherited from a class in another file of the folder.
        files = (TREE / path).parent.glob("*.py") if scopes else [TREE / path]
        assert any(name.partition("[")[0] in functions_of(str(file.relative_to(TREE))) for file in files), test


@pytest.mark.parametrize(
    ("function", "code", "without", "expected"),
    [
        ("One.method", "value is None", "False", "if False:"),
        ("One.method", "return value + value", "pass", "pass"),
        ("One.method", "", "return None", "return None"),
    ],
)
def test_removed_ignores_formatting(function: str, code: str, without: str, expected: str) -> None:
    assert expected in Guard("x", "", f"a.py::{function}", without, (), code).removed(SOURCE)


@pytest.mark.parametrize(
    ("function", "code", "says"),
    [
        ("One.method", "value", "contains the code 3 times"),
        ("One.method", "other", "contains the code 0 times"),
        ("One.other", "", "found 0 functions"),
        ("One", "", "found 1 functions"),
    ],
)
def test_removed_without_one_match_raises(function: str, code: str, says: str) -> None:
    with pytest.raises(GuardError, match=says):
        Guard("x", "", f"a.py::{function}", "pass", (), code).removed(SOURCE)
