"""The made-up anomalies: always the same, shaped like the vendor's, with the moments where readers err."""

from __future__ import annotations

import datetime
import hashlib
import json

import pytest

from airflow_provider_cloudlock.sandbox.anomalies import anomalies_of, dismissed, undismissed

DAY = datetime.date(2026, 1, 2)
FIELDS = [
    "status", "dismissed_at", "created_at", "dismiss_reason", "id", "short_description", "start_time", "threat_type",
    "threat_risk", "threat_entity", "platforms", "event_count", "updated_at", "end_time", "suspicious_ip", "locations",
    "users", "description",
]  # fmt: skip


def test_the_same_on_every_machine_and_in_every_release() -> None:
    text = json.dumps(anomalies_of(DAY, 50))
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "7521df8cb7f34e5091fed70881ff4527911594975552932d01005e5515d5c540"
    )


def test_day_and_seed_make_a_difference() -> None:
    assert anomalies_of(DAY, 5) == anomalies_of(DAY, 5)
    assert anomalies_of(DAY, 5) != anomalies_of(DAY, 5, seed=1)
    descriptions = [anomaly["description"] for anomaly in anomalies_of(DAY, 5)]
    assert descriptions != [anomaly["description"] for anomaly in anomalies_of(DAY + datetime.timedelta(1), 5)]


def test_ids_are_unique_over_days() -> None:
    days = [DAY + datetime.timedelta(days=number) for number in range(30)]
    ids = [anomaly["id"] for day in days for anomaly in anomalies_of(day, 40)]
    assert all(type(value) is int for value in ids)
    assert len(set(ids)) == 30 * 40
    assert ids == sorted(ids)


def test_a_record_has_the_fields_of_the_vendors_sample() -> None:
    for anomaly in anomalies_of(DAY, 40):
        assert list(anomaly) == FIELDS
        assert anomaly["users"]
        assert all(set(user) == {"display_name", "email"} for user in anomaly["users"])
        assert all(user["email"].endswith("@example.com") for user in anomaly["users"])
        assert anomaly["start_time"] <= (anomaly["end_time"] or anomaly["created_at"]) <= anomaly["created_at"]


def test_values_are_as_varied_as_in_life() -> None:
    anomalies = anomalies_of(DAY, 2_000)
    names = [user["display_name"] for anomaly in anomalies for user in anomaly["users"]]
    assert None in names
    assert not all(name is None or name.isascii() for name in names)
    assert {len(anomaly["users"]) for anomaly in anomalies} == {1, 2}
    assert {len(anomaly["platforms"]) for anomaly in anomalies} == {1, 2}
    assert {len(anomaly["locations"]) for anomaly in anomalies} == {0, 1, 2}
    assert {anomaly["end_time"] is None for anomaly in anomalies} == {True, False}
    assert {anomaly["suspicious_ip"] is None for anomaly in anomalies} == {True, False}
    assert len({anomaly["threat_risk"] for anomaly in anomalies}) > 5


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 5, 40, 1_000])
def test_moments_fill_the_day_to_its_edges(count: int) -> None:
    moments = [anomaly["created_at"] for anomaly in anomalies_of(DAY, count)]
    assert len(moments) == count
    assert moments == sorted(moments)
    assert all(moment.startswith("2026-01-02T") and len(moment) == 32 for moment in moments)
    if count >= 2:
        assert moments[0].startswith("2026-01-02T00:00:00.")
        assert moments[-1] == "2026-01-02T23:59:59.999999+00:00"
    if count >= 4:
        assert moments[0] == "2026-01-02T00:00:00.000000+00:00"
        assert len(set(moments)) < count


def test_one_in_six_is_dismissed_hours_or_days_later() -> None:
    anomalies = anomalies_of(DAY, 3_000)
    done = [anomaly for anomaly in anomalies if anomaly["status"] == "DISMISSED"]
    assert 400 < len(done) < 600
    for anomaly in done:
        created, at = (datetime.datetime.fromisoformat(anomaly[name]) for name in ("created_at", "dismissed_at"))
        assert datetime.timedelta(hours=2) <= at - created <= datetime.timedelta(days=5)
        assert anomaly["updated_at"] == anomaly["dismissed_at"]
        assert anomaly["dismiss_reason"]
    for anomaly in anomalies:
        if anomaly not in done:
            assert anomaly == undismissed(anomaly)


def test_a_dismissal_can_be_taken_back() -> None:
    active = anomalies_of(DAY, 1)[0]
    at = "2026-01-03T00:00:00.000000+00:00"
    assert undismissed(dismissed(active, at, "False positive")) == undismissed(active)


@pytest.mark.parametrize("count", [-1, 1_000_001])
def test_a_count_beyond_the_ids_of_a_day_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=r"0 to 1,000,000"):
        anomalies_of(DAY, count)
