"""Lakes and tenants for the commands."""

from __future__ import annotations

from tests.operators.conftest import _no_waiting, extract, lake

__all__ = ["_no_waiting", "extract", "lake"]
