"""Tables of samples in Markdown."""

from __future__ import annotations

from collections import Counter
from statistics import median

from tests.benchmarks.cases import Case, Entry
from tests.benchmarks.runs import Sample

_NONE = "-"


class Summary:
    """The medians of an entry.

    :param entry: the entry.
    :param samples: its samples, one per round.
    """

    def __init__(self, entry: Entry, samples: list[Sample]) -> None:
        self.entry = entry
        whole = [sample for sample in samples if sample.figures]
        self.figures = {
            name: median(sample.figures[name] for sample in whole)
            for name in ("rows", "wall", "cpu", "peak_mib")
            if whole
        }
        self.stats = {name: median(sample.stats[name] for sample in samples) for name in samples[0].stats}
        self.most_in_a_second = max(sample.stats["most_in_a_second"] for sample in samples)
        self.overhead = median(sample.figures["wall"] - sample.stats["busy"] for sample in whole) if whole else None
        self.versions = whole[0].versions if whole else {}
        faults = Counter(sample.fault for sample in samples if sample.fault)
        self.faults = [f"{count} of {len(samples)} rounds: {fault}" for fault, count in faults.items()]

    def each(self, name: str) -> float | None:
        """Return a figure per record."""
        return self.figures[name] / self.figures["rows"] if self.figures.get("rows") else None


def table(case: Case, samples: list[list[Sample]]) -> tuple[str, dict[str, str]]:
    """Return a case as a table, with faults below it.

    :return: the text, and the versions of the measured packages.
    """
    summaries = [Summary(entry, found) for entry, found in zip(case.entries, samples, strict=True)]
    rows = [_overhead_line(each) if case.overhead else _line(each, summaries, case) for each in summaries]
    lines = [f"### {case.title}", "", _joined(list(rows[0])), _joined(["---", *["---:"] * (len(rows[0]) - 1)])]
    lines += [_joined(list(row.values())) for row in rows]
    faults = [f"- **{each.entry.label}**, {fault}" for each in summaries for fault in each.faults]
    if faults:
        lines += ["", "Not whole:", "", *faults]
    return "\n".join(lines), {name: number for each in summaries for name, number in each.versions.items()}


def _line(summary: Summary, summaries: list[Summary], case: Case) -> dict[str, str]:
    figures, stats = summary.figures, summary.stats
    wall = summary.each("wall")
    line = {
        "contender": summary.entry.label + (" (!)" if summary.faults else ""),
        "rows": _number(figures.get("rows")),
        "rows/s": _number(1 / wall if wall else None),
        "wall s": _number(figures.get("wall"), 2),
        "CPU s": _number(figures.get("cpu"), 2),
        "CPU a row, floor = 1": _ratio(summary, summaries, "floor", "cpu"),
        "wall a row, provider = 1": _ratio(summary, summaries, "provider", "wall"),
        "peak MiB": _number(figures.get("peak_mib")),
    }
    if case.requests:
        line["requests"] = _number(stats["requests"])
        line["most started in 1 s"] = _number(summary.most_in_a_second)
        line["most at once"] = _number(stats["most_at_once"])
    return line


def _overhead_line(summary: Summary) -> dict[str, str]:
    wall = summary.figures.get("wall")
    return {
        "contender": summary.entry.label + (" (!)" if summary.faults else ""),
        "requests": _number(summary.stats["requests"]),
        "wall ms": _number(None if wall is None else wall * 1_000),
        "of that answering, ms": _number(summary.stats["busy"] * 1_000),
        "beside that, ms": _number(None if summary.overhead is None else summary.overhead * 1_000),
        "peak MiB": _number(summary.figures.get("peak_mib")),
    }


def _ratio(summary: Summary, summaries: list[Summary], contender: str, name: str) -> str:
    """Compare with the first entry of a contender that read the same server."""
    for base in summaries:
        if base.entry.contender == contender and base.entry.setting == summary.entry.setting:
            mine, its = summary.each(name), base.each(name)
            return _number(mine / its if mine is not None and its else None, 2)
    return _NONE


def _number(value: float | None, digits: int = 0) -> str:
    return _NONE if value is None else f"{value:,.{digits}f}"


def _joined(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"
