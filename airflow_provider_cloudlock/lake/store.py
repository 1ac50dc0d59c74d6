"""Files in an object store or on a local disk: complete or absent, never in between."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDriftError
from airflow_provider_cloudlock.lake import local as disk
from airflow_provider_cloudlock.lake.conditional_put import (
    ANY,
    NoConditionsError,
    PreconditionFailedError,
    billed,
    check_options,
    conditional_put,
    unquoted,
)
from airflow_provider_cloudlock.lake.days import common_prefix
from airflow_provider_cloudlock.lake.store_errors import explained, failure, failures, is_denied, temporary

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: Bytes that S3 takes in one PUT.
_LARGEST_S3_PUT = 5 << 30


class Store:
    """A destination.

    :param fs: the filesystem, with credentials.
    :param root: the folder as the filesystem spells it.
    :param path: the folder as the user spells it, with the Airflow connection.
    :param uri: the plain address of the folder, which other tools understand.
    :param write_options: options of every write, in the terms of the store's API, such as the key that encrypts.
    :raises CloudlockConfigError: if the store does not have one of the options.
    """

    def __init__(
        self, fs: AbstractFileSystem, root: str, path: str, uri: str, write_options: Mapping[str, Any] | None = None
    ) -> None:
        self._options = write_options or {}
        check_options(fs, self._options)
        self._fs = billed(fs, self._options)
        self._root = root.rstrip("/")
        self._spelled = path.rstrip("/")
        self._uri = uri.rstrip("/")
        self._local = isinstance(fs, LocalFileSystem)
        self._conditional = conditional_put(fs)

    @property
    def fs(self) -> AbstractFileSystem:
        """The filesystem, with credentials."""
        return self._fs

    def path(self, relative: str) -> str:
        """Return a file as the user spells it."""
        return f"{self._spelled}/{relative}"

    def uri(self, relative: str) -> str:
        """Return the plain address of a file."""
        return f"{self._uri}/{relative}"

    def check(self) -> None:
        """Check before the first API request that files can be written, as far as that can be known.

        A remote destination is checked by :meth:`versions`.

        :raises CloudlockConfigError: if a folder cannot be written.
        :raises CloudlockUnavailableError: if the temporary folder is full.
        """
        with scratch() as folder:
            (folder / "probe").write_bytes(bytes(1))
        if self._local:
            try:
                os.makedirs(self._root, exist_ok=True)
                usable, refusal = os.access(self._root, os.W_OK | os.X_OK), None
            except OSError as error:
                usable, refusal = False, error
            if not usable:
                raise self._unusable() from refusal

    def versions(self, paths: Mapping[date, str]) -> dict[date, str]:
        """Return the versions of one file of each day, in one call on an object store.

        :param paths: the files, which need not exist.
        :raises CloudlockConfigError: if the bucket does not exist, or may not be listed.
        :raises CloudlockUnavailableError: if the store does not respond.
        """
        if self._local:
            return {day: version for day, path in paths.items() if (version := self.version(path)) is not None}
        files = {day: self._file(path) for day, path in paths.items()}
        found = self._find(*common_prefix(files.values()).rsplit("/", 1))
        return {day: self._version(found[file]) for day, file in files.items() if file in found}

    def metadata(self) -> set[str]:
        """Return the paths of all receipts and files in quarantine, in one call on an object store."""
        folders = [""] if self._conditional else ["/_receipts", "/_quarantine"]
        found = [path for folder in folders for path in self._find(f"{self._root}{folder}", "_")]
        return {path.removeprefix(f"{self._root}/") for path in found}

    def _find(self, folder: str, prefix: str) -> Mapping[str, Mapping[str, Any]]:
        """Return information on the files below a folder whose names begin like this, maybe on others too."""
        self._fs.invalidate_cache()
        try:
            if self._conditional:  # listing a bucket that does not exist raises
                return self._conditional.find(self._fs, folder, prefix)
            found: Mapping[str, Mapping[str, Any]] = self._fs.find(folder, detail=True)
            if found or self._fs.exists(self._root.split("/", 1)[0] or "/"):
                return found
        except failures() as error:
            if not is_denied(error):
                raise failure(self._spelled, "listed", error) from error
            raise self._unusable() from error
        raise self._unusable()

    def _unusable(self) -> CloudlockConfigError:
        return CloudlockConfigError(
            f"The destination {self._spelled} cannot be used: its folder cannot be written, or its bucket does not "
            "exist or may not be listed. Create it, or allow its connection to list it; the right to list below the "
            "folder suffices. Or correct the destination or its connection."
        )

    def version(self, relative: str) -> str | None:
        """Return the version of a file, None if it does not exist.

        An object is looked up in a listing: to a HEAD request for one that does not exist, S3 and Google Cloud Storage
        respond with 403 if the connection may list below the destination only.
        """
        path = self._file(relative)
        if self._conditional:
            found = self._find(*path.rsplit("/", 1)).get(path)
        else:
            self._invalidate_cache(relative)
            with explained(self.path(relative), "looked at"):
                found = self._info(path)
        return self._version(found) if found else None

    def get(self, relative: str, local: Path) -> bool:
        """Fetch a file and return whether it exists."""
        self._invalidate_cache(relative)
        with explained(self.path(relative), f"fetched to {local.parent}"), self._unless_missing(relative):
            self._fs.get_file(self._file(relative), str(local))
            return True
        return False

    def read(self, relative: str) -> tuple[bytes, str] | None:
        """Return the content of a file and its version, None if it does not exist."""
        path = self._file(relative)
        self._invalidate_cache(relative)
        with explained(self.path(relative), "read"), self._unless_missing(relative):
            if self._conditional:
                content, version = self._conditional.get(self._fs, path)
                if version:
                    return content, version
            # The version first: content that is newer than its version is merely not replaced.
            found = self._info(path)
            return (self._fs.cat_file(path), self._version(found)) if found else None
        return None

    def put_if(self, local: Path, relative: str, expected: str | None, lock: str) -> str:
        """Write a file in place of one version, and of no other: a stale attempt must not undo a later one.

        S3, Google Cloud Storage and Azure enforce that themselves, on a local disk a lock does. Elsewhere a moment
        remains between the comparison and the write.

        :param local: the file to write.
        :param relative: where to.
        :param expected: the version to be replaced, None if there must be none.
        :param lock: folder whose lock to hold on a local disk.
        :return: the new version.
        :raises PreconditionFailedError: if another version is there.
        """
        if self._conditional:
            with suppress(NoConditionsError), explained(self.path(relative), "written"):
                return self._conditional.put(self._fs, local, self._file(relative), expected, self._options)
        with self._locked(lock):
            if self.version(relative) != expected:
                raise PreconditionFailedError
            self._put(local, relative)
            return self.version(relative) or ""

    def put_text_if(self, text: str, relative: str, expected: str | None, lock: str) -> str:
        """Write a text as :meth:`put_if` writes a file."""
        with scratch() as folder:
            (folder / "text").write_text(text, encoding="utf-8")
            return self.put_if(folder / "text", relative, expected, lock)

    def put_text(self, text: str, relative: str) -> None:
        """Write a text, whatever is there."""
        with scratch() as folder:
            (folder / "text").write_text(text, encoding="utf-8")
            self._put(folder / "text", relative)

    def remove(self, relative: str) -> None:
        """Remove a file if it exists, and what a dead process left of it."""
        self.sweep(relative)
        with explained(self.path(relative), "removed"), suppress(FileNotFoundError):
            self._fs.rm_file(self._file(relative))

    def sweep(self, relative: str) -> None:
        """Remove what processes that died while they wrote a file left behind."""
        if self._local:
            with explained(self.path(relative), "tidied up"):
                disk.sweep(Path(self._file(relative)), self._staging(relative))

    def stale(self, relative: str) -> CloudlockDriftError:
        """Return the error of an attempt that another one has overtaken."""
        return CloudlockDriftError(
            f"{self.path(relative)} was published by another attempt while this one was in progress, so this one did "
            "not replace it. A retry starts over. Make sure that no two runs extract the same day concurrently, by a "
            "pool or by max_active_runs=1."
        )

    def _put(self, local: Path, relative: str) -> None:
        with explained(self.path(relative), "written"):
            if self._local:
                disk.replace(local, Path(self._file(relative)), self._staging(relative))
            elif self._conditional and self._options:
                self._conditional.put(self._fs, local, self._file(relative), ANY, self._options)
            else:
                # s3fs sends large files in parts, which stay in the bucket if one of them fails.
                options = {"chunksize": _LARGEST_S3_PUT} if "s3" in self._fs.protocol else {}
                self._fs.put_file(str(local), self._file(relative), **options)

    @contextmanager
    def _unless_missing(self, relative: str) -> Iterator[None]:
        """Suppress the error of reading a file that does not exist."""
        try:
            with suppress(FileNotFoundError):
                yield
        except failures() as error:
            # S3 and Google Cloud Storage respond with 403, not 404, if the connection may list below a folder only.
            if not (self._conditional and is_denied(error) and self.version(relative) is None):
                raise

    @contextmanager
    def _locked(self, folder: str) -> Iterator[None]:
        if not self._local:
            yield
            return
        with explained(self.path(folder), "locked"), disk.locked(Path(self._file(folder))):
            yield

    def _info(self, path: str) -> Mapping[str, Any] | None:
        with suppress(FileNotFoundError):
            found: Mapping[str, Any] = self._fs.info(path)
            return found
        return None

    def _version(self, info: Mapping[str, Any]) -> str:
        if self._conditional and info.get(self._conditional.version):
            return unquoted(info[self._conditional.version])
        return repr([info.get(name) for name in ("etag", "generation", "ino", "mtime", "last_modified", "size")])

    def _invalidate_cache(self, relative: str) -> None:
        self._fs.invalidate_cache(self._file(str(PurePosixPath(relative).parent)))

    def _staging(self, relative: str) -> Path:
        """Return the folder for copies in progress: only Parquet lies below the folder of a resource."""
        resource = relative.split("/")[0 if relative[:1] != "_" else 1]
        return Path(self._file(f"_receipts/{resource}"))

    def _file(self, relative: str) -> str:
        return f"{self._root}/{relative}"


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a local folder that is removed afterwards."""
    with temporary(), tempfile.TemporaryDirectory(prefix="cloudlock-") as folder:
        yield Path(folder)


def sha256(local: Path) -> str:
    """Return the digest of a file, in hexadecimal."""
    with local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
