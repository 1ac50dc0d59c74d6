"""What Airflow and pip see of the package, and which of its packages import which."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import itertools
import json
import re
import runpy
import tomllib
from pathlib import Path

import airflow
import jsonschema
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import airflow_provider_cloudlock
from airflow_provider_cloudlock.hooks.cloudlock import _FIELDS, CloudlockHook
from airflow_provider_cloudlock.provider_info import get_provider_info

PACKAGE = Path(airflow_provider_cloudlock.__file__).parent
OURS = "airflow_provider_cloudlock"
AIRFLOW = Path(airflow.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]
#: Copies of the official constraints of Airflow releases.
CONSTRAINTS = sorted((PACKAGE.parent / ".ci" / "constraints").glob("airflow-*.txt"))


def test_metadata_satisfies_both_schemas_of_airflow() -> None:
    info = get_provider_info()
    jsonschema.validate(info, json.loads((AIRFLOW / "provider_info.schema.json").read_text()))
    strict = json.loads((AIRFLOW / "provider.yaml.schema.json").read_text())
    connection_types = strict["properties"]["connection-types"] | {"$defs": strict.get("$defs", {})}
    jsonschema.validate(info["connection-types"], connection_types | {"definitions": strict.get("definitions", {})})


def test_metadata_names_what_exists() -> None:
    info = get_provider_info()
    distribution = importlib.metadata.distribution("airflow-provider-cloudlock")
    assert info["package-name"] == distribution.name
    (entry_point,) = distribution.entry_points.select(group="apache_airflow_provider")
    assert entry_point.load() is get_provider_info
    modules = [module for kind in ("hooks", "operators") for each in info[kind] for module in each["python-modules"]]
    for module in modules:
        importlib.import_module(module)
    (connection,) = info["connection-types"]
    assert connection["hook-class-name"] == f"{CloudlockHook.__module__}.{CloudlockHook.__qualname__}"
    assert connection["connection-type"] == CloudlockHook.conn_type
    assert tuple(connection["conn-fields"]) == _FIELDS


def test_airflow_finds_the_provider_and_its_form() -> None:
    from airflow.providers_manager import ProvidersManager
    from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime

    hook = ProvidersManagerTaskRuntime().hooks["cloudlock"]
    assert hook is not None
    assert hook.hook_class_name.endswith("CloudlockHook")
    assert {f"extra__cloudlock__{name}" for name in _FIELDS} <= set(ProvidersManager().connection_form_widgets)


def test_package_is_typed_and_licensed() -> None:
    metadata = importlib.metadata.metadata("airflow-provider-cloudlock")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Version"] == airflow_provider_cloudlock.__version__
    assert (PACKAGE / "py.typed").is_file()
    assert {"s3", "gcs", "azure", "duckdb", "iceberg", "postgres"} == set(metadata.get_all("Provides-Extra") or ())


@pytest.mark.parametrize("file", CONSTRAINTS, ids=lambda file: file.stem)
def test_requirements_admit_constraints_of_airflow(file: Path) -> None:
    pins = dict(line.partition(";")[0].split("==") for line in file.read_text().splitlines())
    versions = {canonicalize_name(name): version for name, version in pins.items()}
    lists = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    requirements = [Requirement(each) for each in itertools.chain.from_iterable(lists)]
    checked = {each.name: each for each in requirements if canonicalize_name(each.name) in versions}
    assert {"pyarrow", "urllib3", "pyiceberg", "adbc-driver-postgresql", "aiobotocore"} <= set(checked)
    refused = [each for name, each in checked.items() if versions[canonicalize_name(name)] not in each.specifier]
    assert refused == []


@pytest.mark.parametrize("file", CONSTRAINTS, ids=lambda file: file.stem)
def test_constraints_are_pins_and_name_no_host(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.+!]+(; python_version .*)?", line)] == []


def test_matrix_covers_supported_versions() -> None:
    matrix = runpy.run_path(str(PACKAGE.parent / ".ci" / "matrix.py"))
    assert [f"airflow-{version}" for version in matrix["AIRFLOWS"]] == [file.stem for file in CONSTRAINTS]
    supported = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["classifiers"]))
    assert list(matrix["PYTHONS"]) == supported
    (leg,) = re.findall(r"\.ci/matrix\.py (\S+)", (PACKAGE.parent / ".ci" / "run").read_text())
    assert leg in matrix["legs"]()


def _imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: absolute imports only"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("resources", ("airflow.", "airflow_provider_cloudlock.api", "airflow_provider_cloudlock.lake", "pyarrow")),
        (
            "api",
            ("airflow.", "airflow_provider_cloudlock.lake", "airflow_provider_cloudlock.hooks", "pyarrow", "fsspec"),
        ),
        ("lake", ("airflow.", "airflow_provider_cloudlock.api", "airflow_provider_cloudlock.hooks", "requests")),
        ("hooks", ("airflow_provider_cloudlock.operators", "airflow_provider_cloudlock.lake", "pyarrow")),
        ("sandbox", ("airflow_provider_cloudlock.api", "airflow_provider_cloudlock.lake", "requests")),
    ],
)
def test_package_imports_only_those_below_it(package: str, forbidden: tuple[str, ...]) -> None:
    files = [path for path in (PACKAGE / package).rglob("*.py") if not path.name.startswith("demo")]
    assert files
    for path in files:
        imported = [name for name in _imports(path) if f"{name}.".startswith(forbidden)]
        assert not imported, f"{path.name} imports {imported}"


@pytest.mark.parametrize("name", ["__init__.py", "provider_info.py"])
def test_modules_loaded_at_discovery_import_nothing(name: str) -> None:
    # The package of the commands imports the standard library alone when it is loaded.
    assert _imports(PACKAGE / name) <= {"__future__", "airflow_provider_cloudlock.cli"}


def test_airflow_names_come_from_its_sdk() -> None:
    # The demo starts its own Airflow, and the SDK has no classes for commands.
    exceptions = {PACKAGE / "cli" / "__init__.py", *PACKAGE.rglob("demo*.py")}
    files = sorted({*PACKAGE.rglob("*.py")} - exceptions)
    for path in [*files, *(PACKAGE.parent / "dags").glob("*.py")]:
        for name in _imports(path):
            if name.split(".")[0] == "airflow":
                assert name.startswith(("airflow.sdk", "airflow.providers.")), f"{path.name} imports {name}"


def test_readme_describes_connection_fields() -> None:
    readme = (PACKAGE.parent / "README.md").read_text()
    for name in _FIELDS:
        assert f"`{name}`" in readme


def test_readme_installs_with_constraints_of_airflow() -> None:
    install = (PACKAGE.parent / "README.md").read_text().partition("## Install")[2].partition("| extra")[0]
    assert f"AIRFLOW={CONSTRAINTS[-1].stem.removeprefix('airflow-')} " in install
    assert "constraints-$AIRFLOW/constraints-$PYTHON.txt" in install


def test_changelog_has_entry_for_version() -> None:
    assert f"## {airflow_provider_cloudlock.__version__}" in (PACKAGE.parent / "CHANGELOG.md").read_text()
