"""Verdict on one UTC day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

from airflow_provider_cloudlock.cli.audit.inventory import Claim, DayInventory, Finding

#: Kinds of findings of days that lack rows.
GAPS = ("gap", "missing", "partial")


@dataclass(frozen=True, slots=True)
class Day:
    """One UTC day of a lake, by its receipt and its object.

    :param day: the day.
    :param rows: records in its object by the receipt, None if there is no object with a valid receipt.
    :param bytes: size of that object.
    :param proof: how its completeness was verified.
    :param until: end of the last extraction if the day was in progress, ISO 8601, else None.
    :param extracted_at: time of the last extraction.
    :param vanished_kept: records that Cloudlock no longer listed at the last extraction.
    :param quarantined: records that could not be kept.
    :param schema_version: version of the columns.
    :param tenant: name of the Cloudlock tenant.
    :param status: the filter, None for all records.
    :param findings: reasons why the day is not complete, or cannot be relied on.
    :param api_rows: Cloudlock's count, None if it was not requested or not reported.
    """

    day: date
    rows: int | None
    bytes: int
    proof: str | None
    until: str | None
    extracted_at: datetime | None
    vanished_kept: int
    quarantined: int
    schema_version: int | None
    tenant: str | None
    status: str | None
    findings: tuple[Finding, ...]
    api_rows: int | None = None

    @property
    def is_extracted(self) -> bool:
        """Whether the day has an object with a valid receipt."""
        return self.rows is not None

    @property
    def is_whole(self) -> bool:
        """Whether the day is complete: there are no findings."""
        return not self.findings

    @property
    def has_gap(self) -> bool:
        """Whether rows are missing."""
        return any(finding.kind in GAPS for finding in self.findings)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of findings, each once, in their order."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    @property
    def api_more(self) -> int | None:
        """Cloudlock's count minus the rows in the lake."""
        return None if self.api_rows is None else self.api_rows - (self.rows or 0)

    def as_json(self) -> dict[str, Any]:
        """Return the day as JSON types."""
        return {
            "day": self.day.isoformat(),
            "whole": self.is_whole,
            "rows": self.rows,
            "bytes": self.bytes,
            "proof": self.proof,
            "until": self.until,
            "extracted_at": self.extracted_at.isoformat() if self.extracted_at else None,
            "vanished_kept": self.vanished_kept,
            "quarantined": self.quarantined,
            "schema_version": self.schema_version,
            "tenant": self.tenant,
            "status": self.status,
            "api_rows": self.api_rows,
            "api_more": self.api_more,
            "findings": [asdict(finding) for finding in self.findings],
        }


def judge(inventory: DayInventory, more: Iterable[Finding] = ()) -> Day:
    """Return the verdict on a day.

    :param inventory: the files of the day.
    :param more: findings in the content of its object.
    """
    claim = inventory.claim if inventory.size is not None else None
    return Day(
        day=inventory.day,
        rows=claim.rows if claim else None,
        bytes=inventory.size or 0 if claim else 0,
        proof=claim.proof if claim else None,
        until=claim.until.isoformat() if claim and claim.until else None,
        extracted_at=claim.extracted_at if claim else None,
        vanished_kept=claim.vanished_kept if claim else 0,
        quarantined=claim.quarantined if claim else 0,
        schema_version=claim.schema_version if claim else None,
        tenant=claim.tenant if claim else None,
        status=claim.status if claim else None,
        findings=(*_findings(inventory), *inventory.findings, *more),
    )


def _findings(inventory: DayInventory) -> Iterator[Finding]:
    claim, size = inventory.claim, inventory.size
    if size is None and not inventory.has_receipt:
        yield Finding("gap", "Not extracted. Extract the day.")
    elif size is None:
        rows = f" of {claim.rows} rows" if claim else ""
        yield Finding("missing", f"The object{rows} no longer exists. Extract the day again.")
    elif not inventory.has_receipt:
        text = "The object has no receipt, so nothing shows that it is complete. Extract the day again."
        yield Finding("no receipt", text)
    elif claim and claim.bytes != size:
        text = f"The object has {size} bytes, and its receipt states {claim.bytes}. Extract the day again."
        yield Finding("changed", text)
    if claim and claim.until is not None and size is not None:
        until = claim.until.isoformat()
        text = f"The day was in progress when it was extracted, up to {until}. Extract the day again."
        yield Finding("partial", text)
    if inventory.quarantined and _is_rejected(inventory.quarantined, claim):
        yield Finding(
            "quarantine",
            "The last extraction published nothing, because more records than max_quarantined could not be kept. "
            "Check them in _quarantine, raise max_quarantined if they may be left out, and extract the day again.",
        )


def _is_rejected(quarantined: int, claim: Claim | None) -> bool:
    """Whether the records in quarantine made an extraction fail after the one that wrote the receipt."""
    return claim is None or claim.rejected > 0 or claim.quarantined != quarantined
