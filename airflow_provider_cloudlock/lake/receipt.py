"""What was proved about a slice."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Receipt:
    """One extraction of a slice. What varies from run to run is here, never in the Parquet object.

    :param resource: what was extracted.
    :param window: start and end of the slice, ISO 8601.
    :param status: the filter, None for all records.
    :param path: of the Parquet object.
    :param rows: in the object, vanished ones that were kept included.
    :param bytes: size of the object.
    :param sha256: of the object.
    :param changed: whether this extraction wrote the object.
    :param proof: ``single_response`` or ``anchored``.
    :param pages: pages that carried records.
    :param requests: sent for this slice, repeated ones included.
    :param retries: requests that repeated a failed one.
    :param reported_total: the API's own figure for its wider query, None when it gave none.
    :param duplicates: records that came twice within one page.
    :param outside_window: records that came but do not belong to the slice.
    :param vanished_kept: records published before that the API no longer gives.
    :param quarantined: records that could not be kept.
    :param extracted_at: the worker's clock, ISO 8601.
    :param server_date: the API's clock, None when it did not say.
    :param clock_skew: seconds by which the API's clock was ahead of the worker's, None when it did not say.
    :param schema_version: of the columns.
    :param provider_version: of this package.
    :param request_form: the form of request that the API accepted; ``full`` is the usual one.
    :param announced: whether an asset event told of the object as it is. A task that was stopped after it wrote, and
        before it could tell, leaves it to the next one.
    """

    resource: str
    window: list[str]
    status: str | None
    path: str
    rows: int
    bytes: int
    sha256: str
    changed: bool
    proof: str
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

    def to_json(self) -> str:
        """Write the receipt as an object of JSON, readable by people."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def summary(self) -> dict[str, Any]:
        """What goes into XCom and the asset event: references and counts."""
        names = ("window", "path", "rows", "bytes", "changed", "proof", "sha256", "vanished_kept", "quarantined")
        return {name: getattr(self, name) for name in names}


def is_announced(receipt: str, sha256: str) -> bool:
    """Whether a receipt says that an object was announced. Those of versions before this was noted count as if so."""
    try:
        told = json.loads(receipt)
    except ValueError:
        return False
    return isinstance(told, dict) and told.get("sha256") == sha256 and told.get("announced", True) is not False
