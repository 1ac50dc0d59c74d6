"""Lineage: what a task read and wrote, for OpenLineage and for whoever else listens to Airflow's hooks.

OpenLineage's provider asks the operator; what hooks reported it takes only where the operator says nothing, so nothing
is counted twice. Imported when the task runs, not when a Dag is parsed.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from airflow.sdk import ObjectStoragePath
from airflow.sdk.lineage import get_hook_lineage_collector

from airflow_provider_cloudlock.lake.receipt import Receipt
from airflow_provider_cloudlock.lake.schemas import Layout

# Only who has OpenLineage's provider is asked by it.
if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from openlineage.client.event_v2 import OutputDataset
    from openlineage.client.generated.data_quality_assertions_dataset import DataQualityAssertionsDatasetFacet

#: Schemes that OpenLineage spells in another way; a path without one is on the local disk.
_SCHEMES = {"": "file", "local": "file", "s3a": "s3", "gcs": "gs", "abfs": "abfss"}
_PROOFS = ("single_response", "anchored")
#: What need not be quoted in a URI.
_PLAIN = "/!$&'()*+,;=:@"
#: The most characters that an asset's URI may have.
_LONGEST_URI = 1500


class Lineage:
    """What a task read and wrote so far: plain facts, and no secret among them.

    :param api: the URL of what is read.
    :param destination: where the lake is, as the user spells it; its store was opened before.
    :param resource: name of what is extracted.
    :param layout: of its records.
    :param start: of the window.
    :param end: of the window.
    """

    def __init__(
        self, api: str, destination: str, resource: str, layout: Layout, start: datetime, end: datetime
    ) -> None:
        url = urlsplit(api)
        self._source = f"{url.scheme}://{url.netloc}", url.path.lstrip("/")
        self._path = ObjectStoragePath(destination)
        self._folder = namespace, name = _address(self._path, resource)
        self._uri = quote(f"{namespace}/{name}" if "://" in namespace else f"{namespace}://{name}", safe=_PLAIN)
        self._layout = layout
        self._start = start
        self._end = end
        self._receipts: list[Receipt] = []

    def add(self, receipt: Receipt) -> None:
        """Take a published slice in; if it was written, tell of its folder as hooks do.

        Of the folder, since Airflow keeps no more than a hundred assets of a task.
        """
        self._receipts.append(receipt)
        if receipt.changed and len(self._uri) <= _LONGEST_URI:
            get_hook_lineage_collector().add_output_asset(context=self._path, uri=self._uri)

    def facets(self) -> OperatorLineage[Any, Any]:
        """Tell OpenLineage: the API as input, the resource's folder as output once a slice of it was published.

        ``nominalTime`` is the window; OpenLineage's provider puts the run's data interval in its place if there is one.
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
        """Describe the folder. The statistics are of what was written: an object left alone does not count."""
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
            # Made for inputs; among the facets of any dataset is where those of an output are looked for.
            "dataQualityAssertions": self._assertions(),
        }
        return OutputDataset(*self._folder, outputFacets={"outputStatistics": statistics}, facets=about)

    def _assertions(self) -> DataQualityAssertionsDatasetFacet:
        """Say what the receipts prove of the slices of this run."""
        from openlineage.client.facet_v2 import data_quality_assertions_dataset as quality

        # Slices come in order, so the window is whole when the last one ends where it does.
        whole = datetime.fromisoformat(self._receipts[-1].window[1]) == self._end
        return quality.DataQualityAssertionsDatasetFacet(
            [
                quality.Assertion("complete", whole and all(each.proof in _PROOFS for each in self._receipts)),
                quality.Assertion("none_quarantined", not any(each.quarantined for each in self._receipts)),
                # These hold of every slice, or it would not have been published.
                quality.Assertion("created_in_window", True),
                quality.Assertion("unique", True, self._layout.key),
                quality.Assertion("not_null", True, self._layout.key),
            ]
        )


def facets_of(lineage: Lineage | None) -> OperatorLineage[Any, Any]:
    """Tell OpenLineage of a task, also of one that failed before it could read or write."""
    from airflow.providers.openlineage.extractors import OperatorLineage

    return lineage.facets() if lineage else OperatorLineage()


def _address(path: ObjectStoragePath, resource: str) -> tuple[str, str]:
    """Name the folder of a resource as OpenLineage names datasets, without the Airflow connection."""
    scheme = _SCHEMES.get(path.protocol, path.protocol)
    folder = f"{path.path.rstrip('/')}/{resource}"
    if scheme == "file":
        return scheme, folder
    bucket, _, name = folder.lstrip("/").partition("/")
    if scheme == "abfss":
        account = getattr(getattr(path.fs, "service_client", None), "account_name", None)
        bucket += f"@{account}.dfs.core.windows.net" if account else ""
    return f"{scheme}://{bucket}", name
