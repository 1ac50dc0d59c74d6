"""Lineage: what a task read and wrote, for OpenLineage and for other readers of Airflow's hook lineage.

OpenLineage's provider asks the operator. It uses hook lineage only if the operator reports nothing, so nothing is
counted twice. Imported when the task runs, not when a DAG is parsed.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import ObjectStoragePath

from airflow_provider_cloudlock.instants import dates_of
from airflow_provider_cloudlock.lake.receipt import Receipt
from airflow_provider_cloudlock.lake.schema import Layout

# OpenLineage's provider need not be installed.
if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.generated.data_quality_assertions_dataset import DataQualityAssertionsDatasetFacet

#: Schemes that OpenLineage spells differently; a path without one is on the local disk.
_SCHEMES = {"": "file", "local": "file", "s3a": "s3", "gcs": "gs", "abfs": "abfss"}
_PROOFS = ("single_response", "anchored", "identical_passes")
#: Characters that need no quoting in a URI.
_PLAIN = "/!$&'()*+,;=:@"
#: The most characters that an asset's URI may have.
_LONGEST_URI = 1500


class Lineage:
    """What a task has read and written so far, without any secret. Its ``uri`` is that of the resource's folder.

    :param api: URL of the endpoint.
    :param destination: destination as the user spells it; its store was opened before.
    :param layout: layout of the records.
    :param start: start of the window.
    :param end: end of the window.
    """

    def __init__(self, api: str, destination: str, layout: Layout, start: datetime, end: datetime) -> None:
        url = urlsplit(api)
        self._source = f"{url.scheme}://{url.netloc}", url.path.lstrip("/")
        self._path = ObjectStoragePath(destination)
        self._folder = namespace, name = _address(self._path, layout.resource.name)
        self.uri = quote(f"{namespace}/{name}" if "://" in namespace else f"{namespace}://{name}", safe=_PLAIN)
        self._layout = layout
        self._start = start
        self._end = end
        self._receipts: list[Receipt] = []

    def add(self, receipt: Receipt) -> None:
        """Add a published day; if its object was written, report the folder as hooks do.

        The folder, as Airflow keeps no more than a hundred assets of a task. Airflow loads its plugins before a task
        runs, and a plugin that reads hook lineage imports ``airflow.sdk.lineage`` for its base class. If that module
        is not loaded, there is no reader, and creating the collector would import some 200 modules for nothing.
        """
        self._receipts.append(receipt)
        if receipt.changed and len(self.uri) <= _LONGEST_URI and "airflow.sdk.lineage" in sys.modules:
            from airflow.sdk.lineage import get_hook_lineage_collector

            get_hook_lineage_collector().add_output_asset(context=self._path, uri=self.uri)

    def facets(self) -> OperatorLineage[Any, Any]:
        """Return the API as input, and the resource's folder as output if a day was published.

        ``nominalTime`` is the window; OpenLineage's provider replaces it with the run's data interval if there is one.
        """
        from airflow.providers.openlineage.extractors import OperatorLineage
        from openlineage.client.event_v2 import InputDataset
        from openlineage.client.facet_v2 import nominal_time_run

        nominal = nominal_time_run.NominalTimeRunFacet(self._start.isoformat(), self._end.isoformat())
        return OperatorLineage(
            inputs=[InputDataset(*self._source)],
            outputs=[self._output()] if self._receipts else [],
            run_facets={"nominalTime": nominal},
        )

    def _output(self) -> OutputDataset:
        """Describe the folder. The statistics count the objects that were written, not those left alone."""
        from openlineage.client.event_v2 import OutputDataset
        from openlineage.client.facet_v2 import output_statistics_output_dataset, schema_dataset

        columns = [schema_dataset.SchemaDatasetFacetFields(each.name, str(each.type)) for each in self._layout.schema]
        written = [each for each in self._receipts if each.changed]
        statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
            rowCount=sum(each.rows for each in written),
            size=sum(each.bytes for each in written),
            fileCount=len(written),
        )
        about: dict[str, Any] = {
            "schema": schema_dataset.SchemaDatasetFacet(columns),
            # A facet of inputs by the specification; consumers look for it among the facets of any dataset.
            "dataQualityAssertions": self._assertions(),
        }
        return OutputDataset(*self._folder, outputFacets={"outputStatistics": statistics}, facets=about)

    def _assertions(self) -> DataQualityAssertionsDatasetFacet:
        """Return what the receipts prove about the days of this run."""
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        is_whole = len(self._receipts) == len(dates_of(self._start, self._end))
        return quality.DataQualityAssertionsDatasetFacet(
            [
                quality.Assertion("complete", is_whole and all(each.proof in _PROOFS for each in self._receipts)),
                quality.Assertion("none_quarantined", not any(each.quarantined for each in self._receipts)),
                # These hold for every published day.
                quality.Assertion("created_in_window", True),
                quality.Assertion("unique", True, self._layout.key),
                quality.Assertion("not_null", True, self._layout.key),
            ]
        )


def facets_of(lineage: Lineage | None) -> OperatorLineage[Any, Any]:
    """Return the lineage of a task, also of one that failed before it could read or write."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    return lineage.facets() if lineage else OperatorLineage()


def _address(path: ObjectStoragePath, resource: str) -> tuple[str, str]:
    """Return namespace and name of a resource's folder as OpenLineage spells them, without the Airflow connection."""
    scheme = _SCHEMES.get(path.protocol, path.protocol)
    folder = f"{path.path.rstrip('/')}/{resource}"
    if scheme == "file":
        return scheme, folder
    bucket, _, name = folder.lstrip("/").partition("/")
    if scheme == "abfss":
        account = getattr(getattr(path.fs, "service_client", None), "account_name", None)
        bucket += f"@{account}.dfs.core.windows.net" if account else ""
    return f"{scheme}://{bucket}", name
