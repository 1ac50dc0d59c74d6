"""Run a tool against a server with one fault, in a process of its own, and judge its output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.benchmarks.loss_faults import DAY, NEXT, Trouble
from tests.benchmarks.loss_verdict import Verdict, compare, ids_in
from tests.benchmarks.peers import command, environment
from tests.support import Tenant, ids

#: Limit of one run in seconds; no tool's retries take longer.
_TIMEOUT = 90


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool.

    :param label: name of its column.
    :param package: package whose version is shown beside the label.
    :param contender: contender in whose environment it runs.
    :param script: its script, if that is not the contender's.
    """

    label: str
    package: str
    contender: str
    script: str = ""

    def command(self) -> list[str]:
        """Return the command that runs it, without the arguments."""
        *runner, script = command(self.contender)
        return [*runner, str(Path(script).with_name(self.script)) if self.script else script]


TOOLS = {
    "dlt_rest": Tool("dlt", "dlt", "dlt_rest"),
    "airbyte": Tool("Airbyte CDK", "airbyte-cdk", "airbyte"),
    "singer": Tool("Singer SDK", "singer-sdk", "singer"),
    "http_hook": Tool("HttpHook loop", "apache-airflow-providers-http", "http_operator", "http_hook.py"),
    "provider": Tool("this provider", "airflow-provider-cloudlock", "provider"),
}


def run(tool: Tool, trouble: Trouble) -> Verdict:
    """Run a tool against a new server with a fault."""
    with tempfile.TemporaryDirectory() as home, trouble.server() as tenant:
        folder = Path(home, "output")
        folder.mkdir()
        before = ids(tenant.records)
        bounds = [datetime.fromisoformat(day).replace(tzinfo=UTC).isoformat() for day in (DAY, NEXT)]
        code, printed, errors = _ended(
            [*tool.command(), tenant.url, tenant.token, str(folder), *bounds, str(trouble.page)], home
        )
        seen = {"leaked": _leaked(tenant, printed + errors, Path(home)), "requests": len(tenant.seen)}
        if code is None:
            return Verdict("hung", why=f"still running after {_TIMEOUT} s", **seen)
        if code:
            return Verdict("failed", why=_last_words(errors or printed, code), **seen)
        told = json.loads(printed.splitlines()[-1])
        found = compare(ids_in(folder), tenant.steady(DAY, NEXT), [*before, *ids(tenant.records)])
        return Verdict("green", versions=told["versions"], **found, **seen)


def _ended(arguments: list[str], home: str) -> tuple[int | None, str, str]:
    """Run a command; return its exit code, None if it did not end in time, and its standard output and error."""
    variables = environment(home) | {"BENCHMARK_LOGS": "1"}
    variables |= dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
    with subprocess.Popen(
        arguments,
        cwd=home,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            printed, errors = process.communicate(timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # uv has a child, which must go with it
            return None, *process.communicate()
    return process.returncode, printed, errors


def _leaked(tenant: Tenant, printed: str, home: Path) -> bool:
    """Return whether the token is in logs or files, or was sent to another host."""
    return tenant.token in printed or any(_strayed(tenant)) or _lies_about(tenant.token, home)


def _strayed(tenant: Tenant) -> Iterator[bool]:
    """Yield for each request whether it sent the token to another host."""
    for request in tenant.seen:
        own = f"http://{request.headers['Host']}" == tenant.url
        yield not own and tenant.token in str(request.headers)


def _lies_about(token: str, home: Path) -> bool:
    return any(token.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())


def _last_words(text: str, code: int) -> str:
    return (text.strip() or f"ended with {code}").splitlines()[-1].strip()
