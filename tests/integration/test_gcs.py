"""A lake in Google Cloud Storage, in an emulator; what the emulator lacks is added in front of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from http.server import HTTPServer
from threading import Lock, Thread
from types import SimpleNamespace
from typing import Self
from urllib.parse import parse_qs, quote, urlsplit

import gcsfs.retry
import pytest
from airflow.sdk.exceptions import AirflowFailException
from fsspec import AbstractFileSystem
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage
from gcsfs.core import GCSFileSystem
from google.auth.exceptions import RefreshError

from airflow_provider_cloudlock.exceptions import CloudlockUnavailableError
from airflow_provider_cloudlock.lake.store_errors import explained
from tests.integration.stores import (
    KEY,
    QUARANTINE_KEY,
    RECEIPT_KEY,
    UNKEPT,
    Answer,
    StoreBucket,
    StoreServer,
    StoreTests,
)
from tests.operators.conftest import Extract
from tests.operators.lake import DAY, NEXT, as_row
from tests.support import Tenant, day_of_records

pytestmark = pytest.mark.slow


class Gcs(StoreServer):
    """The emulator, with ``ifGenerationMatch`` and the response header ``X-Goog-Generation``, which it lacks."""

    scheme = "gs"

    def __init__(self) -> None:
        self._emulator = HTTPServer(("127.0.0.1", 0), partial(RequestHandler, Storage(use_memory_fs=True)))
        self._one_at_a_time = Lock()
        #: Message of its errors.
        self.message = "refused"
        super().__init__(self._emulator.server_port)

    def __enter__(self) -> Self:
        self._emulating = Thread(target=self._emulator.serve_forever, kwargs={"poll_interval": 0.01})
        self._emulating.start()
        super().__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._emulator.shutdown()
        self._emulating.join()
        self._emulator.server_close()

    def served(self, call: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        url = urlsplit(call.split(" ", 1)[1])
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        with self._one_at_a_time:
            if "ifGenerationMatch" in query:
                objects = url.path.removeprefix("/upload")
                there = super().served(f"GET {objects}/{quote(query['name'], safe='')}", [], b"")
                found = json.loads(there.body)["generation"] if there.status == 200 else "0"
                bucket = super().served(f"GET {objects.removesuffix('/o')}", [], b"")
                if found != query["ifGenerationMatch"] and bucket.status == 200:
                    return self.refusal(412)
            response = super().served(call, headers, body)
            if query.get("alt") == "media" and response.status == 200:
                object_ = super().served(f"GET {url.path.removeprefix('/download')}", [], b"")
                response.headers.append(("X-Goog-Generation", json.loads(object_.body)["generation"]))
            return response

    def refusal(self, status: int) -> Answer:
        body = {"error": {"code": status, "message": self.message}}
        return Answer(status, [("Content-Type", "application/json")], json.dumps(body).encode())

    def bucket(self, name: str) -> GcsBucket:
        return GcsBucket(self, name)

    def filesystem(self) -> Callable[[], AbstractFileSystem]:
        url = f"http://127.0.0.1:{self.port}"
        return partial(GCSFileSystem, project="test", token="anon", endpoint_url=url, skip_instance_cache=True)

    def puts(self, call: str, bucket: str, key: str) -> bool:
        verb, url = call.split(" ", 1)
        query = parse_qs(urlsplit(url).query)
        return verb == "POST" and f"/upload/storage/v1/b/{bucket}/o" in url and query.get("name") == [key]

    @staticmethod
    def changes(call: str) -> bool:
        return call.startswith(("POST ", "PUT ", "DELETE "))


class GcsBucket(StoreBucket):
    """A bucket in the emulator."""

    def __init__(self, server: Gcs, name: str) -> None:
        super().__init__(name)
        self._server = server
        self._ask("POST /storage/v1/b", json.dumps({"name": name}).encode(), "application/json")

    @property
    def versions(self) -> dict[str, str]:
        found = json.loads(self._ask(f"GET /storage/v1/b/{self.name}/o")).get("items", [])
        return {each["name"]: each["generation"] for each in found}

    def read(self, key: str) -> bytes:
        return self._ask(f"GET /download/storage/v1/b/{self.name}/o/{quote(key, safe='')}?alt=media")

    def write(self, key: str, data: bytes) -> None:
        where = f"/upload/storage/v1/b/{self.name}/o?uploadType=media&name={quote(key, safe='')}"
        self._ask(f"POST {where}", data, "application/octet-stream")

    def delete(self, key: str) -> None:
        self._ask(f"DELETE /storage/v1/b/{self.name}/o/{quote(key, safe='')}")

    def drop(self) -> None:
        for key in self.keys:
            self.delete(key)
        self._ask(f"DELETE /storage/v1/b/{self.name}")

    def _ask(self, call: str, body: bytes = b"", kind: str = "") -> bytes:
        answer = self._server.served(call, [("Content-Type", kind)] if kind else [], body)
        assert answer.status < 300, answer
        return answer.body


class TestGcs(StoreTests):
    """Tests of every store, and of what is particular to Google's."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[Gcs]:
        """Start the server, and let gcsfs retry without a delay."""
        with pytest.MonkeyPatch.context() as patch, Gcs() as server:
            patch.setattr(gcsfs.retry, "random", SimpleNamespace(random=lambda: -64.0))
            yield server

    @pytest.mark.parametrize("before", [False, True], ids=["nothing before", "something before"])
    @pytest.mark.parametrize("message", ["refused", "invalid"])
    def test_bucket_without_conditional_uploads_compares_versions(
        self,
        server: Gcs,
        extract: Extract,
        bucket: GcsBucket,
        monkeypatch: pytest.MonkeyPatch,
        before: bool,
        message: str,
    ) -> None:
        monkeypatch.setattr(server, "message", message)
        records = day_of_records(DAY, 24)
        with Tenant(records) as tenant:
            if before:
                extract(tenant)
                tenant.dismiss(records[0]["id"])
            server.refuses = lambda call: 400 if "uploadType=media" in call else None
            assert extract(tenant)["slices"][0]["changed"]
            assert bucket.rows(KEY) == [as_row(each) for each in tenant.window(DAY, NEXT)]
        assert bucket.keys == sorted([KEY, RECEIPT_KEY])

    def test_failed_login_raises_retryable_error(self) -> None:
        with pytest.raises(CloudlockUnavailableError, match="Try again later"), explained("gs://lake/x", "written"):
            raise RefreshError

    def test_write_options_are_sent(
        self, server: Gcs, extract: Extract, bucket: GcsBucket, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = {"kmsKeyName": "projects/p/locations/l/keyRings/r/cryptoKeys/k", "predefinedAcl": "private"}
        extra = {"write_options": options | {"userProject": "payer"}}
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "google_cloud_platform", "extra": extra}))
        with Tenant([*day_of_records(DAY, 24), UNKEPT]) as tenant:
            extract(tenant, max_quarantined=1)
            tenant.delete(None)
            extract(tenant)
        calls = [(call.split(" ")[0], parse_qs(urlsplit(call).query)) for call in server.calls]
        assert {tuple(query["userProject"]) for _, query in calls} == {("payer",)}
        writes = [query for verb, query in calls if verb == "POST"]
        assert {query["name"][0] for query in writes} == {KEY, RECEIPT_KEY, QUARANTINE_KEY}
        for query in writes:
            assert {name: query[name][0] for name in options} == options

    def test_requester_pays_bucket_without_project_is_final(
        self, server: Gcs, extract: Extract, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server, "message", "Bucket is a requester pays bucket but no user project provided.")
        server.refuses = lambda call: 400
        with Tenant(day_of_records(DAY, 24)) as tenant:
            with pytest.raises(AirflowFailException, match=r"could not be listed .*write_options"):
                extract(tenant)
            assert tenant.seen == []

    def test_role_for_objects_alone_suffices(self, server: Gcs, extract: Extract, bucket: GcsBucket) -> None:
        server.refuses = lambda call: 403 if call.split("?")[0] == f"GET /storage/v1/b/{bucket.name}" else None
        with Tenant(day_of_records(DAY, 24)) as tenant:
            assert extract(tenant)["slices"][0]["changed"]
