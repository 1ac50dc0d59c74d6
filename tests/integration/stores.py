"""Tests that every object store must pass, and a proxy on loopback that records, refuses and loses requests."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from multiprocessing.context import ForkServerContext
from threading import Thread
from typing import Any, ClassVar, NamedTuple, Self
from urllib.parse import unquote

import pyarrow.parquet as pq
import pytest
import tenacity
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import attach, store
from fsspec import AbstractFileSystem

from airflow_provider_cloudlock.api import client
from airflow_provider_cloudlock.cli.audit import audit
from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDriftError, CloudlockUnavailableError
from airflow_provider_cloudlock.lake.conditional_put import PreconditionFailedError
from airflow_provider_cloudlock.operators.destination import store_at
from tests.operators.conftest import Extract
from tests.operators.lake import (
    DAY,
    NEXT,
    OBJECT,
    QUARANTINE,
    RECEIPT,
    as_row,
    connection,
    hour,
    object_of,
    operator,
)
from tests.support import Tenant, day_of_records, ids, record

KEY, RECEIPT_KEY, QUARANTINE_KEY = (f"lake/{name}" for name in (OBJECT, RECEIPT, QUARANTINE))
RECORDS = day_of_records(DAY, 24)
UNKEPT = record(1, hour(15)) | {"id": None}
#: The status of a request whose connection is closed without a response.
DROPPED = 0


def forkserver() -> ForkServerContext:
    """Return a context that forks processes from one that has imported everything; it ends with this one."""
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
    """Proxy to the server of a store. ``calls`` are the requests, queries included, ``headers`` their headers."""

    #: Scheme of the store's addresses.
    scheme: ClassVar[str]

    def __init__(self, port: int) -> None:
        self._behind = port
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        #: Status that a request is refused with, negative if it is executed all the same; None to pass it on.
        self.refuses: Callable[[str], int | None] = lambda call: None

    def __enter__(self) -> Self:
        """Listen on a free port."""
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
        """Port that it listens on."""
        return self._server.server_port

    def answer(self, call: str, headers: list[tuple[str, str]], body: bytes) -> Answer | None:
        """Return the response to a request, None to close the connection without one."""
        self.calls.append(call)
        self.headers.append({name.lower(): value for name, value in headers})
        status = self.refuses(call)
        if status is None or status <= 0:
            answer = self.served(call, headers, body)
            if status is None:
                return answer
        return self.refusal(abs(status)) if status else None

    def served(self, call: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """Return the response of the server behind."""
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
        """Return the store's response of an error."""

    @abstractmethod
    def bucket(self, name: str) -> StoreBucket:
        """Create a bucket."""

    @abstractmethod
    def filesystem(self) -> Callable[[], AbstractFileSystem]:
        """Return a factory of the filesystem that connects to this proxy, for this process or another one."""

    @abstractmethod
    def puts(self, call: str, bucket: str, key: str) -> bool:
        """Whether a request uploads this object."""

    @staticmethod
    @abstractmethod
    def changes(call: str) -> bool:
        """Whether a request changes the bucket."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: ClassVar[StoreServer]

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.store.answer(f"{self.command} {self.path}", self.headers.items(), body)
        self.close_connection = True
        if answer is None:
            return
        with suppress(ConnectionError):  # the client is gone
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
        """Log nothing."""


class StoreBucket(ABC):
    """A bucket, accessed without the proxy and by another client than the product's."""

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def keys(self) -> list[str]:
        """Names of all objects."""
        return sorted(self.versions)

    @property
    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Versions of all objects, and of uploads that were not completed."""

    @abstractmethod
    def read(self, key: str) -> bytes:
        """Return the content of an object."""

    @abstractmethod
    def write(self, key: str, data: bytes) -> None:
        """Write an object."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object."""

    @abstractmethod
    def drop(self) -> None:
        """Remove the bucket with its objects."""

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Return the rows of an object."""
        rows: list[dict[str, Any]] = pq.ParquetFile(BytesIO(self.read(key))).read().to_pylist()
        return rows


def extract_there(scheme: str, filesystem: Callable[[], AbstractFileSystem], tenant: str, destination: str) -> None:
    """Run the operator in a process that will be killed."""
    os.environ["AIRFLOW_CONN_CLOUDLOCK_DEFAULT"] = tenant
    attach(scheme, "lake", fs=filesystem())
    operator(destination).execute({})


class StoreTests:
    """Tests of a store. Subclasses have the fixture ``server``."""

    @pytest.fixture
    def bucket(
        self, server: StoreServer, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> StoreBucket:
        """Create a bucket; the connection ``lake`` leads to its server."""
        monkeypatch.setattr(client, "_BACKOFF", tenacity.wait_fixed(0.001))
        monkeypatch.setattr(store, "_STORE_CACHE", {})
        monkeypatch.setattr(server, "refuses", lambda call: None)
        bucket = server.bucket(f"b{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}")
        attach(server.scheme, "lake", fs=server.filesystem()())
        server.calls.clear()
        server.headers.clear()
        return bucket

    @pytest.fixture
    def extract(self, server: StoreServer, bucket: StoreBucket, monkeypatch: pytest.MonkeyPatch) -> Extract:
        """Return a function that extracts a window of a tenant into the bucket."""

        def run(
            tenant: Tenant, after: Any = DAY, before: Any = NEXT, context: Any = None, **options: Any
        ) -> dict[str, Any]:
            monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
            destination = options.pop("destination", f"{server.scheme}://lake@{bucket.name}/lake")
            return operator(destination, after, before, **options).execute({} if context is None else context)

        return run

    def test_operator_replaces_object_only_if_changed(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket
    ) -> None:
        with Tenant(RECORDS) as tenant:
            (result,) = extract(tenant)["slices"]
            data = bucket.read(KEY)
            assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
            receipt = json.loads(bucket.read(RECEIPT_KEY))
            assert receipt["path"] == result["path"] == f"{server.scheme}://lake@{bucket.name}/{KEY}"
            assert receipt["uri"] == result["uri"] == f"{server.scheme}://{bucket.name}/{KEY}"
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

    def test_operator_unchanged_day_sends_no_request_for_object(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket
    ) -> None:
        days = [date(2026, 1, 2) + timedelta(days=n) for n in range(4)]
        records = [each for day in days for each in day_of_records(str(day), 2)]
        with Tenant(records) as tenant:
            for changed in (True, False, False):
                server.calls.clear()
                slices = extract(tenant, days[0], days[-1] + timedelta(days=1))["slices"]
                assert [each["changed"] for each in slices] == [changed] * len(days)
        calls = [unquote(call) for call in server.calls]
        assert [call for call in calls if ".parquet" in call] == []
        assert sum(call.startswith("GET ") and RECEIPT_KEY in call for call in calls) == 1
        assert sum(server.puts(call, bucket.name, RECEIPT_KEY) for call in server.calls) == 1

    def test_store_versions_of_list_head_get_and_put_agree(self, server: StoreServer, bucket: StoreBucket) -> None:
        store = store_at(f"{server.scheme}://lake@{bucket.name}/lake")
        day, later = date.fromisoformat(DAY), date.fromisoformat(NEXT)
        looks: list[Callable[[], str | None]] = [
            lambda: store.versions({day: OBJECT})[day],
            lambda: store.versions({day: OBJECT, later: object_of(NEXT)})[day],
            lambda: store.version(OBJECT),
            lambda: (store.read(OBJECT) or (b"", ""))[1],
        ]
        expected: str | None = None
        for number, look in enumerate(looks):
            version = store.put_text_if(str(number), OBJECT, expected, "")
            assert [each() for each in looks] == [version] * len(looks)
            assert '"' not in version
            for stale in (expected, None):
                with pytest.raises(PreconditionFailedError):
                    store.put_text_if("stale", OBJECT, stale, "")
            assert bucket.read(KEY) == str(number).encode()
            expected = look()

    def test_quarantine_is_removed_when_the_record_is_gone(self, extract: Extract, bucket: StoreBucket) -> None:
        with Tenant([*RECORDS, UNKEPT]) as tenant:
            with pytest.raises(AirflowFailException, match=QUARANTINE_KEY):
                extract(tenant)
            assert bucket.keys == [QUARANTINE_KEY]
            tenant.delete(None)
            extract(tenant)
            assert bucket.keys == sorted([KEY, RECEIPT_KEY])
            tenant.insert(UNKEPT)
            extract(tenant, max_quarantined=1)
            assert bucket.keys == sorted([KEY, RECEIPT_KEY, QUARANTINE_KEY])
            tenant.delete(None)
            extract(tenant)
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    # --- destinations that cannot be used, and requests that fail -----------------------------------------------------

    def test_missing_bucket_is_refused_before_the_first_request(self, server: StoreServer, extract: Extract) -> None:
        with Tenant(RECORDS) as tenant:
            with pytest.raises(AirflowFailException, match=r"nowhere-to-be-found/lake.* does not exist") as refusal:
                extract(tenant, destination=f"{server.scheme}://lake@nowhere-to-be-found/lake")
            assert tenant.seen == []
        assert isinstance(refusal.value.__cause__, CloudlockConfigError)

    def test_unlistable_bucket_is_refused_before_the_first_request(self, server: StoreServer, extract: Extract) -> None:
        server.refuses = lambda call: 403
        with Tenant(RECORDS) as tenant:
            with pytest.raises(AirflowFailException, match="may not be listed") as refusal:
                extract(tenant)
            assert tenant.seen == []
        assert isinstance(refusal.value.__cause__, CloudlockConfigError)

    def test_rights_below_folder_suffice(self, server: StoreServer, extract: Extract, bucket: StoreBucket) -> None:
        server.refuses = lambda call: None if "lake/" in unquote(call) else 403
        with Tenant([*RECORDS, UNKEPT]) as tenant:
            with pytest.raises(AirflowFailException, match=QUARANTINE_KEY):
                extract(tenant)
            tenant.delete(None)
            assert extract(tenant)["slices"][0]["changed"] is True
            assert extract(tenant)["slices"][0]["changed"] is False
        assert audit(f"{server.scheme}://lake@{bucket.name}/lake", DAY, NEXT).is_whole
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    def test_refused_removal_fails_permanently(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket
    ) -> None:
        with Tenant([*RECORDS, UNKEPT]) as tenant:
            extract(tenant, max_quarantined=1)
            tenant.delete(None)
            server.refuses = lambda call: 403 if call.startswith("DELETE ") else None
            with pytest.raises(AirflowFailException, match=f"{QUARANTINE_KEY} could not be removed"):
                extract(tenant)

    @pytest.mark.parametrize("status", [400, 411, 501])
    def test_rejected_request_fails_permanently(self, server: StoreServer, extract: Extract, status: int) -> None:
        with Tenant(RECORDS) as tenant:
            server.refuses = lambda call: status
            with pytest.raises(AirflowFailException, match=r"could not be listed .* rejects the request"):
                extract(tenant)
            assert tenant.seen == []
            server.refuses = lambda call: status if server.changes(call) else None
            with pytest.raises(AirflowFailException, match=r"could not be written .* rejects the request"):
                extract(tenant)

    def test_outage_raises_retryable_error(self, server: StoreServer, extract: Extract) -> None:
        server.refuses = lambda call: 503
        with Tenant(RECORDS) as tenant:
            with pytest.raises(CloudlockUnavailableError, match="could not be listed"):
                extract(tenant)
            assert tenant.seen == []

    @pytest.mark.parametrize("before", [False, True], ids=["at first", "when replacing"])
    @pytest.mark.parametrize(
        ("status", "kind", "message"),
        [
            (403, AirflowFailException, "this is not allowed"),
            (503, CloudlockUnavailableError, "Try again later"),
            (404, AirflowFailException, "no longer exists"),
        ],
    )
    def test_refused_put_leaves_bucket_unchanged(
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
    @pytest.mark.parametrize("status", [503, -503, DROPPED], ids=["failed", "response lost", "connection lost"])
    @pytest.mark.parametrize("key", [KEY, RECEIPT_KEY], ids=["object", "receipt"])
    def test_failed_put_is_retried(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket, key: str, before: bool, status: int
    ) -> None:
        tried: list[str] = []

        def fail_once(call: str) -> int | None:
            if server.puts(call, bucket.name, key):
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
            assert json.loads(bucket.read(RECEIPT_KEY))["sha256"] == hashlib.sha256(bucket.read(KEY)).hexdigest()
            assert extract(tenant)["slices"][0]["changed"] is False
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    def test_put_without_response_raises_retryable_error(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket
    ) -> None:
        server.refuses = lambda call: DROPPED if server.puts(call, bucket.name, KEY) else None
        with Tenant(RECORDS) as tenant:
            with pytest.raises(CloudlockUnavailableError, match=r"could not be written.*Try again later"):
                extract(tenant)
            server.refuses = lambda call: None
            assert extract(tenant)["slices"][0]["changed"] is False
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    # --- concurrent attempts ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
    @pytest.mark.parametrize("gone", [False, True], ids=["overtaken", "removed"])
    def test_stale_attempt_is_refused_by_the_store(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket, before: bool, gone: bool
    ) -> None:
        def overtake(call: str) -> None:
            if server.puts(call, bucket.name, KEY):  # no version is read from here on
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

    def test_stale_attempt_does_not_overwrite_receipt(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket
    ) -> None:
        def overtake(call: str) -> None:
            if server.puts(call, bucket.name, RECEIPT_KEY):
                server.refuses = lambda call: None
                bucket.write(KEY, b"of another attempt")
                bucket.write(RECEIPT_KEY, b"its receipt")

        with Tenant(RECORDS) as tenant:
            extract(tenant)
            server.refuses = overtake
            with pytest.raises(CloudlockDriftError, match="published by another attempt"):
                extract(tenant)
        assert bucket.read(RECEIPT_KEY) == b"its receipt"

    # --- kill -9 ------------------------------------------------------------------------------------------------------

    def test_killed_at_any_change_leaves_whole_objects(
        self, server: StoreServer, extract: Extract, bucket: StoreBucket, fork: Callable[..., Any]
    ) -> None:
        old, new = RECORDS[:12], ids(RECORDS)
        with Tenant([*old, UNKEPT]) as tenant:
            extract(tenant, max_quarantined=1)
        published = {key: bucket.read(key) for key in bucket.keys}
        assert len(published) == 3
        with Tenant(RECORDS) as tenant:
            for number in range(1, 100):
                for key in bucket.keys:
                    bucket.delete(key)
                for key, data in published.items():
                    bucket.write(key, data)
                process = fork(server, tenant, f"{server.scheme}://lake@{bucket.name}/lake")
                seen: list[str] = []

                def die(call: str, number: int = number, process: Any = process, seen: list[str] = seen) -> int | None:
                    if server.changes(call):
                        seen.append(call)
                        if len(seen) == number:
                            os.kill(process.pid, signal.SIGKILL)
                            return -503  # killed after the change
                    return None

                server.refuses = die
                process.start()
                process.join(30)
                server.refuses = lambda call: None
                if len(seen) < number:  # it survived all changes
                    assert process.exitcode == 0
                    assert bucket.keys == sorted([KEY, RECEIPT_KEY])
                    break
                assert process.exitcode == -signal.SIGKILL
                assert [row["id"] for row in bucket.rows(KEY)] in (ids(old), new)
                extract(tenant)
                assert bucket.keys == sorted([KEY, RECEIPT_KEY])
                assert [row["id"] for row in bucket.rows(KEY)] == new
                assert json.loads(bucket.read(RECEIPT_KEY))["sha256"] == hashlib.sha256(bucket.read(KEY)).hexdigest()
        assert number == 4  # object, quarantine file and receipt, and one run without a kill

    @pytest.fixture
    def fork(self) -> Iterator[Callable[..., Any]]:
        """Return a function that makes processes for the operator, forked from one that has imported everything."""

        def make(server: StoreServer, tenant: Tenant, destination: str) -> Any:
            arguments = (server.scheme, server.filesystem(), connection(tenant), destination)
            return forkserver().Process(target=extract_there, args=arguments)

        yield make
        for process in multiprocessing.active_children():
            process.kill()
