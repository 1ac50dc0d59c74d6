"""A lake in S3, through an Airflow connection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
import s3fs.core
import tenacity
from airflow.sdk import Asset, ObjectStoragePath
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import store

from airflow_provider_cloudlock.api import client
from airflow_provider_cloudlock.cli.audit import audit
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
    object_of,
    operator,
    receipt_of,
)
from tests.support import Fault, Habits, Request, Tenant, day_of_records, ids, record, responds

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
KEY, RECEIPT_KEY, QUARANTINE_KEY = (f"lake/{name}" for name in (OBJECT, RECEIPT, QUARANTINE))
UNKEPT = record(1, hour(6.5)) | {"id": None}


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    with S3() as server:
        yield server


@pytest.fixture
def bucket(s3: S3, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """Create a bucket; the Airflow connection ``lake`` leads to its server."""
    monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", s3.connection())
    monkeypatch.setattr(store, "_STORE_CACHE", {})
    bucket = Bucket(s3, f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}")
    s3.calls.clear()
    monkeypatch.setattr(s3, "refuses", lambda call: None)
    return bucket


@pytest.fixture
def extract(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Extract:
    """Return a function that extracts a window of a tenant into the bucket."""

    def run(
        tenant: Tenant, after: Any = DAY, before: Any = NEXT, context: Any = None, **options: Any
    ) -> dict[str, Any]:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        destination = options.pop("destination", f"s3://lake@{bucket.name}/lake")
        return operator(destination, after, before, **options).execute({} if context is None else context)

    return run


def test_operator_writes_objects_and_receipts(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS, Habits(cap=10)) as tenant:
        result = extract(tenant, DAY, AFTER)
        receipt = json.loads(bucket.read(RECEIPT_KEY))
        assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
        assert bucket.rows(f"lake/{object_of(NEXT)}") == [as_row(each) for each in tenant.window(NEXT, AFTER)]
    assert len(bucket.keys) == 4
    data = bucket.read(KEY)
    assert receipt["path"] == result["slices"][0]["path"] == f"s3://lake@{bucket.name}/{KEY}"
    assert receipt["uri"] == result["slices"][0]["uri"] == f"s3://{bucket.name}/{KEY}"
    assert (receipt["bytes"], receipt["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert ObjectStoragePath(receipt["path"]).read_bytes() == data


@pytest.mark.parametrize("destination", ["s3://lake@{}", "s3://lake@{}/", "s3://lake@{}/a/b c/"])
def test_operator_accepts_any_prefix(extract: Extract, bucket: Bucket, destination: str) -> None:
    destination = destination.format(bucket.name)
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, destination=destination)
        assert extract(tenant, destination=destination)["slices"][0]["changed"] is False
    prefix = destination.rstrip("/").removeprefix(f"s3://lake@{bucket.name}").lstrip("/")
    assert bucket.keys == sorted(f"{prefix}/{name}".lstrip("/") for name in (OBJECT, RECEIPT))


def test_operator_does_not_rewrite_unchanged_object(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        version = bucket.versions[KEY]
        assert bucket.puts() == [KEY, RECEIPT_KEY]
        (result,) = extract(tenant)["slices"]
        assert bucket.puts() == [RECEIPT_KEY]
        assert result["changed"] is False
        assert bucket.versions[KEY] == version
        assert result["sha256"] == hashlib.sha256(bucket.read(KEY)).hexdigest()

        tenant.dismiss(*[each["id"] for each in tenant.window(DAY, NEXT)])
        assert extract(tenant)["slices"][0]["changed"] is True
        assert bucket.puts() == [KEY, RECEIPT_KEY]
        assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]


@pytest.mark.parametrize("days", [1, 2, 12, 31])
def test_requests_per_day_stay_within_limits(extract: Extract, bucket: Bucket, days: int) -> None:
    first = date.fromisoformat(DAY)
    dates = [first + timedelta(days=n) for n in range(days)]
    objects, receipts = (sorted(f"lake/{name(str(day))}" for day in dates) for name in (object_of, receipt_of))
    with Tenant([each for day in dates for each in day_of_records(day, 3)]) as tenant:

        def calls() -> dict[str, list[str]]:
            """Extract the days, and return the keys of the requests by their method."""
            bucket.s3.calls.clear()
            extract(tenant, first, dates[-1] + timedelta(days=1))
            found: dict[str, list[str]] = {}
            for call in sorted(bucket.s3.calls):
                method = "LIST" if "list-type=2" in call else call.split(" ")[0]
                found.setdefault(method, []).append(call.removeprefix(f"{method} /{bucket.name}/"))
            return found

        new = calls()
        assert sum(map(len, new.values())) <= 2 * days + 3
        assert {method: len(keys) for method, keys in new.items()} == {"LIST": 2, "PUT": 2 * days}
        assert new["PUT"] == sorted([*objects, *receipts])
        for _ in range(2):
            unchanged = calls()
            assert sum(map(len, unchanged.values())) <= 2 * days + 1
            assert len(unchanged.pop("LIST")) == 1
            assert unchanged == {"GET": receipts, "PUT": receipts}
        tenant.dismiss(tenant.window(DAY, NEXT)[0]["id"])
        changed = calls()
        assert len(changed.pop("LIST")) == 1
        assert changed == {"GET": sorted([*receipts, objects[0]]), "PUT": sorted([*receipts, objects[0]])}
        unchanged = calls()
        assert len(unchanged.pop("LIST")) == 1
        assert unchanged == {"GET": receipts, "PUT": receipts}


def test_receipt_of_other_version_is_not_trusted(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        data, receipt = bucket.read(KEY), bucket.read(RECEIPT_KEY)
        with Tenant(TWO_DAYS) as other:
            other.dismiss(TWO_DAYS[0]["id"])
            extract(other)
        bucket.write(RECEIPT_KEY, receipt)  # the object is not the one that this receipt is about
        assert extract(tenant)["slices"][0]["changed"] is True
    assert bucket.read(KEY) == data
    assert json.loads(bucket.read(RECEIPT_KEY))["sha256"] == hashlib.sha256(data).hexdigest()


def test_quarantine_is_removed_when_the_record_is_gone(extract: Extract, bucket: Bucket) -> None:
    with Tenant([*TWO_DAYS, UNKEPT]) as tenant:
        with pytest.raises(AirflowFailException, match=f"s3://lake@{bucket.name}/{QUARANTINE_KEY}"):
            extract(tenant)
        assert bucket.keys == [QUARANTINE_KEY]
        assert json.loads(bucket.read(QUARANTINE_KEY)) == UNKEPT
        tenant.delete(None)
        extract(tenant)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])
        tenant.insert(UNKEPT)
        extract(tenant, max_quarantined=1)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY, QUARANTINE_KEY])
        tenant.delete(None)
        extract(tenant)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])


@pytest.mark.parametrize("number", [1, 2])
def test_quarantine_interrupted_at_any_put_is_removed_later(extract: Extract, bucket: Bucket, number: int) -> None:
    tried: list[str] = []

    def fail(call: str) -> int | None:
        if call.startswith("PUT "):
            tried.append(call)
        return 403 if len(tried) >= number else None

    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
    with Tenant([*TWO_DAYS, UNKEPT]) as tenant:
        bucket.s3.refuses = fail
        with pytest.raises(AirflowFailException, match="not allowed"):
            extract(tenant)
        assert len(tried) == number
    bucket.s3.refuses = lambda call: None
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
    assert bucket.keys == sorted([KEY, RECEIPT_KEY])


def test_quarantine_beside_unreadable_receipt_is_written(extract: Extract, bucket: Bucket) -> None:
    with Tenant([*TWO_DAYS, UNKEPT]) as tenant:
        extract(tenant, max_quarantined=1)
        bucket.write(RECEIPT_KEY, b"not a receipt")
        extract(tenant, max_quarantined=1)
    assert bucket.keys == sorted([KEY, RECEIPT_KEY, QUARANTINE_KEY])
    assert json.loads(bucket.read(RECEIPT_KEY))["quarantined"] == 1


def test_operator_sees_changes_made_by_others(extract: Extract, bucket: Bucket) -> None:
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
        bucket.write(f"lake/{FOLDER}/_SUCCESS", b"")
        assert extract(tenant)["slices"][0]["changed"] is True
        assert bucket.keys == sorted([KEY, RECEIPT_KEY, f"lake/{FOLDER}/_SUCCESS"])


# --- destinations that cannot be used, and requests that fail ---------------------------------------------------------


def test_missing_bucket_is_refused_before_the_first_request(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(
            AirflowFailException, match=r"s3://lake@nowhere-to-be-found/lake.* does not exist"
        ) as refusal:
            extract(tenant, destination="s3://lake@nowhere-to-be-found/lake")
        assert tenant.seen == []
    assert isinstance(refusal.value.__cause__, CloudlockConfigError)


def test_unlistable_bucket_is_refused_before_the_first_request(extract: Extract, bucket: Bucket) -> None:
    bucket.s3.refuses = lambda call: 403
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match=f"s3://lake@{bucket.name}/lake.* may not be listed") as refusal:
            extract(tenant)
        assert tenant.seen == []
    assert isinstance(refusal.value.__cause__, CloudlockConfigError)
    assert "secret" not in str(refusal.value)


def below(bucket: Bucket, folder: str) -> Callable[[str], int | None]:
    """Return a policy: list below a folder, read, write and remove there.

    Without the right to list the whole bucket, S3 responds with 403 for an object that does not exist.
    """
    there: set[str] = set(bucket.keys)

    def refuse(call: str) -> int | None:
        verb, url = call.split(" ", 1)
        path, _, query = url.partition("?")
        key = path.removeprefix(f"/{bucket.name}").removeprefix("/")
        if not key:
            return None if verb == "GET" and parse_qs(query).get("prefix", [""])[0].startswith(folder) else 403
        if verb == "PUT":
            there.add(key)
        is_allowed = key.startswith(folder) and (verb in ("PUT", "DELETE") or key in there)
        if verb == "DELETE":
            there.discard(key)
        return None if is_allowed else 403

    return refuse


@pytest.mark.parametrize("published", [(), (KEY,), (RECEIPT_KEY,), (KEY, RECEIPT_KEY)], ids=str)
def test_rights_below_folder_suffice(extract: Extract, bucket: Bucket, published: tuple[str, ...]) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        for key in {KEY, RECEIPT_KEY} - set(published):
            bucket.delete(key)
        bucket.s3.refuses = below(bucket, "lake/")
        assert extract(tenant)["slices"][0]["changed"] is (KEY not in published)
        assert extract(tenant, DAY, AFTER)["slices"][0]["changed"] is False
        tenant.insert(UNKEPT)
        with pytest.raises(AirflowFailException, match=QUARANTINE_KEY):
            extract(tenant)
        tenant.delete(None)
        extract(tenant)
        assert audit(f"s3://lake@{bucket.name}/lake", DAY, NEXT).is_whole
        bucket.s3.refuses = lambda call: None
    assert QUARANTINE_KEY not in bucket.keys


def test_rights_below_folder_suffice_for_quarantine(extract: Extract, bucket: Bucket) -> None:
    with Tenant([*TWO_DAYS, UNKEPT]) as tenant:
        bucket.s3.refuses = below(bucket, "lake/")
        with pytest.raises(AirflowFailException, match=QUARANTINE_KEY):
            extract(tenant)
        bucket.s3.refuses = lambda call: None
    assert bucket.keys == [QUARANTINE_KEY]


def test_unreadable_object_is_not_taken_for_missing(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        bucket.s3.refuses = lambda call: 403 if call == f"GET /{bucket.name}/{RECEIPT_KEY}" else None
        with pytest.raises(AirflowFailException, match=f"{RECEIPT_KEY} could not be read"):
            extract(tenant)


def test_outage_raises_retryable_error(extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(config_kwargs={"retries": {"max_attempts": 0}}))
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    bucket.s3.refuses = lambda call: 500
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(Exception, match="InternalError") as failure:
            extract(tenant)
        assert tenant.seen == []
    assert not isinstance(failure.value, AirflowFailException)


def test_failure_of_the_api_writes_nothing(extract: Extract, bucket: Bucket) -> None:
    def later(request: Request) -> Fault | None:
        return responds(503) if int(request.params["offset"]) > 10 else None

    with Tenant(TWO_DAYS, Habits(cap=10), faults=later) as tenant, pytest.raises(CloudlockUnavailableError):
        extract(tenant)
    assert bucket.keys == []
    assert bucket.uploads == []
    assert bucket.puts() == []


@pytest.mark.parametrize("before", [False, True], ids=["at first", "when replacing"])
def test_refused_put_leaves_bucket_unchanged(extract: Extract, bucket: Bucket, before: bool) -> None:
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


def test_large_object_is_one_put(extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    # s3fs sends an object of 100 MiB in parts by default; make it do so with one of some kilobytes.
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: chunksize or 1 << 10)
    with Tenant(TWO_DAYS) as tenant:
        (result,) = extract(tenant)["slices"]
    assert result["bytes"] > 4 << 10
    assert bucket.puts() == [KEY, RECEIPT_KEY]
    assert len(bucket.read(KEY)) == result["bytes"]


def test_two_destinations_share_a_bucket(extract: Extract, bucket: Bucket) -> None:
    windows = {"one": (DAY, NEXT), "two": (NEXT, AFTER)}
    with Tenant(TWO_DAYS) as tenant:
        for name, window in windows.items():
            extract(tenant, *window, destination=f"s3://lake@{bucket.name}/{name}")
        extract(tenant, destination=f"s3://lake@{bucket.name}/one")
        for name, window in windows.items():
            (key,) = (key for key in bucket.keys if key.startswith(f"{name}/threats/created_date"))
            assert [row["id"] for row in bucket.rows(key)] == ids(tenant.window(*window))


# --- options of writes ------------------------------------------------------------------------------------------------

ENCRYPTED = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "alias/lake", "StorageClass": "STANDARD_IA"}


@pytest.mark.parametrize("refused", [0, 1], ids=["conditional", "without conditions"])
def test_write_options_apply_to_every_object(
    extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, refused: int
) -> None:
    options = ENCRYPTED | {"ACL": "bucket-owner-full-control", "RequestPayer": "requester"}
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(write_options=options))
    tried: list[str] = []

    def refuse(call: str) -> int | None:
        tried.extend([call] if call == f"PUT /{bucket.name}/{KEY}" else [])
        return 501 if call == f"PUT /{bucket.name}/{KEY}" and len(tried) <= refused else None

    bucket.s3.refuses = refuse
    bucket.s3.headers.clear()
    with Tenant([*TWO_DAYS, UNKEPT]) as tenant:
        extract(tenant, max_quarantined=1)
        tenant.dismiss(TWO_DAYS[0]["id"])
        tenant.delete(None)
        sent = len(bucket.s3.calls)
        for key in (KEY, RECEIPT_KEY, QUARANTINE_KEY):
            head = bucket.s3.client.head_object(Bucket=bucket.name, Key=key)
            assert {name: head.get(name) for name in ENCRYPTED} == ENCRYPTED
        del bucket.s3.headers[sent:], bucket.s3.calls[sent:]
        extract(tenant)
    calls = list(zip(bucket.s3.calls, bucket.s3.headers, strict=True))
    assert {call.split(" ")[0] for call, _ in calls} >= {"GET", "PUT", "DELETE"}
    for call, headers in calls:
        assert headers.get("HTTP_X_AMZ_REQUEST_PAYER") == "requester", call
        assert (headers.get("HTTP_X_AMZ_ACL") == "bucket-owner-full-control") is call.startswith("PUT "), call


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            {"ServerSideEncrypton": "aws:kms"},
            "has 'ServerSideEncrypton'.* Known options: ServerSideEncryption, SSE",
        ),
        ({"IfMatch": "*"}, "write_options has 'IfMatch'"),
        ("aws:kms", "write_options='aws:kms' .*'lake' is not an object"),
    ],
)
def test_write_options_unknown_send_no_request(
    extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, options: Any, says: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_LAKE", bucket.s3.connection(write_options=options))
    with Tenant(TWO_DAYS) as tenant:
        with pytest.raises(AirflowFailException, match=says):
            extract(tenant)
        assert tenant.seen == []
    assert bucket.s3.calls == []


# --- concurrent attempts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
def test_stale_attempt_is_refused_by_s3(extract: Extract, bucket: Bucket, before: bool) -> None:
    def overtake(call: str) -> None:
        if call == f"PUT /{bucket.name}/{KEY}":  # no version is read from here on
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


def test_object_removed_meanwhile_is_not_replaced(extract: Extract, bucket: Bucket) -> None:
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


def test_stale_attempt_does_not_remove_quarantine(extract: Extract, bucket: Bucket) -> None:
    listings: list[str] = []

    def overtake(call: str) -> None:
        if "list-type" in call and KEY.rpartition("/")[2] in call:
            listings.append(call)
        if len(listings) == 2:  # the first one is before the API is read, the second one before the removal
            bucket.s3.refuses = lambda call: None
            bucket.write(KEY, b"of another attempt")

    with Tenant([*TWO_DAYS, UNKEPT]) as tenant:
        extract(tenant, max_quarantined=1)
        tenant.delete(None)
        bucket.s3.refuses = overtake
        with pytest.raises(CloudlockDriftError, match="published by another attempt"):
            extract(tenant)
    assert bucket.keys == sorted([KEY, RECEIPT_KEY, QUARANTINE_KEY])


@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
@pytest.mark.parametrize("status", [-500, -409], ids=["500", "409"])
@pytest.mark.parametrize("key", [KEY, RECEIPT_KEY], ids=["object", "receipt"])
def test_put_whose_response_was_lost_counts(
    extract: Extract, bucket: Bucket, key: str, status: int, before: bool
) -> None:
    lost: list[str] = []

    def lose(call: str) -> int | None:
        if call == f"PUT /{bucket.name}/{key}" and not lost:
            lost.append(call)
            return status
        return None

    with Tenant(TWO_DAYS) as tenant:
        if before:
            extract(tenant)
            tenant.dismiss(TWO_DAYS[0]["id"])
        bucket.s3.refuses = lose
        assert extract(tenant)["slices"][0]["changed"]
        assert lost
        assert not extract(tenant)["slices"][0]["changed"]


def test_receipt_whose_response_was_lost_is_announced_once(
    extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose(call: str) -> int | None:
        if call == f"PUT /{bucket.name}/{RECEIPT_KEY}":
            bucket.s3.refuses = lambda call: None
            return -500
        return None

    asset = Asset("s3://lake/threats")
    with Tenant(TWO_DAYS) as tenant:
        for refuses, announced in ((lose, True), (lambda call: None, False)):
            bucket.s3.refuses = refuses
            event = SimpleNamespace(extra={})
            extract(tenant, outlets=[asset], context={"outlet_events": {asset: event}})
            assert (event.extra != {}) is announced
            assert json.loads(bucket.read(RECEIPT_KEY))["announced"] is True


@pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
def test_conflict_with_concurrent_put_is_retryable(extract: Extract, bucket: Bucket, before: bool) -> None:
    with Tenant(TWO_DAYS) as tenant:
        if before:
            extract(tenant)
            tenant.dismiss(TWO_DAYS[0]["id"])
        versions = bucket.versions
        bucket.s3.refuses = lambda call: 409 if call == f"PUT /{bucket.name}/{KEY}" else None
        with pytest.raises(CloudlockDriftError, match="published by another attempt"):
            extract(tenant)
        assert bucket.versions == versions
        bucket.s3.refuses = lambda call: None
        assert extract(tenant)["slices"][0]["changed"]


def test_receipt_of_concurrent_attempt_on_same_object_stays(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant)
        receipt = bucket.read(RECEIPT_KEY) + b" "

        def overtake(call: str) -> None:
            if call == f"PUT /{bucket.name}/{RECEIPT_KEY}":
                bucket.s3.refuses = lambda call: None
                bucket.write(RECEIPT_KEY, receipt)

        bucket.s3.refuses = overtake
        extract(tenant)
    assert bucket.read(RECEIPT_KEY) == receipt


def test_store_without_conditional_put_compares_versions(
    extract: Extract, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3fs.core, "calculate_chunksize", lambda size, chunksize=None: chunksize or 1 << 10)
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
    assert bucket.puts() == [KEY, KEY, RECEIPT_KEY] * 2, "each file is one PUT"
    assert bucket.keys == sorted([KEY, RECEIPT_KEY])
