"""Files of one resource in an object store or on a local disk: whole or not there, never in between."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDriftError
from airflow_provider_cloudlock.lake.slices import Slice

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: One PUT is atomic and leaves nothing open when it fails; several parts would. 5 GiB is the most that S3 takes.
_ONE_PUT = 5 << 30
#: What S3 says when the version to be replaced is not the one that is there.
_NOT_AS_HELD = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")


class Store:
    """The folder of one resource.

    :param fs: the filesystem, signed in.
    :param root: the folder as the filesystem spells it.
    :param uri: the folder as the user spells it, for messages, receipts and readers.
    """

    def __init__(self, fs: AbstractFileSystem, root: str, uri: str) -> None:
        self._fs = fs
        self._root = root.rstrip("/")
        self._uri = uri.rstrip("/")
        self._local = isinstance(fs, LocalFileSystem)
        self._is_s3 = "s3" in fs.protocol

    def uri(self, relative: str) -> str:
        """Spell a file as the user would."""
        return f"{self._uri}/{relative}"

    def check(self) -> None:
        """Look whether the bucket is there, or the folder can be written, before anything is asked of the API.

        :raises CloudlockConfigError: when it is not.
        """
        try:
            if self._local:
                os.makedirs(self._root, exist_ok=True)
                usable = os.access(self._root, os.W_OK | os.X_OK)
            else:
                usable = self._is_reachable()
        except (PermissionError, FileExistsError, NotADirectoryError):
            usable = False
        if not usable:
            raise CloudlockConfigError(
                f"The destination {self._uri} cannot be used: its folder cannot be written, or its bucket does not "
                "exist or may not be seen. Create it, or correct the destination or its connection."
            )

    def _is_reachable(self) -> bool:
        """Whether the bucket is there. An outage raises; asked outright, some filesystems take it for a missing one."""
        self._fs.invalidate_cache(self._root)
        try:
            self._fs.ls(self._root, detail=False)
        except FileNotFoundError:  # nothing there yet, which is fine in a bucket that exists
            return bool(self._fs.exists(self._root.split("/", 1)[0]))
        return True

    def slices(self, partition: str) -> list[Slice]:
        """List the slices published in a partition; files that are not ours are left out."""
        folder = self._path(partition)
        self._fs.invalidate_cache(folder)
        try:
            found = self._fs.ls(folder, detail=False)
        except FileNotFoundError:
            return []
        named = (Slice.named(PurePosixPath(path).name) for path in found)
        return sorted(each for each in named if each is not None)

    def get(self, relative: str, local: Path) -> bool:
        """Fetch a file; tell whether it was there."""
        self._fs.invalidate_cache(self._path(str(PurePosixPath(relative).parent)))
        try:
            self._fs.get_file(self._path(relative), str(local))
        except FileNotFoundError:
            return False
        return True

    def version(self, relative: str) -> str | None:
        """Tell which version of a file is published, None when there is none."""
        self._fs.invalidate_cache(self._path(str(PurePosixPath(relative).parent)))
        try:
            found = self._fs.info(self._path(relative))
        except FileNotFoundError:
            return None
        if self._is_s3:
            return str(found["ETag"])
        return repr([found.get(name) for name in ("etag", "generation", "ino", "mtime", "last_modified", "size")])

    def exchange(self, local: Path, relative: str, held: str | None) -> None:
        """Publish a file in place of one version, and of no other: who was held up must not undo what came later.

        S3 itself sees to that; for other stores a moment remains between the look and the write.

        :param local: the file.
        :param relative: where to.
        :param held: the version that is to be replaced, None when there was none.
        :raises CloudlockDriftError: when another version is there.
        """
        if self._is_s3 and self._put_if(local, relative, held):
            return
        if self.version(relative) != held:
            raise self._outrun(relative)
        self._put(local, relative)

    def _put_if(self, local: Path, relative: str, held: str | None) -> bool:
        """Publish a file in S3 if a version is still there; tell whether the server knows such conditions.

        :raises CloudlockDriftError: when another version is there.
        """
        try:
            self._put(local, relative, **({"IfMatch": held} if held else {"IfNoneMatch": "*"}))
        except OSError as error:
            code = getattr(error.__cause__, "response", {}).get("Error", {}).get("Code")
            if code == "NotImplemented":
                return False
            if code not in _NOT_AS_HELD:
                raise
            # It may be our own, if the answer to a first try was lost.
            with scratch() as folder:
                if not self.get(relative, folder / "there") or sha256(folder / "there") != sha256(local):
                    raise self._outrun(relative) from error
        return True

    def _outrun(self, relative: str) -> CloudlockDriftError:
        return CloudlockDriftError(
            f"{self.uri(relative)} was published by another attempt while this one was at work, so this one changed "
            "nothing. A retry begins anew. See that no two runs extract the same day at once, by a pool or by "
            "max_active_runs=1."
        )

    def _put(self, local: Path, relative: str, **condition: str) -> None:
        """Publish a file in one step, in place of the one of the same name."""
        if self._local:
            _replace(local, Path(self._path(relative)))
        else:
            options = {"chunksize": _ONE_PUT} if self._is_s3 else {}
            self._fs.put_file(str(local), self._path(relative), **options, **condition)

    def put_text(self, text: str, relative: str) -> None:
        """Publish a text in one step."""
        with scratch() as folder:
            local = folder / "text"
            local.write_text(text, encoding="utf-8")
            self._put(local, relative)

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there, and what a dead process left of it."""
        self.sweep(relative)
        with suppress(FileNotFoundError):
            self._fs.rm_file(self._path(relative))

    def sweep(self, relative: str) -> None:
        """Remove what processes that died while they published a file left beside it."""
        if self._local:
            _sweep(Path(self._path(relative)))

    def _path(self, relative: str) -> str:
        return f"{self._root}/{relative}"


@contextmanager
def scratch() -> Iterator[Path]:
    """A local folder that goes when it is no longer needed."""
    with tempfile.TemporaryDirectory(prefix="cloudlock-") as folder:
        yield Path(folder)


def sha256(local: Path) -> str:
    """Digest of a file, in hexadecimal."""
    with local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_file(slice_: Slice) -> str:
    """Where a slice's records lie, below the resource's folder."""
    return f"{slice_.partition}/{slice_.name}.parquet"


def receipt_file(slice_: Slice) -> str:
    """Where a slice's receipt lies."""
    return f"_receipts/{slice_.partition}/{slice_.name}.json"


def quarantine_file(slice_: Slice) -> str:
    """Where the records of a slice lie that could not be kept."""
    return f"_quarantine/{slice_.partition}/{slice_.name}.jsonl"


def _replace(local: Path, target: Path) -> None:
    """Copy a file beside its target and rename it: a rename is atomic only within one file system.

    The copy is locked while it is written, so that :func:`_sweep` can tell it from one left by a process that died.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep(target)
    staged = target.parent / f".{target.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp"
    try:
        with staged.open("xb") as file, local.open("rb") as source:
            fcntl.flock(file, fcntl.LOCK_EX)
            shutil.copyfileobj(source, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
            os.replace(staged, target)
    finally:
        staged.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the rename itself
    finally:
        os.close(folder)


def _sweep(target: Path) -> None:
    for leftover in target.parent.glob(f".{target.name}.*.tmp"):
        with suppress(FileNotFoundError, BlockingIOError), leftover.open("rb") as file:  # gone, or in use
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            leftover.unlink()
