"""Keeping control planes off a database: a lock on an SQLite file, and the lease for a tool that must be alone."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from controlplane.domain.errors import ControlPlaneError, StoreError
from controlplane.store.engine import file_of, parse_url
from controlplane.store.faults import shown
from controlplane.store.opening import open_store
from controlplane.store.repository import SqlStore

_TOOL_LEASE_S = 30.0
_RENEW_S = 5.0


def lock_file(url: str) -> Callable[[], None]:
    """Keep other processes off the SQLite file at `url`; gives what lets go of it. Nothing for other databases.

    The system lets go of it when the process ends, however it ends: who has it knows that nobody else lives who leads.
    Raises StoreError when another process has it.
    """
    file = file_of(parse_url(url))
    if file is None:
        return lambda: None
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


def is_file(url: str) -> bool:
    """Whether the database is one machine's alone: no other process can be on it beside who has its lock."""
    return parse_url(url).get_backend_name() == "sqlite"


@contextmanager
def alone(url: str, name: str) -> Iterator[SqlStore]:
    """The store at `url`, where no control plane leads meanwhile. Raises StoreError when one does.

    `name` is what those who stand by are told that leads. What is written is fenced by the lease.
    """
    unlock = lock_file(url)
    try:
        store = open_store(url)
        try:
            taken = store.lease.take(name, _TOOL_LEASE_S, sole=is_file(url))
            if taken.holder != name:
                where = shown(parse_url(url))
                raise StoreError(f"{where}: another control plane ({taken.holder}) runs on it; stop that one first")
            try:
                with _renewing(store, taken.epoch):
                    yield store.fenced(lambda: taken.epoch)
            finally:
                with suppress(ControlPlaneError):  # it runs out by itself
                    store.lease.release(taken.epoch)
        finally:
            store.close()
    finally:
        unlock()


@contextmanager
def _renewing(store: SqlStore, epoch: int) -> Iterator[None]:
    """The lease is renewed while in the block; where it cannot be, the next write is refused."""
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(_RENEW_S):
            try:
                store.lease.renew(epoch, _TOOL_LEASE_S)
            except ControlPlaneError:
                continue

    thread = threading.Thread(target=renew, name="lease", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
