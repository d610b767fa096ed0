"""A change of layout that is cut off at any step of it comes to the layout asked for, and touches nothing that stays.

`MIG_TRANSITIONS` is how many random transitions are cut off by an exception at each of their steps; 500 take minutes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nvml_shim.drive import ROOT, answer, build, environment
from tests.nvml_shim.machine import Machine

TRANSITIONS = int(os.environ.get("MIG_TRANSITIONS", "60"))


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder that is not on a disk, where there is such: a journal is written through to the disk at each step."""
    shared = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize(
    ("way", "first", "count"),
    [("raise", 0, TRANSITIONS), ("kill", 1000, 6), ("error", 2000, 8), ("every", 3000, 1)],
)
def test_a_change_that_is_cut_off_at_any_call_comes_to_its_end_after_a_restart(
    shim: Path, memory: Path, way: str, first: int, count: int
) -> None:
    answer(memory / "answers", {"init": "ok"})
    Machine(memory / "machine", "h100-80gb")
    told = subprocess.run(
        [sys.executable, "-m", "tests.nvml_shim.crashes", str(memory), way, str(first), str(count)],
        cwd=ROOT,
        env=environment(shim, memory / "answers") | {"NVML_SHIM_MACHINE": str(memory / "machine")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    assert report["faults"] == []
    assert report["crashes"] > 2 * count
