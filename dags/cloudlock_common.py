"""What the sample DAGs share, whatever warehouse they load."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from airflow.sdk import Asset, ObjectStoragePath, Param
from airflow.sdk.exceptions import AirflowFailException

HOME = Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "cloudlock"


def default_of(name: str, otherwise: str) -> str:
    """
    Return the default of a setting: the environment variable ``CLOUDLOCK_`` and its name, which scheduled runs follow.

    Set the variable for the DAG processor, the scheduler and the workers alike.
    """
    return os.environ.get(f"CLOUDLOCK_{name.upper()}", otherwise)


#: The pool of the tasks that send requests to the API. Make one with few slots.
POOL = default_of("pool", "default_pool")

#: Tells those who follow it which days of the lake changed.
THREATS = Asset("cloudlock_threats")

LAKE = Param(
    default_of("lake", f"file://{HOME}/lake"),
    type="string",
    minLength=1,
    description="Folder of the Parquet objects, in any object store with its Airflow connection: "
    "`s3://aws_default@my-bucket/cloudlock`, `gs://…`, `abfs://…` or `file:///…`.",
)

REFRESH_DAYS = Param(
    7,
    type="integer",
    minimum=0,
    maximum=90,
    description="How many days before the run's own day are read again, for what was dismissed or came late.",
)

#: A backfill reads the other days in runs of their own, maybe at this very moment.
REFRESH = "{{ 0 if dag_run.run_type == 'backfill' else params.refresh_days }}"

#: The API may be out of reach for a while: the waits between tries grow to an hour.
DEFAULT_ARGS = {
    "owner": "security-data",
    "retries": 4,
    "retry_delay": timedelta(minutes=1),
    "retry_exponential_backoff": 2,
    "max_retry_delay": timedelta(hours=1),
}


def day_of(part: dict[str, Any]) -> tuple[datetime, datetime]:
    """
    Return the first instant of a slice's UTC day and the first instant after it.

    A load replaces the rows of the whole day. The window of a slice ends earlier if the day was in progress, but a
    later extraction may have replaced the object with one that has more rows.
    """
    start = datetime.fromisoformat(part["window"][0])
    if start.timetz() != time(tzinfo=UTC):
        raise AirflowFailException(f"{part['path']} does not begin at midnight UTC: {start}. Clear the extract task.")
    return start, start + timedelta(days=1)


@contextmanager
def local_copy(part: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """
    Fetch the object of a slice, through the Airflow connection its path names, and give the file and its SHA-256.

    A copy needs no extension of the warehouse for any store, and its SHA-256 is that of the rows that are loaded: a
    later extraction may have replaced the object. It may hold more rows then, but none of another day.
    """
    path = part["path"]
    source = ObjectStoragePath(path)
    with TemporaryDirectory(prefix="cloudlock-") as folder:
        file = Path(folder, "slice.parquet")
        try:
            source.fs.get_file(source.path, str(file))
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{path} no longer exists in the lake. Its rows in the warehouse are unchanged. Clear the extract "
                "task and this one together."
            ) from error
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        try:
            rows, others = counted(file, *day_of(part))
        except (ValueError, NotImplementedError, OSError) as error:  # as Arrow says that a file is damaged
            raise AirflowFailException(f"{path} cannot be read as Parquet: {error}. Extract its day again.") from error
        if others or rows < part["rows"]:
            raise AirflowFailException(
                f"{path} has {rows} rows, {others} of them outside its day; {part['rows']} were extracted. Its rows "
                "in the warehouse are unchanged. Clear the extract task and this one together."
            )
        yield file, sha256


def counted(file: Path, start: datetime, end: datetime) -> tuple[int, int]:
    """Count the rows of a Parquet file, and the rows that were created before or after a period."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, page_checksum_verification=True) as parquet:
        times = parquet.read(["created_at", "detected_at"])
    created = pc.coalesce(*times.columns)
    first, last = (pa.scalar(edge, created.type) for edge in (start, end))
    inside = pc.and_(pc.greater_equal(created, first), pc.less(created, last))
    return times.num_rows, times.num_rows - (pc.sum(inside).as_py() or 0)
