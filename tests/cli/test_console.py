"""Output and exit status of the commands."""

from __future__ import annotations

import logging
import os
import sys

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider_cloudlock.cli.console import cli_errors, fail
from airflow_provider_cloudlock.exceptions import CloudlockConfigError

CONTEXT = "_AIRFLOW_PROCESS_CONTEXT"


@pytest.fixture(autouse=True)
def _own_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTEXT, "restored after the test")
    monkeypatch.delenv(CONTEXT)


def test_cli_errors_redirects_logs_to_stderr(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        logging.getLogger(), "handlers", [logging.StreamHandler(sys.stdout)]
    )  # as in Airflow's commands
    with cli_errors():
        logging.getLogger("anything").warning("logged")
        print("printed")
    print("result")
    assert capsys.readouterr() == ("result\n", "logged\nprinted\n")


def test_cli_errors_sets_process_context() -> None:
    with cli_errors():
        assert os.environ[CONTEXT] == "server"


def test_cli_errors_keeps_existing_process_context(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONTEXT, "client")
    with cli_errors():
        assert os.environ[CONTEXT] == "client"


@pytest.mark.parametrize("error", [CloudlockConfigError("what to do"), AirflowNotFoundException("what to do")])
def test_cli_errors_known_error_prints_message(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, cli_errors():
        raise error
    assert (end.value.code, *capsys.readouterr()) == (2, "", "what to do\n")


def test_cli_errors_unknown_error_prints_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end, cli_errors():
        _ = 1 / 0
    assert end.value.code == 2
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_fail_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        fail("no")
    assert (end.value.code, *capsys.readouterr()) == (2, "", "no\n")
