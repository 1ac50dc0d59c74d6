"""
# Cloudlock threats, from the lake into the warehouse, whenever a day changed

Follows the asset `cloudlock_threats`: each day that `cloudlock_threats_extract` brings into the lake, or finds changed,
is loaded into the DuckDB warehouse by one run, backfills included. For another warehouse take its `load`: from
`cloudlock_postgres`, or from `cloudlock_iceberg`.

The ledger in the warehouse tells which objects it holds, so a run also brings what an earlier one missed, and may run
twice. A run triggered by hand has no event to work on and loads nothing: clear an earlier run instead.

Scheduled runs take the defaults of the parameters, which environment variables set: `CLOUDLOCK_WAREHOUSE` and
`CLOUDLOCK_DUCKDB_POOL`. Without the first, the warehouse is in `AIRFLOW_HOME/cloudlock` on the worker: good for one
machine.

The warehouse is a file of one worker. With several workers, give one of them a queue of its own and name it in the task
`load`; a load that finds another host's file fails and says so. `CLOUDLOCK_DUCKDB_POOL` names a pool with one slot:
loads then wait for one another instead of failing on the file's lock.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow.sdk import PartitionedAssetTimetable, dag, task

# Airflow puts only the DAGs folder on the path, not the subfolder that this file may be in.
sys.path.append(str(Path(__file__).parent))

from cloudlock_common import DEFAULT_ARGS, THREATS
from cloudlock_duckdb import WAREHOUSE, load


@task
def changes(triggering_asset_events: Any = None) -> list[dict[str, Any]]:
    """Return the extras of the extracts' events. Events of other tasks, or of people, have none with slices."""
    extras = [event.extra or {} for events in triggering_asset_events.values() for event in events]
    return [extra for extra in extras if "slices" in extra]


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
