"""A lake in S3, through an Airflow connection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import s3fs.core
import tenacity
from airflow.sdk import ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import store

from airflow_provider_cloudlock.api import client
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDriftError, CloudlockUnavailableError
from tests.integration.bucket import S3, Bucket
from tests.operators.conftest import Extract
from tests.operators.lake import (
    DAY,
    FOLDER,
    NEXT,
    OBJECT,
    QUARANTINE,
    RECEIPT,
    as_row,
    connection,
    hour,
    operator,
    stem,
)
from tests.support import Fault, Habits, Request, Tenant, day_of_records, ids, record, responds

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
KEY, RECEIPT_KEY, QUARANTINE_KEY = (f"lake/threats/{name}" for name in (OBJECT, RECEIPT, QUARANTINE))


def part(start: float, end: float, folder: str = "", suffix: str = "parquet") -> str:
    """Return the key of a file of a slice of the day."""
    return f"lake/threats/{folder}{FOLDER}/{stem(hour(start), hour(end))}.{suffix}"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """A new bucket; the Airflow connection ``lake`` leads to its server."""
    monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", s3.connection())
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    bucket = Bucket(s3, f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}")
    s3.calls.clear()
    monkeypatch.setattr(s3, "refuses", lambda call: None)
    return bucket


@pytest.fixture
def extract(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Extract:
    """Extract a window of a tenant into the bucket."""

    def run(
        tenant: Tenant, after: Any = DAY, before: Any = NEXT, context: Any = None, **options: Any
    ) -> dict[str, Any]:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        destination = options.pop("destination", f"s3://lake@{bucket.name}/lake")
        return operator(destination, after, before, **options).execute({} if context is None else context)

    return run


def test_objects_and_receipts(extract: Extract, bucket: Bucket) -> None:
    second = KEY.replace(NEXT.replace("-", ""), "20260104").replace(DAY.replace("-", ""), "20260103").replace(DAY, NEXT)
    with Tenant(TWO_DAYS, Habits(cap=10)) as tenant:
        result = extract(tenant, DAY, AFTER)
        receipt = json.loads(bucket.read(RECEIPT_KEY))
        assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
        assert bucket.rows(second) == [as_row(each) for each in tenant.window(NEXT, AFTER)]
    assert len(bucket.keys) == 4
    data = bucket.read(KEY)
    assert receipt["path"] == result["slices"][0]["path"] == f"s3://lake@{bucket.name}/{KEY}"
    assert (receipt["bytes"], receipt["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert ObjectStoragePath(receipt["path"]).read_bytes() == data


@pytest.mark.parametrize("destination", ["s3://lake@{}", "s3://lake@{}/", "s3://lake@{}/a/b c/"])
def test_any_prefix_will_do(extract: Extract, bucket: Bucket, destination: str) -> None:
    destination = destination.format(bucket.name)
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, destination=destination)
        assert extract(tenant, destination=destination)["slices"][0]["changed"] is False
    prefix = destination.rstrip("/").removeprefix(f"s3://lake@{bucket.name}").lstrip("/")
    assert bucket.keys == sorted(f"{prefix}/threats/{name}".lstrip("/") for name in (OBJECT, RECEIPT))


def test_what_did_not_change_is_not_written_again(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        version = bucket.versions[KEY]
        assert sorted(bucket.puts()) == [RECEIPT_KEY, KEY]
        (result,) = extract(tenant)["slices"]
        assert bucket.puts() == [RECEIPT_KEY]
        assert result["changed"] is False
        assert bucket.versions[KEY] == version
        assert result["sha256"] == hashlib.sha256(bucket.read(KEY)).hexdigest()

        tenant.dismiss(*[each["id"] for each in tenant.window(DAY, NEXT)])
        assert extract(tenant)["slices"][0]["changed"] is True
        assert bucket.puts() == [KEY, RECEIPT_KEY]
        assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]


def test_a_day_supersedes_its_hours_and_what_belongs_to_them(extract: Extract, bucket: Bucket) -> None:
    unkept = record(1, hour(6.5)) | {"id": None}
    with Tenant([*TWO_DAYS, unkept]) as tenant:
        extract(tenant, hour(0), hour(6))
        extract(tenant, hour(6), hour(7), max_quarantined=1)
        obsolete = {key: bucket.read(key) for key in bucket.keys}
        assert part(6, 7, "_quarantine/", "jsonl") in obsolete
        assert len(obsolete) == 5
        tenant.delete(None)
        extract(tenant)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])
        assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]

        for key, data in obsolete.items():  # a crash after the day was published, before anything was removed
            bucket.write(key, data)
        assert extract(tenant)["slices"][0]["changed"] is False
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])


def test_quarantine(extract: Extract, bucket: Bucket) -> None:
    unkept = record(1, hour(6.5)) | {"id": None}
    with Tenant([*TWO_DAYS, unkept]) as tenant:
        with pytest.raises(AirflowFailException, match=f"s3://lake@{bucket.name}/{QUARANTINE_KEY}"):
            extract(tenant)
        assert bucket.keys == [QUARANTINE_KEY]
        assert json.loads(bucket.read(QUARANTINE_KEY)) == unkept
        extract(tenant, max_quarantined=1)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY, QUARANTINE_KEY])
        tenant.delete(None)
        extract(tenant)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])


def test_overlaps_are_refused_before_the_first_request(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        versions, asked = bucket.versions, len(tenant.seen)
        with pytest.raises(AirflowFailException, match="overlaps the published") as refusal:
            extract(tenant, hour(6), hour(7))
        assert len(tenant.seen) == asked
    assert f"s3://lake@{bucket.name}/{KEY}" in str(refusal.value)
    assert bucket.versions == versions


def test_what_others_do_to_the_bucket_is_seen(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        data = bucket.read(KEY)
        bucket.delete(KEY)
        assert extract(tenant)["slices"][0]["changed"] is True
        assert bucket.read(KEY) == data

        bucket.write(KEY, b"rubbish")
        with pytest.raises(AirflowFailException, match="cannot be read as Parquet"):
            extract(tenant)
        assert bucket.read(KEY) == b"rubbish"

        bucket.delete(KEY)
        bucket.write(part(6, 7), data)
        with pytest.raises(AirflowFailException, match=f"{part(6, 7)}"):
            extract(tenant, hour(6), hour(6.5))
        bucket.delete(part(6, 7))
        assert extract(tenant, hour(6), hour(6.5))["slices"][0]["changed"] is True
        bucket.write(f"lake/threats/{FOLDER}/_SUCCESS", b"")
        extract(tenant)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY, f"lake/threats/{FOLDER}/_SUCCESS"])


# --- where it cannot work ---------------------------------------------------------------------------------------------


def test_a_bucket_that_does_not_exist_is_refused_before_the_first_request(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(
            AirflowFailException, match=r"s3://lake@nowhere-to-be-found/lake.* does not exist"
        ) as refusal:
            extract(tenant, destination="s3://lake@nowhere-to-be-found/lake")
        assert tenant.seen == []
    assert isinstance(refusal.value.__cause__, CloudlockConfigError)


def test_a_bucket_that_may_not_be_seen_is_refused_before_the_first_request(extract: Extract, bucket: Bucket) -> None:
    bucket.s3.refuses = lambda call: 403
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match=f"s3://lake@{bucket.name}/lake.* may not be seen") as refusal:
            extract(tenant)
        assert tenant.seen == []
    assert isinstance(refusal.value.__cause__, CloudlockConfigError)
    assert "secret" not in str(refusal.value)


def test_an_outage_of_the_store_is_left_to_airflows_retries(
    extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(config_kwargs={"retries": {"max_attempts": 0}}))
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    bucket.s3.refuses = lambda call: 500
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(Exception, match="InternalError") as failure:
            extract(tenant)
        assert tenant.seen == []
    assert not isinstance(failure.value, AirflowFailException)


def test_a_failure_in_the_middle_of_a_slice_leaves_nothing(extract: Extract, bucket: Bucket) -> None:
    def later(request: Request) -> Fault | None:
        return responds(503) if int(request.params["offset"]) > 10 else None

    with Tenant(TWO_DAYS, Habits(cap=10), faults=later) as tenant, pytest.raises(CloudlockUnavailableError):
        extract(tenant)
    assert bucket.keys == []
    assert bucket.uploads == []
    assert bucket.puts() == []


@pytest.mark.parametrize("before", [False, True], ids=["at first", "when replacing"])
def test_a_refused_put_leaves_what_was_there(extract: Extract, bucket: Bucket, before: bool) -> None:
    with Tenant(TWO_DAYS) as tenant:
        if before:
            extract(tenant)
        versions = bucket.versions
        tenant.dismiss(*[each["id"] for each in tenant.window(DAY, NEXT)])
        bucket.s3.refuses = lambda call: 403 if call.split(" ")[0] in ("PUT", "POST") else None
        with pytest.raises(Exception, match=r"(?i)access ?denied|forbidden"):
            extract(tenant)
        assert bucket.versions == versions
        assert bucket.uploads == []


def test_an_object_is_one_put_however_large(extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # Of itself, s3fs would send an object of 100 MiB in parts; make it do so with one of some kilobytes.
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: chunksize or 1 << 10)
    with Tenant(TWO_DAYS) as tenant:
        (result,) = extract(tenant)["slices"]
    assert result["bytes"] > 4 << 10
    assert bucket.puts() == [KEY, RECEIPT_KEY]
    assert len(bucket.read(KEY)) == result["bytes"]


def test_two_destinations_share_a_bucket(extract: Extract, bucket: Bucket) -> None:
    windows: list[tuple[datetime, datetime]] = [(hour(0), hour(24)), (hour(6), hour(7))]
    with Tenant(TWO_DAYS) as tenant:
        for name, window in zip(("one", "two"), windows, strict=True):
            extract(tenant, *window, destination=f"s3://lake@{bucket.name}/{name}")
        extract(tenant, destination=f"s3://lake@{bucket.name}/one")
        for name, window in zip(("one", "two"), windows, strict=True):
            (key,) = (key for key in bucket.keys if key.startswith(f"{name}/threats/created_date"))
            assert [row["id"] for row in bucket.rows(key)] == ids(tenant.window(*window))


# --- two attempts at once ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
def test_s3_itself_refuses_who_was_overtaken(extract: Extract, bucket: Bucket, before: bool) -> None:
    def overtake(call: str) -> None:
        if call == f"PUT /{bucket.name}/{KEY}":  # whoever looked has looked
            bucket.s3.refuses = lambda call: None
            bucket.write(KEY, b"of another attempt")

    with Tenant(TWO_DAYS) as tenant:
        if before:
            extract(tenant)
            tenant.dismiss(TWO_DAYS[0]["id"])
        bucket.s3.refuses = overtake
        with pytest.raises(CloudlockDriftError, match="published by another attempt"):
            extract(tenant)
    assert bucket.read(KEY) == b"of another attempt"
    assert (RECEIPT_KEY in bucket.keys) is before


def test_an_object_that_went_meanwhile_is_not_replaced(extract: Extract, bucket: Bucket) -> None:
    def remove(call: str) -> None:
        if call == f"PUT /{bucket.name}/{KEY}":
            bucket.s3.refuses = lambda call: None
            bucket.delete(KEY)

    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        tenant.dismiss(TWO_DAYS[0]["id"])
        bucket.s3.refuses = remove
        with pytest.raises(CloudlockDriftError, match="published by another attempt"):
            extract(tenant)
        extract(tenant)
    assert KEY in bucket.keys


@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
def test_a_put_whose_answer_was_lost_counts(extract: Extract, bucket: Bucket, before: bool) -> None:
    lost: list[str] = []

    def lose(call: str) -> int | None:
        if call == f"PUT /{bucket.name}/{KEY}" and not lost:
            lost.append(call)
            return -500
        return None

    with Tenant(TWO_DAYS) as tenant:
        if before:
            extract(tenant)
            tenant.dismiss(TWO_DAYS[0]["id"])
        bucket.s3.refuses = lose
        assert extract(tenant)["slices"][0]["changed"]
        assert lost
        assert not extract(tenant)["slices"][0]["changed"]


def test_a_store_that_knows_no_conditions_is_looked_at_instead(extract: Extract, bucket: Bucket) -> None:
    conditional: list[str] = []

    def refuse_the_first(call: str) -> int | None:
        if call == f"PUT /{bucket.name}/{KEY}":
            conditional.append(call)
            return 501 if len(conditional) == 1 else None
        return None

    with Tenant(TWO_DAYS) as tenant:
        bucket.s3.refuses = refuse_the_first
        assert extract(tenant)["slices"][0]["changed"]
        assert len(conditional) == 2
        tenant.dismiss(TWO_DAYS[0]["id"])
        conditional.clear()
        assert extract(tenant)["slices"][0]["changed"]
    assert KEY in bucket.keys
