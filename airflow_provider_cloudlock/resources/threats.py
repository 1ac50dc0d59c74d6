"""Anomalies, which the API calls threats.

Parameters and page maximum: the vendor's page "Anomalies Endpoint". Its field table names ``detected_at`` and no
``created_at``, the sample response beside it ``created_at`` and no ``detected_at``: a record may have either.
"""

from __future__ import annotations

from airflow_provider_cloudlock.resources.model import Bounds, Field, Filter, ListOf, Resource, Struct

_USER = Struct(
    members=(
        Field("display_name", "string", "Name of the user", personal=True),
        Field("email", "string", "Email address of the user", csv_name="User emails", personal=True),
    ),
    email_member="email",
)

THREATS = Resource(
    name="threats",
    noun="anomalies",
    path="threats",
    page_cap=100_000,
    plain_page=100,
    order="created_at",
    bounds=Bounds(granularity="date"),
    filters=(Filter("status", field="status", values=("Active", "Dismissed")),),
    status="status",
    lookback="start_time",
    key="id",
    time_fields=("created_at", "detected_at"),
    version="updated_at",
    fields=(
        Field("id", "string", "Identifier of the anomaly", csv_name="Id"),
        Field("created_at", "timestamp", "Time at which Cloudlock created the anomaly; decides its day"),
        Field("updated_at", "timestamp", "Time of the last update"),
        Field("detected_at", "timestamp", "Time of detection", csv_name="detected at"),
        Field("start_time", "timestamp", "Time of the first event"),
        Field("end_time", "timestamp", "Time of the last event"),
        Field("status", "string", "ACTIVE or DISMISSED, as received", csv_name="status"),
        Field("dismissed_at", "timestamp", "Time of dismissal"),
        Field("dismiss_reason", "string", "Reason given for the dismissal"),
        Field("threat_risk", "string", "Risk, such as Account Compromise", csv_name="Risk"),
        Field("threat_type", "string", "Type, such as suspicious_login"),
        Field("threat_entity", "string", "Kind of entity that the anomaly is about"),
        Field("short_description", "string", "Summary", personal=True),
        Field("description", "string", "Full description", csv_name="Description", personal=True, free_text=True),
        Field("event_count", "int64", "Number of events", csv_name="Anomalies Count"),
        Field("platforms", ListOf("string"), "Platforms on which it was seen", csv_name="Platforms"),
        Field("locations", ListOf("string"), "Places from which the user acted", csv_name="countries", personal=True),
        Field("users", ListOf(_USER), "Users concerned", personal=True),
        Field("suspicious_ip", "string", "IP address in question", personal=True),
    ),
)
