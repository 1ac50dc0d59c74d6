"""What the demo shows of the lake and the warehouse."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

#: Fields of a receipt that matter most to a first reader.
RECEIPT = ("window", "rows", "proof", "range", "pages", "requests", "reported_total", "sha256", "extracted_at")


class Warehouse:
    """The DuckDB file, read while no run writes it.

    :param file: the database file
    """

    def __init__(self, file: Path) -> None:
        self.file = file

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        import duckdb

        with closing(duckdb.connect(str(self.file), read_only=True)) as connection:
            return connection.execute(query, list(values)).fetchall()

    def status(self, anomaly_id: int) -> str:
        """Return the status of an anomaly, and why it was dismissed."""
        found = self._rows(
            "select concat_ws(', ', status, dismiss_reason) from cloudlock_threats where id = ?", str(anomaly_id)
        )
        return " and ".join(status for (status,) in found) or "missing"

    def anomalies(self) -> list[tuple[Any, ...]]:
        """Return the id, status and reason of dismissal of every anomaly."""
        return self._rows("select id, status, dismiss_reason from cloudlock_threats")

    def risks(self, first: date, last: date) -> list[str]:
        """Return a table of the anomalies by UTC day and risk."""
        query = """
            select strftime(timezone('UTC', created_at), '%Y-%m-%d'), threat_risk, count(*),
                count(*) filter (where status = 'DISMISSED')
            from cloudlock_threats group by all
        """
        counts: Counter[tuple[str, str]] = Counter()
        for day, risk, total, dismissed in self._rows(query):
            if str(first) <= day <= str(last):
                counts.update({(day, risk): total, (day, "All"): total, (day, "of these dismissed"): dismissed})
        days = sorted({day for day, _ in counts})
        risks = [*sorted({risk for _, risk in counts} - {"All", "of these dismissed"}), "All", "of these dismissed"]
        return table(["Day", *risks], [[day, *(str(counts[day, risk]) for risk in risks)] for day in days])


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """Lay out a table; the words of the header may stand in two lines."""
    split = [words.rpartition(" ") for words in header]
    head = [[first for first, _, _ in split], [last for _, _, last in split]]
    widths = [max(map(len, column)) for column in zip(*head, *rows, strict=True)]
    return [
        "  " + "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in (*head, ["-" * width for width in widths], *rows)
    ]


def lake_tree(lake: Path) -> list[str]:
    """Draw the files of a lake, with the days in the middle left out."""
    lines = [f"  {lake}"]
    for noun, pattern, mark in (
        ("Parquet objects", "threats/created_date=*/*.parquet", "├──"),
        ("receipts", "_receipts/threats/*.json", "└──"),
    ):
        files = sorted(lake.glob(pattern))
        shown = (f"{file.relative_to(lake)!s:<75}{file.stat().st_size / 1000:6.1f} kB" for file in files)
        first, *between, last = shown
        lines += [f"  ├── {first}", f"  ├── ... {len(between)} more {noun}", f"  {mark} {last}"]
    return lines


def receipts(lake: Path) -> list[str]:
    """Return a table of all receipts, one per line."""
    found = [json.loads(file.read_text(encoding="utf-8")) for file in sorted(lake.glob("_receipts/threats/*.json"))]
    counts = ("rows", "proof", "pages", "requests", "vanished_kept")
    header = ["Day", "Rows", "Proof", "Pages of range", "Requests of range", "Vanished kept", "Last extracted"]
    return table(
        header,
        [[each["window"][0][:10], *(str(each[name]) for name in counts), each["extracted_at"]] for each in found],
    )


def receipt_lines(lake: Path, part: dict[str, Any]) -> list[str]:
    """Return the fields of a slice's receipt that matter most to a first reader."""
    file = lake / "_receipts" / "threats" / f"{part['window'][0][:10]}.json"
    receipt = json.loads(file.read_text(encoding="utf-8"))
    return [f"  {name:<16}{receipt[name]}" for name in RECEIPT]
