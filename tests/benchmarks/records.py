"""Anomalies of a day, rendered once as JSON, for the server of the benchmarks."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from random import Random
from typing import Any

from airflow_provider_cloudlock.sandbox.anomalies import DAY, IDS_PER_DAY, iter_anomalies

#: Number of different anomalies; further records repeat them with other ids and other times.
_TEMPLATES = 4_096
_TIMES = ("start_time", "end_time", "updated_at", "dismissed_at")
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Template:
    """An anomaly without its id and its times.

    :param text: JSON with placeholders for the id, the creation time and each time of ``offsets``.
    :param places: names of the placeholders, in the order of the text.
    :param offsets: offsets of the other times from the creation time; a time that is null is part of the text.
    :param event_count: ``event_count`` of the records.
    """

    text: bytes
    places: tuple[str, ...]
    offsets: dict[str, timedelta]
    event_count: int

    def fill(self, number: int, created: datetime, zeros: str) -> bytes:
        """Render one record.

        :param zeros: digits appended to the fraction of ``start_time``.
        """
        values: list[int | bytes] = []
        for place in self.places:
            if place == "id":
                values.append(number)
                continue
            moment = created if place == "created_at" else created + self.offsets[place]
            written = moment.isoformat(timespec="microseconds")
            values.append((written.replace("+", f"{zeros}+") if place == "start_time" else written).encode())
        return self.text % tuple(values)


class Day:
    """The records of one UTC day, oldest first, with distinct ids and creation times.

    They are in one buffer, each followed by a comma: a page is a slice of the buffer.

    :param day: day of the creation times.
    :param rows: number of records.
    :param odd: share of odd records, spread evenly; with 1 every record is odd. In turn they have an unknown field, an
        ``event_count`` that is text, and a ``start_time`` with nine digits.
    """

    def __init__(self, day: date, rows: int, odd: float) -> None:
        midnight = datetime.combine(day, time(), UTC)
        first_id = day.toordinal() * IDS_PER_DAY
        every = round(1 / odd) if odd else 0
        plain, strange = _templates()
        draw = Random(day.toordinal()).random
        step = DAY // max(rows, 1)
        #: Creation times in microseconds since midnight.
        self._moments = array("q", (int((number + draw()) * step) for number in range(rows)))
        #: Offset of each record in the buffer, and the end of the last one.
        self._starts = array("q", [0])
        #: Sum of ``event_count`` of all records before each record.
        self._events = array("q", [0])
        pieces, at, events = [], 0, 0
        for number, moment in enumerate(self._moments):
            created, place = midnight + timedelta(microseconds=moment), number % len(plain)
            if every and number % every == every - 1:
                kind = number // every % 3
                template, zeros = strange[kind][place], "000" if kind == 2 else ""
            else:
                template, zeros = plain[place], ""
            pieces.append(template.fill(first_id + number, created, zeros))
            at += len(pieces[-1]) + 1
            events += template.event_count
            self._starts.append(at)
            self._events.append(events)
        self._buffer = memoryview(b",".join([*pieces, b""]))
        self._midnight = midnight

    def place(self, moment: datetime) -> int:
        """Return the number of records created before an instant."""
        return bisect_left(self._moments, (moment - self._midnight) // timedelta(microseconds=1))

    def items(self, first: int, last: int) -> memoryview:
        """Return the records ``[first, last)`` with a comma between them and one at the end."""
        return self._buffer[self._starts[first] : self._starts[last]]

    def events(self, first: int, last: int) -> int:
        """Return the sum of ``event_count`` of the records ``[first, last)``."""
        return self._events[last] - self._events[first]


@cache
def _templates() -> tuple[list[Template], list[list[Template]]]:
    """Return the ordinary templates, and those of each kind of odd record."""
    plain = list(iter_anomalies(date(2026, 1, 1), _TEMPLATES))
    unknown = [anomaly | {"confidence": 0.93, "labels": {"team": "soc"}} for anomaly in plain]
    texts = [anomaly | {"event_count": str(anomaly["event_count"])} for anomaly in plain]
    ordinary = [_template(anomaly) for anomaly in plain]
    return ordinary, [[_template(anomaly) for anomaly in unknown], [_template(anomaly) for anomaly in texts], ordinary]


def _template(anomaly: dict[str, Any]) -> Template:
    created = datetime.fromisoformat(anomaly["created_at"])
    offsets = {name: datetime.fromisoformat(anomaly[name]) - created for name in _TIMES if anomaly[name] is not None}
    marks = {"id": "%d", "created_at": '"%b"', **dict.fromkeys(offsets, '"%b"')}
    fields = (
        f'"{name}":' + (marks[name] if name in marks else _to_json(value).replace("%", "%%"))
        for name, value in anomaly.items()
    )
    return Template(
        text=("{" + ",".join(fields) + "}").encode(),
        places=tuple(name for name in anomaly if name in marks),
        offsets=offsets,
        event_count=int(anomaly["event_count"]),
    )
