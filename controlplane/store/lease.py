"""The lease on a database: one row that says which control plane decides, and by which every write of it is fenced.

All times are the database's: several machines have one clock in it. A lease that ran out is its holder's still until
another takes it, which raises the epoch.
"""

from __future__ import annotations

from sqlalchemy import ColumnElement, Connection, Engine, literal_column, select, update

from controlplane.domain.errors import NotLeadingError
from controlplane.domain.leader import Lease
from controlplane.store.engine import reading, writing
from controlplane.store.tables import lease

_NOW: dict[str, ColumnElement[float]] = {
    # the moment, not the start of the transaction, which may have waited for a lock
    "postgresql": literal_column("extract(epoch from clock_timestamp())::double precision"),
    "sqlite": literal_column("((julianday('now') - 2440587.5) * 86400.0)"),
}


class LeaseRow:
    """Takes, renews and releases the lease. Safe for use by many threads. Raises StoreError, StoreBusyError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def look(self) -> Lease:
        """Who has it."""
        with reading(self._engine) as connection:
            return _read(connection)

    def take(self, holder: str, lease_s: float, *, sole: bool = False) -> Lease:
        """Take it for `lease_s` seconds if nobody has it; gives who has it then.

        `sole`: no other process can be on this database, so who has it by the row is dead.
        """
        now = _now(self._engine)
        with writing(self._engine) as connection:
            # waits for the transaction of a holder that is writing: its lock is the one that a fence takes
            free = select(lease.c.epoch).where(*() if sole else (lease.c.expires_at <= now,)).with_for_update()
            epoch = connection.execute(free).scalar()
            if epoch is not None:
                taken = {"holder": holder, "epoch": epoch + 1, "expires_at": now + lease_s}
                connection.execute(update(lease).values(**taken))
            return _read(connection)

    def renew(self, epoch: int, lease_s: float) -> None:
        """Hold it for `lease_s` seconds from now on. Raises NotLeadingError where another took it."""
        with writing(self._engine) as connection:
            mine = update(lease).where(lease.c.epoch == epoch, lease.c.holder != "")
            if not connection.execute(mine.values(expires_at=_now(self._engine) + lease_s)).rowcount:
                raise NotLeadingError(_lost(_read(connection)))

    def release(self, epoch: int) -> None:
        """Let others have it at once, if it is still held."""
        with writing(self._engine) as connection:
            connection.execute(update(lease).where(lease.c.epoch == epoch).values(holder="", expires_at=0.0))


def fence(connection: Connection, epoch: int) -> None:
    """Keep the lease with this epoch until the transaction ends. Raises NotLeadingError where another took it.

    KEY SHARE lets its own renewals pass (they change no key) and makes a take-over wait, but not for long: a session
    that stands still inside a transaction, as that of a paused process does, is ended by the server.
    """
    mine = select(lease.c.epoch).where(lease.c.epoch == epoch, lease.c.holder != "")
    if connection.execute(mine.with_for_update(read=True, key_share=True)).first() is None:
        raise NotLeadingError(_lost(_read(connection)))


def _read(connection: Connection) -> Lease:
    now = _NOW[connection.dialect.name]
    row = connection.execute(select(lease.c.holder, lease.c.epoch, (lease.c.expires_at - now).label("left_s"))).one()
    return Lease(row.holder, row.epoch, row.left_s)


def _now(engine: Engine) -> ColumnElement[float]:
    return _NOW[engine.dialect.name]


def _lost(now: Lease) -> str:
    return f"{now.holder or 'nobody'} leads now, in epoch {now.epoch}; nothing was written"
