"""Connections to the database, and the few things that differ between SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, QueuePool, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from controlplane.domain.errors import StoreError
from controlplane.store.faults import shown, translated

_WRITES = "controlplane_writes"
_FILE = "controlplane_file"
_STANDS_STILL_MS = 5000


def parse_url(text: str) -> URL:
    """The address of a database. Raises StoreError, which does not repeat the text: it may hold a password."""
    allowed = "allowed are sqlite:///FILE and postgresql+psycopg://USER@HOST/DATABASE"
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise StoreError(f"store: this is not the address of a database; {allowed}") from error
    if url.drivername == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.drivername not in ("sqlite", "postgresql+psycopg"):
        raise StoreError(f"store: {url.drivername} is not supported; {allowed}")
    return url


def file_of(url: URL) -> Path | None:
    """The file of an SQLite database; None when it is in memory, a `file:` URI or on a server."""
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name in ("", ":memory:") or name.startswith("file:"):
        return None
    return Path(name)


def make_engine(url: URL, busy_timeout_s: float) -> Engine:
    """Connections for `url`. Another's lock is waited for `busy_timeout_s` seconds."""
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url, busy_timeout_s)
    # a server that is gone without a word is given up as soon as one that cannot be reached (libpq counts in ms there)
    waits = {"connect_timeout": max(2, round(busy_timeout_s)), "tcp_user_timeout": round(2000 * busy_timeout_s)}
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=waits)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"{shown(url)}: the PostgreSQL driver is not installed; pip install 'inference-controlplane[postgres]'"
        ) from error

    @event.listens_for(engine, "begin")
    def set_up(connection: Connection) -> None:
        if connection.get_execution_options().get(_WRITES, False):
            # a process that is paused or cut off in the middle of a transaction must not keep others off for long
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = {_STANDS_STILL_MS}")
        else:
            # by default each statement sees what was committed before it, and another thread prunes meanwhile
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {round(busy_timeout_s * 1000)}")

    return engine


def _sqlite_engine(url: URL, busy_timeout_s: float) -> Engine:
    if url.database in (None, "", ":memory:"):
        # Each connection would be a database of its own: share one, one user at a time.
        engine = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=1,
            max_overflow=0,
            pool_timeout=busy_timeout_s,
            connect_args={"check_same_thread": False},
        )
    else:
        engine = create_engine(url)

    file = file_of(url)

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, record: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # the driver leaves BEGIN to us
        connection.execute(f"PRAGMA busy_timeout = {round(busy_timeout_s * 1000)}")
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: a commit is on the disk when it returns, so that a power cut too loses the tick under way at most and
        # no override a person was told of. NORMAL could lose all since the last checkpoint. A tick is one commit, so
        # this costs one fsync every few seconds.
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        record.info[_FILE] = _identity(file)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # SQLite goes on writing into a file that was removed, and all of it would be gone at the next start.
        if _identity(file) != connection.connection.info[_FILE]:
            raise StoreError(f"{file}: it was removed or replaced while in use: put it back, or restart without it")
        # A writer takes its lock at once: an upgrade from reading could fail with no waiting.
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _identity(file: Path | None) -> tuple[int, int] | None:
    """What tells a file from another of the same name; None where there is none."""
    try:
        return None if file is None else ((info := file.stat()).st_dev, info.st_ino)
    except OSError:
        return None


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that only reads: everything in it sees one state of the database."""
    with translated(engine.url), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that writes all or, on any error, nothing."""
    with (
        translated(engine.url),
        engine.connect().execution_options(**{_WRITES: True}) as connection,
        connection.begin(),
    ):
        yield connection


def insert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An INSERT that can say ON CONFLICT, in the dialect of the connection."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
