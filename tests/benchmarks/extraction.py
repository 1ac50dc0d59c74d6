"""Compare speed and memory of the extraction with those of other tools.

``python -m tests.benchmarks.extraction`` prints a Markdown table for each case. Every run is a process of its own
against a server in another process. A round runs every contender once, one after another; the figures are medians of
the rounds. The records that each run wrote are compared with those of the server. Compare ratios within one table:
machines differ and are noisy.

Wall time, CPU time and peak memory are those of the contender's own process, without the processes that it starts. They
are measured from after the imports: the peak is the highest resident memory minus the resident memory at that moment.
The provider verifies, sorts, hashes and reads back what it writes, and writes receipts; the other contenders do not.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime

from tests.benchmarks.cases import cases
from tests.benchmarks.peers import PEERS, SCRIPTS, prepare
from tests.benchmarks.runs import measure
from tests.benchmarks.tables import table


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _options() -> argparse.Namespace:
    known = list(cases(1, 1))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=_names, default=known, help=f"some of {','.join(known)} (all)")
    parser.add_argument("--contenders", type=_names, default=list(SCRIPTS), help=f"some of {','.join(SCRIPTS)} (all)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each case (%(default)s)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the records of a day (%(default)s)")
    parser.add_argument(
        "--peer-scale",
        type=float,
        default=0.1,
        help="the part of the window that other tools read in ten-days and million (%(default)s)",
    )
    options = parser.parse_args()
    for given, all_of_them in ((options.cases, known), (options.contenders, list(SCRIPTS))):
        if unknown := [name for name in given if name not in all_of_them]:
            parser.error(f"{unknown[0]!r} is not known. Known are: {', '.join(all_of_them)}.")
    if options.rounds < 1 or not 0 < options.scale <= 1 or not 0 < options.peer_scale <= 1:
        parser.error("--rounds must be at least 1; --scale and --peer-scale above 0 and at most 1.")
    return options


def _prepared(contenders: list[str]) -> list[str]:
    """Return the contenders that can run; tell of the others."""
    able = []
    with tempfile.TemporaryDirectory() as home:
        for name in contenders:
            trouble = prepare(name, home) if name in PEERS else None
            if trouble is None:
                able.append(name)
            else:
                print(f"{name} could not be installed: {trouble}\n")
    return able


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> None:
    """Read the options, run the cases, print the tables."""
    options = _options()
    contenders = _prepared(options.contenders)
    versions: dict[str, str] = {}
    for name in options.cases:
        found = cases(options.scale, options.peer_scale)[name]
        case = replace(found, entries=[entry for entry in found.entries if entry.contender in contenders])
        if not case.entries:
            continue
        _tell(f"{name}: {case.title}")
        text, used = table(case, measure(case, options.rounds, _tell))
        versions |= used
        print(f"{text}\n", flush=True)
    named = {"Python": platform.python_version(), **dict(sorted(versions.items()))}
    print(", ".join(f"{name} {number}" for name, number in named.items()))
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, medians of {options.rounds} round(s).")


if __name__ == "__main__":
    main()
