"""How commands speak."""

from __future__ import annotations

import logging
import os
import sys

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_cloudlock.console import at_work, fail
from airflow_provider_cloudlock.exceptions import CloudlockConfigError

CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"


@pytest.fixture(autouse=True)
def _own_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTEXT, "to be put back")
    monkeypatch.delenv(CONTEXT)


def test_standard_output_is_for_the_result_alone(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [logging.StreamHandler(sys.stdout)])  # as Airflow's commands
    with at_work():
        logging.getLogger("anything").warning("logged")
        print("printed")
    print("result")
    assert capsys.readouterr() == ("result\n", "logged\nprinted\n")


def test_connections_are_looked_up_in_the_database_too() -> None:
    with at_work():
        assert os.environ[CONTEXT] == "server"


def test_whoever_has_set_another_context_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTEXT, "client")
    with at_work():
        assert os.environ[CONTEXT] == "client"


@pytest.mark.parametrize("error", [CloudlockConfigError("what to do"), AirflowNotFoundException("what to do")])
def test_errors_are_told_in_words(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, at_work():
        raise error
    assert (end.value.code, *capsys.readouterr()) == (2, "", "what to do\n")


def test_a_fault_of_ours_keeps_its_traceback_and_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, at_work():
        _ = 1 / 0
    assert end.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_failing_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        fail("no")
    assert (end.value.code, *capsys.readouterr()) == (2, "", "no\n")
