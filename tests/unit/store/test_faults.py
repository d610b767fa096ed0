from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import event

from controlplane.domain.errors import StoreBusyError, StoreError
from controlplane.store import open_store, schema_revision
from controlplane.store.codec import OVERRIDE
from controlplane.store.engine import parse_url
from controlplane.store.faults import shown
from tests.contract.values import NOW, a_slice, a_tick, an_override


def test_a_database_locked_by_another_is_busy_and_can_be_written_afterwards(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = open_store(f"sqlite:///{file}", busy_timeout_s=0.05)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusyError, match=r"store\.db: another process holds it locked"):
        store.write_tick(a_tick(slices=(a_slice(NOW),)))
    assert store.counts("bert", "latency", NOW, NOW + 10).good == 0  # reading goes on
    other.execute("COMMIT")
    other.close()
    store.write_tick(a_tick(slices=(a_slice(NOW),)))
    assert store.counts("bert", "latency", NOW, NOW + 10).good == 9
    store.close()


def test_a_lock_that_is_let_go_in_time_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = open_store(f"sqlite:///{file}", busy_timeout_s=30)
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    letting_go = threading.Timer(0.1, lambda: other.execute("COMMIT"))
    letting_go.start()
    store.write_tick(a_tick(slices=(a_slice(NOW),)))
    letting_go.join()
    other.close()
    assert store.counts("bert", "latency", NOW, NOW + 10).good == 9
    store.close()


def test_a_full_disk_is_named_and_the_tick_is_not_written(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.db'}")

    @event.listens_for(store._engine, "begin")
    def fill(connection: object) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()  # type: ignore[attr-defined]
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

    slices = tuple(a_slice(NOW + 10 * n) for n in range(2000))
    with pytest.raises(StoreError, match=r"store\.db: the disk is full: free some space"):
        store.write_tick(a_tick(slices=slices))
    assert store.counts("bert", "latency", NOW - 1e6, NOW + 1e6).good == 0
    store.close()


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("buy milk\n" * 1000)
    with pytest.raises(StoreError, match=r"notes\.txt: it is not an SQLite database"):
        open_store(f"sqlite:///{file}")
    assert file.read_text().startswith("buy milk")


def test_a_damaged_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = open_store(f"sqlite:///{file}")
    store.write_tick(a_tick(slices=tuple(a_slice(NOW + 10 * n) for n in range(3000))))
    store.close()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(StoreError, match=r"store\.db: it is damaged: restore it from a copy"):
        open_store(f"sqlite:///{file}")


def test_a_database_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    open_store(f"sqlite:///{file}").close()
    with pytest.raises(StoreError, match="cannot be written: check the permissions"):
        open_store(f"sqlite:///file:{file}?mode=ro&uri=true")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"nowhere/store\.db: it cannot be opened: its folder must exist"):
        open_store(f"sqlite:///{tmp_path}/nowhere/store.db")


def test_a_store_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with pytest.raises(StoreError, match="no such file; `controlplane run`"):
        open_store(f"sqlite:///{file}", create=False)
    assert schema_revision(f"sqlite:///{file}") is None
    assert not file.exists()


@pytest.mark.parametrize("url", ["mysql://ann:s3cret@db/x", "no address s3cret", "oracle+x://ann:s3cret@db", ""])
def test_an_address_of_something_else_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StoreError, match="allowed are sqlite:///FILE and postgresql") as caught:
        open_store(url)
    assert "s3cret" not in str(caught.value)


def test_a_password_is_never_shown() -> None:
    url = parse_url("postgresql://ann:s3cret@127.0.0.1:1/x")
    assert shown(url) == "postgresql+psycopg://ann:***@127.0.0.1:1/x"


def test_a_server_that_is_away_is_busy_and_named_without_its_password(tmp_path: Path) -> None:
    with pytest.raises(StoreBusyError, match="not available now") as caught:
        open_store(f"postgresql+psycopg://ann:s3cret@/x?host={tmp_path}")
    assert "ann:***@" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_a_stored_value_that_cannot_be_read_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="a stored Override cannot be read"):
        OVERRIDE.load('{"id": "o1", "kind": "dance"}')


def test_rows_of_a_later_version_are_read_without_what_is_new_in_them() -> None:
    body = OVERRIDE.dump(an_override("o1"))
    assert OVERRIDE.load(body[:-1] + ',"colour":"red"}') == an_override("o1")


def test_a_file_that_was_removed_takes_no_more_until_it_is_back(tmp_path: Path) -> None:
    file, aside = tmp_path / "store.db", tmp_path / "aside.db"
    store = open_store(f"sqlite:///{file}")
    store.load_state()
    file.rename(aside)
    with pytest.raises(StoreError, match=r"store\.db: it was removed or replaced"):
        store.load_state()
    aside.rename(file)
    store.load_state()
    store.close()


def test_a_file_that_was_replaced_takes_no_more(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    store = open_store(f"sqlite:///{file}")
    file.unlink()
    open_store(f"sqlite:///{file}").close()
    with pytest.raises(StoreError, match="removed or replaced"):
        store.end_freezes("", 0.0)
    store.close()
