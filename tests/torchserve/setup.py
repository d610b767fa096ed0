"""Sets up what the tests need of TorchServe: an environment of its own in the cache folder, beside the Triton rig's.

Needs Java 11 or newer (Debian: default-jre-headless). TorchServe's workers import torch, which makes this large: about
1 GB with a CPU build of torch, several GB with the one that PyPI has for Linux.

    .venv/bin/python -m tests.torchserve.setup
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from controlplane.demo.rig_setup import rig_root

CONSTRAINTS = ("torchserve==0.12.0", "torch==2.13.0", "numpy==2.2.6", "pyyaml==6.0.2")
COMMAND = ".venv/bin/python -m tests.torchserve.setup"
_FOLDER = rig_root().with_name("torchserve-0.12.0-1")  # raise the last number when the constraints change


def problem() -> str:
    """Why no TorchServe can be started here, with what helps; empty where one can."""
    if not shutil.which("java"):
        return "TorchServe needs java (Debian: default-jre-headless)"
    return "" if (_FOLDER / "ready").exists() else f"no TorchServe is set up: {COMMAND}"


def python() -> Path:
    """The Python of the environment."""
    return _FOLDER / "venv" / "bin" / "python3"


def packages() -> Path:
    """Its site-packages."""
    return next((_FOLDER / "venv" / "lib").glob("python*")) / "site-packages"


def _install() -> None:
    shutil.rmtree(_FOLDER, ignore_errors=True)  # what a broken-off attempt left
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(_FOLDER / "venv")], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python()), "install", "--quiet"]
    subprocess.run([*pip, *CONSTRAINTS], check=True)
    (_FOLDER / "ready").touch()


if __name__ == "__main__":
    if not (_FOLDER / "ready").exists():
        _install()
    sys.stdout.write(f"{problem() or _FOLDER}\n")
    raise SystemExit(1 if problem() else 0)
