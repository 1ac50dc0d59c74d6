"""The promise, over sets, servers and changes that nobody thought of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_cloudlock.exceptions import CloudlockError
from tests.api.reading import DAY, FORMATS, NEXT, START, keys, read
from tests.support import Habits, Record, Tenant, record

#: Few instants, so that many records share one; the first and the last lie outside the window.
_HOURS = st.sampled_from([-1, 0, 1, 5, 12, 18, 23.999, 24])
_CAPS = st.one_of(
    st.none(), st.integers(1, 9), st.integers(16, 24), st.lists(st.integers(1, 9), min_size=2, max_size=5)
)

habits = st.builds(
    Habits,
    cap=_CAPS,
    echo=st.sampled_from([("limit", "offset", "results"), ("results",), ()]),
    echo_asked=st.booleans(),
    total=st.sampled_from(["true", "absent", "page", "low", "high", "zero", "null", "so_far"]),
    after_inclusive=st.booleans(),
    before_inclusive=st.booleans(),
    granularity=st.sampled_from(["microsecond", "second", "minute", "day"]),
    default_order=st.sampled_from(["-created_at", "created_at", "id", "updated_at", "-updated_at", "table"]),
    ties=st.sampled_from(["table", "id", "shuffled"]),
    default_limit=st.integers(2, 20),
    ignores=st.sets(st.sampled_from(["limit", "order", "offset", "created_before"]), max_size=2),
    refuses=st.sets(st.sampled_from(["order", "limit>100", "time_of_day"]), max_size=2),
)


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Draw records whose ids stand in another order than their times; maybe none was updated yet."""
    hours = draw(st.one_of(st.lists(_HOURS, max_size=25), st.lists(_HOURS, min_size=30, max_size=60)))
    held = [record((n * 37 + 11) % 101, START + timedelta(hours=hour)) for n, hour in enumerate(hours)]
    return [each | {"updated_at": each["created_at"]} for each in held] if draw(st.booleans()) else held


@st.composite
def changes(draw: st.DrawFn) -> Callable[[Tenant], None]:
    """Draw one change of whatever the tenant holds then."""
    kind = draw(st.sampled_from(["delete", "insert", "dismiss", "both"]))
    place, hour, key = draw(st.integers(0, 30)), draw(_HOURS), draw(st.integers(1000, 9999))

    def change(tenant: Tenant) -> None:
        held = tenant.records
        if kind != "insert" and held:
            chosen = held[place % len(held)]["id"]
            if kind == "dismiss":
                tenant.dismiss(chosen)
            else:
                tenant.delete(chosen)
        if kind in ("insert", "both") and all(each["id"] != key for each in held):
            tenant.insert(record(key, START + timedelta(hours=hour)))

    return change


@pytest.mark.parametrize("connections", [1, 4])
@given(
    held=records(),
    behaves=habits,
    script=st.dictionaries(st.integers(1, 12), changes(), max_size=4),
    page_size=st.sampled_from([1, 2, 5, 1000]),
    kind=st.sampled_from(sorted(FORMATS)),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_read_holds_every_steady_record_exactly_once(
    held: list[Record],
    behaves: Habits,
    script: dict[int, Callable[[Tenant], None]],
    page_size: int,
    kind: str,
    connections: int,
) -> None:
    seen_at_some_time: set[str] = set()
    lock = threading.Lock()

    def change(tenant: Tenant, request: Any) -> None:
        with lock:
            if request.number in script:
                script[request.number](tenant)
            seen_at_some_time.update(str(each["id"]) for each in tenant.window(DAY, NEXT))

    with Tenant(held, behaves, before=change) as tenant:
        try:
            got = keys(read(tenant, kind, page_size, connections=connections))
        except CloudlockError:
            return
        finally:
            assert len(tenant.seen) < 600
        assert len(got) == len(set(got))
        assert set(tenant.steady(DAY, NEXT)) <= set(got) <= seen_at_some_time
