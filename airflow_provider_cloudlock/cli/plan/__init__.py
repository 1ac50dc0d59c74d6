"""Estimate of what an extraction costs, from Cloudlock's record counts. Extracts and writes nothing."""

from __future__ import annotations

from airflow_provider_cloudlock.cli.plan.report import Plan, plan

__all__ = ["Plan", "plan"]
