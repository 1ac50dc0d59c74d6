"""What is refused, when, and with which kind of error: one that Airflow retries, or one that it does not."""

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
from tests.operators.lake import DAY, NEXT, Lake, connection, operator
from tests.support import (
    Fault,
    Habits,
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
        ({"resource": "threat"}, "resource='threat' is not known. Known resources: threats"),
        ({"resource": "../threats"}, "resource='../threats' is not known"),
        ({"resource": None}, "resource=None is not known"),
        ({"status": "Open", "on_vanished": "drop"}, "status='Open' is not known. Give one of Active, Dismissed"),
        ({"status": "", "on_vanished": "drop"}, "status='' is not known"),
        ({"status": "Active"}, "status='Active' with on_vanished='keep'"),
        ({"status": "dismissed", "on_vanished": "keep"}, "status='Dismissed' with on_vanished='keep'"),
        ({"page_size": 100_001}, "page_size=100001 is not a whole number from 1 to 100000"),
        ({"page_size": 0}, "page_size=0 is not a whole number"),
        ({"page_size": -1}, "page_size=-1 is not a whole number"),
        ({"page_size": True}, "page_size=True is not a whole number"),
        ({"page_size": 10.0}, "page_size=10.0 is not a whole number"),
        ({"page_size": "10"}, "page_size='10' is not a whole number"),
    ],
)
def test_parameters_that_make_no_sense(extract: Extract, lake: Lake, options: dict[str, Any], says: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException) as refusal:
            extract(tenant, **options)
        assert tenant.seen == []
    assert says in str(refusal.value)
    assert isinstance(refusal.value.__cause__, CloudlockConfigError)
    assert lake.files == []


@pytest.mark.parametrize(
    "options",
    [
        {"on_vanished": "tombstone"},
        {"on_vanished": None},
        {"max_quarantined": -1},
        {"max_quarantined": True},
        {"max_quarantined": "1"},
    ],
    ids=str,
)
def test_what_is_no_template_is_refused_when_the_dag_is_read(options: dict[str, Any]) -> None:
    ((name, value),) = options.items()
    with pytest.raises(CloudlockConfigError, match=f"{name}={value!r} is not"):
        operator("file:///lake", **options)


@pytest.mark.parametrize("page_size", [1, 7, 100_000])
def test_any_page_size_within_the_resources_cap_will_do(extract: Extract, lake: Lake, page_size: int) -> None:
    with Tenant(TEN) as tenant:
        assert extract(tenant, page_size=page_size)["rows"] == 10
        assert tenant.seen[0].params["limit"] == str(page_size)


NOWHERE = [
    "lake",
    "lake/threats",
    "./lake",
    "../lake",
    "",
    "/",
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
    "/{0}": "empty, '.' or '..'",
    "s3://lake@bucket/../other": "empty, '.' or '..'",
    "s3://lake@bucket//prefix": "empty, '.' or '..'",
    "{0}/a\nb": "not printable",
    "{0}/a\0b": "not printable",
    "{0}/a\u202eb": "not printable",
    "{0}/a\ud800b": "not printable",
    "{0}/\u2025/other": "no letters",
    "{0}/\uff0e\uff0e/other": "no letters",
    "{0}/a\u2215b": "no letters",
    "{0}/a\u2044b": "no letters",
    "{0}/a\uff0fb": "no letters",
    "{0}/\uff41b": "look like others",
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
def test_a_destination_that_is_no_absolute_location(
    extract: Extract, lake: Lake, destination: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake.folder.parent.mkdir()
    monkeypatch.chdir(lake.folder.parent)
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=r"is no absolute location. Give one such as"):
            extract(tenant, destination=destination)
        assert tenant.seen == []
    assert list(lake.folder.parent.iterdir()) == []


@pytest.mark.parametrize(("destination", "says"), UNCLEAR.items())
def test_a_destination_that_is_not_plain(extract: Extract, lake: Lake, destination: str, says: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=f"destination=.*{says}") as refusal:
            extract(tenant, destination=destination.format(lake.folder.parent))
        assert tenant.seen == []
    assert len(str(refusal.value)) < 600
    assert not lake.folder.parent.exists()


@pytest.mark.parametrize("end", ["a#"])
def test_a_destination_that_would_lose_a_character(extract: Extract, lake: Lake, end: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match="would be opened as"):
            extract(tenant, destination=f"{lake.destination}/{end}")
        assert tenant.seen == []
    assert not lake.folder.parent.exists()


@pytest.mark.parametrize("destination", ["s3://key:hidden@bucket/lake", "hdfs://user:hidden@host:8020/lake"])
def test_a_destination_with_a_password_is_not_repeated(extract: Extract, destination: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match="holds a user and a password") as refusal:
            extract(tenant, destination=destination)
        assert tenant.seen == []
    assert "hidden" not in str(refusal.value)


@pytest.mark.parametrize("name", ["données", "湖", "a b", "a=b", "a#b", "a:b", "a*[b]", "{}x".format("a" * 254)])
def test_a_destination_of_any_plain_name(extract: Extract, lake: Lake, name: str) -> None:
    with Tenant(TEN) as tenant:
        extract(tenant, destination=f"{lake.destination}/{name}")
    assert len(Lake(lake.folder.parent / name / "threats").ids()) == 10


@pytest.mark.parametrize(
    "destination", ["gs://bucket/lake", "abfs://conn@container/lake", "nosuch://bucket/lake", "gopher://conn@host/lake"]
)
def test_a_destination_of_an_unknown_kind(extract: Extract, destination: str) -> None:
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=r"cannot be opened: .*Install the provider of that store"):
            extract(tenant, destination=destination)
        assert tenant.seen == []


@pytest.mark.parametrize("below", ["", "/lake"], ids=["itself", "in its place"])
def test_a_destination_where_a_file_lies(extract: Extract, tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("someone else's")
    with Tenant(TEN) as tenant:
        with pytest.raises(AirflowFailException, match=f"destination file://{tmp_path}/file{below}/threats cannot be"):
            extract(tenant, destination=f"file://{tmp_path}/file{below}")
        assert tenant.seen == []
    assert (tmp_path / "file").read_text() == "someone else's"


@pytest.mark.parametrize("form", ["{}", "{}/", "file://{}", "file://{}/", "local://{}"])
def test_a_local_destination_may_be_written_in_several_ways(extract: Extract, lake: Lake, form: str) -> None:
    with Tenant(TEN) as tenant:
        result = extract(tenant, destination=form.format(lake.folder.parent))
    assert len(lake.ids()) == 10
    assert result["slices"][0]["path"].startswith(
        form.format(lake.folder.parent).rstrip("/") + "/threats/created_date="
    )


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"page_size": 100_001}, "page_size=100001"),
        ({"pagesize": 10}, "unknown field 'pagesize'"),
        ({"timeout": 0}, "timeout=0"),
    ],
)
def test_a_connection_that_cannot_be_used(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], says: str
) -> None:
    with Tenant(TEN) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", connection(tenant, **extra))
        with pytest.raises(AirflowFailException, match=says):
            operator(lake.destination, cloudlock_conn_id="elsewhere").execute({})
        assert tenant.seen == []


def test_a_connection_to_something_else_is_not_used(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever may choose the connection cannot have another one's password sent anywhere."""
    with Tenant(TEN) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_WAREHOUSE", connection(tenant).replace('"cloudlock"', '"postgres"'))
        with pytest.raises(AirflowFailException, match="'warehouse' is a connection of the type 'postgres'"):
            operator(lake.destination, cloudlock_conn_id="warehouse").execute({})
        assert tenant.seen == []


def test_a_run_cannot_choose_another_host(extract: Extract, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    with Tenant(TEN) as tenant, Tenant(TEN) as other:
        conf = {"host": other.url, "cloudlock_conn_id": other.url, "extra": {"proxy": other.url}}
        assert extract(tenant, context={"dag_run": SimpleNamespace(conf=conf), "params": conf})["rows"] == 10
        # Even where a Dag lets its runs choose the connection, an address is none.
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
def test_a_failure_that_a_retry_cannot_mend_ends_the_task(
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
def test_a_failure_that_may_pass_is_left_to_airflows_retries(
    extract: Extract, lake: Lake, fault: Fault, kind: type[CloudlockError]
) -> None:
    with Tenant(TEN, faults=fault) as tenant, pytest.raises(kind) as failure:
        extract(tenant)
    assert type(failure.value) is kind
    assert lake.files == []


def test_a_set_that_keeps_moving_is_left_to_airflows_retries(extract: Extract, lake: Lake) -> None:
    numbers = iter(range(1, 1000))

    def earlier_record(tenant: Tenant, request: object) -> None:
        tenant.insert(record(next(numbers), DAY))

    with (
        Tenant(TEN, Habits(cap=5, ties="id", total="absent"), before=earlier_record) as tenant,
        pytest.raises(exceptions.CloudlockDriftError),
    ):
        extract(tenant)
    assert lake.files == []


def test_a_failure_in_the_third_slice_leaves_the_first_two(extract: Extract, lake: Lake) -> None:
    days = [each for day in (DAY, NEXT, "2026-01-04") for each in day_of_records(day, 5)]

    def third_day(request: Any) -> Fault | None:
        return responds(403) if request.params["created_after"].startswith(NEXT) else None

    with Tenant(days, faults=third_day) as tenant:
        with pytest.raises(AirflowFailException):
            extract(tenant, DAY, "2026-01-05")
        assert lake.ids() == [str(each["id"]) for each in tenant.window(DAY, "2026-01-04")]


def test_no_error_holds_the_token(extract: Extract, caplog: pytest.LogCaptureFixture) -> None:
    with Tenant(TEN, faults=echoes_token()) as tenant, pytest.raises(AirflowFailException) as failure:
        extract(tenant)
    error: BaseException | None = failure.value
    while error is not None:
        assert tenant.token not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__
    assert tenant.token not in caplog.text
