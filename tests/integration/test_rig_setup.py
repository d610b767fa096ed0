"""The rig's environment, made for real in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.demo.rig_setup import RigEnvironment, ready_environment

pytestmark = pytest.mark.triton


def test_two_processes_that_set_it_up_at_once_get_one_whole_environment(
    rig_environment: RigEnvironment, tmp_path: Path
) -> None:
    root = tmp_path / "rig"
    broken_off = root / rig_environment.root.name / "venv"
    broken_off.mkdir(parents=True)
    environ = {**os.environ, "CONTROLPLANE_RIG_DIR": str(root)}
    command = [sys.executable, "-m", "controlplane.demo.rig_setup"]
    both = [
        subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240) for process in both]
    try:
        if any(process.returncode for process in both) and os.environ.get("CI") != "true":
            pytest.skip(f"the packages cannot be installed here: {said}")
        assert [process.returncode for process in both] == [0, 0]
        assert [out.strip() for out, _ in said] == [str(root / rig_environment.root.name)] * 2
        assert sum("ready" in err for _, err in said) == 1
        found = ready_environment(root)
        assert found is not None
        assert os.access(found.server, os.X_OK)

        again = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=10, check=True)
        assert again.stderr == ""
    finally:
        shutil.rmtree(root)
