"""
# Cloudlock threats, from the lake into the warehouse, whenever a day changed

Follows the asset `cloudlock_threats`: each day that `cloudlock_threats_extract` brings into the lake, or finds changed,
is loaded into the DuckDB warehouse by one run, backfills included. For another warehouse take its `load`: from
`cloudlock_postgres`, or from `cloudlock_iceberg`.

The ledger in the warehouse tells which objects it holds, so a run also brings what an earlier one missed, and may run
twice. A run triggered by hand has no event to work on and loads nothing: clear an earlier run instead.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task
from cloudlock_common import DEFAULT_ARGS, THREATS
from cloudlock_duckdb import WAREHOUSE, load


@task
def changes(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    """Collect what the extracts told that this run is for."""
    return [event.extra for events in triggering_asset_events.values() for event in events]


@dag(
    schedule=PartitionedAssetTimetable(assets=THREATS),
    max_active_runs=1,  # the warehouse is a file, and open to one process at a time
    default_args=DEFAULT_ARGS,
    params={"warehouse": WAREHOUSE},
    tags=["cloudlock", "security"],
    doc_md=__doc__,
)
def cloudlock_threats_load() -> None:
    """Load what changed."""
    load(changes(), warehouse="{{ params.warehouse }}")


cloudlock_threats_load()
