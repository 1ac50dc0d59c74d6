"""What a store that fails makes of a task: final where somebody must mend something, left to a retry elsewhere."""

from __future__ import annotations

import hashlib
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
from airflow_provider_cloudlock.lake.failures import explained
from tests.integration.bucket import S3, Bucket
from tests.operators.lake import DAY, FOLDER, OBJECT, RECEIPT, connection, operator
from tests.support import Tenant, day_of_records

KEY, RECEIPT_KEY = (f"lake/threats/{name}" for name in (OBJECT, RECEIPT))
RECORDS = day_of_records(DAY, 24)
ONCE = {"retries": {"max_attempts": 0}}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket, asked once and not again."""
    monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr(s3, "refuses", lambda call: None)
    monkeypatch.setattr(s3, "codes", dict(s3.codes))
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", s3.connection(config_kwargs=ONCE))
    return Bucket(s3, f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}")


@pytest.fixture
def tenant(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tenant]:
    with Tenant(RECORDS) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        yield tenant


def extract(bucket: Bucket) -> dict[str, Any]:
    """Extract the day."""
    return operator(f"s3://lake@{bucket.name}/lake").execute({})


def assert_discreet(error: BaseException) -> None:
    """The message holds no more than a code of the store's."""
    for secret in ("secret", "http:", "Signature", "Credential"):
        assert secret not in str(error)


@pytest.mark.parametrize("verb", ["PUT", "GET", "DELETE"])
@pytest.mark.parametrize(("status", "code"), [(403, "AccessDenied"), (400, "KMS.DisabledException")])
def test_what_is_not_allowed_is_final(tenant: Tenant, bucket: Bucket, verb: str, status: int, code: str) -> None:
    if verb == "GET":
        extract(bucket)
    bucket.s3.refuses = lambda call: status if call.startswith(f"{verb} /{bucket.name}/lake") else None
    with pytest.raises(AirflowFailException, match=f"{code}.*not allowed") as failure:
        extract(bucket)
    assert isinstance(failure.value.__cause__, CloudlockConfigError)
    assert isinstance(failure.value.__cause__.__cause__, OSError)
    assert f"s3://lake@{bucket.name}/lake/threats/" in str(failure.value)
    assert_discreet(failure.value)


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (400, "ExpiredToken"), (403, "ExpiredToken")])
@pytest.mark.parametrize("verb", ["PUT", "GET"])
def test_what_may_pass_is_left_to_a_retry(tenant: Tenant, bucket: Bucket, verb: str, status: int, code: str) -> None:
    if verb == "GET":
        extract(bucket)
    bucket.s3.codes[status] = code
    bucket.s3.refuses = lambda call: status if call.startswith(f"{verb} /{bucket.name}/lake") else None
    with pytest.raises(CloudlockUnavailableError, match=f"{code}.*Try again later") as failure:
        extract(bucket)
    assert f"s3://lake@{bucket.name}/{KEY}" in str(failure.value)
    assert_discreet(failure.value)
    bucket.s3.refuses = lambda call: None
    extract(bucket)
    assert bucket.keys == sorted([KEY, RECEIPT_KEY])


@pytest.mark.parametrize(("status", "kind"), [(403, AirflowFailException), (503, CloudlockUnavailableError)])
def test_a_partition_that_cannot_be_listed(tenant: Tenant, bucket: Bucket, status: int, kind: type[Exception]) -> None:
    bucket.s3.refuses = lambda call: status if "list-type" in call and "created_date" in call else None
    with pytest.raises(kind, match=f"{FOLDER} could not be listed"):
        extract(bucket)
    assert tenant.seen == []


def test_a_bucket_that_went_meanwhile(tenant: Tenant, bucket: Bucket) -> None:
    def drop(call: str) -> None:
        if call == f"PUT /{bucket.name}/{KEY}":
            bucket.s3.client.delete_bucket(Bucket=bucket.name)

    bucket.s3.refuses = drop
    with pytest.raises(AirflowFailException, match=rf"{KEY} could not be written \(NoSuchBucket\)"):
        extract(bucket)


def test_a_put_without_an_answer(tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert_discreet(failure.value)


def test_a_store_that_cannot_be_reached(tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    options = {"endpoint_url": f"http://127.0.0.1:{port}", "config_kwargs": ONCE}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(**options))
    with pytest.raises(CloudlockUnavailableError, match="lake/threats could not be looked at") as failure:
        extract(bucket)
    assert tenant.seen == []
    assert_discreet(failure.value)


@pytest.mark.parametrize("error", [PermissionError("refused"), FileNotFoundError("gone")], ids=repr)
def test_stores_that_tell_no_more_than_python_does(error: OSError) -> None:
    with (
        pytest.raises(CloudlockConfigError, match="sftp://lake/x could not be written"),
        explained("sftp://lake/x", "written"),
    ):
        raise error
