"""A lake in S3."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from airflow_provider_cloudlock.cli.audit import audit
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockError
from tests.cli.audit.receipts import kinds
from tests.integration.bucket import Bucket
from tests.integration.test_s3 import bucket, extract, s3
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, FOLDER, NEXT, OBJECT, RECEIPT, receipt_of
from tests.support import Tenant, day_of_records

__all__ = ["bucket", "extract", "s3"]

AFTER = "2026-01-04"
TWO_DAYS = [*day_of_records(DAY, 24), *day_of_records(NEXT, 24)]
KEY, RECEIPT_KEY = f"lake/{OBJECT}", f"lake/{RECEIPT}"


def test_audit_sees_every_change_of_the_bucket(extract: Extract, bucket: Bucket) -> None:
    destination = f"s3://lake@{bucket.name}/lake"
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, AFTER)
    before = bucket.versions
    bucket.s3.calls.clear()
    found = audit(destination, DAY, AFTER, verify=True)
    assert found.is_whole
    assert (found.uri, found.rows) == (f"{destination}/threats", 48)
    assert found.days[0].bytes == len(bucket.read(KEY))
    assert bucket.versions == before, "nothing is written"
    assert {call.split(" ")[0] for call in bucket.s3.calls} <= {"GET", "HEAD"}

    data = bytearray(bucket.read(KEY))
    data[len(data) // 3] ^= 1
    bucket.write(KEY, bytes(data))
    bucket.write(f"lake/{FOLDER}/", b"")  # as a console marks a folder
    assert kinds(audit(destination, DAY, AFTER)) == [(), ()]
    assert kinds(audit(destination, DAY, AFTER, verify=True)) == [("changed",), ()]
    bucket.delete(KEY)
    assert kinds(audit(destination, DAY, AFTER)) == [("missing",), ()], "cached listings are not used"
    bucket.delete(RECEIPT_KEY)
    assert kinds(audit(destination, DAY, AFTER)) == [("gap",), ()]
    bucket.write(f"lake/{FOLDER}/part-0001.parquet", bytes(data))
    assert kinds(audit(destination, DAY, AFTER)) == [("gap", "foreign"), ()]


@pytest.mark.parametrize("days", [1, 12])
def test_audit_gets_each_receipt_once_and_lists_folders(extract: Extract, bucket: Bucket, days: int) -> None:
    first = date.fromisoformat(DAY)
    last = first + timedelta(days=days)
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, first - timedelta(days=3), last + timedelta(days=3))
    bucket.s3.calls.clear()
    assert audit(f"s3://lake@{bucket.name}/lake", first, last).is_whole
    calls = bucket.s3.calls
    gets = [call for call in calls if "_receipts/" in call and "list-type" not in call]
    assert sorted(gets) == [
        f"GET /{bucket.name}/lake/{receipt_of(str(first + timedelta(days=n)))}" for n in range(days)
    ]
    assert len(calls) <= days + 6, calls


def test_audit_empty_or_unlistable_bucket_raises(bucket: Bucket) -> None:
    with pytest.raises(CloudlockConfigError, match="There is nothing in"):
        audit(f"s3://lake@{bucket.name}/lake")
    bucket.s3.refuses = lambda call: 403
    with pytest.raises(CloudlockError, match=f"s3://lake@{bucket.name}/lake") as refusal:
        audit(f"s3://lake@{bucket.name}/lake")
    assert "secret" not in str(refusal.value)
