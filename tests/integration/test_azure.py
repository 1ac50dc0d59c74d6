"""A lake in Azure Blob Storage, emulated by Azurite."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from adlfs import AzureBlobFileSystem
from azure.storage.blob import BlobServiceClient
from azure.storage.blob._shared import policies_async
from fsspec import AbstractFileSystem

from tests.integration.stores import (
    RECORDS,
    UNKEPT,
    Answer,
    StoreBucket,
    StoreServer,
    StoreTests,
)
from tests.operators.conftest import Extract
from tests.support import Tenant

pytestmark = pytest.mark.slow

AZURITE = "3.35.0"
#: The published account of every Azurite; neither is a secret.
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def credentials(port: int) -> str:
    """Return the connection string of a server on loopback."""
    return (
        f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY};"
        f"BlobEndpoint=http://127.0.0.1:{port}/{ACCOUNT};"
    )


class Azure(StoreServer):
    """Proxy to Azurite."""

    scheme = "abfs"

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.client = BlobServiceClient.from_connection_string(credentials(port))

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self.client.close()

    def refusal(self, status: int) -> Answer:
        code = {403: "AuthorizationPermissionMismatch", 503: "ServerBusy"}.get(status, "InvalidHeaderValue")
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>refused</Message></Error>"
        return Answer(status, [("x-ms-error-code", code), ("Content-Type", "application/xml")], body.encode())

    def bucket(self, name: str) -> AzureBucket:
        return AzureBucket(self.client, name)

    def filesystem(self) -> Callable[[], AbstractFileSystem]:
        string = credentials(self.port)
        return partial(AzureBlobFileSystem, connection_string=string, skip_instance_cache=True)

    def puts(self, call: str, bucket: str, key: str) -> bool:
        return unquote(urlsplit(call).path) == f"PUT /{ACCOUNT}/{bucket}/{key}"

    @staticmethod
    def changes(call: str) -> bool:
        return call.startswith(("PUT ", "DELETE "))


class AzureBucket(StoreBucket):
    """A container."""

    def __init__(self, client: BlobServiceClient, name: str) -> None:
        super().__init__(name)
        self._container = client.create_container(name)

    @property
    def versions(self) -> dict[str, str]:
        return {each.name: each.etag for each in self._container.list_blobs(include=["uncommittedblobs"])}

    def read(self, key: str) -> bytes:
        return bytes(self._container.download_blob(key).readall())

    def write(self, key: str, data: bytes) -> None:
        self._container.upload_blob(key, data, overwrite=True)

    def delete(self, key: str) -> None:
        self._container.delete_blob(key)

    def drop(self) -> None:
        self._container.delete_container()


@pytest.fixture(scope="module")
def azurite(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start Azurite, installed once beside pytest's other caches, and yield its port."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if not npm or not node:
        pytest.skip("Azurite needs Node.js: node and npm are not on the PATH")
    folder = Path(pytestconfig.cache.mkdir(f"azurite-{AZURITE}"))
    main = folder / "node_modules/azurite/dist/src/blob/main.js"
    if not main.exists():
        quick = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run([npm, "install", "--prefix", str(folder), *quick, f"azurite@{AZURITE}"], check=True)
    options = ["--blobHost=127.0.0.1", "--blobPort=0", "--inMemoryPersistence", "--silent", "--disableTelemetry"]
    with subprocess.Popen(
        [node, str(main), *options, "--skipApiVersionCheck"],
        cwd=tmp_path_factory.mktemp("azurite"),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            yield int(next(found[1] for found in map(_listens, process.stdout) if found))
        finally:
            process.terminate()


def _listens(line: str) -> Any:
    return re.search(r"listens on http://127\.0\.0\.1:(\d+)", line)


class TestAzure(StoreTests):
    """Tests of every store, and of what is particular to Azure's."""

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, azurite: int) -> Iterator[Azure]:
        """Start the server, and let the client retry without a delay."""
        with pytest.MonkeyPatch.context() as patch, Azure(azurite) as server:
            patch.setattr(policies_async.ExponentialRetry, "get_backoff_time", lambda self, settings: 0)
            yield server

    def test_write_options_are_sent(self, server: Azure, extract: Extract, monkeypatch: pytest.MonkeyPatch) -> None:
        extra = {"write_options": {"encryption_scope": "lake"}}
        monkeypatch.setenv("AIRFLOW_CONN_LAKE", json.dumps({"conn_type": "wasb", "extra": extra}))
        with Tenant([*RECORDS, UNKEPT]) as tenant:
            extract(tenant, max_quarantined=1)
        writes = [each for each in zip(server.calls, server.headers, strict=True) if server.changes(each[0])]
        assert len(writes) == 3
        for call, headers in writes:
            assert headers.get("x-ms-encryption-scope") == "lake", call
