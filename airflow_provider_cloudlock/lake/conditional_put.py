"""What differs between S3, Google Cloud Storage and Azure: reads that return the version, writes that replace one.

The version is the ETag, or the generation on Google Cloud Storage. ETags are held without their quotes: Azure's
listings leave them out, its other responses do not.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fsspec.asyn import sync

from airflow_provider_cloudlock.lake.store_errors import code, failures

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: What S3 says if the version to be replaced is not the one that is there.
_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


class PreconditionFailedError(Exception):
    """Another version is there: that of another attempt, or our own if the response to a first try was lost."""


class NoConditionsError(Exception):
    """The server does not support conditional requests."""


class ConditionalPut(NamedTuple):
    """How a kind of store reads and writes versions.

    :param version: name of the version in the information that the filesystem returns.
    :param get: returns the content of a file and its version.
    :param put: writes a local file in place of one version, or of none, and returns the new version.
    """

    version: str
    get: Callable[[AbstractFileSystem, str], tuple[bytes, str]]
    put: Callable[[AbstractFileSystem, Path, str, str | None], str]


def conditional_put(fs: AbstractFileSystem) -> ConditionalPut | None:
    """Return how a filesystem's store handles versions, None if that is not known."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return next((_KNOWN[each] for each in protocols if each in _KNOWN), None)


def unquoted(version: object) -> str:
    """Return a version as it is compared: without the quotes of an ETag."""
    return str(version or "").strip('"')


def has_bucket(fs: AbstractFileSystem, bucket: str) -> bool:
    """Whether the bucket exists of which a listing found nothing."""
    if "s3" in fs.protocol or "gs" in fs.protocol:  # the listing of a bucket that does not exist raises
        return True
    return bool(fs.exists(bucket or "/"))


def _get_s3(fs: AbstractFileSystem, path: str) -> tuple[bytes, str]:
    bucket, key, _ = fs.split_path(path)

    async def get() -> tuple[bytes, str]:
        response = await fs._call_s3("get_object", Bucket=bucket, Key=key, **fs.req_kw)
        async with response["Body"] as body:
            return await body.read(), unquoted(response["ETag"])

    found: tuple[bytes, str] = sync(fs.loop, get)
    return found


def _put_s3(fs: AbstractFileSystem, local: Path, path: str, expected: str | None) -> str:
    """Put a file in one request, which is atomic; 5 GiB is the most that S3 takes."""
    bucket, key, _ = fs.split_path(path)
    condition = {"IfMatch": f'"{expected}"'} if expected else {"IfNoneMatch": "*"}
    try:
        with local.open("rb") as file:
            response = fs.call_s3("put_object", Bucket=bucket, Key=key, Body=file.read(), **condition)
    except OSError as error:
        if code(error) == "NotImplemented":
            raise NoConditionsError from error
        if code(error) in _CONFLICTS:
            raise PreconditionFailedError from error
        raise
    return unquoted(response["ETag"])


def _get_gcs(fs: AbstractFileSystem, path: str) -> tuple[bytes, str]:
    bucket, name, _ = fs.split_path(path)
    headers, content = fs.call("GET", "b/{}/o/{}", bucket, name, alt="media")
    return content, headers.get("X-Goog-Generation") or ""


def _put_gcs(fs: AbstractFileSystem, local: Path, path: str, expected: str | None) -> str:
    """Put a file by the JSON API itself: gcsfs has a condition for new objects, but none for those to be replaced."""
    bucket, name, _ = fs.split_path(path)
    with _Upload(local) as file:
        try:
            uploaded = fs.call(
                "POST",
                f"{fs.base.removesuffix('/storage/v1/')}/upload/storage/v1/b/{{}}/o",
                bucket,
                uploadType="media",
                name=name,
                ifGenerationMatch=expected or "0",
                headers={"Content-Type": "application/octet-stream"},
                data=file,
                json_out=True,
            )
        except FileExistsError as error:  # 412
            raise PreconditionFailedError from error
        except ValueError as error:  # 400
            raise NoConditionsError from error
        except failures() as error:
            if code(error) in ("400", "405", "501"):  # such as a zonal bucket, which takes no uploads by this API
                raise NoConditionsError from error
            raise
    return str(uploaded["generation"])


class _Upload(io.FileIO):
    """A file that stays open when it has been sent, as it may have to be sent again."""

    def close(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        super().close()


def _get_azure(fs: AbstractFileSystem, path: str) -> tuple[bytes, str]:
    from azure.core.exceptions import ResourceNotFoundError

    container, name, _ = fs.split_path(path)

    async def get() -> tuple[bytes, str]:
        async with fs.service_client.get_blob_client(container, name) as blob:
            stream = await blob.download_blob()
            return await stream.readall(), unquoted(stream.properties.etag)

    try:
        found: tuple[bytes, str] = sync(fs.loop, get)
    except ResourceNotFoundError as error:
        raise FileNotFoundError(path) from error
    return found


def _put_azure(fs: AbstractFileSystem, local: Path, path: str, expected: str | None) -> str:
    """Put a file by Azure's own client: not every version of adlfs passes conditions on."""
    from azure.core import MatchConditions

    container, name, _ = fs.split_path(path)
    condition: dict[str, Any] = {}
    if expected:
        condition = {"etag": f'"{expected}"', "match_condition": MatchConditions.IfNotModified}

    async def upload() -> str:
        async with fs.service_client.get_blob_client(container, name) as blob:
            with local.open("rb") as file:
                response = await blob.upload_blob(file, overwrite=expected is not None, **condition)
        return unquoted(response["etag"])

    try:
        version: str = sync(fs.loop, upload)
    except failures() as error:
        if code(error) in ("BlobAlreadyExists", "ConditionNotMet"):
            raise PreconditionFailedError from error
        raise
    return version


_KNOWN = {
    "s3": ConditionalPut("ETag", _get_s3, _put_s3),
    "gs": ConditionalPut("generation", _get_gcs, _put_gcs),
    "abfs": ConditionalPut("etag", _get_azure, _put_azure),
}
