"""The least that turns answers into typed Parquet in Python: Arrow reads each body whole, and rows go straight to disk.

Nothing is checked, sorted, proved or retried. It shows what the rest costs; nobody should run it.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq
import requests
from measure import PATH, Measured, given

ROW_GROUP = 100_000
TIME = pa.timestamp("us", tz="UTC")
RECORD = pa.struct(
    {
        "id": pa.int64(),
        **dict.fromkeys(("created_at", "updated_at", "start_time", "end_time", "dismissed_at"), TIME),
        **dict.fromkeys(("status", "dismiss_reason", "threat_risk", "threat_type", "threat_entity"), pa.string()),
        **dict.fromkeys(("short_description", "description", "suspicious_ip"), pa.string()),
        "event_count": pa.int64(),
        **dict.fromkeys(("platforms", "locations"), pa.list_(pa.string())),
        "users": pa.list_(pa.struct({"display_name": pa.string(), "email": pa.string()})),
    }
)
ENVELOPE = pa.schema({**dict.fromkeys(("limit", "offset", "total", "results"), pa.int64()), "items": pa.list_(RECORD)})

task = given()
measured = Measured()
session = requests.Session()
session.headers.update(task.authorization)
options = pj.ParseOptions(explicit_schema=ENVELOPE, unexpected_field_behavior="error")
rows, held = 0, []
with pq.ParquetWriter(
    f"{task.folder}/threats.parquet", pa.schema(list(RECORD)), compression="zstd", compression_level=1
) as writer:
    while True:
        answer = session.get(task.url + PATH, params=task.query(rows), stream=True)
        answer.raise_for_status()
        body = answer.raw.read(decode_content=True)
        envelope = pj.read_json(
            pa.BufferReader(body), pj.ReadOptions(use_threads=False, block_size=len(body) + 1), options
        )
        results, total = envelope["results"][0].as_py(), envelope["total"][0].as_py()
        held += [pa.RecordBatch.from_struct_array(chunk.flatten()) for chunk in envelope["items"].chunks]
        rows += results
        over = not results or rows >= total
        if over or sum(batch.num_rows for batch in held) >= ROW_GROUP:
            writer.write_table(pa.Table.from_batches(held, pa.schema(list(RECORD))), row_group_size=ROW_GROUP)
            held = []
        if over:
            break
measured.stop()
measured.report(rows, "requests", "pyarrow")
