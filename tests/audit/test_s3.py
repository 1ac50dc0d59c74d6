"""A lake in S3."""

from __future__ import annotations

import pytest

from airflow_provider_cloudlock.audit.report import audit
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockError
from tests.audit.receipts import kinds, texts
from tests.integration.bucket import Bucket
from tests.integration.test_s3 import KEY, RECEIPT_KEY, TWO_DAYS, bucket, extract, part, s3
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, FOLDER, hour
from tests.support import Tenant

__all__ = ["bucket", "extract", "s3"]

AFTER = "2026-01-04"


def test_whole_and_then_not(extract: Extract, bucket: Bucket) -> None:
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
    bucket.write(f"lake/threats/{FOLDER}/", b"")  # as a console marks a folder
    assert kinds(audit(destination, DAY, AFTER)) == [(), ()]
    assert kinds(audit(destination, DAY, AFTER, verify=True)) == [("changed",), ()]
    bucket.delete(KEY)
    assert kinds(audit(destination, DAY, AFTER)) == [("missing",), ()], "what was listed before is not relied on"
    bucket.delete(RECEIPT_KEY)
    assert kinds(audit(destination, DAY, AFTER)) == [("gap",), ()]


def test_hours_that_overlap(extract: Extract, bucket: Bucket) -> None:
    with Tenant(TWO_DAYS) as tenant:
        extract(tenant, DAY, hour(6))
        obsolete = {key: bucket.read(key) for key in bucket.keys}
        extract(tenant)
    for key, data in obsolete.items():
        bucket.write(key, data)
    assert part(0, 6) in obsolete
    found = audit(f"s3://lake@{bucket.name}/lake", DAY, "2026-01-03")
    assert kinds(found) == [("overlap",)]
    assert "00:00 to 06:00" in texts(found)[0]


def test_an_empty_bucket_and_one_that_may_not_be_seen(bucket: Bucket) -> None:
    with pytest.raises(CloudlockConfigError, match="There is nothing in"):
        audit(f"s3://lake@{bucket.name}/lake")
    bucket.s3.refuses = lambda call: 403
    with pytest.raises(CloudlockError, match=f"s3://lake@{bucket.name}/lake") as refusal:
        audit(f"s3://lake@{bucket.name}/lake")
    assert "secret" not in str(refusal.value)
