"""What the page needs is in the package that people install."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[2]


def test_the_wheel_has_every_file_of_the_package(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert b".gap {" in packed["airflow_provider_cloudlock/audit/wall.css"]
    files = [file for file in (ROOT / "airflow_provider_cloudlock").rglob("*") if file.is_file()]
    for file in files:
        if file.suffix not in (".pyc", ".pyo"):
            assert packed[str(file.relative_to(ROOT))] == file.read_bytes()
