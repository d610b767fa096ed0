"""A real PostgreSQL server for tests: found, started on a socket in its own folder, stopped."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_BINARIES = Path("/usr/lib/postgresql")


class NoPostgresError(Exception):
    """Why no server can be started here."""


@contextmanager
def postgres_server() -> Iterator[Path]:
    """The folder of the socket of a running server whose superuser is `tester` without password."""
    binaries, user = _binaries(), _other_user()
    folder = Path(tempfile.mkdtemp(prefix="cp-pg-"))
    try:
        if user:
            shutil.chown(folder, user)
        data = folder / "data"
        _run(user, binaries / "initdb", "-D", data, "-U", "tester", "-A", "trust", "-E", "UTF8", "--no-sync")
        start_server(folder)
        try:
            yield folder
        finally:
            stop_server(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def start_server(folder: Path) -> None:
    """Start the server of that folder, again if need be."""
    options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c max_connections=40"
    _control(folder, "-l", folder / "log", "-o", options, "start")


def stop_server(folder: Path) -> None:
    """Stop it at once, as a crash does; what was committed is there at the next start. Nothing where it is stopped."""
    if (folder / "data" / "postmaster.pid").exists():
        _control(folder, "-m", "immediate", "stop")


def _control(folder: Path, *words: str | Path) -> None:
    _run(_other_user(), _binaries() / "pg_ctl", "-D", folder / "data", "-w", *words)


def _binaries() -> Path:
    found = sorted(_BINARIES.glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if not found:
        raise NoPostgresError(f"no initdb under {_BINARIES}; install the Debian package postgresql")
    return found[-1].parent


def new_database(socket_folder: Path, name: str) -> str:
    """Make an empty database; gives its address."""
    with psycopg.connect(f"host={socket_folder} user=tester dbname=postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    return f"postgresql+psycopg://tester@/{name}?host={socket_folder}"


def _other_user() -> str | None:
    """Whom to run as when we are root, as whom the server refuses to run."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoPostgresError("running as root, and there is no user postgres or nobody to run the server as")


def _run(user: str | None, *command: str | Path) -> None:
    done = subprocess.run(
        [str(part) for part in command],
        user=user,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=60,
    )
    if done.returncode:
        raise NoPostgresError(f"{command[0]} failed with code {done.returncode}")
