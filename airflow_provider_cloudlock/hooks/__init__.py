"""Airflow connections to API clients."""
