"""However a span of time is cut into windows, and in whatever order they are run, the lake holds the same."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.operators.conftest import Extract
from tests.operators.lake import MICROSECOND, Lake, hour, instants, stem
from tests.support import Habits, Record, Tenant, ids

Window = tuple[datetime, datetime]

DAYS = 3
FIRST, LAST = hour(0), hour(24 * DAYS)
#: Where windows may begin and end: midnights, and in every day a time of each fineness.
EDGES = sorted(
    {hour(24 * n) for n in range(DAYS + 1)}
    | {
        hour(24 * n) + each
        for n in range(DAYS)
        for each in (
            MICROSECOND,
            timedelta(hours=6),
            timedelta(hours=6, milliseconds=500),
            timedelta(hours=24) - MICROSECOND,
        )
    }
)
#: Records at every edge and just beside it: one that is taken twice or left out shows.
RECORDS = instants(sorted({edge + n * MICROSECOND for edge in EDGES for n in (-1, 0, 1)}))

SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "phases": [Phase.generate],  # to find a smaller example takes longer than to read one
    "suppress_health_check": list(HealthCheck),
}
EDGE_SETS = st.sets(st.sampled_from(EDGES[1:-1]), max_size=5)


def parts(window: Window) -> list[Window]:
    """Cut a window at every midnight."""
    start, end = window
    midnights = [hour(24 * n) for n in range(DAYS + 1) if start < hour(24 * n) < end]
    return list(pairwise([start, *midnights, end]))


def path(part: Window) -> str:
    """Return where the records of a part of a day lie, as users are promised it."""
    return f"created_date={part[0]:%Y-%m-%d}/{name(part)}.parquet"


def name(part: Window) -> str:
    """Return the name of a part's files; a fraction of a second stands in it only where there is one."""
    first, last = stem(*part).split("--")
    return "--".join(
        text if not edge.microsecond else f"{text[:-1]}.{edge:%f}Z"
        for text, edge in zip((first, last), part, strict=True)
    )


@given(edges=EDGE_SETS, data=st.data(), cap=st.sampled_from([None, 7]))
@settings(max_examples=8, **SETTINGS)
def test_any_way_of_cutting_in_any_order_gives_the_same_lake(
    extract: Extract,
    tmp_path_factory: pytest.TempPathFactory,
    edges: set[datetime],
    data: st.DataObject,
    cap: int | None,
) -> None:
    at_once, in_parts = (Lake(tmp_path_factory.mktemp("lake") / "threats") for _ in range(2))
    windows = list(pairwise(sorted({FIRST, LAST} | edges)))
    again = data.draw(st.lists(st.sampled_from(windows), max_size=2))
    with Tenant(RECORDS, Habits(cap=cap)) as tenant:
        extract(tenant, FIRST, LAST, destination=at_once.destination)
        for window in data.draw(st.permutations(windows + again)):
            extract(tenant, *window, destination=in_parts.destination, on_vanished="fail")
        slices = [part for window in windows for part in parts(window)]
        assert in_parts.objects == sorted(map(path, slices))
        assert sorted(in_parts.ids()) == sorted(ids(tenant.window(FIRST, LAST)))
        assert by_id(in_parts) == by_id(at_once)
        for same in set(in_parts.objects).intersection(at_once.objects):
            assert in_parts.path(same).read_bytes() == at_once.path(same).read_bytes()

        extract(tenant, FIRST, LAST, destination=in_parts.destination, on_vanished="fail")
    assert in_parts.files == at_once.files
    for same in at_once.objects:
        assert in_parts.path(same).read_bytes() == at_once.path(same).read_bytes()


def by_id(lake: Lake) -> list[dict[str, Any]]:
    """Return all rows of a lake, ordered by their ids."""
    return sorted(lake.rows(), key=lambda row: str(row["id"]))


# --- windows that overlap, records that go, filters that change -------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One task.

    :param goes: place of the record that goes before it, None for none.
    """

    window: Window
    on_vanished: str
    status: str | None
    goes: int | None


@dataclass
class Model:
    """What a lake should hold, by the words that users are promised."""

    held: dict[Window, tuple[str | None, set[str]]] = field(default_factory=dict)

    def run(self, run: Run, there: Iterable[Record]) -> bool:
        """Extract a window; tell whether the task succeeds."""
        records = list(there)
        slices = parts(run.window)
        if any(_overlaps(each, one) and not _holds(one, each) for one in slices for each in self.held):
            return False
        for one in slices:
            inside = [each for each in self.held if _holds(one, each)]
            if any(self.held[each][0] != run.status for each in inside):
                return False
            found = {
                key
                for key, record in zip(ids(records), records, strict=True)
                if one[0] <= datetime.fromisoformat(record["created_at"]) < one[1]
                and run.status in (None, str(record["status"]).capitalize())
            }
            before = set().union(*(self.held[each][1] for each in inside))
            if run.on_vanished == "fail" and before - found:
                return False
            for each in inside:
                del self.held[each]
            self.held[one] = (run.status, found | before if run.on_vanished == "keep" else found)
        return True


def _holds(one: Window, other: Window) -> bool:
    return one[0] <= other[0] and other[1] <= one[1]


def _overlaps(one: Window, other: Window) -> bool:
    return one[0] < other[1] and other[0] < one[1]


WINDOWS = st.sets(st.sampled_from(EDGES), min_size=2, max_size=2).map(lambda pair: (min(pair), max(pair)))
FILTERS = st.sampled_from(
    [(None, "keep"), (None, "keep"), (None, "drop"), (None, "fail"), ("Active", "drop"), ("Dismissed", "fail")]
)


@st.composite
def runs(draw: st.DrawFn) -> Run:
    """Draw a task."""
    status, on_vanished = draw(FILTERS)
    return Run(draw(WINDOWS), on_vanished, status, draw(st.none() | st.integers(0, len(RECORDS) - 9)))


@given(st.lists(runs(), min_size=3, max_size=6))
@settings(max_examples=20, **SETTINGS)
def test_any_windows_one_after_another_leave_what_users_are_promised(
    extract: Extract, tmp_path_factory: pytest.TempPathFactory, tasks: list[Run]
) -> None:
    lake, model = Lake(tmp_path_factory.mktemp("lake") / "threats"), Model()
    with Tenant(RECORDS) as tenant:
        for task in tasks:
            if task.goes is not None:
                tenant.delete(tenant.records[task.goes % len(tenant.records)]["id"])
            held, before = lake.snapshot(*lake.objects), dict(model.held)
            options = {"on_vanished": task.on_vanished, "status": task.status, "destination": lake.destination}
            if model.run(task, tenant.records):
                extract(tenant, *task.window, **options)
            else:
                with pytest.raises(AirflowFailException):
                    extract(tenant, *task.window, **options)
                if model.held == before:
                    assert lake.snapshot(*lake.objects) == held
            assert lake.objects == sorted(map(path, model.held))
            assert {each: sorted(lake.ids(path(each))) for each in model.held} == {
                each: sorted(keys) for each, (_, keys) in model.held.items()
            }
            receipts = sorted(f"_receipts/{path(each).removesuffix('parquet')}json" for each in model.held)
            assert lake.files == sorted([*lake.objects, *receipts])
