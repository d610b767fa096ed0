from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from controlplane.domain.errors import NotLeadingError, StoreError
from controlplane.store import claim, open_store
from tests.contract.postgres import new_database


def test_a_second_control_plane_is_refused_until_the_first_lets_go(url: str) -> None:
    open_store(url).close()
    held = claim(url)
    with pytest.raises(StoreError, match=r"another control plane .*stop that one first"):
        claim(url)
    held.check()
    held.release()
    claim(url).release()


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
    claim(url).release()


def test_a_folder_that_takes_no_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/s\.db\.lock: cannot be opened"):
        claim(f"sqlite:///{tmp_path}/nowhere/s.db")


def test_a_database_in_memory_is_nobody_elses() -> None:
    first = claim("sqlite://")
    claim("sqlite://").release()
    first.check()


def test_a_claim_whose_connection_was_cut_is_taken_again_unless_another_was_quicker(postgres: Path) -> None:
    url = new_database(postgres, "claimed")
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'claimed'"
    held = claim(url)
    with psycopg.connect(f"host={postgres} user=tester dbname=postgres", autocommit=True) as server:
        server.execute(cut)
        held.check()
        with pytest.raises(StoreError, match="another control plane runs on it"):
            claim(url)
        server.execute(cut)
        until_gone = time.monotonic() + 10
        while server.execute("SELECT 1 FROM pg_stat_activity WHERE datname = 'claimed'").fetchone():
            assert time.monotonic() < until_gone
        quicker = claim(url)
        for _ in range(2):
            with pytest.raises(NotLeadingError, match="another control plane took it over"):
                held.check()
        quicker.check()
        quicker.release()
        held.check()
        held.release()
