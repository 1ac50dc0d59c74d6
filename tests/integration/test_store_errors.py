"""Errors of S3: the task fails permanently if somebody has to fix something, and is retried otherwise."""

from __future__ import annotations

import hashlib
import json
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from threading import Event
from typing import Any

import pytest
import s3fs
import tenacity
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import store

from airflow_provider_cloudlock.api import client
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockUnavailableError
from airflow_provider_cloudlock.lake.store_errors import explained
from tests.integration.bucket import S3, Bucket
from tests.operators.lake import DAY, OBJECT, QUARANTINE, RECEIPT, connection, hour, operator
from tests.support import Tenant, day_of_records, record

KEY, RECEIPT_KEY, QUARANTINE_KEY = (f"lake/{name}" for name in (OBJECT, RECEIPT, QUARANTINE))
RECORDS = day_of_records(DAY, 24)
UNKEPT = record(1, hour(6.5)) | {"id": None}
#: File that the first request of each method is about, once something is published and in quarantine.
FIRST = {"PUT": KEY, "GET": RECEIPT_KEY, "DELETE": QUARANTINE_KEY}
ONCE = {"retries": {"max_attempts": 0}}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Create a bucket, accessed without retries."""
    monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(s3, "refuses", lambda call: None)
    monkeypatch.setattr(s3, "truncates", lambda call: False)
    monkeypatch.setattr(s3, "codes", dict(s3.codes))
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", s3.connection(config_kwargs=ONCE))
    return Bucket(s3, f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}")


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    with Tenant(RECORDS) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        yield tenant


def extract(bucket: Bucket, **options: Any) -> dict[str, Any]:
    """Extract the day."""
    return operator(f"s3://lake@{bucket.name}/lake", **options).execute({})


def publish_with_quarantine(tenant: Tenant, bucket: Bucket) -> None:
    """Publish the day with a record in quarantine; later the record is gone, and another one changed."""
    tenant.insert(UNKEPT)
    extract(bucket, max_quarantined=1)
    tenant.delete(None)
    tenant.dismiss(RECORDS[0]["id"])


def assert_no_secret(error: BaseException) -> None:
    """Assert that the message quotes no more than an error code."""
    for secret in ("secret", "http:", "Signature", "Credential"):
        assert secret not in str(error)


@pytest.mark.parametrize("verb", ["PUT", "GET", "DELETE"])
@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "KMS.DisabledException")])
def test_refusal_fails_permanently(tenant: Tenant, bucket: Bucket, verb: str, status: int, code: str) -> None:
    publish_with_quarantine(tenant, bucket)
    bucket.s3.refuses = lambda call: status if call.startswith(f"{verb} /{bucket.name}/lake") else None
    with pytest.raises(AirflowFailException, match=f"{code}.*not allowed") as failure:
        extract(bucket)
    assert isinstance(failure.value.__cause__, CloudlockConfigError)
    assert isinstance(failure.value.__cause__.__cause__, OSError)
    assert f"s3://lake@{bucket.name}/{FIRST[verb]}" in str(failure.value)
    assert_no_secret(failure.value)


@pytest.mark.parametrize(
    ("status", "code"),
    [(503, "SlowDown"), (400, "ExpiredToken"), (403, "ExpiredToken"), (400, "IncompleteBody"), (408, "Busy")],
)
@pytest.mark.parametrize("verb", ["PUT", "GET", "DELETE"])
def test_temporary_error_is_retryable(tenant: Tenant, bucket: Bucket, verb: str, status: int, code: str) -> None:
    publish_with_quarantine(tenant, bucket)
    bucket.s3.codes[status] = code
    bucket.s3.refuses = lambda call: status if call.startswith(f"{verb} /{bucket.name}/lake") else None
    with pytest.raises(CloudlockUnavailableError, match=f"{code}.*Try again later") as failure:
        extract(bucket)
    assert f"s3://lake@{bucket.name}/{FIRST[verb]}" in str(failure.value)
    assert_no_secret(failure.value)
    bucket.s3.refuses = lambda call: None
    extract(bucket)
    assert bucket.keys == sorted([KEY, RECEIPT_KEY])


REJECTIONS = [
    (501, "NotImplemented"),
    (400, "InvalidArgument"),
    (400, "AuthorizationHeaderMalformed"),
    (411, "MissingContentLength"),
    (301, "PermanentRedirect"),
    (405, "MethodNotAllowed"),
]


@pytest.mark.parametrize("verb", ["LIST", "PUT", "GET", "DELETE"])
@pytest.mark.parametrize(("status", "code"), REJECTIONS)
def test_rejection_fails_permanently(tenant: Tenant, bucket: Bucket, verb: str, status: int, code: str) -> None:
    publish_with_quarantine(tenant, bucket)
    sent = len(tenant.seen)
    start = f"GET /{bucket.name}?" if verb == "LIST" else f"{verb} /{bucket.name}/lake"
    bucket.s3.codes[status] = code
    bucket.s3.refuses = lambda call: status if call.startswith(start) else None
    with pytest.raises(AirflowFailException, match=f"{code}|not be {verb.lower()}") as failure:
        extract(bucket)
    assert isinstance(failure.value.__cause__, CloudlockConfigError)
    if code != "MethodNotAllowed":
        for setting in ("region_name", "endpoint_url", "request_checksum_calculation"):
            assert setting in str(failure.value)
    assert_no_secret(failure.value)
    if verb in ("LIST", "GET"):
        assert len(tenant.seen) == sent


def test_server_without_checksums_needs_config_kwargs(
    tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(call: str) -> int | None:
        return 501 if any("CHECKSUM" in name for name in bucket.s3.headers[-1]) else None

    bucket.s3.refuses = refuse
    with pytest.raises(AirflowFailException, match=r"could not be written .*request_checksum_calculation") as failure:
        extract(bucket)
    (hint,) = re.findall(r'{"config_kwargs".*}}', str(failure.value))
    config = ONCE | json.loads(hint)["config_kwargs"]
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(config_kwargs=config))
    assert extract(bucket)["slices"][0]["changed"]


@pytest.mark.parametrize(
    "extra",
    [
        {"region_name": "moon base"},
        {"endpoint_url": "ftp://127.0.0.1"},
        {"endpoint_url": "not a url"},
        {"config_kwargs": {"nonsense": 1}},
        {"profile_name": "no-such-profile"},
        {"service_config": {"s3": {"signer": "unknown"}}},
    ],
    ids=str,
)
def test_invalid_connection_extra_sends_no_request(
    tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(**({"config_kwargs": ONCE} | extra)))
    with pytest.raises(AirflowFailException, match="Airflow connection"):
        extract(bucket)
    assert tenant.seen == []


def test_invalid_bucket_name_sends_no_request(tenant: Tenant, bucket: Bucket) -> None:
    with pytest.raises(AirflowFailException, match=r"could not be listed .*Check the bucket's name"):
        operator("s3://lake@not_a+bucket/lake").execute({})
    assert tenant.seen == []


def test_unreachable_sts_is_retryable(tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    role = {
        "role_arn": "arn:aws:iam::123456789012:role/lake",
        "service_config": {"sts": {"endpoint_url": f"http://127.0.0.1:{port}"}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(**role))
    with pytest.raises(CloudlockUnavailableError, match="could not be opened"):
        extract(bucket)
    assert tenant.seen == []


def test_missing_connection_is_named(tenant: Tenant, bucket: Bucket) -> None:
    with pytest.raises(
        AirflowFailException,
        match=f"no Airflow connection 'lkae', .* s3://lkae@{bucket.name} names.*s3://{bucket.name}",
    ):
        operator(f"s3://lkae@{bucket.name}/lake").execute({})
    assert tenant.seen == []


@pytest.mark.parametrize("part", ["created_date", "lake%2F_"])
@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [(403, AirflowFailException, "may not be listed"), (503, CloudlockUnavailableError, "could not be listed")],
)
def test_unlistable_folder_is_found_before_the_first_request(
    tenant: Tenant, bucket: Bucket, status: int, kind: type[Exception], message: str, part: str
) -> None:
    bucket.s3.refuses = lambda call: status if "list-type" in call and part in call else None
    with pytest.raises(kind, match=f"s3://lake@{bucket.name}/lake .*{message}") as failure:
        extract(bucket)
    assert tenant.seen == []
    assert_no_secret(failure.value)


@pytest.mark.parametrize("key", [KEY, RECEIPT_KEY], ids=["object", "receipt"])
def test_truncated_read_is_retryable(tenant: Tenant, bucket: Bucket, key: str) -> None:
    publish_with_quarantine(tenant, bucket)
    versions = bucket.versions
    bucket.s3.truncates = lambda call: call == f"GET /{bucket.name}/{key}"
    with pytest.raises(CloudlockUnavailableError, match=f"{key} could not be .*Try again later") as failure:
        extract(bucket)
    assert_no_secret(failure.value)
    assert bucket.versions == versions
    bucket.s3.truncates = lambda call: False
    assert extract(bucket)["slices"][0]["changed"]
    assert bucket.keys == sorted([KEY, RECEIPT_KEY])


def test_bucket_removed_meanwhile_fails_permanently(tenant: Tenant, bucket: Bucket) -> None:
    def drop(call: str) -> None:
        if call == f"PUT /{bucket.name}/{KEY}":
            bucket.s3.client.delete_bucket(Bucket=bucket.name)

    bucket.s3.refuses = drop
    with pytest.raises(AirflowFailException, match=rf"{KEY} could not be written \(NoSuchBucket\)"):
        extract(bucket)


def test_put_without_response_is_retryable(tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(config_kwargs=ONCE | {"read_timeout": 2}))
    given_up = Event()

    def hang(call: str) -> None:
        if call == f"PUT /{bucket.name}/{KEY}":
            given_up.wait(10)

    bucket.s3.refuses = hang
    try:
        with pytest.raises(CloudlockUnavailableError, match=f"{KEY} could not be written.*Try again later") as failure:
            extract(bucket)
    finally:
        given_up.set()
    assert_no_secret(failure.value)


def test_unreachable_store_is_retryable(tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "config_kwargs": ONCE}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(**options))
    with pytest.raises(CloudlockUnavailableError, match=f"s3://lake@{bucket.name}/lake could not be listed") as failure:
        extract(bucket)
    assert tenant.seen == []
    assert_no_secret(failure.value)


@pytest.mark.parametrize("error", [PermissionError("refused"), FileNotFoundError("gone")], ids=repr)
def test_errors_of_python_alone_are_explained(error: OSError) -> None:
    with (
        pytest.raises(CloudlockConfigError, match="sftp://lake/x could not be written"),
        explained("sftp://lake/x", "written"),
    ):
        raise error
