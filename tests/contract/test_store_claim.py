from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.domain.errors import StoreError
from controlplane.store import claim, open_store


def test_a_second_control_plane_is_refused_until_the_first_lets_go(url: str) -> None:
    open_store(url).close()
    release = claim(url)
    with pytest.raises(StoreError, match=r"another control plane .*stop that one first"):
        claim(url)
    release()
    claim(url)()


def test_a_control_plane_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    work = f"claim({url!r}); print('held', flush=True); signal.pause()"
    program = f"import signal; from controlplane.store import claim; {work}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"process {other.pid}"):
            claim(url)
        other.kill()
    claim(url)()


def test_a_folder_that_takes_no_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/s\.db\.lock: cannot be opened"):
        claim(f"sqlite:///{tmp_path}/nowhere/s.db")


def test_a_database_in_memory_is_nobody_elses() -> None:
    claim("sqlite://")()
    claim("sqlite://")()
