"""Files of one resource in an object store or on a local disk: whole or not there, never in between."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fsspec.implementations.local import LocalFileSystem

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDriftError
from airflow_provider_cloudlock.lake import local as disk
from airflow_provider_cloudlock.lake.failures import explained, failure, failures, is_refusal, temporary
from airflow_provider_cloudlock.lake.kinds import AnotherVersionError, NoConditionsError, has_bucket, kind_of, put
from airflow_provider_cloudlock.lake.slices import Slice

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


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
        self._kind = kind_of(fs)

    def uri(self, relative: str) -> str:
        """Spell a file as the user would."""
        return f"{self._uri}/{relative}"

    def check(self) -> None:
        """Look whether all can be written that will be, as far as that shows, before anything is asked of the API.

        :raises CloudlockConfigError: when the bucket is not there, or a folder cannot be written.
        :raises CloudlockUnavailableError: when the store does not answer, or the temporary folder is full.
        """
        with scratch() as folder:
            (folder / "probe").write_bytes(bytes(1))
        refusal = None
        try:
            if self._local:
                os.makedirs(self._root, exist_ok=True)
                usable = os.access(self._root, os.W_OK | os.X_OK)
            else:
                usable = self._is_reachable()
        except failures() as error:
            if not is_refusal(error):
                raise failure(self._uri, "looked at", error) from error
            usable, refusal = False, error
        if not usable:
            raise CloudlockConfigError(
                f"The destination {self._uri} cannot be used: its folder cannot be written, or its bucket does not "
                "exist or may not be seen. Create it, or correct the destination or its connection."
            ) from refusal

    def _is_reachable(self) -> bool:
        """Whether the bucket is there. An outage raises; asked outright, some filesystems take it for a missing one."""
        self._fs.invalidate_cache(self._root)
        try:
            self._fs.ls(self._root, detail=False)
        except FileNotFoundError:  # nothing there yet, which is fine in a bucket that exists
            return has_bucket(self._fs, self._root.split("/", 1)[0])
        return True

    def slices(self, partition: str) -> list[Slice]:
        """List the slices published in a partition; files that are not ours are left out."""
        folder = self._path(partition)
        self._fs.invalidate_cache(folder)
        with explained(self.uri(partition), "listed"):
            try:
                found = self._fs.ls(folder, detail=False)
            except FileNotFoundError:
                return []
        named = (Slice.named(PurePosixPath(path).name) for path in found)
        return sorted(each for each in named if each is not None)

    def get(self, relative: str, local: Path) -> bool:
        """Fetch a file; tell whether it was there."""
        self._forget(relative)
        with explained(self.uri(relative), f"fetched to {local.parent}"):
            try:
                self._fs.get_file(self._path(relative), str(local))
            except FileNotFoundError:
                return False
        return True

    def version(self, relative: str) -> str | None:
        """Tell which version of a file is published, None when there is none."""
        self._forget(relative)
        with explained(self.uri(relative), "looked at"):
            try:
                found = self._fs.info(self._path(relative))
            except FileNotFoundError:
                return None
        if self._kind and found.get(self._kind.version):
            return str(found[self._kind.version])
        return repr([found.get(name) for name in ("etag", "generation", "ino", "mtime", "last_modified", "size")])

    def version_of(self, local: Path, relative: str) -> str | None:
        """Tell which version a file has that was just published; read back, it is the same.

        :raises CloudlockDriftError: when another file is there.
        """
        version = self.version(relative)
        if self._is_other(local, relative):
            raise self._outrun(relative)
        return version

    def exchange(self, local: Path, relative: str, held: str | None) -> None:
        """Publish a file in place of one version, and of no other: who was held up must not undo what came later.

        S3, Google Cloud Storage and Azure see to that themselves; on a local disk a lock does. Elsewhere a moment
        remains between the look and the write.

        :param local: the file.
        :param relative: where to.
        :param held: the version that is to be replaced, None when there was none.
        :raises CloudlockDriftError: when another version is there.
        """
        if self._kind:
            with suppress(NoConditionsError), explained(self.uri(relative), "written"):
                try:
                    self._kind.put_if(self._fs, local, self._path(relative), held)
                except AnotherVersionError as error:
                    if self._is_other(local, relative):
                        raise self._outrun(relative) from error
                return
        with self._kept_apart(relative):
            self.check_held(relative, held)
            self._put(local, relative)

    @contextmanager
    def _kept_apart(self, relative: str) -> Iterator[None]:
        """Keep the attempts apart that publish the same file, where that can be done."""
        if not self._local:
            yield
            return
        with explained(self.uri(relative), "locked"), disk.locked(Path(self._path(relative)).parent):
            yield

    def _is_other(self, local: Path, relative: str) -> bool:
        """Whether another file is published than this one."""
        with scratch() as folder:
            return not self.get(relative, folder / "there") or sha256(folder / "there") != sha256(local)

    def check_held(self, relative: str, held: str | None) -> None:
        """Look whether a version of a file is still the one that is published.

        :raises CloudlockDriftError: when another version is there.
        """
        if self.version(relative) != held:
            raise self._outrun(relative)

    def _outrun(self, relative: str) -> CloudlockDriftError:
        return CloudlockDriftError(
            f"{self.uri(relative)} was published by another attempt while this one was at work, so this one did not "
            "replace it. A retry begins anew. See that no two runs extract the same day at once, by a pool or by "
            "max_active_runs=1."
        )

    def _put(self, local: Path, relative: str) -> None:
        """Publish a file in one step, in place of the one of the same name."""
        with explained(self.uri(relative), "written"):
            if self._local:
                disk.replace(local, Path(self._path(relative)))
            else:
                put(self._fs, local, self._path(relative))

    def put_text(self, text: str, relative: str) -> None:
        """Publish a text in one step."""
        with _written(text) as local:
            self._put(local, relative)

    def exchange_text(self, text: str, relative: str, held: str | None) -> None:
        """Publish a text as :meth:`exchange` publishes a file."""
        with _written(text) as local:
            self.exchange(local, relative, held)

    def remove(self, relative: str) -> None:
        """Remove a file, if it is there, and what a dead process left of it."""
        self.sweep(relative)
        with explained(self.uri(relative), "removed"), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(relative))

    def sweep(self, relative: str) -> None:
        """Remove what processes that died while they published a file left beside it."""
        if self._local:
            with explained(self.uri(relative), "tidied up"):
                disk.sweep(Path(self._path(relative)))

    def _forget(self, relative: str) -> None:
        """Ask the store itself next, not what was listed earlier."""
        self._fs.invalidate_cache(self._path(str(PurePosixPath(relative).parent)))

    def _path(self, relative: str) -> str:
        return f"{self._root}/{relative}"


@contextmanager
def scratch() -> Iterator[Path]:
    """A local folder that goes when it is no longer needed."""
    with temporary(), tempfile.TemporaryDirectory(prefix="cloudlock-") as folder:
        yield Path(folder)


@contextmanager
def _written(text: str) -> Iterator[Path]:
    with scratch() as folder:
        local = folder / "text"
        local.write_text(text, encoding="utf-8")
        yield local


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
