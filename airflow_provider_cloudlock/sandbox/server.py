"""The sandbox: a made-up tenant behind a real HTTP server on this machine."""

from __future__ import annotations

import datetime
import json
import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from airflow_provider_cloudlock.resources import resource_named
from airflow_provider_cloudlock.sandbox import control
from airflow_provider_cloudlock.sandbox.anomalies import Anomaly
from airflow_provider_cloudlock.sandbox.query import MAX_LIMIT, BadParameter, Query, parse_query
from airflow_provider_cloudlock.sandbox.tenant import Tenant, instant, utc
from airflow_provider_cloudlock.sandbox.transport import Server

THREATS = f"/api/v2/{resource_named('threats').path}"
DAYS_BACK = 30


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request the sandbox has answered; without its headers, so without the token."""

    method: str
    path: str
    params: Mapping[str, str]
    status: int


class Sandbox:
    """A stand-in for the Cloudlock API that serves ``GET /api/v2/threats``::

        with Sandbox(now=datetime(2026, 2, 1, tzinfo=UTC)) as sandbox:
            monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", sandbox.connection_json())

    Its anomalies are the same in every run. What is seen of them depends on the sandbox's clock: an anomaly shows from
    its creation on, and about one in six is dismissed some hours to five days later. What Cisco's page leaves open,
    such as whether bounds are inclusive, is settled in the module ``query``.

    :param host: address to listen on
    :param port: port to listen on; 0 takes a free one
    :param token: the access token it asks for
    :param per_day: anomalies a day
    :param first_day: the first UTC day that has any; by default the last day and the 29 before it
    :param last_day: the last UTC day that has any; by default today, whatever day it becomes
    :param seed: another seed, other anomalies
    :param page_cap: the most records in one answer, whatever ``limit`` asks for; the answer's ``limit`` tells it
    :param now: the sandbox's clock: an instant at which it stands still, or a callable; by default the real time
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str = "sandbox-token",  # noqa: S107 - it opens made-up data only
        per_day: int = 40,
        first_day: datetime.date | None = None,
        last_day: datetime.date | None = None,
        seed: int = 0,
        page_cap: int = MAX_LIMIT,
        now: datetime.datetime | Callable[[], datetime.datetime] | None = None,
    ) -> None:
        if not re.fullmatch(r"[!-~]+", token):
            raise ValueError("the token must be of printable ASCII characters, without blanks")
        if not 1 <= page_cap <= MAX_LIMIT:
            raise ValueError(f"page_cap must be from 1 to {MAX_LIMIT:,}, not {page_cap:,}")
        self.host = host
        self.port = port
        self.token = token
        self.page_cap = page_cap
        self.set_now(now)
        today = self.now.date()
        a_month_ago = (last_day or today) - datetime.timedelta(days=DAYS_BACK - 1)
        self._tenant = Tenant(per_day, first_day or a_month_ago, last_day, seed)
        self._server: Server | None = None
        # Bounded, for a sandbox that serves for days.
        self._requests: deque[SeenRequest] = deque(maxlen=10_000)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to listen."""
        if self._server is not None:
            raise RuntimeError("the sandbox is running already")
        self._server = Server((self.host, self.port), self._answer)
        self._server.start()

    def stop(self) -> None:
        """Stop to listen and close every connection; when it is not running, do nothing."""
        if self._server is not None:
            self._server.stop()
            self._server = None

    @property
    def url(self) -> str:
        """Where it listens: the host of an Airflow connection."""
        if self._server is None:
            raise RuntimeError("the sandbox is not running: call start(), or use it in a with statement")
        return f"http://{self.host}:{self._server.port}"

    def connection_json(self) -> str:
        """Return the Airflow connection, as AIRFLOW_CONN_CLOUDLOCK_DEFAULT wants it."""
        extra = {"tenant": "sandbox"}
        return json.dumps({"conn_type": "cloudlock", "host": self.url, "password": self.token, "extra": extra})

    @property
    def now(self) -> datetime.datetime:
        """The instant it is for the sandbox."""
        return utc(self._clock())

    def set_now(self, now: datetime.datetime | Callable[[], datetime.datetime] | None) -> None:
        """Set the clock.

        :param now: an instant at which it stands still, or a callable; None for the real time
        """
        if isinstance(now, datetime.datetime):
            fixed = utc(now)
            self._clock: Callable[[], datetime.datetime] = lambda: fixed
        else:
            self._clock = now or (lambda: datetime.datetime.now(datetime.UTC))

    @property
    def first_day(self) -> datetime.date:
        """The first UTC day that has anomalies."""
        return self._tenant.first_day

    @property
    def last_day(self) -> datetime.date:
        """The last UTC day that has anomalies."""
        return self._tenant.last_day or self.now.date()

    @property
    def requests(self) -> list[SeenRequest]:
        """The latest requests, oldest first."""
        return list(self._requests)

    def anomalies(self, first: datetime.date | None = None, last: datetime.date | None = None) -> list[Anomaly]:
        """Return what an honest reader must find now, oldest first.

        :param first: the first UTC day of creation; by default the first there is
        :param last: the last UTC day of creation, included; by default the last there is
        """
        midnight = datetime.time(tzinfo=datetime.UTC)
        query = Query(
            limit=MAX_LIMIT * 1_000,
            created_after=datetime.datetime.combine(first or self.first_day, midnight),
            created_before=datetime.datetime.combine(last or self.last_day, midnight) + datetime.timedelta(days=1),
            descending=False,
        )
        _, items = self._tenant.page(query, instant(self.now))
        return [json.loads(item) for item in items]

    def dismiss(self, anomaly_id: int, reason: str | None = None, at: datetime.datetime | None = None) -> None:
        """Dismiss an anomaly, as an analyst would.

        :param anomaly_id: which one
        :param reason: why
        :param at: when; by default now. It shows as dismissed once the sandbox's clock is there.
        """
        now = self.now
        self._tenant.dismiss(anomaly_id, reason, instant(at or now), instant(now))

    def add(self, created_at: datetime.datetime | None = None) -> Anomaly:
        """Add an active anomaly, and return it.

        :param created_at: its creation time; by default now. An earlier one makes it a late arrival.
        """
        now = self.now
        return self._tenant.add(instant(created_at or now), instant(now))

    def delete(self, anomaly_id: int) -> None:
        """Delete an anomaly.

        :param anomaly_id: which one
        """
        self._tenant.delete(anomaly_id, instant(self.now))

    def _answer(self, method: str, target: str, authorization: str | None) -> tuple[HTTPStatus, bytes]:
        url = urlsplit(target)
        parameters = parse_qsl(url.query, keep_blank_values=True)
        status, body = self._reply(method, url.path, parameters, authorization)
        self._requests.append(SeenRequest(method, url.path, dict(parameters), status))
        return status, body

    def _reply(
        self, method: str, path: str, parameters: list[tuple[str, str]], authorization: str | None
    ) -> tuple[HTTPStatus, bytes]:
        if authorization != f"Bearer {self.token}":
            return _refusal(HTTPStatus.UNAUTHORIZED, "The access token is missing or wrong.")
        if path.startswith(control.PREFIX) and self.host in control.HOSTS:
            return self._change(method, path.removeprefix(control.PREFIX), parameters)
        if path != THREATS:
            return _refusal(HTTPStatus.NOT_FOUND, f"The sandbox knows {THREATS} only.")
        if method != "GET":
            return _refusal(HTTPStatus.METHOD_NOT_ALLOWED, f"{THREATS} can be read with GET only.")
        now = self.now
        try:
            query = parse_query(parameters, now, self.page_cap)
        except BadParameter as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        total, items = self._tenant.page(query, instant(now))
        return HTTPStatus.OK, _envelope(query, total, items)

    def _change(self, method: str, action: str, parameters: list[tuple[str, str]]) -> tuple[HTTPStatus, bytes]:
        if method != "POST":
            return _refusal(HTTPStatus.BAD_REQUEST, f"{control.PREFIX}{action} takes POST only.")
        try:
            return HTTPStatus.OK, json.dumps(control.change(self, action, parameters)).encode()
        except BadParameter as error:
            return _refusal(HTTPStatus.BAD_REQUEST, str(error))
        except LookupError as error:
            return _refusal(HTTPStatus.NOT_FOUND, str(error.args[0]))


def _envelope(query: Query, total: int, items: list[bytes]) -> bytes:
    head = b'{"limit":%d,"offset":%d,"total":%d,"results":%d,"items":['
    start = head % (query.limit, query.offset, total, len(items))
    if not items:
        return start + b"]}"
    # Joined once: another copy of a large body would double the time a page takes.
    items[0] = start + items[0]
    items[-1] += b"]}"
    return b",".join(items)


def _refusal(status: HTTPStatus, message: str) -> tuple[HTTPStatus, bytes]:
    return status, json.dumps({"message": message}).encode()
