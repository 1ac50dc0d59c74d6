"""The settings that keep a worker small, and how to opt out of them."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from airflow_provider_cloudlock.lake import memory


@pytest.mark.parametrize("variable", [None, "MALLOC_ARENA_MAX", "ARROW_DEFAULT_MEMORY_POOL"])
def test_allocators_are_limited_unless_configured(monkeypatch: pytest.MonkeyPatch, variable: str | None) -> None:
    calls: list[tuple[int, int]] = []
    libc = SimpleNamespace(mallopt=lambda *arguments: calls.append(arguments))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: libc)
    for name in ("MALLOC_ARENA_MAX", "ARROW_DEFAULT_MEMORY_POOL"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, "4")
    memory.limit_malloc_arenas()
    assert calls == ([] if variable == "MALLOC_ARENA_MAX" else [(-8, 1)])
    assert os.environ["ARROW_DEFAULT_MEMORY_POOL"] == ("4" if variable == "ARROW_DEFAULT_MEMORY_POOL" else "system")


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda _: SimpleNamespace())
    monkeypatch.delenv("MALLOC_ARENA_MAX", raising=False)
    memory.limit_malloc_arenas()
