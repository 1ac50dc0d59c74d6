"""Import cost: Airflow parses DAG files again and again, so importing the operator must load little."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = (
    "airflow_provider_cloudlock",
    "airflow_provider_cloudlock.provider_info",
    "airflow_provider_cloudlock.hooks.cloudlock",
    "airflow_provider_cloudlock.operators.cloudlock",
)
HEAVY = ("pyarrow", "requests", "urllib3", "s3fs", "numpy", "pandas")
REPORT = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
if sys.argv[1].endswith("operators.cloudlock"):
    sys.modules[sys.argv[1]].CloudlockToObjectStorageOperator(task_id="extract", destination="s3://lake@bucket/x")
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Modules that a new process has loaded after importing one of ours; deprecation warnings are errors there."""
    running = {
        name: subprocess.Popen(
            [sys.executable, "-W", "error::DeprecationWarning", "-W", "error::FutureWarning", "-c", REPORT, name],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"AIRFLOW__CORE__UNIT_TEST_MODE": "False"},
        )
        for name in MODULES
    }
    done = {name: process.communicate() for name, process in running.items()}
    assert {name: errors for name, (_, errors) in done.items() if running[name].returncode} == {}
    return {name: set(json.loads(output.splitlines()[-1])) for name, (output, _) in done.items()}


@pytest.mark.parametrize("name", MODULES)
def test_import_loads_no_heavy_module(loaded: dict[str, set[str]], name: str) -> None:
    assert name in loaded[name]
    assert loaded[name].intersection(HEAVY) == set()


@pytest.mark.parametrize("name", MODULES[:2])
def test_import_of_package_loads_nothing(loaded: dict[str, set[str]], name: str) -> None:
    assert not [module for module in loaded[name] if module.split(".")[0] in ("airflow", "tenacity", "fsspec")]
    assert {module for module in loaded[name] if module.startswith(MODULES[0])} == {MODULES[0], name}


def test_import_of_operator_loads_no_lake_and_no_client(loaded: dict[str, set[str]]) -> None:
    ours = {module.removeprefix(f"{MODULES[0]}.") for module in loaded[MODULES[3]] if module.startswith(MODULES[0])}
    assert "resources.threats" in ours
    assert not {module for module in ours if module.startswith(("lake", "cli.", "sandbox", "api.pagination"))}
    assert ours.isdisjoint({"api.client", "api.endpoint", "operators.extraction", "operators.lineage"})
