"""What differs between S3, Google Cloud Storage and Azure: uploads that are taken only in place of one version."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fsspec.asyn import sync

from airflow_provider_cloudlock.lake.failures import code, failures

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: One PUT is atomic and leaves nothing open when it fails; several parts would. 5 GiB is the most that S3 takes.
_ONE_PUT = 5 << 30
#: What S3 says when the version to be replaced is not the one that is there.
_NOT_AS_HELD = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


class AnotherVersionError(Exception):
    """Another version is there: somebody else's, or our own when the answer to a first try was lost."""


class NoConditionsError(Exception):
    """The server knows no such conditions."""


class Kind(NamedTuple):
    """How a kind of store names versions, and takes a file in place of one."""

    #: Where the filesystem's information has the version.
    version: str
    #: Puts a local file to a path in place of one version, or of none.
    put_if: Callable[[AbstractFileSystem, Path, str, str | None], None]


def kind_of(fs: AbstractFileSystem) -> Kind | None:
    """Tell the kind of a filesystem's store, None when it takes no conditions."""
    protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
    return next((_KNOWN[each] for each in protocols if each in _KNOWN), None)


def has_bucket(fs: AbstractFileSystem, bucket: str) -> bool:
    """Whether a bucket is there, empty or not; it may also raise FileNotFoundError."""
    if "gs" in fs.protocol:  # a role for objects alone may list them, and not see the bucket itself
        fs.call("GET", "b/{}/o", bucket, maxResults=1)
        return True
    return bool(fs.exists(bucket))


def put(fs: AbstractFileSystem, local: Path, path: str, **options: Any) -> None:
    """Put a local file in place of whatever is there, if the store's own options do not forbid it."""
    if "s3" in fs.protocol:
        options["chunksize"] = _ONE_PUT
    fs.put_file(str(local), path, **options)


def _to_s3(fs: AbstractFileSystem, local: Path, path: str, held: str | None) -> None:
    try:
        put(fs, local, path, **({"IfMatch": held} if held else {"IfNoneMatch": "*"}))
    except OSError as error:
        if code(error) == "NotImplemented":
            raise NoConditionsError from error
        if code(error) in _NOT_AS_HELD:
            raise AnotherVersionError from error
        raise


def _to_gcs(fs: AbstractFileSystem, local: Path, path: str, held: str | None) -> None:
    """Put a file by the JSON API itself: gcsfs has a condition for new objects, but none for those to be replaced."""
    bucket, name, _ = fs.split_path(path)
    with _Upload(local) as file:
        try:
            fs.call(
                "POST",
                f"{fs.base.removesuffix('/storage/v1/')}/upload/storage/v1/b/{{}}/o",
                bucket,
                uploadType="media",
                name=name,
                ifGenerationMatch=held or "0",
                headers={"Content-Type": "application/octet-stream"},
                data=file,
            )
        except FileExistsError as error:  # 412
            raise AnotherVersionError from error
        except ValueError as error:  # 400
            raise NoConditionsError from error
        except failures() as error:
            if code(error) in ("400", "405", "501"):  # such as a zonal bucket, which takes no uploads by this API
                raise NoConditionsError from error
            raise


class _Upload(io.FileIO):
    """A file that stays open when it has been sent, as it may have to be sent again."""

    def close(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        super().close()


def _to_azure(fs: AbstractFileSystem, local: Path, path: str, held: str | None) -> None:
    """Put a file by Azure's own client: not every adlfs hands conditions on."""
    from azure.core import MatchConditions

    container, name, _ = fs.split_path(path)
    condition = {"etag": held, "match_condition": MatchConditions.IfNotModified} if held else {}

    async def upload() -> None:
        async with fs.service_client.get_blob_client(container, name) as blob:
            with local.open("rb") as file:
                await blob.upload_blob(file, overwrite=held is not None, **condition)

    try:
        sync(fs.loop, upload)
    except failures() as error:
        if code(error) in ("BlobAlreadyExists", "ConditionNotMet"):
            raise AnotherVersionError from error
        raise


_KNOWN = {
    "s3": Kind("ETag", _to_s3),
    "gs": Kind("generation", _to_gcs),
    "abfs": Kind("etag", _to_azure),
}
