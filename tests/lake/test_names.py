"""What only begins or ends like one of our names is not ours."""

from __future__ import annotations

import pytest

from airflow_provider_cloudlock.lake.slices import Slice

NAME = "20260102T000000Z--20260103T000000Z.parquet"


@pytest.mark.parametrize("name", [f"{NAME}.bak", f"{NAME}.crc", f"{NAME}\n", f"{NAME}/", f"a{NAME}", f"{NAME}{NAME}"])
def test_names_are_ours_as_a_whole_or_not_at_all(name: str) -> None:
    assert Slice.named(NAME) is not None
    assert Slice.named(name) is None
