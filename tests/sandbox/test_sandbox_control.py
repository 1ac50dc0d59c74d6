"""Changes of a sandbox on request, over a real socket."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_provider_cloudlock.sandbox.server import Sandbox
from tests.sandbox.test_sandbox_server import FIRST, LAST, NOW, ask, items, sandbox

__all__ = ["sandbox"]


def change(sandbox: Sandbox, action: str, status: int = 200, method: str = "POST", **parameters: Any) -> Any:
    response, body = ask(sandbox, f"/sandbox/{action}", method=method, **parameters)
    assert response.status == status, body
    return json.loads(body)


def test_control_dismiss_dismisses_the_anomaly(sandbox: Sandbox) -> None:
    first = items(sandbox, status="Active")[0]
    assert change(sandbox, "dismiss", id=first["id"], reason="Known & expected") == {"id": first["id"]}
    (found,) = [item for item in items(sandbox, status="Dismissed") if item["id"] == first["id"]]
    assert (found["dismiss_reason"], found["updated_at"]) == ("Known & expected", "2026-02-01T00:00:00.000000+00:00")


def test_control_add_inserts_an_anomaly_in_order(sandbox: Sandbox) -> None:
    before = items(sandbox)
    times = ["2026-01-02T12:00:00Z", "2026-01-02T12:00:00Z", "2026-01-10T23:59:59.999999+00:00"]
    added = [change(sandbox, "add", created_at=time) for time in times]
    after = items(sandbox)
    assert [item for item in after if item in added] == added
    assert [item for item in after if item not in added] == before
    assert [item["created_at"] for item in after] == sorted(item["created_at"] for item in after)
    assert {item["status"] for item in added} == {"ACTIVE"}
    assert len({item["id"] for item in after}) == len(after)
    assert [item["id"] for item in items(sandbox, order="id")] == sorted(item["id"] for item in after)
    change(sandbox, "dismiss", id=added[0]["id"])
    assert {item["id"] for item in items(sandbox, status="Dismissed")} >= {added[0]["id"]}


def test_control_add_without_a_time_is_now() -> None:
    with Sandbox(per_day=0) as sandbox:
        earliest = datetime.now(UTC)
        added = change(sandbox, "add")
        assert earliest <= datetime.fromisoformat(added["created_at"]) <= datetime.now(UTC)
        assert items(sandbox) == [added]


def test_control_delete_removes_the_anomaly_for_good(sandbox: Sandbox) -> None:
    before = items(sandbox)
    change(sandbox, "delete", id=before[1]["id"])
    assert items(sandbox) == [before[0], *before[2:]]
    added = change(sandbox, "add", created_at=before[0]["created_at"])
    assert added["id"] not in {item["id"] for item in before}
    change(sandbox, "delete", status=404, id=before[1]["id"])


@pytest.mark.parametrize(
    ("action", "status", "parameters", "words"),
    [
        ("explode", 404, {}, "Known are: add, dismiss, delete"),
        ("delete", 404, {"id": 1}, "no anomaly 1 "),
        ("delete", 400, {}, "needs the id"),
        ("delete", 400, {"id": "1; drop"}, "id must be a whole number"),
        ("delete", 400, {"id": 1, "reason": "x"}, "delete takes id"),
        ("dismiss", 400, {"ids": 1}, "dismiss takes id and reason"),
        ("add", 400, {"created_at": "soon"}, "created_at must be an instant"),
        ("add", 400, {"created_at": "2026-02-01T00:00:01"}, "is in the future"),
        ("add", 400, {"created_at": str(FIRST - timedelta(days=1))}, f"{FIRST} to {LAST}"),
        ("add", 400, {"created_at": str(LAST + timedelta(days=1))}, f"{FIRST} to {LAST}"),
    ],
)
def test_control_invalid_request_changes_nothing(
    sandbox: Sandbox, action: str, status: int, parameters: dict[str, Any], words: str
) -> None:
    before = sandbox.anomalies()
    assert words in change(sandbox, action, status, **parameters)["message"]
    assert sandbox.anomalies() == before


def test_control_needs_post_and_token(sandbox: Sandbox) -> None:
    assert "POST" in change(sandbox, "add", 400, method="GET")["message"]
    response, _ = ask(sandbox, "/sandbox/add", method="POST", headers={})
    assert response.status == 401
    assert len(sandbox.anomalies()) == 400


def test_control_on_another_address_does_not_exist() -> None:
    with Sandbox(host="0.0.0.0", first_day=FIRST, last_day=LAST, now=NOW) as sandbox:
        response, _ = ask(sandbox, "/sandbox/add", method="POST")
    assert response.status == 404
