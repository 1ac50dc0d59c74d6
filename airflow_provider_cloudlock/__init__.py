"""Apache Airflow provider for Cisco Cloudlock.

This module imports nothing: Airflow discovers providers while its own configuration is still being set up.
"""

__version__ = "0.1.0"
