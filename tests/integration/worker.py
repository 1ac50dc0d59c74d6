"""Runs the operator in processes that die on command.

``python -m tests.integration.worker`` imports everything once, then forks a process for each line of JSON on standard
input: ``{"connection", "destination", "options", "death"}``. It answers with ``{"pid"}``, and when that process has
ended with ``{"status", "steps", "error"}``: its exit status, negative for a signal; what it was about to do to the
lake, step by step; and the exception that ended it.

A death is ``{"signal": 9, "step": 3}``: by that signal, just before the third step. With ``"bytes": 300`` the step is
done, but no file grows beyond so many bytes from then on: the one that would kills the process with ``"signal": 25``,
which is SIGXFSZ, and fails like on a full disk with ``"signal": 0``.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import sys
from typing import Any

#: Events of Python's audit hooks that change files, with the position of the path that appears or goes.
_CHANGES = {"os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.link": 1, "os.truncate": 0}


class Steps:
    """Hears of every change of the lake before it happens, and dies at one of them."""

    def __init__(self, lake: str, death: dict[str, int]) -> None:
        self._lake = lake
        self._death = death
        self.taken: list[str] = []

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear of an event."""
        if event == "open":
            path = arguments[0] if arguments[2] & (os.O_WRONLY | os.O_RDWR) else None
        else:
            path = arguments[_CHANGES[event]] if event in _CHANGES else None
        if isinstance(path, os.PathLike | str) and os.fspath(path).startswith(self._lake):
            self.taken.append(event)
            if len(self.taken) == self._death.get("step"):
                self._die()

    def _die(self) -> None:
        if "bytes" not in self._death:
            signal.raise_signal(self._death["signal"])
            return
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._death["bytes"], resource.RLIM_INFINITY))


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run the operator in this process."""
    from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

    os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = order["connection"]
    steps = Steps(order["destination"].removeprefix("file://"), order["death"])
    sys.addaudithook(steps)
    # As in a shell's foreground, whatever the tests were started from.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Not when the step is reached: that is in a thread, which may not change signal handlers.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL if order["death"].get("signal") else signal.SIG_IGN)
    error = None
    task = CloudlockToObjectStorageOperator(task_id="extract", destination=order["destination"], **order["options"])
    try:
        task.execute({})
    except BaseException as exception:  # noqa: BLE001 whatever ended it is the answer
        error = repr(exception)
    return {"steps": steps.taken, "error": error}


def main() -> None:
    """Serve orders until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # before Airflow is imported, which has something to say about it
    for module in ("operators.cloudlock", "operators.extraction", "api.client", "lake.decode"):
        importlib.import_module(f"airflow_provider_cloudlock.{module}")
    importlib.import_module("airflow.sdk.execution_time.supervisor")  # imported when a connection is read
    importlib.import_module("airflow.sdk.io").ObjectStoragePath("/").fs.ls("/")
    for line in sys.stdin:
        hearing, telling = os.pipe()
        pid = os.fork()
        if pid == 0:
            result = run(json.loads(line))
            os.write(telling, json.dumps(result).encode())
            os._exit(1 if result["error"] else 0)
        os.close(telling)
        print(json.dumps({"pid": pid}), file=answers, flush=True)
        with os.fdopen(hearing) as told:
            result = json.loads(told.read() or '{"steps": [], "error": null}')
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps({"status": status, **result}), file=answers, flush=True)


if __name__ == "__main__":
    main()
