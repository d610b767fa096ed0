from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from controlplane.domain.errors import StoreBusyError, StoreError
from controlplane.store import open_store
from tests.contract.postgres import new_database
from tests.contract.values import a_tick


def test_a_database_that_does_not_exist_will_not_come_by_waiting(postgres: Path) -> None:
    with pytest.raises(StoreError, match='"nowhere" does not exist'):
        open_store(f"postgresql+psycopg://tester@/nowhere?host={postgres}")


def test_a_lock_of_another_is_waited_for_only_so_long(postgres: Path) -> None:
    store = open_store(new_database(postgres, "locked"), busy_timeout_s=0.05)
    with psycopg.connect(f"host={postgres} user=tester dbname=locked") as other:
        other.execute("LOCK TABLE policy_state")
        with pytest.raises(StoreBusyError, match="lock timeout"):
            store.write_tick(a_tick())
    store.write_tick(a_tick())
    store.close()


def test_a_connection_that_was_cut_is_made_again(postgres: Path) -> None:
    store = open_store(new_database(postgres, "cut"))
    with psycopg.connect(f"host={postgres} user=tester dbname=postgres", autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'cut'")
    store.write_tick(a_tick())
    store.close()


def test_a_server_that_only_reads_is_refused(postgres: Path) -> None:
    address = new_database(postgres, "standby")
    store = open_store(address)
    with psycopg.connect(f"host={postgres} user=tester dbname=postgres", autocommit=True) as other:
        other.execute("ALTER DATABASE standby SET default_transaction_read_only = on")
    store.close()  # connections made from now on are read-only
    with pytest.raises(StoreError, match="read-only: name the primary"):
        store.write_tick(a_tick())
    store.close()
