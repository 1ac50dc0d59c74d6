"""What every test needs: an Airflow home of its own, before Airflow is imported."""

from __future__ import annotations

import os
import tempfile

import pytest

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="cloudlock-tests-")
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"
for name in [name for name in os.environ if name.upper().endswith("_PROXY")]:
    del os.environ[name]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what is slow last; but begin first with what mostly waits, so that the rest fills its pauses."""

    def turn(item: pytest.Item) -> int:
        return -1 if item.get_closest_marker("waits") else item.get_closest_marker("slow") is not None

    items.sort(key=turn)
