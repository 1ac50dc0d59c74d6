"""Compare which tools succeed with records missing.

``python -m tests.benchmarks.silent_loss`` runs this provider and other tools against servers with the same faults, and
prints a Markdown table. Every run is a process of its own, with a server of its own, which knows the records that
existed throughout. The output of a tool is compared with them by id:

- ``whole``: exit code 0, and every record once.
- ``failed``: another exit code.
- ``GREEN, n missing``: exit code 0, and n records that existed throughout are not in the output.
- ``green, n doubled``: exit code 0, and n ids are in the output more than once.
- ``hung``: it did not end within the time limit.
- ``leaked token``: the token is in its logs or files, or was sent to another host.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from tests.benchmarks.loss_faults import Trouble, troubles
from tests.benchmarks.loss_runs import TOOLS, run
from tests.benchmarks.loss_verdict import Verdict, losses, table
from tests.benchmarks.peers import PEERS, prepare


def _options() -> argparse.Namespace:
    faults = list(troubles())
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(TOOLS), choices=TOOLS, help="tools (all)")
    parser.add_argument("--faults", nargs="+", default=faults, choices=faults, metavar="FAULT", help=", ".join(faults))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="concurrent runs (%(default)s)")
    return parser.parse_args()


def _able(names: list[str]) -> list[str]:
    """Create the environments of the tools, and return the tools that can run."""
    able = []
    with tempfile.TemporaryDirectory() as home:
        for name in names:
            contender = TOOLS[name].contender
            if contender in PEERS and (trouble := prepare(contender, home)):
                print(f"{name} could not be installed: {trouble}\n")
            else:
                able.append(name)
    return able


def _judge(tool: str, name: str, trouble: Trouble) -> Verdict:
    verdict = run(TOOLS[tool], trouble)
    words = f"{tool}, {name}: {verdict}; {verdict.requests} requests. {verdict.why[:160]}"
    print(words.strip(), file=sys.stderr, flush=True)
    return verdict


def _label(tool: str, verdicts: dict[tuple[str, str], Verdict]) -> str:
    versions = {
        key: each for (name, _), found in verdicts.items() if name == tool for key, each in found.versions.items()
    }
    return f"{TOOLS[tool].label} {versions.get(TOOLS[tool].package, '')}".strip()


def main() -> None:
    """Run everything, print the table and the sums."""
    options = _options()
    tools = _able(options.only)
    chosen = {name: trouble for name, trouble in troubles().items() if name in options.faults}
    with ThreadPoolExecutor(options.jobs) as pool:
        running = {
            (tool, name): pool.submit(_judge, tool, name, trouble) for name, trouble in chosen.items() for tool in tools
        }
        verdicts = {key: future.result() for key, future in running.items()}
    labels = {tool: _label(tool, verdicts) for tool in tools}
    print(table({name: trouble.title for name, trouble in chosen.items()}, labels, verdicts))
    print(f"\nPython {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}.\n")
    for tool in tools:
        print(f"{labels[tool]}: {losses(verdicts, tool)} of {len(chosen)} times green with records missing")


if __name__ == "__main__":
    main()
