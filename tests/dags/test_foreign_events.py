"""Events of the asset that no extract emitted: the load leaves them out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag

from tests.dags.conftest import DAGS


@pytest.mark.parametrize("extra", [None, {}, {"from_rest_api": True}])
def test_changes_leave_out_events_without_slices(extra: Any) -> None:
    task: Any = DagBag(str(DAGS / "cloudlock_threats_load.py")).dags["cloudlock_threats_load"].get_task("changes")
    own = {"resource": "threats", "slices": []}
    events = {"asset": [SimpleNamespace(extra=extra), SimpleNamespace(extra=own)]}
    assert task.python_callable(triggering_asset_events=events) == [own]
