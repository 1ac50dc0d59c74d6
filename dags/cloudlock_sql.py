"""What the samples for cloud warehouses share: the slices of an extract, checked before they become SQL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from airflow.sdk.exceptions import AirflowFailException
from cloudlock_common import day_of

#: Statements that name objects (COPY and its like) take no parameters, so only characters without meaning may pass.
_PATH = re.compile(
    r"(?P<scheme>[a-z0-9]+)://(?:(?P<connection>[\w.-]+)@)?(?P<bucket>[\w.-]*)/"
    r"(?P<key>(?:[\w.=-]+/)*"
    r"(?P<file>threats/created_date=(?P<day>\d{4}-\d\d-\d\d)/threats-(?P=day)\.parquet))",
    re.ASCII,
)


@dataclass(frozen=True)
class Slice:
    """
    One slice of an extract: a UTC day.

    :param start: first instant of the day.
    :param end: first instant after it.
    :param rows: number of rows extracted. The object may have more by now.
    :param connection: the Airflow connection its path names, None for the default one.
    :param bucket: the bucket, as the store knows it.
    :param key: the object's name in the bucket.
    :param file: the object's name in the lake's folder.
    """

    start: datetime
    end: datetime
    rows: int
    connection: str | None
    bucket: str
    key: str
    file: str


def slices(extract: dict[str, Any], *schemes: str) -> list[Slice]:
    """
    Return the slices of an extract, changed or not.

    An extract that wrote, and was stopped before it could tell, says on its retry that nothing changed. To load what
    is there already changes nothing.

    :param extract: what ``CloudlockToObjectStorageOperator`` returned.
    :param schemes: the stores the warehouse reads; any when none is given.
    """
    return [_slice(part, schemes) for part in extract["slices"]]


def _slice(part: dict[str, Any], schemes: tuple[str, ...]) -> Slice:
    found = _PATH.fullmatch(part["path"])
    if found is None:
        raise AirflowFailException(
            f"{part['path']!r} is not put into SQL: it is no slice of threats, or has more than ASCII letters, digits "
            "and . _ = - in a name. Choose another folder for the lake."
        )
    if schemes and found["scheme"] not in schemes:
        raise AirflowFailException(
            f"{part['path']} is not where this warehouse reads. Choose a lake that begins with "
            f"{' or '.join(f'{scheme}://' for scheme in schemes)}."
        )
    start, end = day_of(part)
    if f"{start:%Y-%m-%d}" != found["day"]:
        raise AirflowFailException(f"{part['path']} is not the slice of {part['window']}. Clear the extract task.")
    return Slice(start, end, int(part["rows"]), found["connection"], found["bucket"], found["key"], found["file"])


def checked(name: str, value: str, pattern: str) -> str:
    """Return a value that goes into SQL, if all of it matches the pattern."""
    if not re.fullmatch(pattern, value, re.ASCII):
        raise AirflowFailException(f"{name} {value!r} is not put into SQL: it does not match {pattern}.")
    return value
