"""The Python blocks of the README, run as they are printed there."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowFailException

from tests.dags.conftest import DAGS
from tests.operators.lake import DAY, NEXT, connection, operator
from tests.support import Tenant, day_of_records

README = DAGS.with_name("README.md")


def block(word: str) -> str:
    """Return the Python block of the README that contains a word."""
    (found,) = (text for text in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL) if word in text)
    return str(found)


def test_first_dag_of_the_readme_retries(tmp_path: Path) -> None:
    (tmp_path / "first.py").write_text(block("def cloudlock():"))
    bag = DagBag(str(tmp_path))
    assert bag.import_errors == {}
    (extract,) = bag.dags["cloudlock"].tasks
    assert extract.retries >= 3
    assert extract.retry_delay >= timedelta(minutes=1)


def test_audit_task_of_the_readme_fails_on_findings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = f"file://{tmp_path}/lake"
    with Tenant(day_of_records(DAY, 12)) as tenant:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUDLOCK_DEFAULT", connection(tenant))
        operator(lake).execute({})

    def check(first: str, end: str) -> None:
        text = block("def check_last_month")
        for printed, own in {"s3://aws_default@lake/cloudlock": lake, "2026-10-01": first, "2026-11-01": end}.items():
            assert text.count(printed) == 1
            text = text.replace(printed, own)
        names: dict[str, Any] = {"task": lambda function: function, "AirflowFailException": AirflowFailException}
        exec(compile(text, "README.md", "exec"), names)
        names["check_last_month"]()

    check(DAY, NEXT)
    with pytest.raises(AirflowFailException, match="1 day with gaps"):
        check(DAY, str(date.fromisoformat(NEXT) + timedelta(days=1)))
    assert "12" in capsys.readouterr().out
