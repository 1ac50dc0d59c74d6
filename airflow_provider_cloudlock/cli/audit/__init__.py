"""Audit of a lake: compares receipts with objects, day by day, and on request with Cloudlock's record counts."""

from __future__ import annotations

from airflow_provider_cloudlock.cli.audit.report import Audit, audit

__all__ = ["Audit", "audit"]
