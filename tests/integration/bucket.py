"""An S3 server on loopback that records its requests, and refuses or truncates responses on demand."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from threading import Thread
from types import TracebackType
from typing import Any, Self

import boto3
import pyarrow.parquet as pq
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class _Handler(MotoRequestHandler):
    """moto's handler, which sends "100 Continue" once."""

    def handle_expect_100(self) -> bool:
        """Leave it to werkzeug: aiohttp restarts its timeout at each "100 Continue", also at a late one."""
        return True


class S3:
    """moto's server. ``calls`` are the requests as ``PUT /bucket/key``, queries included, ``headers`` their headers."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.headers: list[dict[str, str]] = []
        #: Status that a request is refused with, negative if it is executed all the same; None to serve it.
        self.refuses: Callable[[str], int | None] = lambda call: None
        #: Whether the connection is closed after half of the response's body.
        self.truncates: Callable[[str], bool] = lambda call: False
        #: Error codes by status.
        self.codes = {
            400: "KMS.DisabledException",
            403: "AccessDenied",
            409: "ConditionalRequestConflict",
            501: "NotImplemented",
        }
        self._app = DomainDispatcherApplication(create_backend_app)

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Handler)
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()
        self.client = boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="key",
            aws_secret_access_key="secret",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.client.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def connection(self, **extra: Any) -> str:
        """Return the Airflow connection to the server."""
        extra = {"endpoint_url": self.url, "region_name": "us-east-1", **extra}
        return json.dumps({"conn_type": "aws", "login": "key", "password": "secret", "extra": extra})

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        query = environ.get("QUERY_STRING")
        call = f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}" + (f"?{query}" if query else "")
        self.calls.append(call)
        self.headers.append({name: value for name, value in environ.items() if name.startswith("HTTP_")})
        status = self.refuses(call)
        if status and status < 0:
            self._app(environ, lambda *_: lambda _: None)
            status = -status
        elif status:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if status:
            code = self.codes.get(status, "InternalError")
            start_response(f"{status} {code}", [("Content-Type", "application/xml")])
            return [f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()]
        body: Iterable[bytes] = self._app(environ, start_response)
        if self.truncates(call):
            whole = b"".join(body)
            return [whole[: len(whole) // 2]]
        return body


class Bucket:
    """A bucket, accessed by another client than the product's."""

    def __init__(self, s3: S3, name: str) -> None:
        self.s3 = s3
        self.name = name
        s3.client.create_bucket(Bucket=name)

    @property
    def keys(self) -> list[str]:
        """Names of all objects."""
        return sorted(each["Key"] for each in self._list())

    @property
    def versions(self) -> dict[str, tuple[str, Any]]:
        """ETags and modification times of all objects."""
        return {each["Key"]: (each["ETag"], each["LastModified"]) for each in self._list()}

    @property
    def uploads(self) -> list[Any]:
        """Multipart uploads that were not completed."""
        found: list[Any] = self.s3.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found

    def puts(self) -> list[str]:
        """Return the keys of the PUT and POST requests since the last call, and forget all requests."""
        prefix = f"/{self.name}/"
        writes = [call.split(" ", 1) for call in self.s3.calls]
        self.s3.calls.clear()
        return [
            path.removeprefix(prefix) for verb, path in writes if verb in ("PUT", "POST") and path.startswith(prefix)
        ]

    def read(self, key: str) -> bytes:
        """Return the content of an object."""
        data: bytes = self.s3.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return data

    def write(self, key: str, data: bytes) -> None:
        """Write an object."""
        self.s3.client.put_object(Bucket=self.name, Key=key, Body=data)

    def delete(self, key: str) -> None:
        """Remove an object."""
        self.s3.client.delete_object(Bucket=self.name, Key=key)

    def rows(self, key: str) -> list[dict[str, Any]]:
        """Return the rows of an object."""
        rows: list[dict[str, Any]] = pq.ParquetFile(io.BytesIO(self.read(key))).read().to_pylist()
        return rows

    def _list(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.s3.client.list_objects_v2(Bucket=self.name).get("Contents", [])
        return found
