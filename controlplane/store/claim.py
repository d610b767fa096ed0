"""One control plane at a time on one database: two would mark each other's actions interrupted, and both would act."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from controlplane.domain.errors import NotLeadingError, StoreError
from controlplane.store.engine import file_of, make_engine, parse_url
from controlplane.store.faults import shown, translated

_ADVISORY_KEY = 0x636F6E74726F6C  # "control" in ASCII: any number that others do not use


class Claim:
    """A database that other control planes are kept off until it is released or this process ends."""

    def __init__(self, let_go: Callable[[], None] = lambda: None) -> None:
        self._let_go = let_go

    def check(self) -> None:
        """Make sure that it still holds, and take it again where it was lost; a lock on a file never is.

        Raises NotLeadingError where another has it now, StoreBusyError, StoreError where the database cannot be asked.
        """

    def release(self) -> None:
        """Let others have it."""
        self._let_go()


def claim(url: str) -> Claim:
    """Keep other control planes off the database at `url`. Raises StoreError when another has it already."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return _ServerClaim(make_engine(parsed, busy_timeout_s=5.0))
    file = file_of(parsed)
    return Claim() if file is None else Claim(_lock_file(file))


def _lock_file(file: Path) -> Callable[[], None]:
    """Take a lock on a file beside the database. The system lets go of it when the process ends, however it ends."""
    beside = file.with_name(f"{file.name}.lock")
    try:
        lock = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StoreError(
            f"{beside}: cannot be opened ({error.strerror}); its folder must exist and be writable"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StoreError(f"{file}: another control plane (process {owner}) runs on it; stop that one first") from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lambda: os.close(lock)


class _ServerClaim(Claim):
    """An advisory lock, which PostgreSQL keeps for as long as the connection lives: no longer than its server."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(self._close)
        self._engine = engine
        with translated(engine.url):
            self._connection = self._take()
        if self._connection is None:
            engine.dispose()
            raise StoreError(f"{shown(engine.url)}: another control plane runs on it; stop that one first")

    def check(self) -> None:
        """As of any claim. With the connection the lock is gone, and who was quicker has it."""
        with translated(self._engine.url):
            if self._connection is None or not self._lives(self._connection):
                self._connection = None
                self._connection = self._take()
        if self._connection is None:
            raise NotLeadingError(f"{shown(self._engine.url)}: another control plane took it over")

    def _take(self) -> Connection | None:
        """A connection with the lock, None where another has it."""
        connection = self._engine.connect()
        try:
            if connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_KEY}).scalar():
                connection.commit()
                return connection
        except BaseException:
            connection.invalidate()  # whether it has the lock is not known, so it must not live on in the pool
            connection.close()
            raise
        connection.close()
        return None

    def _lives(self, connection: Connection) -> bool:
        try:
            connection.execute(text("SELECT 1"))
            connection.rollback()
        except SQLAlchemyError:
            connection.invalidate()  # else it would connect anew by itself, without the lock
            connection.close()
            return False
        return True

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._engine.dispose()
