"""One control plane at a time on one database: two would mark each other's actions interrupted, and both would act."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine, text

from controlplane.domain.errors import StoreError
from controlplane.store.engine import file_of, make_engine, parse_url
from controlplane.store.faults import shown, translated

_ADVISORY_KEY = 0x636F6E74726F6C  # "control" in ASCII: any number that others do not use


def claim(url: str) -> Callable[[], None]:
    """Keep other control planes off the database at `url` until the function given is called or this process ends.

    Raises StoreError when another has it already.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return _claim_server(make_engine(parsed, busy_timeout_s=5.0))
    file = file_of(parsed)
    return _claim_file(file) if file is not None else lambda: None


def _claim_file(file: Path) -> Callable[[], None]:
    """A lock on a file beside the database. The system lets go of it when the process ends, however it ends."""
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


def _claim_server(engine: Engine) -> Callable[[], None]:
    """An advisory lock, which PostgreSQL keeps for as long as the connection lives."""

    def release() -> None:
        connection.close()
        engine.dispose()

    with translated(engine.url):
        connection: Connection = engine.connect()
        if not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_KEY}).scalar():
            release()
            raise StoreError(f"{shown(engine.url)}: another control plane runs on it; stop that one first")
        connection.commit()
    return release
