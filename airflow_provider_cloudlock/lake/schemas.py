"""One explicit Arrow schema per resource: never inferred, so that every slice of every year has the same types."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

#: Raised whenever a column is added or changed.
SCHEMA_VERSION = 1

#: JSON text of what the other columns cannot hold; null for an ordinary record.
EXTRA = "_extra"

#: Columns of texts that are seldom the same twice.
FREE_TEXT = ("description",)

_TIME = pa.timestamp("us", tz="UTC")
_TEXTS = pa.list_(pa.string())
_USERS = pa.list_(pa.struct([("display_name", pa.string()), ("email", pa.string())]))

#: Every field of the vendor's table ("Anomalies Endpoint") and of the sample response beside it.
_THREATS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        ("created_at", _TIME),
        ("updated_at", _TIME),
        ("detected_at", _TIME),
        ("start_time", _TIME),
        ("end_time", _TIME),
        ("status", pa.string()),
        ("dismissed_at", _TIME),
        ("dismiss_reason", pa.string()),
        ("threat_risk", pa.string()),
        ("threat_type", pa.string()),
        ("threat_entity", pa.string()),
        ("short_description", pa.string()),
        ("description", pa.string()),
        ("event_count", pa.int64()),
        ("platforms", _TEXTS),
        ("locations", _TEXTS),
        ("users", _USERS),
        ("suspicious_ip", pa.string()),
        (EXTRA, pa.string()),
    ]
)

SCHEMAS = {"threats": _THREATS}


@dataclass(frozen=True, slots=True)
class Layout:
    """How the records of a resource lie in a table.

    :param schema: the columns, ``_extra`` last.
    :param key: the column that identifies a record.
    :param time_fields: the columns with the creation time, the first one that is not null counts.
    """

    schema: pa.Schema
    key: str
    time_fields: tuple[str, ...]

    @property
    def time(self) -> pa.DataType:
        """The type of the creation time."""
        return self.schema.field(self.time_fields[0]).type

    def created(self, rows: pa.Table | pa.RecordBatch) -> pa.ChunkedArray | pa.Array:
        """Creation time of every row."""
        return pc.coalesce(*(rows[name] for name in self.time_fields))
