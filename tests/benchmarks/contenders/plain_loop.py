"""The loop that anybody writes first: requests, json, a list, a table of it, one file."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import requests
from measure import PATH, Measured, given

task = given()
measured = Measured()
session = requests.Session()
session.headers.update(task.authorization)
records = []
while True:
    answer = session.get(task.url + PATH, params=task.query(len(records)))
    answer.raise_for_status()
    page = answer.json()
    records += page["items"]
    if not page["items"] or len(records) >= page["total"]:
        break
pq.write_table(pa.Table.from_pylist(records), f"{task.folder}/threats.parquet", compression="zstd")
measured.stop()
measured.report(len(records), "requests", "pyarrow")
