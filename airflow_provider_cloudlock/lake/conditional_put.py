"""What differs between S3, Google Cloud Storage and Azure: reads that return the version, writes that replace one.

Only requests that the work needs are sent, so that rights to list below a folder, and to read and write there, suffice.

The version is the ETag, or the generation on Google Cloud Storage. ETags are held without their quotes: Azure's
listings leave them out, its other responses do not.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fsspec.asyn import sync

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.lake.store_errors import code, failures

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: In place of a version: write a file whatever is there.
ANY = "*"
#: What S3 says if the version to be replaced is not the one that is there.
_CONFLICTS = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


class PreconditionFailedError(Exception):
    """Another version is there: that of another attempt, or our own if the response to a first try was lost."""


class NoConditionsError(Exception):
    """The server does not support conditional requests."""


class ConditionalPut(NamedTuple):
    """How a kind of store reads and writes versions.

    :param version: name of the version in the information that the filesystem returns.
    :param find: returns information on the files in a folder whose names begin with a prefix, in one request or two.
    :param get: returns the content of a file and its version.
    :param put: writes a local file in place of one version, of none, or of :data:`ANY`, and returns the new version.
    :param options: names of the options that a write may be given.
    """

    version: str
    find: Callable[[AbstractFileSystem, str, str], Mapping[str, Mapping[str, Any]]]
    get: Callable[[AbstractFileSystem, str], tuple[bytes, str]]
    put: Callable[[AbstractFileSystem, Path, str, str | None, Mapping[str, Any]], str]
    options: tuple[str, ...]


def conditional_put(fs: AbstractFileSystem) -> ConditionalPut | None:
    """Return how a filesystem's store handles versions, None if that is not known."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return next((_KNOWN[each] for each in protocols if each in _KNOWN), None)


def unquoted(version: object) -> str:
    """Return a version as it is compared: without the quotes of an ETag."""
    return str(version or "").strip('"')


def check_options(fs: AbstractFileSystem, options: Mapping[str, Any]) -> None:
    """Check the options of writes.

    :raises CloudlockConfigError: if the store does not have one of them.
    """
    conditional = conditional_put(fs)
    known = conditional.options if conditional else ()
    if unknown := sorted(set(options) - set(known)):
        raise CloudlockConfigError(
            f"write_options has {unknown[0]!r}, which this kind of store does not have. Known options: "
            f"{', '.join(known) or 'none'}."
        )


def billed(fs: AbstractFileSystem, options: Mapping[str, Any]) -> AbstractFileSystem:
    """Return a filesystem whose requests, reads too, the requester pays for if the options of writes say so."""
    if payer := options.get("RequestPayer"):
        more = {"requester_pays": True, "s3_additional_kwargs": {"RequestPayer": payer}}
    elif project := options.get("userProject"):
        more = {"requester_pays": project}
    else:
        return fs
    return type(fs)(*fs.storage_args, **{**fs.storage_options, **more})


def _find(fs: AbstractFileSystem, folder: str, prefix: str) -> Mapping[str, Mapping[str, Any]]:
    found: Mapping[str, Mapping[str, Any]] = fs.find(folder, detail=True, prefix=prefix)
    return found


def _get_s3(fs: AbstractFileSystem, path: str) -> tuple[bytes, str]:
    bucket, key, _ = fs.split_path(path)

    async def get() -> tuple[bytes, str]:
        response = await fs._call_s3("get_object", Bucket=bucket, Key=key, **fs.req_kw)
        async with response["Body"] as body:
            return await body.read(), unquoted(response["ETag"])

    found: tuple[bytes, str] = sync(fs.loop, get)
    return found


def _put_s3(fs: AbstractFileSystem, local: Path, path: str, expected: str | None, options: Mapping[str, Any]) -> str:
    """Put a file in one request, which is atomic; 5 GiB is the most that S3 takes."""
    bucket, key, _ = fs.split_path(path)
    condition = {"IfMatch": f'"{expected}"'} if expected else {"IfNoneMatch": "*"}
    if expected == ANY:
        condition = {}
    try:
        with local.open("rb") as file:
            response = fs.call_s3("put_object", Bucket=bucket, Key=key, Body=file.read(), **condition, **options)
    except OSError as error:
        if condition and code(error) == "NotImplemented":
            raise NoConditionsError from error
        if code(error) in _CONFLICTS:
            raise PreconditionFailedError from error
        raise
    return unquoted(response["ETag"])


def _get_gcs(fs: AbstractFileSystem, path: str) -> tuple[bytes, str]:
    bucket, name, _ = fs.split_path(path)
    headers, content = fs.call("GET", "b/{}/o/{}", bucket, name, alt="media")
    return content, headers.get("X-Goog-Generation") or ""


def _put_gcs(fs: AbstractFileSystem, local: Path, path: str, expected: str | None, options: Mapping[str, Any]) -> str:
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
                ifGenerationMatch=None if expected == ANY else expected or "0",
                headers={"Content-Type": "application/octet-stream"},
                data=file,
                json_out=True,
                **options,
            )
        except FileExistsError as error:  # 412
            raise PreconditionFailedError from error
        except failures() as error:
            # Such as a zonal bucket, which takes no uploads by this API.
            if expected != ANY and code(error) in ("400", "405", "501"):
                raise NoConditionsError from error
            raise
    return str(uploaded["generation"])


class _Upload(io.FileIO):
    """A file that stays open when it has been sent, as it may have to be sent again."""

    def close(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        super().close()


def _find_azure(fs: AbstractFileSystem, folder: str, prefix: str) -> Mapping[str, Mapping[str, Any]]:
    """List by Azure's own client: adlfs sends further requests, and returns nothing if there is no such container."""
    from azure.core.exceptions import ResourceNotFoundError

    container, path, _ = fs.split_path(f"{folder}/{prefix}")

    async def find() -> Mapping[str, Mapping[str, Any]]:
        async with fs.service_client.get_container_client(container) as client:
            return {f"{container}/{each.name}": each async for each in client.list_blobs(name_starts_with=path)}

    try:
        found: Mapping[str, Mapping[str, Any]] = sync(fs.loop, find)
    except ResourceNotFoundError as error:
        raise FileNotFoundError(folder) from error
    return found


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


def _put_azure(fs: AbstractFileSystem, local: Path, path: str, expected: str | None, options: Mapping[str, Any]) -> str:
    """Put a file by Azure's own client: not every version of adlfs passes conditions on."""
    from azure.core import MatchConditions

    container, name, _ = fs.split_path(path)
    condition: dict[str, Any] = {}
    if expected and expected != ANY:
        condition = {"etag": f'"{expected}"', "match_condition": MatchConditions.IfNotModified}

    async def upload() -> str:
        async with fs.service_client.get_blob_client(container, name) as blob:
            with local.open("rb") as file:
                response = await blob.upload_blob(file, overwrite=expected is not None, **condition, **options)
        return unquoted(response["etag"])

    try:
        version: str = sync(fs.loop, upload)
    except failures() as error:
        if code(error) in ("BlobAlreadyExists", "ConditionNotMet"):
            raise PreconditionFailedError from error
        raise
    return version


_KNOWN = {
    "s3": ConditionalPut(
        "ETag",
        _find,
        _get_s3,
        _put_s3,
        (
            *("ServerSideEncryption", "SSEKMSKeyId", "SSEKMSEncryptionContext", "BucketKeyEnabled"),
            *("ACL", "RequestPayer", "StorageClass", "Tagging"),
        ),
    ),
    "gs": ConditionalPut("generation", _find, _get_gcs, _put_gcs, ("kmsKeyName", "predefinedAcl", "userProject")),
    "abfs": ConditionalPut("etag", _find_azure, _get_azure, _put_azure, ("encryption_scope",)),
}
