"""Airbyte: a declarative source of the CDK with the offset paginator, read in this process.

The records are taken from the source's messages as objects, without the JSON lines that go from a source's container
to a destination's; every 10,000 become a row group of a Parquet file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from airbyte_cdk.exception_handler import init_uncaught_exception_handler
from airbyte_cdk.logger import AirbyteLogFormatter
from airbyte_cdk.models import (
    AirbyteStream,
    ConfiguredAirbyteCatalog,
    ConfiguredAirbyteStream,
    DestinationSyncMode,
    SyncMode,
    Type,
)
from airbyte_cdk.sources.declarative.concurrent_declarative_source import ConcurrentDeclarativeSource
from airbyte_cdk.utils.airbyte_secrets_utils import get_secrets, update_secrets
from measure import PATH, Measured, given

BATCH = 10_000

task = given()
TEXT = {"type": ["null", "string"]}
NUMBER = {"type": ["null", "integer"]}
TEXTS = {"type": ["null", "array"], "items": TEXT}
USER = {"type": "object", "properties": {"display_name": TEXT, "email": TEXT}}
SCHEMA = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("status", "dismissed_at", "created_at", "dismiss_reason", "short_description"), TEXT),
        **dict.fromkeys(("start_time", "threat_type", "threat_risk", "threat_entity", "updated_at"), TEXT),
        **dict.fromkeys(("end_time", "suspicious_ip", "description"), TEXT),
        **dict.fromkeys(("platforms", "locations"), TEXTS),
        **dict.fromkeys(("id", "event_count"), NUMBER),
        "users": {"type": ["null", "array"], "items": USER},
    },
}
MANIFEST = {
    "version": "6.0.0",
    "type": "DeclarativeSource",
    "check": {"type": "CheckStream", "stream_names": ["threats"]},
    "streams": [
        {
            "type": "DeclarativeStream",
            "name": "threats",
            "primary_key": ["id"],
            "schema_loader": {"type": "InlineSchemaLoader", "schema": SCHEMA},
            "retriever": {
                "type": "SimpleRetriever",
                "requester": {
                    "type": "HttpRequester",
                    "url_base": task.url,
                    "path": PATH,
                    "http_method": "GET",
                    "authenticator": {"type": "BearerAuthenticator", "api_token": "{{ config['token'] }}"},
                    "request_parameters": task.parameters,
                    "error_handler": {
                        "type": "DefaultErrorHandler",
                        "backoff_strategies": [
                            {"type": "WaitTimeFromHeader", "header": "Retry-After"},
                            {"type": "ExponentialBackoffStrategy", "factor": 1},
                        ],
                    },
                },
                "record_selector": {
                    "type": "RecordSelector",
                    "extractor": {"type": "DpathExtractor", "field_path": ["items"]},
                },
                "paginator": {
                    "type": "DefaultPaginator",
                    "page_size_option": {
                        "type": "RequestOption", "inject_into": "request_parameter", "field_name": "limit",
                    },
                    "page_token_option": {
                        "type": "RequestOption", "inject_into": "request_parameter", "field_name": "offset",
                    },
                    "pagination_strategy": {"type": "OffsetIncrement", "page_size": task.page},
                },
            },
        }
    ],
    "spec": {
        "type": "Spec",
        "connection_specification": {
            "type": "object",
            "properties": {"token": {"type": "string", "airbyte_secret": True}},
        },
    },
}  # fmt: skip


def keep_secrets(config: dict[str, str]) -> None:
    """Have them filtered out of logs and errors, as the entry point of a connector does."""
    update_secrets(get_secrets(MANIFEST["spec"]["connection_specification"], config))
    handler = logging.StreamHandler()
    handler.setFormatter(AirbyteLogFormatter("%(message)s"))
    logging.getLogger().addHandler(handler)
    init_uncaught_exception_handler(logging.getLogger("airbyte"))


def records() -> Iterator[dict[str, Any]]:
    """Read the one stream."""
    stream = AirbyteStream(name="threats", json_schema=SCHEMA, supported_sync_modes=[SyncMode.full_refresh])
    catalog = ConfiguredAirbyteCatalog(
        streams=[
            ConfiguredAirbyteStream(
                stream=stream, sync_mode=SyncMode.full_refresh, destination_sync_mode=DestinationSyncMode.append
            )
        ]
    )
    config = {"token": task.token}
    keep_secrets(config)
    source = ConcurrentDeclarativeSource(catalog=catalog, config=config, state=[], source_config=MANIFEST)
    for message in source.read(logging.getLogger("airbyte"), config, catalog, []):
        if message.type == Type.RECORD:
            yield message.record.data


measured = Measured()
rows, writer, found = 0, None, records()
while batch := list(islice(found, BATCH)):
    table = pa.Table.from_pylist(batch, writer.schema if writer else None)
    writer = writer or pq.ParquetWriter(f"{task.folder}/threats.parquet", table.schema, compression="zstd")
    writer.write_table(table)
    rows += len(batch)
if writer:
    writer.close()
measured.stop()
measured.report(rows, "airbyte-cdk", "pyarrow")
