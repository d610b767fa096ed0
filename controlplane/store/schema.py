"""Bringing a database to the schema of this version."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text

import controlplane
from controlplane.domain.errors import StoreError
from controlplane.store.engine import file_of, make_engine, parse_url, reading, writing
from controlplane.store.faults import shown
from controlplane.store.tables import REVISION

_VERSION_TABLE = "alembic_version"
_UPGRADE_LOCK = 7_305_031_202
"""Any number: names the lock under which one process at a time upgrades a PostgreSQL database."""


def schema_revision(url: str) -> str | None:
    """The revision a database is at; None when it has no schema yet. Raises StoreError, StoreBusyError."""
    parsed = parse_url(url)
    file = file_of(parsed)
    if file is not None and not file.exists():
        return None
    engine = make_engine(parsed, busy_timeout_s=5.0)
    try:
        return revision_of(engine)
    finally:
        engine.dispose()


def upgrade_schema(url: str) -> str:
    """Bring a database to this version's schema, creating it where there is none; gives its revision.

    Raises StoreError when it is newer than this version or no database of ours, StoreBusyError when it is locked.
    """
    engine = make_engine(parse_url(url), busy_timeout_s=5.0)
    try:
        upgrade(engine)
    finally:
        engine.dispose()
    return REVISION


def revision_of(engine: Engine) -> str | None:
    """The revision that the database behind `engine` is at, or None."""
    with reading(engine) as connection:
        return _revision(connection)


def upgrade(engine: Engine) -> None:
    """Upgrade the database behind `engine` in one transaction. Reads one row when there is nothing to do."""
    if revision_of(engine) == REVISION:
        return
    # Imported where it is needed: it doubles the time that opening an up-to-date database takes.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    with writing(engine) as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError as error:
            raise StoreError(_unknown(engine, _revision(connection))) from error


def require_current(engine: Engine) -> None:
    """Raises StoreError when the database is not at this version's schema."""
    revision = revision_of(engine)
    if revision is None:
        raise StoreError(f"{shown(engine.url)}: holds no controlplane schema; `controlplane db upgrade` makes it")
    if revision != REVISION:
        if revision < REVISION and revision.isdigit():
            raise StoreError(
                f"{shown(engine.url)}: its schema {revision} is older than this version's {REVISION}; "
                "run `controlplane db upgrade`"
            )
        raise StoreError(_unknown(engine, revision))


def migrations_folder() -> Path:
    """Where the migrations are: inside the installed package, or beside it in a checkout.

    Raises StoreError when neither is there.
    """
    package = Path(controlplane.__file__).parent
    for folder in (package / "migrations", package.parent / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise StoreError(f"no migrations beside {package}: the installation is incomplete; install controlplane again")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {_VERSION_TABLE}")).scalar()  # noqa: S608 - a constant


def _unknown(engine: Engine, revision: str | None) -> str:
    return (
        f"{shown(engine.url)}: its schema {revision!r} is not known to this version, which knows up to {REVISION!r}; "
        "it was written by a newer controlplane (install that one) or is not a controlplane database"
    )
