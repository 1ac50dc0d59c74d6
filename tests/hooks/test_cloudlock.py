"""The hook: from an Airflow connection to records."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import redact  # type: ignore[attr-defined]

from airflow_provider_cloudlock.exceptions import (
    CloudlockAuthError,
    CloudlockConfigError,
    CloudlockDataError,
    CloudlockDriftError,
    CloudlockResponseError,
    CloudlockUnavailableError,
)
from airflow_provider_cloudlock.hooks.cloudlock import CloudlockHook
from airflow_provider_cloudlock.provider_info import get_provider_info
from tests.api.asking import everything_said
from tests.api.loopback import certificate, tls
from tests.support import (
    TOKEN,
    Fault,
    Habits,
    Record,
    Request,
    Tenant,
    day_of_records,
    echoes_token,
    hangs,
    html,
    instant,
    record,
    redirects,
    responds,
)

DAYS = [f"2026-01-0{n}" for n in range(1, 6)]
RECORDS = [each for day in DAYS[:4] for each in day_of_records(day, 30)]
Connect = Callable[..., CloudlockHook]


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Connect:
    """Make a hook of a tenant's connection: written as JSON, or as the text given."""

    def make(tenant: Tenant | None = None, text: str | None = None, **fields: Any) -> CloudlockHook:
        fields = {"conn_type": "cloudlock", "host": tenant and tenant.url, "password": TOKEN} | fields
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", text or json.dumps(fields))
        return CloudlockHook()

    return make


def named(value: object) -> str:
    """Name a case by what is asked for, not by what is answered."""
    return ",".join(f"{name}={each}" for name, each in value.items()) if isinstance(value, dict) else ""


# --- the connection ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{url}", "{url}/", "{url}/api/v2", "{url}/api/v2/", " {url} "])
def test_host_is_accepted_in_any_form(connect: Connect, form: str) -> None:
    with Tenant(RECORDS) as tenant:
        assert list(connect(tenant, host=form.format(url=tenant.url)).iter_records(limit=3)) == RECORDS[:3]
        assert {request.path for request in tenant.seen} == {"/api/v2/threats"}


def test_port_field_is_used(connect: Connect) -> None:
    with Tenant(RECORDS) as tenant:
        host, _, port = tenant.url.rpartition(":")
        assert list(connect(tenant, host=host, port=int(port)).iter_records(limit=3)) == RECORDS[:3]


@pytest.mark.parametrize(
    "form",
    [
        "cloudlock://:{token}@{host}/?page_size=7&timeout=30&requests_per_second=1000.5",
        "cloudlock://:{token}@{host}/?__extra__=%7B%22page_size%22%3A+7%7D",
    ],
)
def test_connection_uri_is_accepted(connect: Connect, form: str) -> None:
    with Tenant(RECORDS) as tenant:
        text = form.format(token=quote(TOKEN, safe=""), host=quote(tenant.url, safe=""))
        assert list(connect(text=text).iter_records(limit=20)) == RECORDS[:20]
        assert tenant.seen[0].params["limit"] == "7"


@pytest.mark.parametrize("size", [7, "7"])
def test_page_size_of_caller_then_connection_then_default(connect: Connect, size: Any) -> None:
    with Tenant(RECORDS) as tenant:
        hook = connect(tenant, extra={"page_size": size})
        assert {request.params["limit"] for request in _asked(tenant, hook.iter_records())} == {"7"}
        assert _asked(tenant, hook.iter_records(page_size=50))[0].params["limit"] == "50"
        assert _asked(tenant, connect(tenant, extra={}).iter_records())[0].params["limit"] == "10000"
        assert _asked(tenant, connect(tenant, extra={"page_size": ""}).iter_records())[0].params["limit"] == "10000"


def _asked(tenant: Tenant, records: Iterable[Record]) -> list[Request]:
    before = len(tenant.seen)
    list(records)
    return tenant.seen[before:]


def test_page_size_of_connection_above_cap_means_cap(connect: Connect) -> None:
    with Tenant(RECORDS) as tenant:
        hook = connect(tenant, extra={"page_size": 500_000})
        assert _asked(tenant, hook.iter_records())[0].params["limit"] == "100000"


def test_timeout_and_pace_may_be_texts(connect: Connect) -> None:
    with Tenant(RECORDS, faults=lambda request: hangs() if request.params["limit"] == "1" else None) as tenant:
        hook = connect(tenant, extra={"timeout": "0.3", "requests_per_second": "20"})
        list(hook.iter_records(page_size=30))
        first, last = tenant.seen[0].at, tenant.seen[-1].at
        assert last - first > 0.04 * (len(tenant.seen) - 1)
        ok, words = hook.test_connection()
        assert not ok
        assert "0.3 s" in words


@pytest.mark.parametrize("tasks", [None, 4, "4"])
def test_max_tasks_divides_requests_per_second(connect: Connect, tasks: Any) -> None:
    with Tenant(RECORDS) as tenant:
        share = 20 / int(tasks or 1)
        hook = connect(tenant, extra={"requests_per_second": 20, "max_tasks": tasks})
        assert hook.client.interval == pytest.approx(1.05 / share)
        assert connect(tenant, extra={"max_tasks": tasks}).client.interval == 0


@pytest.mark.parametrize("extra", [[], ["page_size"], "", "page_size=7", '{"page_size": 7', "7", "null"])
def test_extra_that_is_no_json_object_is_refused(connect: Connect, extra: Any) -> None:
    with Tenant(RECORDS) as tenant:
        hook = connect(tenant, extra=extra)
        if not extra:  # Airflow stores none
            assert hook.get_conn()
            return
        for use in (hook.get_conn, lambda: hook.tenant):
            with pytest.raises(CloudlockConfigError, match="extra of the connection 'cloudlock_default' is not a JSON"):
                use()
        assert tenant.connections == 0


def test_refused_extra_is_not_quoted(connect: Connect) -> None:
    hook = connect(host="https://tenant.example.com", extra='{"proxy": "http://user:hush-hush@proxy"')
    with pytest.raises(CloudlockConfigError) as error:
        hook.get_conn()
    assert "hush" not in everything_said(error.value)


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (
            {"pagesize": 7},
            r"unknown field 'pagesize'.*Known fields: page_size, timeout, max_connections, requests",
        ),
        ({"verify": False}, "unknown field 'verify'"),
        ({"page_size": 0}, "page_size=0 is not a whole number of at least 1"),
        ({"page_size": "many"}, "page_size='many'"),
        ({"page_size": 7.5}, "page_size=7.5"),
        ({"page_size": True}, "page_size=True"),
        ({"max_connections": 0}, "max_connections=0 is not a whole number from 1 to 16"),
        ({"max_connections": 17}, "max_connections=17"),
        ({"timeout": 0}, "timeout=0 is not a positive number"),
        ({"timeout": "-1"}, "timeout='-1' is not a positive number"),
        ({"timeout": "nan"}, "timeout='nan'"),
        ({"timeout": "inf"}, "timeout='inf'"),
        ({"timeout": True}, "timeout=True"),
        ({"requests_per_second": "fast"}, "requests_per_second='fast'"),
        ({"requests_per_second": [1]}, "requests_per_second="),
        ({"max_tasks": 0}, "max_tasks=0 is not a whole number of at least 1"),
        ({"max_tasks": "2.5"}, "max_tasks=2.5"),
        ({"ca_bundle": True}, "ca_bundle must be a text"),
        ({"ca_bundle": "/nowhere/ca.pem"}, "'/nowhere/ca.pem' cannot be used on this worker"),
        ({"proxy": 3128}, "proxy must be a text"),
        ({"proxy": "nonsense"}, "proxy is not usable"),
    ],
)
def test_invalid_field_is_named_before_first_request(connect: Connect, extra: dict[str, Any], words: str) -> None:
    with Tenant(RECORDS) as tenant:
        with pytest.raises(CloudlockConfigError, match=words):
            connect(tenant, extra=extra).iter_records()
        assert tenant.connections == 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": None}, "no host"),
        ({"host": "http://tenant.example.com"}, "send the token in clear"),
        ({"host": f"https://{TOKEN}@tenant.example.com"}, "a user or a password"),
        ({"password": None}, "no access token"),
        ({"password": "two words"}, "Put the token alone there"),
        ({"password": "https://tenant.example.com"}, "password holds an address"),
        ({"password": "one\ntwo"}, "without line breaks"),
    ],
)
def test_unusable_connection_is_explained(connect: Connect, fields: dict[str, Any], words: str) -> None:
    with Tenant(RECORDS) as tenant, pytest.raises(CloudlockConfigError, match=words) as error:
        connect(tenant, **fields).get_conn()
    assert TOKEN not in everything_said(error.value)


def test_connection_id_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(RECORDS, token="other-token") as tenant:
        text = json.dumps({"conn_type": "cloudlock", "host": tenant.url, "password": "other-token"})
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_GOV", text)
        hook = CloudlockHook("cloudlock_gov")
        assert len(list(hook.iter_records())) == 120
        assert hook.get_conn() is hook.get_conn() is hook.client


def test_token_and_proxy_password_are_masked(connect: Connect) -> None:
    secret, way = "Fresh-token-5b1d-with-blanks-around", "http://user:hidden-word@127.0.0.1:3128"
    with Tenant(RECORDS, token=secret) as tenant:
        hook = connect(tenant, password=f"  {secret}\n", extra={"proxy": way})
        assert hook.client is not None
        assert redact(f"the token {secret} here") == "the token *** here"
        assert "hidden-word" not in str(redact(f"through {way}."))
        assert len(list(connect(tenant, password=f"\t{secret} ").iter_records(limit=5))) == 5


def test_token_replaced_in_airflow_is_used_and_masked(connect: Connect) -> None:
    fresh = "Replaced-token-77aa-31"
    with Tenant(RECORDS) as tenant:
        hook = connect(tenant, extra={"page_size": 10})
        records = hook.iter_records(limit=100)
        assert hook.count() == 120
        tenant.token = fresh
        connect(tenant, password=f" {fresh}\n", extra={"page_size": 10})
        assert list(records) == RECORDS[:100]
        assert redact(f"the token {fresh} here") == "the token *** here"


def test_token_refused_and_unchanged_is_final(connect: Connect) -> None:
    with Tenant(RECORDS) as tenant:
        hook = connect(tenant, password="another")
        with pytest.raises(CloudlockAuthError, match="status 401"):
            hook.count()
        assert len(tenant.seen) == 1


@pytest.mark.parametrize("change", [{"host": "https://tenant.example.com"}, {"extra": {"tenant": "other"}}])
def test_connection_changed_beyond_token_needs_new_attempt(connect: Connect, change: dict[str, Any]) -> None:
    """The token of another tenant must neither go to this host nor read into this range."""
    with Tenant(RECORDS) as tenant:
        hook = connect(tenant)
        assert hook.client
        tenant.token = "fresh-token"
        connect(tenant, password="fresh-token", **change)
        with pytest.raises(CloudlockUnavailableError, match="'cloudlock_default' was changed while the task was"):
            hook.count()
        assert len(tenant.seen) == 1


# --- the vendor's parameters ------------------------------------------------------------------------------------------

NOW = datetime.now(UTC)
RECENT = [record(n, NOW - timedelta(days=20 - n, hours=1)) for n in range(20)]


def started(days: int) -> list[Record]:
    """Return the recent records that started so many days ago at most."""
    since = NOW - timedelta(days=days)
    return [each for each in RECENT if (instant(each["start_time"]) or NOW) >= since]


@pytest.mark.parametrize("cap", [None, 7])
@pytest.mark.parametrize(
    ("given", "sent", "expected"),
    [
        ({}, {"order": "created_at"}, RECORDS),
        ({"limit": 200}, {}, RECORDS),
        ({"limit": 33}, {"limit": "33"}, RECORDS[:33]),
        ({"limit": 1}, {"limit": "1"}, RECORDS[:1]),
        ({"offset": 100}, {"offset": "100"}, RECORDS[100:]),
        ({"offset": 120}, {"offset": "120"}, []),
        ({"offset": 35, "limit": 10}, {"offset": "35", "limit": "10"}, RECORDS[35:45]),
        ({"status": "Active"}, {"status": "Active"}, [each for each in RECORDS if each["status"] == "ACTIVE"]),
        ({"status": "dismissed"}, {"status": "Dismissed"}, [each for each in RECORDS if each["status"] == "DISMISSED"]),
        ({"created_after": DAYS[2]}, {"created_after": "2026-01-01T12:00:00"}, RECORDS[60:]),
        ({"created_before": DAYS[2]}, {"created_before": "2026-01-04T00:00:00"}, RECORDS[:60]),
        (
            {"created_after": DAYS[1], "created_before": DAYS[2]},
            {"created_after": "2025-12-31T12:00:00", "created_before": "2026-01-04T00:00:00"},
            RECORDS[30:60],
        ),
        ({"created_after": DAYS[1], "created_before": DAYS[3], "limit": 40, "offset": 15}, {}, RECORDS[45:85]),
        ({"created_after": DAYS[1], "limit": 5, "offset": 29}, {}, RECORDS[59:64]),
        ({"created_before": DAYS[1], "limit": 5, "offset": 28}, {}, RECORDS[28:30]),
        ({"order": "-created_at"}, {"order": "-created_at"}, RECORDS[::-1]),
        ({"order": "-created_at", "limit": 3}, {"order": "-created_at"}, RECORDS[:-4:-1]),
        ({"order": "id", "offset": 100}, {"order": "id"}, sorted(RECORDS, key=lambda each: int(each["id"]))[100:]),
        (
            {"created_after": DAYS[1], "created_before": DAYS[3], "order": "-created_at"},
            {"order": "-created_at", "created_after": "2025-12-31T12:00:00", "created_before": "2026-01-05T00:00:00"},
            RECORDS[89:29:-1],
        ),
        (
            {"created_after": DAYS[1], "created_before": DAYS[3], "order": "-created_at", "limit": 4, "offset": 2},
            {},
            RECORDS[87:83:-1],
        ),
    ],
    ids=named,
)
def test_iter_records_sends_parameters_and_yields_records(
    connect: Connect, given: dict[str, Any], sent: dict[str, str], expected: list[Record], cap: int | None
) -> None:
    with Tenant(RECORDS, Habits(cap=cap)) as tenant:
        assert list(connect(tenant).iter_records(**given)) == expected
        assert tenant.seen[0].params.items() >= sent.items()
        named = {"created_after", "created_before", "status"} & set(tenant.seen[0].params)
        assert named == {"created_after", "created_before", "status"} & set(given)


@pytest.mark.parametrize("days", [1, 5, 30])
def test_start_time_is_a_number_of_days(connect: Connect, days: int) -> None:
    with Tenant(RECENT) as tenant:
        assert list(connect(tenant).iter_records("threats", start_time=days)) == started(days)
        assert tenant.seen[0].params["start_time"] == str(days)
        assert (
            list(connect(tenant).iter_records(start_time=days, order="-start_time", limit=2))
            == sorted(started(days), key=lambda each: str(each["start_time"]), reverse=True)[:2]
        )


@pytest.mark.parametrize(
    ("after", "before"),
    [
        ("2026-01-02T06:00", "2026-01-02T18:00:00Z"),
        (datetime(2026, 1, 2, 6, tzinfo=UTC), "2026-01-02T19:00:00+01:00"),
        (datetime(2026, 1, 2, 6), datetime(2026, 1, 2, 18)),
    ],
)
def test_bounds_are_instants_in_any_form(connect: Connect, after: Any, before: Any) -> None:
    with Tenant(RECORDS, Habits(granularity="day")) as tenant:
        got = list(connect(tenant).iter_records(created_after=after, created_before=before))
        assert got == tenant.window("2026-01-02T06:00", "2026-01-02T18:00")
        assert 0 < len(got) < 30


def test_date_means_its_first_instant(connect: Connect) -> None:
    with Tenant(RECORDS) as tenant:
        bounds: dict[str, Any] = {"created_after": date(2026, 1, 2), "created_before": date(2026, 1, 3)}
        assert list(connect(tenant).iter_records(**bounds)) == RECORDS[30:60]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"resource": "anomalies"}, "Unknown resource='anomalies'"),
        ({"limit": 0}, "limit=0 is not a whole number of at least 1"),
        ({"limit": -1}, "limit=-1"),
        ({"limit": "100"}, "limit='100'"),
        ({"limit": 1.5}, "limit=1.5"),
        ({"limit": True}, "limit=True"),
        ({"offset": -1}, "offset=-1 is not a whole number of at least 0"),
        ({"offset": "5"}, "offset='5'"),
        ({"page_size": 0}, "page_size=0 is not a whole number from 1 to 100000"),
        ({"page_size": 100_001}, "page_size=100001"),
        ({"page_size": "100"}, "page_size='100'"),
        ({"start_time": 0}, "start_time=0"),
        ({"start_time": 1.5}, "start_time=1.5 is not a whole number"),
        ({"start_time": "30"}, "start_time='30'"),
        ({"start_time": "2026-01-01"}, "start_time='2026-01-01'"),
        ({"status": "Open"}, "Unknown status='Open'. Give one of Active, Dismissed"),
        ({"status": ""}, "Unknown status=''"),
        ({"status": 1}, "Unknown status=1"),
        ({"order": ""}, "Invalid order=''"),
        ({"order": "--id"}, "order='--id'"),
        ({"order": "created_at,id"}, "order='created_at,id'"),
        ({"order": "created_at&limit=5"}, "Invalid order="),
        ({"order": 1}, "order=1"),
        ({"created_after": "yesterday"}, "created_after='yesterday' is not a point in time"),
        ({"created_before": 2026}, "created_before=2026 is not a point in time"),
        ({"created_after": DAYS[1], "created_before": DAYS[1]}, "is empty"),
        ({"created_after": DAYS[2], "created_before": DAYS[1]}, "ends before it starts"),
        ({"created_after": DAYS[2], "created_before": datetime(2999, 1, 1, tzinfo=UTC)}, "still to come"),
    ],
    ids=named,
)
def test_invalid_argument_is_refused_before_first_request(connect: Connect, given: dict[str, Any], words: str) -> None:
    with Tenant(RECORDS) as tenant:
        hook = connect(tenant)
        with pytest.raises(CloudlockConfigError, match=words):
            hook.iter_records(**given)
        for name in ("limit", "offset", "order", "page_size"):
            given.pop(name, None)
        if given:
            with pytest.raises(CloudlockConfigError, match=words):
                hook.count(**given)
        assert tenant.seen == []


# --- ranges ----------------------------------------------------------------------------------------------------------


def test_window_is_read_as_one_range(connect: Connect) -> None:
    with Tenant(RECORDS) as tenant:
        records = connect(tenant).iter_records(created_after=DAYS[0], created_before="2026-01-04T12:00")
        assert tenant.seen == []
        assert list(records) == [each for each in RECORDS if str(each["created_at"]) < "2026-01-04T12"]
        asked = {(each.params["created_after"], each.params["created_before"]) for each in tenant.seen}
    assert asked == {("2025-12-30T12:00:00", "2026-01-06T00:00:00")}


def test_long_window_is_read_in_ranges_when_they_are_needed(connect: Connect) -> None:
    with Tenant(RECORDS, Habits(total="absent")) as tenant:
        records = connect(tenant).iter_records(created_after=DAYS[0], created_before="2026-03-01")
        assert next(records) == RECORDS[0]
        bounds = {each.params["created_before"] for each in tenant.seen if each.params["limit"] != "1"}
        assert bounds == {"2026-02-02T00:00:00"}
        assert list(records) == RECORDS[1:]


def test_limit_stops_reading(connect: Connect) -> None:
    with Tenant(RECORDS, Habits(cap=10)) as tenant:
        got = list(connect(tenant).iter_records(created_after=DAYS[0], created_before=DAYS[4], limit=25))
        assert got == RECORDS[:25]
        assert len(tenant.seen) < 8


def test_range_that_changes_yields_nothing(connect: Connect) -> None:
    """Neither in order of time nor in one response, and another set in every pass."""
    numbers = iter(range(100_000))

    def restless(tenant: Tenant, request: Any) -> None:
        tenant.insert(record(10_000 + next(numbers), f"{DAYS[1]}T12:00:00Z"))

    got: list[Record] = []
    with Tenant(RECORDS, Habits(cap=10, ignores=["order"], default_order="table"), before=restless) as tenant:
        records = connect(tenant).iter_records(created_after=DAYS[1], created_before=DAYS[2])
        with pytest.raises(CloudlockDriftError):
            got.extend(records)
    assert got == []


@pytest.mark.parametrize("bounds", [{"created_after": DAYS[0]}, {"created_after": DAYS[0], "created_before": DAYS[1]}])
def test_record_without_creation_time_fails_window(connect: Connect, bounds: dict[str, Any]) -> None:
    timeless = RECORDS[3] | {"created_at": None}
    with Tenant([*RECORDS[:3], timeless]) as tenant:
        with pytest.raises(CloudlockDataError, match="no readable creation time"):
            list(connect(tenant).iter_records(**bounds))
        assert timeless in list(connect(tenant).iter_records())


def test_records_are_yielded_as_api_sends_them(connect: Connect) -> None:
    odd = record(7, DAYS[0], event_count="13", users="ada@example.com", new_field={"a": [1.5, None]}, id="G8qz0vb49V")
    with Tenant([odd]) as tenant:
        assert list(connect(tenant).iter_records()) == [odd]


# --- counting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, 120),
        ({"created_after": DAYS[1]}, 90),
        ({"created_after": DAYS[1], "created_before": DAYS[2]}, 30),
        ({"status": "Active"}, sum(each["status"] == "ACTIVE" for each in RECORDS)),
    ],
)
def test_count_is_that_of_api(connect: Connect, given: dict[str, Any], expected: int) -> None:
    with Tenant(RECORDS) as tenant:
        assert connect(tenant).count("threats", **given) == expected
        (request,) = tenant.seen
        assert request.params["limit"] == "1"
        tenant.behave(total="absent")
        assert connect(tenant).count(**given) is None


def test_count_takes_start_time(connect: Connect) -> None:
    with Tenant(RECENT) as tenant:
        assert connect(tenant).count(start_time=5) == len(started(5))


# --- the test of a connection -----------------------------------------------------------------------------------------


def test_connection_test_succeeds_with_one_request(connect: Connect) -> None:
    with Tenant(RECORDS) as tenant:
        assert connect(tenant).test_connection() == (True, "Connected to Cloudlock; it reports 120 anomalies.")
        assert len(tenant.seen) == 1
        assert tenant.seen[0].params["limit"] == "1"
        tenant.behave(total="absent")
        assert connect(tenant).test_connection() == (True, "Connected to Cloudlock.")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (responds(401), ["401", "access token", "password"]),
        (responds(403), ["403", "allow-list", "licence"]),
        (responds(404), ["404", "Check the connection's host"]),
        (responds(888), ["888", "newer version"]),
        (responds(503), ["503", "Try again later"]),
        (html(), ["not the Cloudlock API", "text/html", "Please sign in"]),
        (html(404), ["404", "Check the connection's host"]),
        (responds(200, {"error": "busy"}), ["not the Cloudlock API", "busy"]),
        (redirects("https://sso.example.com/login"), ["redirects to https://sso.example.com/login", "host"]),
        (echoes_token(), ["401", "***"]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_connection_test_explains_failure_of_one_request(connect: Connect, fault: Fault, words: list[str]) -> None:
    with Tenant(RECORDS, faults=fault) as tenant:
        ok, said = connect(tenant).test_connection()
        assert len(tenant.seen) == 1
    assert not ok
    assert [word for word in words if word not in said] == []
    assert TOKEN not in said


def test_connection_test_names_wrong_token(connect: Connect) -> None:
    with Tenant(RECORDS) as tenant:
        ok, said = connect(tenant, password="another").test_connection()
        assert not ok
        assert "Invalid access token" in said
        with pytest.raises(CloudlockAuthError):
            list(connect(tenant, password="another").iter_records())


def test_connection_test_names_refused_connection(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = "http://{}:{}".format(*listener.getsockname())
    ok, said = connect(host=address).test_connection()
    assert not ok
    assert "the connection was refused. Check the connection's host" in said


def test_connection_test_names_unknown_host(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    ok, said = connect(host="https://tenant.invalid").test_connection()
    assert not ok
    assert "the host's name cannot be resolved. Check the connection's host" in said


def test_untrusted_certificate_is_named_and_ca_bundle_accepted(connect: Connect, tmp_path: Path) -> None:
    pem = certificate(tmp_path)
    with Tenant(RECORDS) as tenant, tls(tenant, pem) as address:
        ok, said = connect(host=address).test_connection()
        assert not ok
        assert "certificate is not accepted: self-signed certificate" in said
        assert "ca_bundle" in said
        hook = connect(host=address, extra={"ca_bundle": str(pem)})
        assert hook.test_connection() == (True, "Connected to Cloudlock; it reports 120 anomalies.")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"host": ""}, "no host"),
        ({"password": ""}, "no access token"),
        ({"extra": {"page_sise": 1}}, "unknown field 'page_sise'"),
        ({"extra": {"page_size": "x"}}, "page_size='x'"),
    ],
)
def test_connection_test_names_invalid_connection(connect: Connect, fields: dict[str, Any], words: str) -> None:
    with Tenant(RECORDS) as tenant:
        ok, said = connect(tenant, **fields).test_connection()
        assert not ok
        assert words in said
        assert tenant.seen == []


def test_connection_test_names_missing_connection() -> None:
    hook = CloudlockHook("cloudlock_nowhere")
    ok, said = hook.test_connection()
    assert not ok
    assert "cloudlock_nowhere" in said
    with pytest.raises(AirflowNotFoundException, match=r"type Cisco Cloudlock \(conn_type 'cloudlock'\)"):
        hook.get_conn()


def test_connection_form_shows_port() -> None:
    """Airflow 3.3.2 tests a stored connection from the form only if it has a port."""
    (form,) = get_provider_info()["connection-types"]  # type: ignore[misc]
    assert "port" not in form["ui-field-behaviour"]["hidden-fields"]


def test_hook_retries_after_connection_test(connect: Connect) -> None:
    with Tenant(RECORDS, faults={2: responds(503)}) as tenant:
        hook = connect(tenant)
        assert hook.test_connection()[0]
        assert list(hook.iter_records()) == RECORDS


def test_html_response_is_an_error_and_no_empty_window(connect: Connect) -> None:
    with Tenant(RECORDS, faults=html()) as tenant, pytest.raises(CloudlockResponseError, match="Please sign in"):
        list(connect(tenant).iter_records(created_after=DAYS[0], created_before=DAYS[1]))
    assert len(tenant.seen) == 5
