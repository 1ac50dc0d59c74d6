"""Speaks to Cloudlock. Knows nothing of Airflow, Arrow or files."""
