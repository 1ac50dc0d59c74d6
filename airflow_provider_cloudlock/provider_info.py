"""What Airflow reads when it discovers providers.

Airflow loads this module while its own configuration is still being set up, so it must import nothing.
"""

from __future__ import annotations


def get_provider_info() -> dict[str, object]:
    """Return the provider's metadata, as Airflow's ``provider_info.schema.json`` describes it."""
    from airflow_provider_cloudlock.cli import check_database_access

    check_database_access()
    return {
        "package-name": "airflow-provider-cloudlock",
        "name": "Cisco Cloudlock",
        "description": "Cisco Cloudlock data by date window into Parquet in object storage.",
        "integrations": [
            {
                "integration-name": "Cisco Cloudlock",
                "external-doc-url": "https://docs.umbrella.com/cloudlock-documentation/docs/anomalies-endpoint",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": "Cisco Cloudlock",
                "python-modules": ["airflow_provider_cloudlock.hooks.cloudlock"],
            }
        ],
        "operators": [
            {
                "integration-name": "Cisco Cloudlock",
                "python-modules": ["airflow_provider_cloudlock.operators.cloudlock"],
            }
        ],
        "cli": ["airflow_provider_cloudlock.cli.get_commands"],
        "connection-types": [
            {
                "connection-type": "cloudlock",
                "hook-class-name": "airflow_provider_cloudlock.hooks.cloudlock.CloudlockHook",
                "hook-name": "Cisco Cloudlock",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "extra"],
                    "relabeling": {"host": "API server", "password": "Access token"},
                    "placeholders": {
                        "host": "https://tenant.example.com (from Cloudlock support)",
                        # The Test button of Airflow 3.3.2 sends port 0 for an empty port, and then is refused.
                        "port": "443 (optional; the Test button of Airflow 3.3.2 needs it)",
                        "password": "Settings > Authentication & API > Generate",
                    },
                },
                "conn-fields": {
                    "page_size": {
                        "label": "Page size",
                        "description": "Records asked for in one request, 1 to 100000. Empty: 10000.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 100000},
                    },
                    "timeout": {
                        "label": "Timeout",
                        "description": "Seconds that one request may take as a whole. Empty: 300.",
                        "schema": {"type": ["number", "null"], "minimum": 1},
                    },
                    "max_connections": {
                        "label": "Connections",
                        "description": "The most requests under way at once, 1 to 16. Empty: 4.",
                        "schema": {"type": ["integer", "null"], "minimum": 1, "maximum": 16},
                    },
                    "requests_per_second": {
                        "label": "Requests per second",
                        "description": "The most requests sent in a second. Empty: no limit of our own.",
                        "schema": {"type": ["number", "null"], "minimum": 0.001},
                    },
                    "max_tasks": {
                        "label": "Tasks",
                        "description": "The most tasks that run at once with this connection: each sends its share of "
                        "the requests per second. Empty: 1.",
                        "schema": {"type": ["integer", "null"], "minimum": 1},
                    },
                    "tenant": {
                        "label": "Tenant",
                        "description": "Name of the Cloudlock tenant, to which a destination belongs. Default: the "
                        "connection id.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "ca_bundle": {
                        "label": "CA bundle",
                        "description": "Path on the worker of a PEM file with the certificate authorities to trust.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "proxy": {
                        "label": "Proxy",
                        "description": "http://user:password@proxy.example.com:3128. Empty: HTTPS_PROXY of the worker.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                },
            }
        ],
    }
