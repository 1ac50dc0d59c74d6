"""Run the operator and the commands as a worker does, each time in a new process, and measure it.

The libraries are imported and Airflow's plugins are loaded beforehand. The connections to the API and to S3 are
``cloudlock_default`` and ``lake``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from multiprocessing import get_context
from typing import Any

_MODULES = (
    "airflow_provider_cloudlock.operators.cloudlock",
    "airflow_provider_cloudlock.operators.extraction",
    "airflow_provider_cloudlock.operators.lineage",
    "airflow_provider_cloudlock.cli.audit.report",
    "airflow_provider_cloudlock.cli.plan.report",
    "airflow.providers.amazon.aws.fs.s3",
    "s3fs",
)


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run.

    :param result: the returned value.
    :param wall: duration in seconds.
    :param cpu: CPU time of the process in seconds.
    """

    result: Any
    wall: float
    cpu: float


def extract(destination: str, days: Sequence[date], **options: Any) -> Run:
    """Extract consecutive days in one task."""
    return _in_process(_extract, destination, days, options)


def extract_each(destination: str, days: Sequence[date]) -> Run:
    """Extract some days, each in a task of its own."""
    return _in_process(_extract_each, destination, days)


def audit(destination: str, days: Sequence[date]) -> Run:
    """Audit consecutive days, and return the audit."""
    return _in_process(_audit, destination, days)


def plan(days: Sequence[date]) -> Run:
    """Plan the extraction of consecutive days."""
    return _in_process(_plan, days)


def _in_process(work: Callable[..., Any], *arguments: Any) -> Run:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_measured, work, arguments).result()


def _measured(work: Callable[..., Any], arguments: tuple[Any, ...]) -> Run:
    from airflow_provider_cloudlock.lake.memory import limit_malloc_arenas

    limit_malloc_arenas()
    for module in _MODULES:
        import_module(module)
    from airflow.sdk.plugins_manager import integrate_macros_plugins

    integrate_macros_plugins()  # as Airflow's task runner does before it executes an operator
    import_module("pyarrow").scalar("")  # imports pandas if it is installed
    cpu, start = time.process_time(), time.perf_counter()
    result = work(*arguments)
    return Run(result, time.perf_counter() - start, time.process_time() - cpu)


def _extract(destination: str, days: Sequence[date], options: dict[str, Any]) -> Any:
    from airflow_provider_cloudlock.operators.cloudlock import CloudlockToObjectStorageOperator

    start, end = _window(days)
    operator = CloudlockToObjectStorageOperator(
        task_id="extract", destination=destination, created_after=start, created_before=end, **options
    )
    return operator.execute({})


def _extract_each(destination: str, days: Sequence[date]) -> None:
    for day in days:
        _extract(destination, [day], {})


def _audit(destination: str, days: Sequence[date]) -> Any:
    from airflow_provider_cloudlock.cli.audit.report import audit

    return audit(destination, *_window(days))


def _plan(days: Sequence[date]) -> None:
    from airflow_provider_cloudlock.cli.plan.report import plan

    plan(*_window(days))


def _window(days: Sequence[date]) -> tuple[str, str]:
    return str(days[0]), str(days[-1] + timedelta(days=1))
