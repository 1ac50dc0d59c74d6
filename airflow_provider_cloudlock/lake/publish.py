"""Records of a day -> verified local Parquet -> destination, in one step.

Objects and receipts are written in place of the versions that were there before the range was read, so that of two
concurrent attempts the stale one fails instead of undoing the other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Literal

from airflow_provider_cloudlock.exceptions import CloudlockConfigError, CloudlockDataError
from airflow_provider_cloudlock.lake.buffer import DayRecords
from airflow_provider_cloudlock.lake.conditional_put import PreconditionFailedError
from airflow_provider_cloudlock.lake.days import object_path, partition, quarantine_path, receipt_path
from airflow_provider_cloudlock.lake.parquet import Identity, PublishedFile, write
from airflow_provider_cloudlock.lake.receipt import Receipt
from airflow_provider_cloudlock.lake.schema import Layout
from airflow_provider_cloudlock.lake.store import Store, scratch, sha256
from airflow_provider_cloudlock.strict_json import dumps

log = logging.getLogger(__name__)

OnVanished = Literal["keep", "drop", "fail"]

#: How often a receipt is tried to be written while other attempts write theirs.
_RECEIPT_TRIES = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """What was published of a day before its range was read.

    :param version: version of the object, None if there is none.
    :param receipt: the receipt, None if there is none that can be read.
    :param receipt_version: version of the receipt, None if there is none.
    :param has_quarantine: whether an earlier extraction may have left a file in quarantine.
    """

    version: str | None = None
    receipt: Receipt | None = None
    receipt_version: str | None = None
    has_quarantine: bool = False


@dataclass(frozen=True, slots=True)
class Published:
    """What is published of a day now.

    :param rows: records in the object.
    :param bytes: size of the object.
    :param sha256: digest of the object.
    :param previous_sha256: digest of the object that was replaced, None if none was.
    :param version: version of the object.
    :param changed: whether the object was written.
    :param vanished_kept: records published before that are not among the new ones.
    """

    rows: int
    bytes: int
    sha256: str
    previous_sha256: str | None
    version: str
    changed: bool
    vanished_kept: int


class Publisher:
    """Publishes days of one resource, several at a time.

    :param store: the destination.
    :param layout: layout of the records.
    :param tenant: name of the Cloudlock tenant that the destination belongs to.
    :param status: the filter the records were read with, None for all records.
    :param on_vanished: what becomes of published records that are no longer listed.
    """

    def __init__(self, store: Store, layout: Layout, tenant: str, status: str | None, on_vanished: OnVanished) -> None:
        self.store = store
        self._layout = layout
        self._resource = layout.resource.name
        self._tenant = tenant
        self._status = status
        self._on_vanished = on_vanished
        self._is_own = False  # whether a receipt of this tenant was seen, or the destination has none

    def standing(
        self,
        days: Sequence[date],
        each: Callable[[Callable[[date], Standing], Sequence[date]], Iterable[tuple[date, Standing]]],
    ) -> dict[date, Standing]:
        """Return what is published of some days, before the API is read.

        :param each: applies a function to several days concurrently, and yields them with the results.
        :raises CloudlockConfigError: if the destination cannot be used, or belongs to another tenant.
        """
        versions = self.store.versions({day: object_path(self._resource, day) for day in days})

        def look(day: date) -> Standing:
            receipt, version = self._receipt(receipt_path(self._resource, day))
            has_quarantine = receipt is not None and receipt.quarantined + receipt.rejected > 0
            return Standing(versions[day], receipt, version, has_quarantine)

        published = [day for day in days if day in versions]
        standing = dict.fromkeys(days, Standing()) | dict(each(look, published))
        self._is_own = self._is_own or any(each.receipt for each in standing.values())
        unknown = {day: quarantine_path(self._resource, day) for day in days if standing[day].receipt is None}
        quarantined: Iterable[date] = self.store.versions(unknown) if unknown and self._is_own else ()
        if not self._is_own:
            files = self.store.metadata()
            self._check_owner(files)
            quarantined = [day for day, path in unknown.items() if path in files]
        for day in quarantined:
            standing[day] = replace(standing[day], has_quarantine=True)
        return standing

    def _check_owner(self, files: Iterable[str]) -> None:
        """Check the tenant of the destination by its newest receipt, as the days to extract have none.

        :raises CloudlockConfigError: if it belongs to another tenant.
        """
        folder = receipt_path(self._resource, date.min).rpartition("/")[0]
        paths = sorted((path for path in files if path.startswith(f"{folder}/")), reverse=True)
        self._is_own = any(self._receipt(path)[0] for path in paths) or not paths

    def _receipt(self, path: str) -> tuple[Receipt | None, str | None]:
        """Return a receipt and its version, None for a receipt that cannot be read and for one that does not exist.

        :raises CloudlockConfigError: if it is of another tenant.
        """
        found = self.store.read(path)
        receipt = Receipt.parse(found[0].decode("utf-8", "replace")) if found else None
        if receipt is not None and receipt.tenant != self._tenant:
            raise CloudlockConfigError(
                f"The destination {self.store.path('').rstrip('/')} holds data of the Cloudlock tenant "
                f"{receipt.tenant!r}, and this connection is one of {self._tenant!r}. Give each tenant a "
                "destination of its own. If only the connection id changed, set the field 'tenant' in the "
                f"connection's extra to {receipt.tenant!r}."
            )
        return receipt, found[1] if found else None

    def publish(self, day: date, records: DayRecords, standing: Standing) -> Published:
        """Make the records of a day visible, or leave the object alone if it holds just these.

        :param records: all of them; vanished ones that are kept are added.
        :raises CloudlockConfigError: if what is published was read with another filter.
        :raises CloudlockDataError: if records vanished and must not, or a published object cannot be read.
        :raises CloudlockDriftError: if another attempt published the day meanwhile.
        """
        path = object_path(self._resource, day)
        identity = Identity(self._resource, self._tenant, day, self._status)
        with scratch() as folder:
            local = folder / "new.parquet"
            digest = write(records, local, self._layout, identity)
            found = Published(records.rows, local.stat().st_size, digest, None, standing.version or "", False, 0)
            receipt = standing.receipt
            expected = (standing.version, digest, self._status)
            if receipt is not None and (receipt.version, receipt.sha256, receipt.status) == expected:
                self.store.sweep(path)
                return found
            current = folder / "published.parquet"
            if standing.version is not None and self.store.get(path, current):
                published = PublishedFile(current, self.store.path(path), self._layout, identity)
                kept = 0
                is_same = published.holds(records)
                if not is_same:
                    kept = self._keep_vanished(published, records)
                    is_same = bool(kept) and published.holds(records)
                found = replace(found, rows=records.rows, vanished_kept=kept, previous_sha256=sha256(current))
                if is_same:
                    self.store.sweep(path)
                    return replace(found, bytes=current.stat().st_size, sha256=sha256(current), previous_sha256=None)
                if kept:
                    digest = write(records, local, self._layout, identity)
                    found = replace(found, bytes=local.stat().st_size, sha256=digest)
            try:
                version = self.store.put_if(local, path, standing.version, self._lock(day))
            except PreconditionFailedError as error:
                # The response to a first try may have been lost, or another attempt may have written the same.
                version = self.store.version(path) or ""
                if not self.store.get(path, current) or sha256(current) != found.sha256:
                    raise self.store.stale(path) from error
            return replace(found, version=version, changed=True)

    def _keep_vanished(self, published: PublishedFile, records: DayRecords) -> int:
        """Add the published records that are no longer listed, if they are to be kept, and return their number."""
        vanished = published.rows_without(records.keys.combine_chunks())
        if vanished.num_rows and self._on_vanished == "fail":
            first = vanished[self._layout.key][0].as_py()[:100]
            raise CloudlockDataError(
                f"{vanished.num_rows} records of {published.path} are no longer listed by Cloudlock, the first with "
                f"the id {first!r}. Nothing was changed. Set on_vanished='keep' or 'drop' if that is expected."
            )
        if self._on_vanished == "keep":
            records.add(vanished)
            return int(vanished.num_rows)
        if vanished.num_rows:
            log.warning("Dropping %d records of %s that are no longer listed.", vanished.num_rows, published.path)
        return 0

    def write_receipt(self, day: date, receipt: Receipt, standing: Standing) -> str | None:
        """Write the receipt of a published day, unless another attempt has replaced the object.

        :return: the version of the receipt, None if another attempt has written one about the same object.
        :raises CloudlockDriftError: if another attempt has replaced the object.
        """
        path, expected = receipt_path(self._resource, day), standing.receipt_version
        if standing.has_quarantine and not receipt.quarantined:
            # Before the receipt is written: without that receipt, a retry still knows of the file.
            self._check_published(day, receipt)
            self.store.remove(quarantine_path(self._resource, day))
        else:
            self.store.sweep(quarantine_path(self._resource, day))
        for _ in range(_RECEIPT_TRIES):
            try:
                return self.store.put_text_if(receipt.to_json(), path, expected, self._lock(day))
            except PreconditionFailedError:
                found = self.store.read(path)
            content = found[0].decode("utf-8", "replace") if found else ""
            if found and content == receipt.to_json():  # the response to a first try was lost
                return found[1]
            other = Receipt.parse(content)
            if other is not None and other.sha256 == receipt.sha256 and other.version == receipt.version:
                return None
            self._check_published(day, receipt)
            expected = found[1] if found else None
        raise self.store.stale(path)

    def _check_published(self, day: date, receipt: Receipt) -> None:
        """Check that the object is still the one that a receipt is about.

        :raises CloudlockDriftError: if another attempt has replaced it.
        """
        path = object_path(self._resource, day)
        if self.store.version(path) != receipt.version:
            raise self.store.stale(path)

    def note_announced(self, day: date, receipt: Receipt, version: str) -> None:
        """Note in a receipt that an asset event is emitted, unless another attempt wrote it meanwhile."""
        path = receipt_path(self._resource, day)
        with suppress(PreconditionFailedError):
            self.store.put_text_if(replace(receipt, announced=True).to_json(), path, version, self._lock(day))

    def quarantine(
        self, day: date, records: Sequence[Mapping[str, Any]], standing: Standing, *, is_rejected: bool
    ) -> str:
        """Write records that cannot be kept to a file, one per line, and return its path.

        :param is_rejected: whether the extraction fails because of them, so that no receipt will tell of the file.
        :raises CloudlockDriftError: if another attempt published the day meanwhile.
        """
        path = object_path(self._resource, day)
        receipt_file = receipt_path(self._resource, day)
        held = standing.version, standing.receipt_version
        if (self.store.version(path), standing.receipt_version and self.store.version(receipt_file)) != held:
            raise self.store.stale(path)
        if is_rejected and standing.receipt is not None:
            # Before the file is written: a later extraction must know of it to remove it.
            noted = replace(standing.receipt, rejected=len(records)).to_json()
            try:
                self.store.put_text_if(noted, receipt_file, standing.receipt_version, self._lock(day))
            except PreconditionFailedError as error:
                raise self.store.stale(receipt_file) from error
        target = quarantine_path(self._resource, day)
        self.store.put_text("".join(f"{dumps(record)}\n" for record in records), target)
        return self.store.path(target)

    def _lock(self, day: date) -> str:
        return f"{self._resource}/{partition(day)}"
