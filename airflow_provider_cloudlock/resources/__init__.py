"""One declaration per Cloudlock list endpoint, as plain data: nothing else in the package names a resource."""

from __future__ import annotations

from airflow_provider_cloudlock.exceptions import CloudlockConfigError
from airflow_provider_cloudlock.resources.model import Bounds, Field, Filter, ListOf, Resource, Struct
from airflow_provider_cloudlock.resources.threats import THREATS

__all__ = ["RESOURCES", "Bounds", "Field", "Filter", "ListOf", "Resource", "Struct", "resource_named"]

RESOURCES = {THREATS.name: THREATS}


def resource_named(name: object) -> Resource:
    """Return the declaration of a resource.

    :param name: name of the resource, such as ``threats``.
    :raises CloudlockConfigError: if no resource has this name.
    """
    resource = RESOURCES.get(name) if isinstance(name, str) else None
    if resource is None:
        raise CloudlockConfigError(f"Unknown resource={name!r}. Known resources: {', '.join(RESOURCES)}.")
    return resource
