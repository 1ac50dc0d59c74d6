"""dlt: its declarative REST source with the offset paginator, into the filesystem destination as Parquet.

As dlt does by itself, lists become tables of their own, and records are extracted, normalised and loaded one stage
after another.
"""

from __future__ import annotations

import os
import tempfile

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"  # a benchmark on loopback has nothing to tell anybody

import dlt
from dlt.sources.rest_api import rest_api_source
from measure import PATH, Measured, given

task = given()
work = tempfile.TemporaryDirectory()
measured = Measured()
source = rest_api_source(
    {
        "client": {
            "base_url": task.url,
            "auth": {"type": "bearer", "token": task.token},
            "paginator": {"type": "offset", "limit": task.page, "total_path": "total"},
        },
        "resources": [
            {
                "name": "threats",
                "primary_key": "id",
                "write_disposition": "append",
                "endpoint": {"path": PATH, "params": task.parameters, "data_selector": "items"},
            }
        ],
    }
)
pipeline = dlt.pipeline(
    pipeline_name="benchmark",
    pipelines_dir=work.name,
    destination=dlt.destinations.filesystem(bucket_url=f"file://{task.folder}"),
    dataset_name="lake",
)
pipeline.run(source, loader_file_format="parquet").raise_on_failed_jobs()
measured.stop()
measured.report(pipeline.last_trace.last_normalize_info.row_counts.get("threats", 0), "dlt", "pyarrow")
