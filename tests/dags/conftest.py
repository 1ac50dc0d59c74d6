"""The sample DAGs, found as Airflow finds them: their folder is on the path."""

from __future__ import annotations

import sys
from pathlib import Path

DAGS = Path(__file__).parents[2] / "dags"
sys.path.append(str(DAGS))
