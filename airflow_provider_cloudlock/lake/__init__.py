"""Writes what was read. Knows nothing of HTTP or Airflow."""
