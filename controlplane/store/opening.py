"""From the address of a database to the store on it: its schema is there, current, and can be written."""

from __future__ import annotations

from sqlalchemy import Engine, update

from controlplane.domain.errors import StoreError
from controlplane.store.engine import file_of, make_engine, parse_url, writing
from controlplane.store.faults import shown
from controlplane.store.repository import SqlStore
from controlplane.store.schema import require_current, upgrade
from controlplane.store.tables import policy_state


def open_store(url: str, *, create: bool = True, busy_timeout_s: float = 5.0) -> SqlStore:
    """The store at `url`: `sqlite:///FILE`, `sqlite://` (in memory), `postgresql+psycopg://USER@HOST/DATABASE`.

    With `create` a missing schema is made and an older one upgraded; without, the store must be there and current.
    A lock held by another is waited for `busy_timeout_s` seconds. Raises StoreError, StoreBusyError.
    """
    parsed = parse_url(url)
    file = file_of(parsed)
    if file is not None and not create and not file.exists():
        raise StoreError(f"{shown(parsed)}: no such file; `controlplane run` or `controlplane db upgrade` creates it")
    engine = make_engine(parsed, busy_timeout_s)
    try:
        if create:
            upgrade(engine)
            _require_writable(engine)
        else:
            require_current(engine)
    except BaseException:
        engine.dispose()
        raise
    return SqlStore(engine)


def open_reader(url: str) -> SqlStore | None:
    """A second store on the database at `url`, which must be there: what reads it waits for no writer, and none for it.

    None for SQLite in memory, which has one connection. Raises StoreError, StoreBusyError.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite" and file_of(parsed) is None:
        return None
    return open_store(url, create=False)


def _require_writable(engine: Engine) -> None:
    """Raises StoreError where nothing can be written: a schema that is current needed no write so far."""
    with writing(engine) as connection:
        connection.execute(update(policy_state).values(at=policy_state.c.at))
