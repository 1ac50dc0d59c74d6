"""The verdict on each UTC day."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Any

from airflow_provider_cloudlock.audit.inventory import Claim, Finding, Holding, whole
from airflow_provider_cloudlock.lake.slices import Slice


@dataclass(frozen=True, slots=True)
class Day:
    """What is known of one UTC day, by the receipts whose objects are there.

    :param day: the day.
    :param slices: how many receipts have an object.
    :param rows: in these objects, None when there is none.
    :param bytes: size of these objects.
    :param proofs: kinds of proof, each once.
    :param extracted_at: the last extraction; of several slices the one that is longest ago.
    :param vanished_kept: rows that Cloudlock no longer gave at the last extraction.
    :param quarantined: records that were set apart.
    :param schema_versions: of the columns, each once.
    :param statuses: filters, each once; None among them for all records.
    :param gaps: parts that no object covers.
    :param overlaps: parts that more than one object covers.
    :param findings: all that keeps the day from being whole.
    :param api_rows: Cloudlock's own count, None when it was not asked or gave none.
    """

    day: date
    slices: int
    rows: int | None
    bytes: int
    proofs: tuple[str, ...]
    extracted_at: datetime | None
    vanished_kept: int
    quarantined: int
    schema_versions: tuple[int, ...]
    statuses: tuple[str | None, ...]
    gaps: tuple[Slice, ...]
    overlaps: tuple[Slice, ...]
    findings: tuple[Finding, ...]
    api_rows: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def has_gap(self) -> bool:
        """Whether a part of it, or all, is missing."""
        return bool(self.gaps)

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of findings, each once, in their order."""
        return tuple(dict.fromkeys(finding.kind for finding in self.findings))

    @property
    def api_more(self) -> int | None:
        """How many more records Cloudlock counts than the lake holds; less than none when some vanished there."""
        return None if self.api_rows is None else self.api_rows - (self.rows or 0)

    def as_json(self) -> dict[str, Any]:
        """Write it with the types of JSON."""
        return {
            "day": self.day.isoformat(),
            "whole": self.is_whole,
            "slices": self.slices,
            "rows": self.rows,
            "bytes": self.bytes,
            "proofs": self.proofs,
            "extracted_at": self.extracted_at.isoformat() if self.extracted_at else None,
            "vanished_kept": self.vanished_kept,
            "quarantined": self.quarantined,
            "schema_versions": self.schema_versions,
            "statuses": self.statuses,
            "gaps": [part.window for part in self.gaps],
            "overlaps": [part.window for part in self.overlaps],
            "api_rows": self.api_rows,
            "api_more": self.api_more,
            "findings": [asdict(finding) for finding in self.findings],
        }


def judge(holding: Holding, more: Iterable[Finding] = ()) -> Day:
    """Judge a day by what lies in the lake.

    :param holding: of the day.
    :param more: what a closer look at its objects has found.
    """
    backed = sorted((slice_, claim) for slice_, claim in _claims(holding) if slice_ in holding.objects)
    claims = [claim for _, claim in backed]
    gaps = tuple(_gaps(whole(holding.day), sorted(holding.objects)))
    overlaps = tuple(_overlaps(sorted(holding.objects)))
    statuses = tuple(sorted({claim.status for claim in claims}, key=str))
    return Day(
        day=holding.day,
        slices=len(claims),
        rows=sum(claim.rows for claim in claims) if claims else None,
        bytes=sum(holding.objects[slice_] for slice_, _ in backed),
        proofs=tuple(sorted({claim.proof for claim in claims})),
        extracted_at=min((claim.extracted_at for claim in claims), default=None),
        vanished_kept=sum(claim.vanished_kept for claim in claims),
        quarantined=sum(claim.quarantined for claim in claims),
        schema_versions=tuple(sorted({claim.schema_version for claim in claims})),
        statuses=statuses,
        gaps=gaps,
        overlaps=overlaps,
        findings=(
            *_of_parts(gaps, overlaps, holding),
            *_of_objects(holding),
            *_of_filters(statuses),
            *holding.findings,
            *more,
        ),
    )


def _claims(holding: Holding) -> Iterator[tuple[Slice, Claim]]:
    return ((slice_, claim) for slice_, claim in holding.receipts.items() if claim is not None)


def _gaps(day: Slice, slices: list[Slice]) -> Iterator[Slice]:
    """Give the parts of a day that none of its slices covers."""
    reached = day.start
    for each in slices:
        if each.start > reached:
            yield Slice(reached, each.start)
        reached = max(reached, each.end)
    if reached < day.end:
        yield Slice(reached, day.end)


def _overlaps(slices: list[Slice]) -> Iterator[Slice]:
    """Give the parts that more than one slice covers."""
    edges = sorted({edge for each in slices for edge in (each.start, each.end)})
    for part in (Slice(*edge) for edge in pairwise(edges)):
        if sum(each.overlaps(part) for each in slices) > 1:
            yield part


def _of_parts(gaps: Iterable[Slice], overlaps: Iterable[Slice], holding: Holding) -> Iterator[Finding]:
    lost = [slice_ for slice_ in holding.receipts if slice_ not in holding.objects]
    for gap in gaps:
        if gap == whole(holding.day) and not lost:
            yield Finding("gap", "Nothing is in the lake. Extract the day.")
        elif not any(each.holds(gap) for each in lost):  # that is said there, in better words
            yield Finding("gap", f"No object covers {_span(gap)}. Extract the day as a whole.")
    for part in overlaps:
        yield Finding(
            "overlap",
            f"Several objects hold {_span(part)}: a record may be there twice. Extract the day as a whole, or remove "
            "the objects that are too many with their receipts.",
        )


def _of_objects(holding: Holding) -> Iterator[Finding]:
    for slice_, claim in sorted(_claims(holding)):
        size = holding.objects.get(slice_)
        if size is None:
            yield Finding(
                "missing",
                f"The object of {_span(slice_)} is not there any more; its receipt speaks of {claim.rows} rows. "
                "Extract the day again.",
            )
        elif size != claim.bytes:
            yield Finding(
                "changed",
                f"The object of {_span(slice_)} has {size} bytes, its receipt speaks of {claim.bytes}. Extract the day "
                "again.",
            )
    for slice_ in sorted(set(holding.objects) - set(holding.receipts)):
        yield Finding(
            "no receipt",
            f"The object of {_span(slice_)} has no receipt, so nothing says that it is whole. Extract the day again.",
        )
    for slice_, records in sorted(holding.quarantined.items()):
        known = holding.receipts.get(slice_)
        if known is None or known.quarantined != records:
            yield Finding(
                "quarantine",
                f"An extraction of {_span(slice_)} published nothing, as too many records had to be set apart. Look at "
                "them in _quarantine, raise max_quarantined if need be, and extract the day again.",
            )


def _of_filters(statuses: tuple[str | None, ...]) -> Iterator[Finding]:
    if len(statuses) > 1:
        told = " and ".join(f"what is {status}" if status else "everything" for status in statuses)
        yield Finding("filter", f"Of one part or another {told} was extracted. Extract the day as a whole, in one way.")


def _span(part: Slice) -> str:
    """Write a part of a day, such as ``06:00 to 24:00``."""
    end = "24:00" if part.end == whole(part.start.date()).end else _clock(part.end)
    return f"{_clock(part.start)} to {end}"


def _clock(instant: datetime) -> str:
    return instant.time().isoformat().removesuffix(":00")
