"""What a green task has published is on the disk."""

from __future__ import annotations

import os

import pytest

from tests.operators.conftest import Extract
from tests.operators.lake import DAY, OBJECT, RECEIPT, Lake
from tests.support import Tenant, day_of_records


def test_every_file_and_its_folder_are_told_to_the_disk(
    extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = set()
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        fsync(descriptor)
        told.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", noted)
    with Tenant(day_of_records(DAY, 10)) as tenant:
        extract(tenant)
    for path in (lake.path(OBJECT), lake.path(RECEIPT)):
        assert {path.stat().st_ino, path.parent.stat().st_ino} <= told
