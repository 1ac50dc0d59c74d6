"""Singer: a tap of the SDK with one REST stream, its messages written into a file instead of into a target.

So this is half of a pipeline, the cheaper half: no target reads the messages, and no Parquet comes of them.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from measure import PATH, Measured, given
from requests import Response
from singer_sdk import RESTStream, Tap
from singer_sdk import typing as th
from singer_sdk.authenticators import BearerTokenAuthenticator
from singer_sdk.pagination import OffsetPaginator

task = given()
TEXTS = ("status", "dismiss_reason", "short_description", "description")
KINDS = ("threat_type", "threat_risk", "threat_entity", "suspicious_ip")
TIMES = ("created_at", "updated_at", "start_time", "end_time", "dismissed_at")


class ThreatsPaginator(OffsetPaginator):
    """Goes on while the total speaks of more."""

    def has_more(self, response: Response) -> bool:
        """Tell whether there is a page behind this one."""
        return self.current_value + self.page_size < response.json()["total"]


class ThreatsStream(RESTStream[int]):
    """The anomalies."""

    name = "threats"
    path = PATH
    primary_keys = ("id",)
    records_jsonpath = "$.items[*]"
    url_base = task.url
    schema = th.PropertiesList(
        th.Property("id", th.IntegerType, required=True),
        *(th.Property(name, th.StringType) for name in TEXTS + KINDS),
        *(th.Property(name, th.DateTimeType) for name in TIMES),
        th.Property("event_count", th.IntegerType),
        *(th.Property(name, th.ArrayType(th.StringType)) for name in ("platforms", "locations")),
        th.Property(
            "users",
            th.ArrayType(
                th.ObjectType(th.Property("display_name", th.StringType), th.Property("email", th.StringType))
            ),
        ),
    ).to_dict()

    @property
    def authenticator(self) -> BearerTokenAuthenticator:
        """Opens the API."""
        return BearerTokenAuthenticator(token=self.config["token"])

    def get_new_paginator(self) -> ThreatsPaginator:
        """Count pages by what was asked for."""
        return ThreatsPaginator(start_value=0, page_size=task.page)

    def get_url_params(self, context: Any, next_page_token: int | None) -> dict[str, Any]:
        """Return the parameters of one page."""
        return task.query(next_page_token or 0)


class CloudlockTap(Tap):
    """A tap with one stream."""

    name = "tap-cloudlock"
    config_jsonschema = th.PropertiesList(th.Property("token", th.StringType, required=True, secret=True)).to_dict()

    def discover_streams(self) -> list[ThreatsStream]:
        """Return the streams there are."""
        return [ThreatsStream(self)]


measured = Measured()
messages = Path(task.folder, "messages.jsonl")
with messages.open("w") as file, contextlib.redirect_stdout(file):
    CloudlockTap(config={"token": task.token}).sync_all()
measured.stop()
ids, rows, events = set(), 0, 0
with messages.open() as file:
    for line in file:
        message = json.loads(line)
        if message["type"] == "RECORD":
            rows += 1
            ids.add(message["record"]["id"])
            events += int(message["record"]["event_count"])
measured.report(rows, "singer-sdk", distinct=len(ids), events=events)
