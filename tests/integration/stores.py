"""What every object store must do, whoever makes it, and servers on loopback that tell, refuse and lose answers."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from multiprocessing.context import ForkServerContext
from threading import Thread
from typing import Any, ClassVar, NamedTuple

import pyarrow.parquet as pq
import pytest
import tenacity
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import attach, store
from fsspec import AbstractFileSystem

from airflow_provider_cloudlock.api import client
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDriftError, CloudlockUnavailableError
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
)
from tests.support import Tenant, day_of_records, ids, record

KEY, RECEIPT_KEY, QUARANTINE_KEY = (f"lake/threats/{name}" for name in (OBJECT, RECEIPT, QUARANTINE))
RECORDS = day_of_records(DAY, 24)
#: The status of no answer at all.
DROPPED = 0


def forkserver() -> ForkServerContext:
    """Make processes from one that has imported everything; it ends with this one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        [
            "adlfs",
            "airflow.sdk.execution_time.supervisor",
            "airflow_provider_cloudlock.lake.decode",
            "airflow_provider_cloudlock.operators.extraction",
            "gcsfs.core",
            "tests.integration.stores",
        ]
    )
    return context


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class StoreServer(ABC):
    """Passes requests on to a server of a store: ``calls`` are the requests, queries included."""

    #: What the store's addresses begin with.
    scheme: ClassVar[str]

    def __init__(self, port: int) -> None:
        self._behind = port
        self.calls: list[str] = []
        #: The status that a call is refused with, negative when it is served all the same; None when that is all.
        self.refuses: Callable[[str], int | None] = lambda call: None

    def __enter__(self) -> StoreServer:
        """Listen, on a port of its own."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"store": self}))
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def answer(self, call: str, headers: list[tuple[str, str]], body: bytes) -> Answer | None:
        """Answer a call, None for a connection that is lost."""
        self.calls.append(call)
        status = self.refuses(call)
        if status is None or status <= 0:
            answer = self.served(call, headers, body)
            if status is None:
                return answer
        return self.refusal(abs(status)) if status else None

    def served(self, call: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Let the server behind answer a call."""
        verb, path = call.split(" ", 1)
        server = HTTPConnection("127.0.0.1", self._behind, timeout=20)
        try:
            server.request(verb, path, body, dict(headers))
            response = server.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            server.close()

    @abstractmethod
    def refusal(self, status: int) -> Answer:
        """Refuse as the store does."""

    @abstractmethod
    def bucket(self, name: str) -> StoreBucket:
        """Make a bucket."""

    @abstractmethod
    def filesystem(self) -> Callable[[], AbstractFileSystem]:
        """Return what makes the filesystem that leads here, in this process or another one."""

    @abstractmethod
    def puts(self, call: str, bucket: str, key: str) -> bool:
        """Whether a call is the upload of an object."""

    @staticmethod
    @abstractmethod
    def changes(call: str) -> bool:
        """Whether a call changes anything."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ClassVar[StoreServer]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.store.answer(f"{self.command} {self.path}", self.headers.items(), body)
        self.close_connection = True
        if answer is None:
            return
        with suppress(ConnectionError):  # it did not wait
            self._send(answer)

    def _send(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        length = dict(answer.headers).get("content-length") if self.command == "HEAD" else None
        for name, value in answer.headers:
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "keep-alive"):
                self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(answer.body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class StoreBucket(ABC):
    """A bucket, seen by another client than the product's, and past the ear."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def keys(self) -> list[str]:
        """Every object there is."""
        return sorted(self.versions)

    @property
    @abstractmethod
    def versions(self) -> dict[str, str]:
        """The version of every object, also of those that were begun and not ended."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return an object."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Put an object."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object."""

    @abstractmethod
    def drop(self) -> None:
        """Remove the bucket itself."""

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Return the rows of an object."""
        rows: list[dict[str, Any]] = pq.ParquetFile(BytesIO(self.read(key))).read().to_pylist()
        return rows


def extract_there(
    scheme: str, filesystem: Callable[[], AbstractFileSystem], tenant: str, destination: str, options: dict[str, Any]
) -> None:
    """Run the operator in a process that is to die."""
    os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = tenant
    attach(scheme, "lake", fs=filesystem())
    operator(destination, **options).execute({})


class StoreTests:
    """The tests of a store; a class of each one's own brings the fixture ``server``."""

    @pytest.fixture
    def bucket(
        self, server: StoreServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> StoreBucket:
        """A new bucket; the connection ``lake`` leads to its server."""
        monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))
        monkeypatch.setattr(store, "_STORE_CACHE", {})
        monkeypatch.setattr(server, "refuses", lambda call: None)
        bucket = server.bucket(f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}")
        attach(server.scheme, "lake", fs=server.filesystem()())
        server.calls.clear()
        return bucket

    @pytest.fixture
    def extract(self, server: StoreServer, bucket: StoreBucket, monkeypatch: pytest.MonkeyPatch) -> Extract:
        """Extract a window of a tenant into the bucket."""

        def run(
            tenant: Tenant, after: Any = DAY, before: Any = NEXT, context: Any = None, **options: Any
        ) -> dict[str, Any]:
            monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
            destination = options.pop("destination", f"{server.scheme}://lake@{bucket.name}/lake")
            return operator(destination, after, before, **options).execute({} if context is None else context)

        return run

    def test_published_left_alone_and_replaced(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket
    ) -> None:
        with Tenant(RECORDS) as tenant:
            (result,) = extract(tenant)["slices"]
            data = bucket.read(KEY)
            assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
            receipt = json.loads(bucket.read(RECEIPT_KEY))
            assert receipt["path"] == result["path"] == f"{server.scheme}://lake@{bucket.name}/{KEY}"
            assert (receipt["bytes"], receipt["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())

            versions = bucket.versions
            assert extract(tenant)["slices"][0]["changed"] is False
            assert bucket.versions[KEY] == versions[KEY]
            assert bucket.versions[RECEIPT_KEY] != versions[RECEIPT_KEY]

            tenant.dismiss(RECORDS[0]["id"])
            assert extract(tenant)["slices"][0]["changed"] is True
            assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])
        assert sum(server.puts(call, bucket.name, KEY) for call in server.calls) == 2

    def test_a_day_supersedes_its_hours_and_what_belongs_to_them(self, extract: Extract, bucket: StoreBucket) -> None:
        with Tenant([*RECORDS, record(1, hour(6.5)) | {"id": None}]) as tenant:
            extract(tenant, hour(0), hour(6))
            extract(tenant, hour(6), hour(7), max_quarantined=1)
            assert len(bucket.keys) == 5
            with pytest.raises(AirflowFailException, match="overlaps the published"):
                extract(tenant, hour(5), hour(8))
            tenant.delete(None)
            extract(tenant)
            assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    # --- where it cannot work -----------------------------------------------------------------------------------------

    def test_a_bucket_that_does_not_exist_is_refused_before_the_first_request(
        self, server: StoreServer, extract: Extract
    ) -> None:
        with Tenant(RECORDS) as tenant:
            with pytest.raises(AirflowFailException, match=r"nowhere-to-be-found/lake.* does not exist"):
                extract(tenant, destination=f"{server.scheme}://lake@nowhere-to-be-found/lake")
            assert tenant.seen == []

    def test_a_bucket_that_may_not_be_seen_is_refused_before_the_first_request(
        self, server: StoreServer, extract: Extract
    ) -> None:
        server.refuses = lambda call: 403
        with Tenant(RECORDS) as tenant:
            with pytest.raises(AirflowFailException, match="may not be seen") as refusal:
                extract(tenant)
            assert tenant.seen == []
        assert isinstance(refusal.value.__cause__, CloudlockConfigError)

    def test_an_outage_is_left_to_airflows_retries(self, server: StoreServer, extract: Extract) -> None:
        server.refuses = lambda call: 503
        with Tenant(RECORDS) as tenant:
            with pytest.raises(CloudlockUnavailableError, match="could not be looked at"):
                extract(tenant)
            assert tenant.seen == []

    @pytest.mark.parametrize("before", [False, True], ids=["at first", "when replacing"])
    @pytest.mark.parametrize(
        ("status", "kind", "message"),
        [
            (403, AirflowFailException, "this is not allowed"),
            (503, CloudlockUnavailableError, "Try again later"),
            (404, AirflowFailException, "not there any more"),
        ],
    )
    def test_a_refused_put_leaves_what_was_there(
        self,
        server: StoreServer,
        extract: Extract,
        bucket: StoreBucket,
        before: bool,
        status: int,
        kind: type[Exception],
        message: str,
    ) -> None:
        def refuse(call: str) -> int | None:
            if server.changes(call):
                if status == 404:
                    bucket.drop()
                    server.refuses = lambda call: None
                    return None
                return status
            return None

        with Tenant(RECORDS) as tenant:
            if before:
                extract(tenant)
                tenant.dismiss(RECORDS[0]["id"])
            versions = bucket.versions
            server.refuses = refuse
            with pytest.raises(kind, match=message) as failure:
                extract(tenant)
        assert f"{bucket.name}/{KEY} could not be written" in str(failure.value)
        assert "http:" not in str(failure.value)
        assert "sig" not in str(failure.value)
        if status != 404:
            assert bucket.versions == versions

    @pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
    @pytest.mark.parametrize("status", [503, -503, DROPPED], ids=["failed", "answer lost", "connection lost"])
    def test_a_put_that_failed_once_is_made_good(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket, before: bool, status: int
    ) -> None:
        tried: list[str] = []

        def fail_once(call: str) -> int | None:
            if server.puts(call, bucket.name, KEY):
                tried.append(call)
                return status if len(tried) == 1 else None
            return None

        with Tenant(RECORDS) as tenant:
            if before:
                extract(tenant)
                tenant.dismiss(RECORDS[0]["id"])
            server.refuses = fail_once
            assert extract(tenant)["slices"][0]["changed"]
            assert len(tried) == 2
            assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    def test_a_put_that_is_never_answered_is_left_to_a_retry(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket
    ) -> None:
        server.refuses = lambda call: DROPPED if server.puts(call, bucket.name, KEY) else None
        with Tenant(RECORDS) as tenant:
            with pytest.raises(CloudlockUnavailableError, match=r"could not be written.*Try again later"):
                extract(tenant)
            server.refuses = lambda call: None
            assert extract(tenant)["slices"][0]["changed"] is False
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    # --- two attempts at once -----------------------------------------------------------------------------------------

    @pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
    @pytest.mark.parametrize("gone", [False, True], ids=["overtaken", "removed"])
    def test_the_store_itself_refuses_who_was_overtaken(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket, before: bool, gone: bool
    ) -> None:
        def overtake(call: str) -> None:
            if server.puts(call, bucket.name, KEY):  # whoever looked has looked
                server.refuses = lambda call: None
                if gone and before:
                    bucket.delete(KEY)
                else:
                    bucket.write(KEY, b"of another attempt")

        with Tenant(RECORDS) as tenant:
            if before:
                extract(tenant)
                tenant.dismiss(RECORDS[0]["id"])
            server.refuses = overtake
            with pytest.raises(CloudlockDriftError, match="published by another attempt"):
                extract(tenant)
        assert (KEY in bucket.keys) is not (gone and before)
        assert KEY not in bucket.keys or bucket.read(KEY) == b"of another attempt"
        assert (RECEIPT_KEY in bucket.keys) is before

    # --- deaths -------------------------------------------------------------------------------------------------------

    def test_killed_at_any_change(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket, fork: Callable[..., Any]
    ) -> None:
        with Tenant([*RECORDS, record(1, hour(15)) | {"id": None}]) as tenant:
            for start, end in ((0, 12), (12, 24)):
                extract(tenant, hour(start), hour(end), max_quarantined=1)
        halves = {key: bucket.read(key) for key in bucket.keys}
        assert len(halves) == 5
        whole = ids(Tenant(RECORDS).window(DAY, NEXT))
        with Tenant(RECORDS) as tenant:
            changes = 0
            for number in range(1, 100):
                for key in bucket.keys:
                    bucket.delete(key)
                for key, data in halves.items():
                    bucket.write(key, data)
                process = fork(server, tenant, f"{server.scheme}://lake@{bucket.name}/lake")
                seen: list[str] = []

                def die(call: str, number: int = number, process: Any = process, seen: list[str] = seen) -> int | None:
                    if server.changes(call):
                        seen.append(call)
                        if len(seen) == number:
                            os.kill(process.pid, signal.SIGKILL)
                            return -503 if number % 2 else 503  # as if it died after the change, or before it
                    return None

                server.refuses = die
                process.start()
                process.join(30)
                server.refuses = lambda call: None
                if len(seen) < number:  # it outlived all changes
                    assert process.exitcode == 0
                    assert bucket.keys == sorted([KEY, RECEIPT_KEY])
                    changes = len(seen)
                    break
                assert process.exitcode == -signal.SIGKILL
                published = [key for key in bucket.keys if key.startswith(f"lake/threats/{FOLDER}/")]
                assert {row["id"] for key in published for row in bucket.rows(key)} >= set(whole)
                extract(tenant)
                assert bucket.keys == sorted([KEY, RECEIPT_KEY])
                assert [row["id"] for row in bucket.rows(KEY)] == whole
        assert changes >= 7  # object, receipt, and the five that are superseded

    @pytest.fixture
    def fork(self) -> Iterator[Callable[..., Any]]:
        """Make processes that run the operator, from one that has imported everything."""

        def make(server: StoreServer, tenant: Tenant, destination: str) -> Any:
            there = (server.scheme, server.filesystem(), connection(tenant), destination, {})
            return forkserver().Process(target=extract_there, args=there)

        yield make
        for process in multiprocessing.active_children():
            process.kill()
