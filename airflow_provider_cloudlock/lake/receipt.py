"""What was verified about a day."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Receipt:
    """One extraction of a day. What varies from run to run is here, never in the Parquet object.

    :param resource: what was extracted.
    :param tenant: name of the Cloudlock tenant.
    :param window: start and end of what was extracted of the day, ISO 8601.
    :param until: end of a day that was in progress, None if the day was over.
    :param status: the filter, None for all records.
    :param path: path of the Parquet object, with the Airflow connection.
    :param uri: plain address of the object.
    :param rows: records in the object, vanished ones that were kept included.
    :param bytes: size of the object.
    :param sha256: digest of the object.
    :param previous_sha256: digest of the object that this extraction replaced, None if it replaced none.
    :param version: ETag or generation of the object in its store.
    :param changed: whether this extraction wrote the object.
    :param proof: ``single_response``; ``anchored`` for pages that overlap; ``identical_passes``.
    :param range: start and end of the days that were fetched together, ISO 8601.
    :param pages: pages of the range.
    :param requests: requests sent for the range, retries included.
    :param retries: requests of the range that repeated a failed one.
    :param reported_total: the API's own count for its wider query, None if it gave none.
    :param duplicates: records of the range that came twice within one page.
    :param outside_window: records that came with the range and do not belong to it.
    :param vanished_kept: records published before that the API no longer lists.
    :param quarantined: records that could not be kept.
    :param rejected: records that made a later extraction fail, as too many could not be kept; else 0.
    :param extracted_at: the worker's clock, ISO 8601.
    :param server_date: the API's clock, None if it did not say.
    :param clock_skew: API clock minus worker clock in seconds, None if it did not say.
    :param schema_version: version of the columns.
    :param provider_version: version of this package.
    :param request_form: form of request that the API accepted; ``full`` is the usual one.
    :param announced: whether an asset event was emitted for the object. A task that is stopped after it wrote, and
        before its event, leaves that to the next one.
    """

    resource: str
    tenant: str
    window: list[str]
    until: str | None
    status: str | None
    path: str
    uri: str
    rows: int
    bytes: int
    sha256: str
    previous_sha256: str | None
    version: str
    changed: bool
    proof: str
    range: list[str]
    pages: int
    requests: int
    retries: int
    reported_total: int | None
    duplicates: int
    outside_window: int
    vanished_kept: int
    quarantined: int
    extracted_at: str
    server_date: str | None
    clock_skew: int | None
    schema_version: int
    provider_version: str
    request_form: str
    announced: bool
    rejected: int = field(default=0)

    def to_json(self) -> str:
        """Return the receipt as a JSON object, readable by people."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def parse(cls, content: str) -> Receipt | None:
        """Return the receipt that a file holds, None if it is not one. Fields of later versions are left out."""
        try:
            found = json.loads(content)
            return cls(**{each.name: found[each.name] for each in fields(cls)})
        except (ValueError, TypeError, KeyError, RecursionError):
            return None

    def summary(self) -> dict[str, Any]:
        """Return what goes into XCom and the asset event: references and counts."""
        names = ("window", "path", "uri", "rows", "bytes", "changed", "proof", "sha256", "vanished_kept", "quarantined")
        return {name: getattr(self, name) for name in names}
