"""Verdicts on the output of tools, and the table of them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one tool with one fault.

    :param ended: ``green`` is exit code 0, whatever the output.
    :param missing: records that existed throughout and are not in the output.
    :param doubled: ids that are in the output more than once.
    :param invented: ids that never existed.
    :param leaked: whether the token is in logs or files, or was sent to another host.
    :param why: last line of its error output, if it failed.
    :param requests: number of requests.
    :param versions: versions of its packages; empty if it failed.
    """

    ended: Literal["green", "failed", "hung"]
    missing: int = 0
    doubled: int = 0
    invented: int = 0
    leaked: bool = False
    why: str = ""
    requests: int = 0
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def silent_loss(self) -> bool:
        """Whether it succeeded with records missing."""
        return self.ended == "green" and self.missing > 0

    def __str__(self) -> str:
        """Return the text for the table."""
        if self.ended == "green":
            counts = {"missing": self.missing, "doubled": self.doubled, "invented": self.invented}
            wrong = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
            text = f"**GREEN, {wrong}**" if self.missing else f"green, {wrong}" if wrong else "whole"
        else:
            text = self.ended
        return f"{text}, **leaked token**" if self.leaked else text


def compare(got: Iterable[str], steady: Iterable[str], ever: Iterable[str]) -> dict[str, int]:
    """Compare the ids of an output with those of the server.

    :param got: ids of the output, with repetitions.
    :param steady: ids that existed throughout.
    :param ever: ids that existed at any time.
    """
    counts = Counter(got)
    return {
        "missing": len(set(steady) - counts.keys()),
        "doubled": sum(count > 1 for count in counts.values()),
        "invented": len(counts.keys() - set(ever)),
    }


def ids_in(folder: Path) -> list[str]:
    """Return the ids of all records in the Parquet or the Singer messages below a folder, with repetitions."""
    found: list[object] = []
    for path in sorted(folder.rglob("*.parquet")):
        with pq.ParquetFile(path) as file:
            if {"id", "event_count"} <= set(file.schema_arrow.names):  # dlt's tables of lists have neither
                found += file.read(columns=["id"])["id"].to_pylist()
    for path in sorted(folder.rglob("messages.jsonl")):
        messages = map(json.loads, path.read_text().splitlines())
        found += [message["record"]["id"] for message in messages if message["type"] == "RECORD"]
    return [str(each) for each in found]


def table(titles: dict[str, str], labels: dict[str, str], verdicts: dict[tuple[str, str], Verdict]) -> str:
    """Return the table in Markdown.

    :param titles: titles of the faults by name.
    :param labels: labels of the tools by name.
    :param verdicts: verdicts by the names of tool and fault.
    """
    rows = [["fault", *labels.values()], ["---"] * (len(labels) + 1)]
    rows += [[title, *(str(verdicts[tool, name]) for tool in labels)] for name, title in titles.items()]
    rows.append(["**green with records missing**", *(f"**{losses(verdicts, tool)}**" for tool in labels)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def losses(verdicts: dict[tuple[str, str], Verdict], tool: str) -> int:
    """Count the silent losses of a tool."""
    return sum(verdict.silent_loss for (name, _), verdict in verdicts.items() if name == tool)
