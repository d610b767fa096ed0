"""The shim built, a file that drives it, and processes that load it: the library is found when a process starts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SHIM = Path(__file__).parent
ROOT = SHIM.parents[1]
GPU = {
    "init": "ok",
    "count": "1",
    "handle.0": "ok",
    "uuid.0": "GPU-aaaa",
    "name.0": "NVIDIA H200",
    "util.0": "37",
    "used.0": "1073741824",
    "total.0": "150000000000",
    "power.0": "250500",
    "mig.0": "0",
    "temp.0": "41",
    "clock.0": "1980",
    "throttle.0": "5",
    "ecc.0": "2",
    "events.0": "ok",
    "procs.0": "4194401:1048576 4194402:-",
}
"""A GPU of before Hopper with MIG off; throttle: idle and the power cap; processes that no Linux has."""
CUT = GPU | {
    "util.0": "!3",
    "mig.0": "1",
    "maxmig.0": "7",
    "slice.0.0": "ok",
    "uuid.0.0": "MIG-0000",
    "name.0.0": "NVIDIA H200 MIG 3g.71gb",
    "used.0.0": "1000",
    "total.0.0": "76000000000",
    "gi.0.0": "2",
    "ci.0.0": "0",
    "placement.0.2": "0 4",
    "procs.0.0": "4194403:1000",
    "slice.0.3": "ok",
    "uuid.0.3": "MIG-3333",
    "name.0.3": "NVIDIA H200 MIG 1g.18gb",
    "used.0.3": "0",
    "total.0.3": "19000000000",
    "gi.0.3": "9",
    "ci.0.3": "0",
    "placement.0.9": "6 1",
    "procs.0.3": "-",
}
"""The same cut in two, with holes between the slices' numbers."""
HOPPER = GPU | {"gpmsupport.0": "1", "gpm.0": "1000 500 400 300 200"}
HOPPER_CUT = CUT | {"gpmsupport.0": "1", "gpm.0.2": "1000 0 0 0 0", "gpm.0.9": "1000 900 800 700 600"}
"""Those with GPM, the cut one by slice only."""


def build(folder: Path) -> Path:
    """The shim as libnvidia-ml.so.1 in `folder`; skips where there is no compiler, fails for that in CI."""
    compiler = shutil.which("cc")
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("the NVML shim needs a C compiler (cc)")
        pytest.skip("the NVML shim needs a C compiler (cc)")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), *map(str, sorted(SHIM.glob("*.c")))],
        check=True,
    )
    return folder


def answer(file: Path, answers: dict[str, str]) -> None:
    """Let the shim that reads `file` answer so from now on."""
    fresh = file.with_suffix(".new")
    fresh.write_text("".join(f"{key} {value}\n" for key, value in answers.items()))
    fresh.replace(file)


def environment(library: Path, answers: Path) -> dict[str, str]:
    """The environment of a process that loads the library in the folder `library`."""
    return os.environ | {"LD_LIBRARY_PATH": str(library), "NVML_SHIM": str(answers)}


class Reader:
    """The collector's NVML reader in a process of its own."""

    def __init__(self, library: Path, folder: Path) -> None:
        self._answers = folder / "answers"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nvml_shim.reader"],
            cwd=ROOT,
            env=environment(library, self._answers),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def read(self, answers: dict[str, str], at: float = 100.0) -> dict[str, Any]:
        """One round at that time with the library answering so."""
        answer(self._answers, answers)
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{at}\n")
        self._process.stdin.flush()
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def end(self, timeout_s: float = 10) -> int:
        """Let it end; its exit status."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            return self._process.wait(timeout_s)
        finally:
            self._process.kill()
            self._process.stdout.close()
