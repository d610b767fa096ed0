"""What a database driver raised, said in the project's errors: which file or server, what is wrong, what to do."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from controlplane.domain.errors import StoreBusyError, StoreError

_PRIMARY = 0xFF
"""The low byte of an SQLite error code is its class (https://www.sqlite.org/rescode.html)."""

_SQLITE_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

_SQLITE_HELP = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_READONLY: "it cannot be written: check the permissions of the file and its folder",
    sqlite3.SQLITE_PERM: "access was refused: check the permissions of the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: its folder must exist and be writable",
    sqlite3.SQLITE_CORRUPT: "it is damaged: restore it from a copy, or move it away to start with an empty one",
    sqlite3.SQLITE_NOTADB: "it is not an SQLite database: name another file, or move this one away",
    sqlite3.SQLITE_IOERR: "reading or writing failed: check the disk",
}

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_POSTGRES_BUSY_CLASSES = ("08", "40", "57")
"""Connection lost, transaction rolled back (deadlock, serialisation), operator intervention (shutdown, starting up)."""
_POSTGRES_BUSY_STATES = ("55P03", "53300", "25P03")
"""Lock not available, too many connections, idle in a transaction for too long."""
_POSTGRES_REFUSALS = ("authentication failed", "does not exist", "no pg_hba.conf entry", "permission denied")
"""How a refusal at connecting reads; psycopg gives no SQLSTATE for it."""


def shown(url: URL) -> str:
    """How messages name a database: the file, or the address without its password."""
    if url.get_backend_name() == "sqlite":
        return url.database or "the in-memory database"
    return url.render_as_string(hide_password=True)


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Turns what the driver raises inside into StoreBusyError or StoreError."""
    try:
        yield
    except PoolTimeoutError as error:
        raise StoreBusyError(f"{shown(url)}: all connections are in use; try again") from error
    except DBAPIError as error:
        raise _by_driver(url, error.orig) from error
    except sqlite3.Error as error:
        raise _by_driver(url, error) from error
    except SQLAlchemyError as error:
        raise StoreError(f"{shown(url)}: {error}") from error


def _by_driver(url: URL, error: BaseException | None) -> StoreBusyError | StoreError:
    if isinstance(error, sqlite3.Error):
        return _by_sqlite(url, error)
    return _by_postgres(url, error)


def _by_sqlite(url: URL, error: sqlite3.Error) -> StoreBusyError | StoreError:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY
    if code in _SQLITE_BUSY:
        return StoreBusyError(f"{shown(url)}: another process holds it locked; try again")
    help_text = _SQLITE_HELP.get(code, "the database refused")
    return StoreError(f"{shown(url)}: {help_text} ({error})")


def _by_postgres(url: URL, error: BaseException | None) -> StoreBusyError | StoreError:
    state = getattr(error, "sqlstate", None)
    words = " ".join(str(error).split())
    refused = any(sign in words for sign in _POSTGRES_REFUSALS)
    away = state is None and type(error).__name__ == "OperationalError" and not refused
    if away or (state and (state[:2] in _POSTGRES_BUSY_CLASSES or state in _POSTGRES_BUSY_STATES)):
        return StoreBusyError(f"{shown(url)}: not available now ({words})")
    if state == "53100":
        return StoreError(f"{shown(url)}: the server's disk is full: free some space and start again")
    if state == "25006":
        return StoreError(f"{shown(url)}: it is read-only: name the primary, not a standby")
    return StoreError(f"{shown(url)}: the database refused ({words})")
