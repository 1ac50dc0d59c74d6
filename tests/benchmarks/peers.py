"""The contenders, and how to run them.

Other tools run in temporary environments that uv creates, so that they need not be installed beside the provider.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_PYARROW = f"pyarrow=={version('pyarrow')}"

#: The script of each contender.
SCRIPTS = {
    "provider": "provider",
    "floor": "floor",
    "fetch_only": "fetch_only",
    "plain_loop": "plain_loop",
    "dlt_rest": "dlt_rest",
    "airbyte": "airbyte_source",
    "singer": "singer_tap",
    "http_operator": "http_operator",
}

#: Packages of each peer's environment, with their versions.
PEERS = {
    "dlt_rest": ("dlt[filesystem,parquet]==1.31.0", _PYARROW),
    "airbyte": ("airbyte-cdk==7.39.1", _PYARROW),
    "singer": ("singer-sdk==0.54.9",),
    "http_operator": (
        f"apache-airflow=={version('apache-airflow')}",
        "apache-airflow-providers-http==6.3.0",
        _PYARROW,
    ),
}

#: A peer must not lose time by compiling what it imports while it works; an installed provider does not.
_COMPILE = """
import compileall, sys
for folder in sys.path:
    if folder.endswith("site-packages"):
        compileall.compile_dir(folder, quiet=2, workers=0)
"""


def command(contender: str) -> list[str]:
    """Return the command that runs a contender's script, without the arguments of the script."""
    script = str(Path(__file__).with_name("contenders") / f"{SCRIPTS[contender]}.py")
    python = [*_uv(contender, "--offline"), "python"] if contender in PEERS else [sys.executable]
    return [*python, script]


def environment(home: str) -> dict[str, str]:
    """Return the environment variables of every contender.

    :param home: home folder of Airflow.
    """
    # This project's environment is none of a peer's business, and everybody may keep what was compiled.
    hidden = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in hidden} | {
        "AIRFLOW_HOME": home,
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }


def prepare(contender: str, home: str) -> str | None:
    """Create the environment of a peer, so that its runs do not spend time on that.

    :return: why it could not be created, None if it exists.
    """
    if shutil.which("uv") is None:
        return "uv is not on the path"
    made = subprocess.run(
        [*_uv(contender, "--compile-bytecode"), "python", "-c", ""],
        cwd=home,
        env=environment(home),
        capture_output=True,
        text=True,
    )
    if made.returncode == 0:
        return None
    return (made.stderr.strip().splitlines() or [f"uv ended with {made.returncode}"])[-1].strip()


def _uv(contender: str, *more: str) -> list[str]:
    packages = [part for package in PEERS[contender] for part in ("--with", package)]
    return ["uv", "run", "--quiet", "--no-project", "--isolated", "--python", _PYTHON, *more, *packages]
