"""Verdicts of the comparison."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.benchmarks.loss_verdict import Verdict, compare, ids_in, losses, table

WHOLE = {"missing": 0, "doubled": 0, "invented": 0}


@pytest.mark.parametrize(
    ("got", "wrong"),
    [
        ("abc", {}),
        ("cba", {}),
        ("abcd", {}),
        ("ab", {"missing": 1}),
        ("", {"missing": 3}),
        ("abccc", {"doubled": 1}),
        ("aabb", {"missing": 1, "doubled": 2}),
        ("abcx", {"invented": 1}),
    ],
)
def test_compare_counts_missing_doubled_and_invented_ids(got: str, wrong: dict[str, int]) -> None:
    assert compare(got, steady="abc", ever="abcd") == WHOLE | wrong


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (Verdict("green"), "whole"),
        (Verdict("green", missing=1_500), "**GREEN, 1,500 missing**"),
        (Verdict("green", missing=2, doubled=1), "**GREEN, 2 missing, 1 doubled**"),
        (Verdict("green", doubled=10), "green, 10 doubled"),
        (Verdict("green", invented=1), "green, 1 invented"),
        (Verdict("failed", missing=5), "failed"),
        (Verdict("failed", leaked=True), "failed, **leaked token**"),
        (Verdict("green", leaked=True), "whole, **leaked token**"),
        (Verdict("hung"), "hung"),
    ],
)
def test_verdict_text_names_what_is_wrong(verdict: Verdict, text: str) -> None:
    assert str(verdict) == text


def test_table_counts_silent_losses() -> None:
    verdicts = {
        ("one", "cut"): Verdict("green", missing=3),
        ("one", "again"): Verdict("green", doubled=3),
        ("two", "cut"): Verdict("failed", missing=3),
        ("two", "again"): Verdict("hung"),
    }
    assert [losses(verdicts, tool) for tool in ("one", "two")] == [1, 0]
    assert table({"cut": "a cut", "again": "twice"}, {"one": "One 1.0", "two": "Two"}, verdicts).splitlines() == [
        "| fault | One 1.0 | Two |",
        "| --- | --- | --- |",
        "| a cut | **GREEN, 3 missing** | failed |",
        "| twice | green, 3 doubled | hung |",
        "| **green with records missing** | **1** | **0** |",
    ]


def test_ids_in_reads_parquet_and_singer_messages(tmp_path: Path) -> None:
    def write(name: str, rows: list[dict[str, Any]]) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows), path)

    write("a/one.parquet", [{"id": 1, "event_count": 3}, {"id": 2, "event_count": 1}])
    write("b/two.parquet", [{"id": "2", "event_count": 1}])
    write("b/lists.parquet", [{"value": "office365"}])
    messages = [{"type": "SCHEMA"}, {"type": "RECORD", "record": {"id": 7}}, {"type": "STATE"}]
    (tmp_path / "messages.jsonl").write_text("\n".join(map(json.dumps, messages)))
    (tmp_path / "other.jsonl").write_text("{}")
    assert ids_in(tmp_path) == ["1", "2", "2", "7"]
