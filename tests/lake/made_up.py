"""A resource that Cloudlock does not have, with every type that can be declared; no name is one of the threats'."""

from __future__ import annotations

from airflow_provider_cloudlock.resources import Bounds, Field, Filter, ListOf, Resource, Struct

_PLACE = Struct(
    members=(
        Field("city", "string", "Name of the city"),
        Field("seen", "timestamp", "Time of the first visit"),
        Field("extent", "float64", "Kilometres across"),
        Field("is_home", "bool", "Whether the user lives there"),
        Field("raw", "json", "Answer of the locator"),
    )
)
_OWNER = Struct(
    members=(
        Field("mail", "string", "Address"),
        Field("age", "int64", "Years"),
        Field("since", "timestamp", "Time of joining"),
    ),
    email_member="mail",
)

REPORTS = Resource(
    name="reports",
    noun="reports",
    path="reports",
    page_cap=1_000,
    plain_page=100,
    order="made_at",
    bounds=Bounds("made_after", "made_before"),
    filters=(Filter("state", field="state", values=("New", "Read", "Closed")),),
    status=None,
    lookback=None,
    key="number",
    time_fields=("made_at",),
    version="changed_at",
    fields=(
        Field("number", "string", "Identifier"),
        Field("made_at", "timestamp", "Time of creation"),
        Field("changed_at", "timestamp", "Time of the last update"),
        Field("state", "string", "New, Read or Closed"),
        Field("score", "float64", "Score"),
        Field("is_open", "bool", "Whether it is open"),
        Field("details", "json", "Anything"),
        Field("places", ListOf(_PLACE), "Places"),
        Field("owner", _OWNER, "Owner"),
        Field("readers", ListOf(_OWNER), "Readers"),
        Field("matrix", ListOf(ListOf("int64")), "Numbers"),
        Field("groups", ListOf(ListOf(_OWNER)), "Groups of readers"),
        Field("notes", ListOf("json"), "Notes of any kind"),
    ),
)
