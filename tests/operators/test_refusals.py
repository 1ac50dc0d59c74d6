"""Errors of a task: invalid parameters before the first request, and whether Airflow retries a failure."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from airflow_provider_cloudlock import exceptions
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockError
from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, OBJECT, RECEIPT, Lake, connection, operator, receipt_of
from tests.support import (
    Fault,
    Habits,
    Request,
    Tenant,
    day_of_records,
    echoes_token,
    hangs_up,
    html,
    record,
    redirects,
    replaced,
    responds,
    short_body,
    throttled,
)

TEN = day_of_records(DAY, 10)


# --- parameters, before the first request -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"resource": "../threats"}, "Unknown resource='../threats'"),
        ({"status": " "}, "Unknown status=' '"),
        ({"status": "Active", "on_vanished": "keep"}, "status='Active' with on_vanished='keep'"),
        ({"status": "dismissed", "on_vanished": "keep"}, "status='Dismissed' with on_vanished='keep'"),
        ({"page_size": 100_001}, "page_size=100001 is not a whole number from 1 to 100000"),
    ],
)
def test_parameter_invalid_sends_no_request(extract: Extract, lake: Lake, options: dict[str, Any], says: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException) as refusal:
            extract(tenant, **options)
        assert tenant.seen == []
    assert says in str(refusal.value)
    assert isinstance(refusal.value.__cause__, CloudlockConfigError)
    assert lake.files == []


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"on_vanished": "tombstone"}, "Unknown on_vanished='tombstone'. Give keep, drop or fail"),
        ({"max_quarantined": -1}, "max_quarantined=-1 is not a whole number of at least 0"),
        ({"max_quarantined": True}, "max_quarantined=True is not a whole number"),
        ({"max_quarantined": "many"}, "max_quarantined='many' is not a whole number"),
        ({"page_size": 0}, "page_size=0 is not a whole number of at least 1"),
        ({"page_size": "0"}, "page_size='0' is not a whole number"),
        ({"page_size": -1}, "page_size=-1 is not a whole number"),
        ({"page_size": True}, "page_size=True is not a whole number"),
        ({"page_size": 10.0}, "page_size=10.0 is not a whole number"),
        ({"refresh_days": -1}, "refresh_days=-1 is not a whole number from 0 to 9999"),
        ({"resource": "threat"}, "Unknown resource='threat'. Known resources: threats"),
        ({"status": "Open"}, "Unknown status='Open'. Give one of Active, Dismissed"),
    ],
    ids=str,
)
def test_parameter_without_template_is_refused_by_init(options: dict[str, Any], says: str) -> None:
    with pytest.raises(CloudlockConfigError, match=says):
        operator("file:///lake", **options)


@pytest.mark.parametrize(("page_size", "limit"), [(1, "2"), (7, "7"), (100_000, "100000")])
def test_page_size_within_cap_is_sent_as_limit(extract: Extract, page_size: int, limit: str) -> None:
    """Pages of one record could not overlap, so two are requested."""
    with Tenant(TEN) as tenant:
        assert extract(tenant, page_size=page_size)["rows"] == 10
        assert tenant.seen[0].params["limit"] == limit


NOWHERE = [
    "lake",
    "lake/threats",
    "./lake",
    "../lake",
    "",
    "/",
    "/data/lake",
    "/data/lake/",
    "file://",
    "file://lake",
    "file:///",
    "file:/lake",
    "local://lake",
    "s3://",
    None,
    7,
]
UNCLEAR = {
    "{0}/../other": "empty, '.' or '..'",
    "{0}/..": "empty, '.' or '..'",
    "{0}/./other": "empty, '.' or '..'",
    "{0}//other": "empty, '.' or '..'",
    "file:///{1}": "empty, '.' or '..'",
    "s3://lake@bucket/../other": "empty, '.' or '..'",
    "s3://lake@bucket//prefix": "empty, '.' or '..'",
    "{0}/a\nb": "not printable",
    "{0}/a\0b": "not printable",
    "{0}/a\u202eb": "not printable",
    "{0}/a\ud800b": "not printable",
    "{0}/\u2025/other": "neither ASCII nor letters",
    "{0}/\uff0e\uff0e/other": "neither ASCII nor letters",
    "{0}/a\u2215b": "neither ASCII nor letters",
    "{0}/a\u2044b": "neither ASCII nor letters",
    "{0}/a\uff0fb": "neither ASCII nor letters",
    "{0}/\uff41b": "compatibility characters",
    "{0}/%2e%2e/other": "percent sign",
    "{0}/a%2Fb": "percent sign",
    "{0}/a\\..\\b": "backslash",
    "{0}/a?versionId=": "question mark",
    "{0}/a?": "question mark",
    "{0}/a::b": "'::'",
    "{0}/ a": "begins or ends with a space",
    "{0}/a /b": "begins or ends with a space",
    "{0}/" + 50 * "a/" + 256 * "b": "a part of more than 255 bytes",
    "{0}/" + 700 * "a/": "more than 900 bytes",
    "s3://lake@bucket/" + 300 * "\u00e4\u00e4/": "more than 900 bytes",
}


@pytest.mark.parametrize("destination", NOWHERE)
def test_destination_not_an_address_is_refused(
    extract: Extract, lake: Lake, destination: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.folder.mkdir()
    monkeypatch.chdir(lake.folder)
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=r"is not an address. Give one such as s3://.* or file:///data/"):
            extract(tenant, destination=destination)
        assert tenant.seen == []
    assert list(lake.folder.iterdir()) == []


@pytest.mark.parametrize(("destination", "says"), UNCLEAR.items())
def test_destination_not_plain_is_refused(extract: Extract, lake: Lake, destination: str, says: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=f"destination=.*{says}") as refusal:
            extract(tenant, destination=destination.format(lake.destination, lake.folder))
        assert tenant.seen == []
    assert len(str(refusal.value)) < 600
    assert not lake.folder.exists()


def test_destination_opened_as_another_is_refused(extract: Extract, lake: Lake) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=r"a#' would be opened as .*/a'\. Give that instead"):
            extract(tenant, destination=f"{lake.destination}/a#")
        assert tenant.seen == []
    assert not lake.folder.exists()


@pytest.mark.parametrize("destination", ["s3://key:hidden@bucket/lake", "hdfs://user:hidden@host:8020/lake"])
def test_destination_with_password_is_not_quoted(extract: Extract, destination: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match="contains a user name and a password") as refusal:
            extract(tenant, destination=destination)
        assert tenant.seen == []
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize("name", ["données", "湖", "a b", "a=b", "a#b", "a:b", "a*[b]", "{}x".format("a" * 254)])
def test_destination_with_plain_name_is_accepted(extract: Extract, lake: Lake, name: str) -> None:
    with Tenant(TEN) as tenant:
        extract(tenant, destination=f"{lake.destination}/{name}")
    assert len(Lake(lake.folder / name).ids()) == 10


@pytest.mark.parametrize(
    "destination", ["gs://bucket/lake", "abfs://conn@container/lake", "nosuch://bucket/lake", "gopher://conn@host/lake"]
)
def test_destination_of_missing_provider_is_refused(
    extract: Extract, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CONN", "{}")
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=r"cannot be opened: .*Install the provider of that store"):
            extract(tenant, destination=destination)
        assert tenant.seen == []


@pytest.mark.parametrize("below", ["", "/lake"], ids=["itself", "below"])
def test_destination_that_is_a_file_is_refused(extract: Extract, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("someone else's")
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=f"destination file://{tmp_path}/file{below} cannot be used"):
            extract(tenant, destination=f"file://{tmp_path}/file{below}")
        assert tenant.seen == []
    assert (tmp_path / "file").read_text() == "someone else's"


@pytest.mark.parametrize("form", ["file://{}", "file://{}/", "local://{}"])
def test_destination_on_local_disk_has_several_spellings(extract: Extract, lake: Lake, form: str) -> None:
    destination = form.format(lake.folder)
    with Tenant(TEN) as tenant:
        (result,) = extract(tenant, destination=destination)["slices"]
    assert len(lake.ids()) == 10
    assert result["path"] == f"{destination.rstrip('/')}/{OBJECT}"
    assert result["uri"] == f"file://{lake.folder}/{OBJECT}"


# --- tenants ----------------------------------------------------------------------------------------------------------


def extract_as(name: str, tenant: Tenant, lake: Lake, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Any:
    """Extract with a connection to a tenant of this name."""
    monkeypatch.setenv("AIRFLOW_CONN_TENANT", connection(tenant, tenant=name))
    return operator(lake.destination, cloudlock_conn_id="tenant", **options).execute({})


def test_destination_of_other_tenant_sends_no_request(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TEN) as tenant:
        extract_as("acme", tenant, lake, monkeypatch)
    before = lake.snapshot()
    with Tenant(day_of_records(DAY, 20)) as other:
        with pytest.raises(AirflowFailException) as refusal:
            extract_as("globex", other, lake, monkeypatch, before="2026-01-05", refresh_days=3)
        assert other.seen == []
    assert f"The destination {lake.destination} holds data of the Cloudlock tenant 'acme'" in str(refusal.value)
    assert "this connection is one of 'globex'" in str(refusal.value)
    assert isinstance(refusal.value.__cause__, CloudlockConfigError)
    assert lake.snapshot() == before


def test_destination_object_of_other_tenant_is_not_replaced(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TEN) as tenant:
        extract_as("acme", tenant, lake, monkeypatch)
    lake.path(RECEIPT).unlink()
    before = lake.snapshot()
    with (
        Tenant(day_of_records(DAY, 20)) as other,
        pytest.raises(AirflowFailException, match=r"Cloudlock tenant 'acme'.*'globex'"),
    ):
        extract_as("globex", other, lake, monkeypatch)
    assert lake.snapshot() == before


def test_tenant_by_default_is_connection_id(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TEN) as tenant:
        for name in ("ONE", "TWO"):
            monkeypatch.setenv(f"AIRFLOW_CONN_{name}", connection(tenant, tenant=""))
        operator(lake.destination, cloudlock_conn_id="one").execute({})
        assert lake.receipt()["tenant"] == "one"
        with pytest.raises(AirflowFailException, match=r"Cloudlock tenant 'one'.*'two'.*extra to 'one'"):
            operator(lake.destination, cloudlock_conn_id="two").execute({})
        extract_as("one", tenant, lake, monkeypatch)


# --- connections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"page_size": 0}, "page_size=0"),
        ({"page_size": "many"}, "page_size='many'"),
        ({"pagesize": 10}, "unknown field 'pagesize'"),
        ({"timeout": 0}, "timeout=0"),
    ],
)
def test_connection_extra_invalid_sends_no_request(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], says: str
) -> None:
    with Tenant(TEN) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", connection(tenant, **extra))
        with pytest.raises(AirflowFailException, match=says):
            operator(lake.destination, cloudlock_conn_id="elsewhere").execute({})
        assert tenant.seen == []


def test_connection_page_size_above_cap_means_cap(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TEN) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", connection(tenant, page_size=100_001))
        operator(lake.destination, cloudlock_conn_id="elsewhere").execute({})
        assert tenant.seen[0].params["limit"] == "100000"


def test_connection_of_other_type_is_refused(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who may choose the connection must not be able to send another one's password to Cloudlock."""
    with Tenant(TEN) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection(tenant).replace('"cloudlock"', '"postgres"'))
        with pytest.raises(AirflowFailException, match="'warehouse' is a connection of the type 'postgres'"):
            operator(lake.destination, cloudlock_conn_id="warehouse").execute({})
        assert tenant.seen == []


def test_run_configuration_cannot_change_host(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TEN) as tenant, Tenant(TEN) as other:
        conf = {"host": other.url, "cloudlock_conn_id": other.url, "extra": {"proxy": other.url}}
        assert extract(tenant, context={"dag_run": SimpleNamespace(conf=conf), "params": conf})["rows"] == 10
        # The connection id is templated, so a DAG may take it from its runs; an address is not an id.
        assert "cloudlock_conn_id" in CloudlockToObjectStorageOperator.template_fields
        for address in (other.url, connection(other)):
            with pytest.raises(AirflowNotFoundException):
                extract(tenant, cloudlock_conn_id=address)
        assert other.seen == []


# --- failures of the API ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (responds(400), exceptions.CloudlockRequestError),
        (responds(404), exceptions.CloudlockRequestError),
        (responds(422), exceptions.CloudlockRequestError),
        (responds(401), exceptions.CloudlockAuthError),
        (responds(403), exceptions.CloudlockAuthError),
        (responds(888), exceptions.CloudlockAuthError),
        (redirects("https://example.com/"), exceptions.CloudlockConfigError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_permanent_api_failure_is_not_retried(
    extract: Extract, lake: Lake, fault: Fault, cause: type[CloudlockError]
) -> None:
    with Tenant(TEN, faults=fault) as tenant, pytest.raises(AirflowFailException) as failure:
        extract(tenant)
    assert type(failure.value.__cause__) is cause
    assert str(failure.value) == str(failure.value.__cause__)
    assert lake.files == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (responds(500), exceptions.CloudlockUnavailableError),
        (responds(503), exceptions.CloudlockUnavailableError),
        (throttled(86400), exceptions.CloudlockUnavailableError),
        (hangs_up(), exceptions.CloudlockUnavailableError),
        (short_body(), exceptions.CloudlockUnavailableError),
        (html(), exceptions.CloudlockResponseError),
        (responds(204), exceptions.CloudlockResponseError),
        (replaced({"error": "busy"}), exceptions.CloudlockResponseError),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_temporary_api_failure_is_left_to_airflow(
    extract: Extract, lake: Lake, fault: Fault, kind: type[CloudlockError]
) -> None:
    with Tenant(TEN, faults=fault) as tenant, pytest.raises(kind) as failure:
        extract(tenant)
    assert type(failure.value) is kind
    assert lake.files == []


def test_drift_is_left_to_airflow(extract: Extract, lake: Lake) -> None:
    numbers = iter(range(1, 1000))

    def earlier_record(tenant: Tenant, request: object) -> None:
        tenant.insert(record(next(numbers), DAY))

    with (
        Tenant(TEN, Habits(cap=5, ties="id", total="absent"), before=earlier_record) as tenant,
        pytest.raises(exceptions.CloudlockDriftError),
    ):
        extract(tenant)
    assert lake.files == []


def test_api_failure_within_range_publishes_nothing(extract: Extract, lake: Lake) -> None:
    days = [each for day in (DAY, NEXT, "2026-01-04") for each in day_of_records(day, 20)]
    with Tenant(days, Habits(cap=25), faults={3: responds(403)}) as tenant:
        with pytest.raises(AirflowFailException):
            extract(tenant, DAY, "2026-01-05")
        assert len(tenant.seen) >= 3
    assert lake.files == []


def test_api_failure_in_second_range_keeps_first(extract: Extract, lake: Lake) -> None:
    """Without a total, a window of more than 31 days is read in ranges of 31 days."""
    days = [*TEN, *day_of_records("2026-02-01", 10), *day_of_records("2026-02-02", 10)]

    def second_range(request: Request) -> Fault | None:
        return responds(403) if request.params["created_after"] > "2026-01-20" else None

    with Tenant(days, Habits(total="absent"), faults=second_range) as tenant:
        with pytest.raises(AirflowFailException):
            extract(tenant, DAY, "2026-03-01")
        assert lake.ids() == [str(each["id"]) for each in tenant.window(DAY, "2026-02-02")]
    assert len(lake.objects) == 31
    assert lake.receipt(receipt_of("2026-02-01"))["range"] == [
        "2026-01-02T00:00:00+00:00",
        "2026-02-02T00:00:00+00:00",
    ]


def test_error_chain_and_log_have_no_token(extract: Extract, caplog: pytest.LogCaptureFixture) -> None:
    with Tenant(TEN, faults=echoes_token()) as tenant, pytest.raises(AirflowFailException) as failure:
        extract(tenant)
    error: BaseException | None = failure.value
    while error is not None:
        assert tenant.token not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert tenant.token not in caplog.text
