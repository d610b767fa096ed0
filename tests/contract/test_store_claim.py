from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from controlplane.domain.errors import NotLeadingError, StoreError
from controlplane.store import alone, lock_file, open_store
from tests.contract.postgres import new_database
from tests.contract.values import a_decision, a_tick


def test_a_second_process_is_refused_on_a_file_until_the_first_lets_go(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    unlock = lock_file(url)
    with pytest.raises(StoreError, match=r"another control plane .*stop that one first"):
        lock_file(url)
    unlock()
    lock_file(url)()


def test_a_control_plane_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 's.db'}"
    work = f"lock_file({url!r}); print('held', flush=True); signal.pause()"
    program = f"import signal; from controlplane.store import lock_file; {work}"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match=f"process {other.pid}"):
            lock_file(url)
        other.kill()
    lock_file(url)()


def test_a_folder_that_takes_no_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/s\.db\.lock: cannot be opened"):
        lock_file(f"sqlite:///{tmp_path}/nowhere/s.db")


def test_a_database_in_memory_is_nobody_elses() -> None:
    first = lock_file("sqlite://")
    lock_file("sqlite://")()
    first()


def test_a_tool_is_alone_on_a_database_and_refused_while_a_control_plane_leads(postgres: Path) -> None:
    url = new_database(postgres, "tools")
    plane = open_store(url)
    plane.lease.take("plane-1", 600.0)
    with pytest.raises(StoreError, match=r"another control plane \(plane-1\) runs on it"), alone(url, "tool"):
        raise AssertionError
    plane.lease.release(1)
    with alone(url, "tool") as store:
        assert plane.lease.take("plane-1", 600.0).holder == "tool"
        store.write_tick(a_tick(decisions=(a_decision("d1"),)))
    assert plane.lease.take("plane-1", 600.0).epoch == 3
    with pytest.raises(NotLeadingError):
        store.write_tick(a_tick())
    store.close()
    plane.close()


def test_a_tool_renews_its_lease_while_it_works(postgres: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controlplane.store.claim._RENEW_S", 0.05)
    url = new_database(postgres, "tool_renews")
    with alone(url, "tool") as store:
        ends, least_s = time.monotonic() + 30.0, store.lease.look().left_s
        while (left_s := store.lease.look().left_s) <= least_s:
            assert time.monotonic() < ends, "it only runs out"
            least_s = left_s
