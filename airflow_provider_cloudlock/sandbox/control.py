"""Changes of a sandbox's anomalies on request, so that users can try refreshes.

``POST /sandbox/add?created_at=…``, ``/sandbox/dismiss?id=…&reason=…`` and ``/sandbox/delete?id=…``, with the access
token, where the sandbox listens on a loopback address. ``created_at`` and ``reason`` may be left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_cloudlock.sandbox.query import BadParameter, parse_instant, parse_whole

if TYPE_CHECKING:
    from airflow_provider_cloudlock.sandbox.server import Sandbox

PREFIX = "/sandbox/"
HOSTS = ("127.0.0.1", "localhost")
#: Parameters of each action.
ACTIONS = {"add": ("created_at",), "dismiss": ("id", "reason"), "delete": ("id",)}


def change(sandbox: Sandbox, action: str, parameters: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Change an anomaly, and return it, or its id.

    :param sandbox: the sandbox
    :param action: one of ``ACTIONS``
    :param parameters: names and values as they came
    :raises BadParameter: if the request is invalid
    :raises LookupError: if there is no such action or no such anomaly
    """
    if action not in ACTIONS:
        raise LookupError(f"Unknown action {action!r}. Known are: {', '.join(ACTIONS)}.")
    given = dict(parameters)
    if len(given) < len(parameters) or not given.keys() <= set(ACTIONS[action]):
        raise BadParameter(f"{action} takes {' and '.join(ACTIONS[action])}, each once.")
    try:
        if action == "add":
            return dict(sandbox.add(parse_instant(given, "created_at")))
        anomaly_id = parse_whole(given, "id", 0, 10**15)
        if anomaly_id is None:
            raise BadParameter(f"{action} needs the id of an anomaly.")
        if action == "dismiss":
            sandbox.dismiss(anomaly_id, given.get("reason"))
        else:
            sandbox.delete(anomaly_id)
    except ValueError as error:
        raise BadParameter(str(error)) from error
    return {"id": anomaly_id}
