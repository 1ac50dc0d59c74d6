"""
Load Cloudlock threats from the lake into an Iceberg table: one commit for each UTC day.

The official Iceberg provider gives the catalog, pyiceberg writes. A commit deletes the rows of the slice's day and
appends those of its object; readers see one or the other, never half. The last snapshot of the commit carries the
receipt (``cloudlock.sha256`` and more), and these receipts are the ledger: a load brings in only what the table does
not have, and may run twice, late, in any order or beside another. Where they are gone, as old snapshots are expired, a
slice is loaded once more, and the same rows stand there.

What a load brings in is the object that lies in the lake when its turn has come, whatever the extract said of it: an
older receipt can never bring back older rows.

A day is held in memory as a whole.

The table keeps everything the lake holds but one thing: pyiceberg 0.12 writes ``users`` that are null as an empty list
(https://github.com/apache/iceberg-python/issues/3833).
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import Param, task
from airflow.sdk.exceptions import AirflowFailException
from cloudlock_common import day_of, default_of, local_copy
from tenacity import Retrying, before_sleep_log, retry_if_exception_type, stop_after_attempt, wait_random_exponential

if TYPE_CHECKING:
    from pyiceberg.catalog import Catalog
    from pyiceberg.schema import Schema
    from pyiceberg.table import Table

log = logging.getLogger(__name__)

#: An ordinary Airflow connection of the type Iceberg.
CONNECTION = "iceberg_default"

TABLE = Param(
    default_of("table", "cloudlock.threats"),
    type="string",
    pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$",
    description="Table, as `namespace.table`, which is made when missing. The namespace itself must exist, in the "
    f"catalog of the connection `{CONNECTION}`.",
)

#: How often a slice is tried when others commit to the table at the same time.
TRIES = 10


@task
def load(extracts: Sequence[dict[str, Any]], table: str) -> dict[str, int]:
    """
    Bring the table level with the lake for every slice the extracts name.

    :param extracts: what ``CloudlockToObjectStorageOperator`` returned, once for each of its tasks.
    :param table: namespace and name of the table.
    """
    from airflow.providers.apache.iceberg.hooks.iceberg import IcebergHook
    from pyiceberg.exceptions import CommitFailedException

    done = {"slices_loaded": 0, "slices_skipped": 0, "rows_loaded": 0}
    # Who was overtaken by another commit begins again: with the table as it is by then, and the object too.
    overtaken = Retrying(
        retry=retry_if_exception_type(CommitFailedException),
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=0.1, max=30),
        before_sleep=before_sleep_log(log, logging.INFO),
        reraise=True,
    )
    with closing(IcebergHook(CONNECTION).catalog) as catalog:
        # What mapped tasks return is a lazy sequence, and a loop takes a failed look-up for its end: [:] fetches all of
        # it or fails.
        for extract in extracts[:]:
            for part in extract["slices"]:
                rows = overtaken(bring_in, catalog, table, extract["resource"], part)
                if rows is None:
                    done["slices_skipped"] += 1
                else:
                    done["rows_loaded"] += rows
                    done["slices_loaded"] += 1
    log.info("%s: %s", table, done)
    return done


def bring_in(catalog: Catalog, name: str, resource: str, part: dict[str, Any]) -> int | None:
    """Load one slice, and return its rows; none if the table has it."""
    # The table is looked at before the object is fetched. As a commit fails when the table is no longer the one that
    # was looked at, what it brings in is never older than what another load brought in before it.
    table = open_table(catalog, name)
    return None if is_loaded(table, resource, part) else load_slice(table, resource, part)


def open_table(catalog: Catalog, name: str) -> Table:
    """Return the table as it is now, and make it when missing."""
    from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
    from pyiceberg.partitioning import PartitionField, PartitionSpec
    from pyiceberg.transforms import DayTransform

    try:
        return catalog.load_table(name)
    except NoSuchTableError:
        log.info("There is no table %s yet: it is made.", name)
    schema = columns()
    # Rows without created_at, which count by detected_at, share a partition of their own.
    by_day = PartitionField(schema.find_field("created_at").field_id, 1_000, DayTransform(), "created_day")
    try:
        return catalog.create_table_if_not_exists(name, schema, partition_spec=PartitionSpec(by_day))
    except NoSuchNamespaceError as error:
        raise AirflowFailException(
            f"There is no namespace {name.rpartition('.')[0]} in the catalog of the connection {CONNECTION}. "
            "Make it there, or name a table of another one."
        ) from error


def columns() -> Schema:
    """Return the columns of a new table."""
    from pyiceberg.schema import Schema
    from pyiceberg.types import ListType, LongType, NestedField, StringType, StructType, TimestamptzType

    text, time = StringType(), TimestamptzType()
    user = StructType(NestedField(24, "display_name", text), NestedField(25, "email", text))
    return Schema(
        NestedField(1, "id", text, required=True),
        NestedField(2, "created_at", time),
        NestedField(3, "updated_at", time),
        NestedField(4, "detected_at", time),
        NestedField(5, "start_time", time),
        NestedField(6, "end_time", time),
        NestedField(7, "status", text),
        NestedField(8, "dismissed_at", time),
        NestedField(9, "dismiss_reason", text),
        NestedField(10, "threat_risk", text),
        NestedField(11, "threat_type", text),
        NestedField(12, "threat_entity", text),
        NestedField(13, "short_description", text),
        NestedField(14, "description", text),
        NestedField(15, "event_count", LongType()),
        NestedField(16, "platforms", ListType(21, text, element_required=False)),
        NestedField(17, "locations", ListType(22, text, element_required=False)),
        NestedField(18, "users", ListType(23, user, element_required=False)),
        NestedField(19, "suspicious_ip", text),
        NestedField(20, "_extra", text),
    )


def is_loaded(table: Table, resource: str, part: dict[str, Any]) -> bool:
    """
    Return whether the table holds this very object.

    The last load of the day decides. The extract's ``changed`` is not read: an extract that was stopped after it wrote,
    and before it returned, reports on its retry that nothing changed.
    """
    start, extracted_until = day_of(part)[0], datetime.fromisoformat(part["window"][1])
    snapshots = {snapshot.snapshot_id: snapshot for snapshot in table.snapshots()}
    # From parent to parent, as a table that was rolled back keeps the snapshots it no longer counts.
    snapshot = table.current_snapshot()
    while snapshot:
        receipt: Mapping[str, str] = snapshot.summary.additional_properties if snapshot.summary else {}
        if receipt.get("cloudlock.resource") == resource:
            since, until = (datetime.fromisoformat(receipt[f"cloudlock.window-{edge}"]) for edge in ("start", "end"))
            if since == start:
                return receipt["cloudlock.sha256"] == part["sha256"] and until >= extracted_until
        snapshot = snapshots.get(snapshot.parent_snapshot_id)
    return False


def load_slice(table: Table, resource: str, part: dict[str, Any]) -> int:
    """Replace the rows of a slice's day with those of its object, and return their number."""
    import pyarrow.parquet as pq

    start, end = day_of(part)
    with local_copy(part) as (file, sha256), pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        rows = parquet.read()
    receipt = {
        "cloudlock.resource": resource,
        "cloudlock.window-start": part["window"][0],
        "cloudlock.window-end": part["window"][1],
        "cloudlock.sha256": sha256,
        "cloudlock.rows": str(rows.num_rows),
        "cloudlock.path": part["path"],
    }
    # In this copy of the table's settings alone: pyiceberg's own retry would put these rows on top of a commit that was
    # made meanwhile, without another look at the ledger and the lake.
    table.metadata.properties["commit.retry.num-retries"] = "0"
    with table.transaction() as transaction:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Delete operation did not match any records")  # a day's first load
            for old in in_period(start, end):
                transaction.delete(old)
        # Only the snapshot with the new rows has the receipt.
        transaction.append(rows, snapshot_properties=receipt)
    return int(rows.num_rows)


def in_period(start: datetime, end: datetime) -> tuple[str, str]:
    """
    Return the filters of the rows created in a period, and of those without creation time that were detected in it.

    They are two, as pyiceberg 0.12 cannot do with both in one: it would keep every row that has a null in one of these
    columns (and not find its way past the partition without a day).
    """
    created, detected = (
        f"{time} >= '{start.isoformat()}' and {time} < '{end.isoformat()}'" for time in ("created_at", "detected_at")
    )
    return created, f"created_at is null and {detected}"
