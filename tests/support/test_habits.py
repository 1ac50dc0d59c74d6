"""Records and habits: what an answer says."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

from . import Habits, Record, Tenant, day_of_records, ids, instant, record
from .client import Client, ask

DAY, NEXT = "2026-01-02", "2026-01-03"
TEN = day_of_records(DAY, 10)
SAMPLE_FIELDS = """status dismissed_at created_at dismiss_reason id short_description start_time threat_type threat_risk
    threat_entity platforms event_count updated_at end_time suspicious_ip locations users description"""


def told(records: list[Record], habits: Habits, **params: Any) -> list[str]:
    """Return the ids a tenant of these habits answers."""
    with Tenant(records, habits) as tenant:
        return ids(ask(tenant, limit=1000, **params)["items"])


def test_a_record_has_the_fields_of_the_sample_and_takes_overrides() -> None:
    assert set(record(1, DAY)) == set(SAMPLE_FIELDS.split())
    assert record(1, "2026-01-02T03:04:05Z", event_count=7)["created_at"] == "2026-01-02T03:04:05Z"
    assert record(1, DAY, event_count=7, new_field=1).items() >= {"event_count": 7, "new_field": 1}.items()
    assert record(7, datetime(2026, 1, 2))["created_at"] == "2026-01-02T00:00:00.000000+00:00"
    with pytest.raises(ValueError, match="no ISO date"):
        record(1, "yesterday")


def test_a_day_of_records_touches_both_ends_of_the_day_and_repeats_no_id() -> None:
    records = day_of_records(DAY, 12_345) + day_of_records(NEXT, 100)
    assert len(set(ids(records))) == 12_445
    assert records[0]["created_at"] == "2026-01-02T00:00:00.000000+00:00"
    assert records[12_344]["created_at"] == "2026-01-02T23:59:59.999999+00:00"
    assert [r["id"] for r in records] != sorted(r["id"] for r in records)
    updated = [instant(r["updated_at"]) for r in TEN]
    assert None not in updated
    assert updated != sorted(t for t in updated if t)


def test_ordinary_habits_answer_the_documented_envelope() -> None:
    with Tenant(day_of_records(DAY, 50) + day_of_records(NEXT, 5)) as tenant, Client(tenant) as client:
        first = client.page(created_before=NEXT, order="created_at", limit=30)
        rest = client.page(created_before=NEXT, order="created_at", limit=30, offset=30)
        assert list(first) == ["limit", "offset", "total", "results", "items"]
        assert [first[key] for key in ("limit", "offset", "total", "results")] == [30, 0, 50, 30]
        assert [rest[key] for key in ("limit", "offset", "total", "results")] == [30, 30, 50, 20]
        assert first["items"] + rest["items"] == tenant.window(DAY, NEXT)
        assert client.page()["items"] == tenant.records[:-21:-1]  # twenty, newest first
        assert tenant.connections == 1
        assert [request.params.get("offset") for request in tenant.seen] == [None, "30", None]


@pytest.mark.parametrize(
    ("cap", "sizes"), [(7, [7, 7, 7]), ([9, 4], [9, 4, 4]), (lambda number: number, [1, 2, 3]), (None, [10, 10, 10])]
)
def test_the_cap_may_change_from_request_to_request(cap: Any, sizes: list[int]) -> None:
    with Tenant(TEN, Habits(cap=cap)) as tenant:
        pages = [ask(tenant, limit=10) for _ in sizes]
    assert [len(page["items"]) for page in pages] == [page["limit"] for page in pages] == sizes


def test_the_envelope_may_echo_what_was_asked_or_nothing() -> None:
    with Tenant(TEN, Habits(cap=3, echo_asked=True, ignores={"offset"})) as tenant:
        page = ask(tenant, limit=5, offset=2)
        assert (page["limit"], page["offset"], page["results"], page["total"]) == (5, 2, 3, 10)
        assert page["items"] == ask(tenant, limit=3)["items"]
        tenant.behave(echo=(), total="absent")
        assert list(ask(tenant)) == ["items"]


@pytest.mark.parametrize(
    ("total", "said"),
    [("true", 10), ("page", 4), ("low", 5), ("high", 17), ("zero", 0), ("null", None), ("so_far", 6)],
)
def test_total_may_say_anything(total: Any, said: int | None) -> None:
    with Tenant(TEN, Habits(total=total)) as tenant:
        assert ask(tenant, limit=4, offset=2)["total"] == said


def test_bounds_are_compared_as_the_habits_say() -> None:
    table = [record(n, f"2026-01-{day:02}T{time}Z") for n, day, time in [(1, 2, "00:00:00"), (2, 2, "00:00:00.5")]]
    table += [record(3, "2026-01-02T23:59:59.999999Z"), record(4, "2026-01-03T00:00:00Z")]
    table += [record(5, "2026-01-03T00:00:01Z")]
    bounds = {"created_after": DAY, "created_before": f"{NEXT}T00:00:00", "order": "created_at"}
    assert told(table, Habits(), **bounds) == ["1", "2", "3"]
    assert told(table, Habits(after_inclusive=False), **bounds) == ["2", "3"]
    assert told(table, Habits(before_inclusive=True), **bounds) == ["1", "2", "3", "4"]
    assert told(table, Habits(after_inclusive=False, granularity="second"), **bounds) == ["3"]
    assert told(table, Habits(before_inclusive=True, granularity="second"), **bounds) == ["1", "2", "3", "4"]
    assert told(table, Habits(before_inclusive=True, granularity="day"), **bounds) == ["1", "2", "3", "4", "5"]
    assert told(table, Habits(after_inclusive=False, granularity="day", cuts="bounds"), **bounds) == ["2", "3"]
    assert told(table, Habits(ignores={"created_before"}), **bounds) == ["1", "2", "3", "4", "5"]


def test_records_without_a_readable_time_lie_in_every_window() -> None:
    table = [record(1, DAY), record(2, DAY) | {"created_at": None}, record(3, DAY) | {"created_at": "soon"}]
    assert told(table, Habits(), created_after="2030-01-01") == ["2", "3"]


def test_status_and_days_filter() -> None:
    now = datetime.now(UTC)
    table = [record(n, now - timedelta(days=n)) for n in range(1, 7)]
    assert told(table, Habits(), status="Dismissed", order="id") == ["3", "6"]
    assert told(table, Habits(), start_time=4, order="id") == ["1", "2", "3"]
    assert len(told(table, Habits(ignores={"status"}), status="Dismissed")) == 6


def test_orders_and_ties() -> None:
    by_time, same = ids(TEN), [record(n, DAY) for n in range(50, 0, -1)]
    assert told(TEN, Habits(), order="created_at") == by_time
    assert told(TEN, Habits(), order="-created_at") == by_time[::-1]
    assert told(TEN, Habits(ignores={"order"}, default_order="id"), order="created_at") == sorted(by_time, key=int)
    assert sorted(told(TEN, Habits(), order="updated_at")) == sorted(by_time)
    assert told(TEN, Habits(), order="updated_at") != by_time
    assert told(same, Habits(), order="created_at") == ids(same)
    assert told(same, Habits(ties="id"), order="created_at") == ids(same)[::-1]
    for habits in (Habits(default_order="shuffled"), Habits(default_order="created_at", ties="shuffled")):
        with Tenant(same, habits) as tenant:
            once, again = (ids(ask(tenant, limit=50)["items"]) for _ in range(2))
        assert once != again
        assert sorted(once) == sorted(again) == sorted(ids(same))


@pytest.mark.parametrize(
    ("rule", "wrong", "right"),
    [
        ("order", {"order": "created_at"}, {"limit": 5}),
        ("order=created_at", {"order": "created_at"}, {"order": "-start_time"}),
        ("limit>100", {"limit": 101}, {"limit": 100}),
        ("offset>10", {"offset": 11}, {"offset": 10}),
        ("time_of_day", {"created_after": "2026-01-02T00:00"}, {"created_after": DAY}),
        ("seconds", {"created_before": "2026-01-02T00:00:00"}, {"created_before": "2026-01-02T00:00"}),
        ("fraction", {"created_after": "2026-01-02T00:00:00.5"}, {"created_after": "2026-01-02T00:00:00"}),
        ("zone", {"created_after": "2026-01-02T00:00Z"}, {"created_after": "2026-01-02T00:00"}),
    ],
)
def test_refusals_name_the_parameter(rule: str, wrong: dict[str, object], right: dict[str, object]) -> None:
    with Tenant(TEN, Habits(refuses={rule})) as tenant, Client(tenant) as client:
        status, _, body = client.get(**wrong)
        assert status == 400
        assert next(iter(wrong)) in json.loads(body)["message"]
        assert client.get(**right)[0] == 200


@pytest.mark.parametrize("bad", ["limit=0", "limit=x", "offset=-1", "created_after=soon", "order=size", "start_time=x"])
def test_nonsense_is_refused(bad: str) -> None:
    name, _, value = bad.partition("=")
    with Tenant() as tenant, Client(tenant) as client:
        status, _, body = client.get(**{name: value})
    assert status == 400
    assert name in json.loads(body)["message"]


@pytest.mark.parametrize(
    "habits",
    [{"ignores": "order"}, {"refuses": {"hours"}}, {"total": "none"}, {"default_order": "size"}, {"echo": {"items"}}],
)
def test_a_habit_misspelt_is_an_error(habits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Habits"):
        Habits(**habits)


def test_text_beyond_ascii_goes_either_way() -> None:
    odd = record(1, DAY, description="Ünïcode \N{GRINNING FACE} \u0000")
    with Tenant([odd]) as tenant, Client(tenant) as client:
        plain = client.get()[2]
        tenant.behave(ascii_only=True)
        escaped = client.get()[2]
    assert "Ünïcode \N{GRINNING FACE}".encode() in plain
    assert escaped.isascii()
    assert json.loads(plain)["items"] == json.loads(escaped)["items"] == [odd]


def test_the_clock_may_be_wrong_or_missing() -> None:
    with Tenant(habits=Habits(clock=timedelta(hours=2))) as tenant, Client(tenant) as client:
        ahead = parsedate_to_datetime(client.get()[1]["Date"]) - datetime.now(UTC)
        assert timedelta(minutes=119) < ahead < timedelta(minutes=121)
        tenant.behave(clock=None)
        assert "Date" not in client.get()[1]
