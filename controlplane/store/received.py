"""Alerts that came back from an Alertmanager."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Select, and_, case, delete, func, or_, select, update

from controlplane.domain.received import ReceivedAlert
from controlplane.store.codec import RECEIVED_ALERT
from controlplane.store.engine import insert
from controlplane.store.tables import received_alerts

_ORDER = (received_alerts.c.starts_at, received_alerts.c.fingerprint)


def add_received(connection: Connection, alerts: Sequence[ReceivedAlert]) -> None:
    """Keep how each stands. Of one that is told again as it was only the time when it was heard of moves.

    One that began anew had ended by then: Alertmanager tells no end that lay between two of its notices.
    """
    if not alerts:
        return
    statement = insert(connection, received_alerts)
    new, old = statement.excluded, received_alerts.c
    as_it_was = new.ends_at.is_(None) == old.ends_at.is_(None)
    changes = {
        "ends_at": new.ends_at,
        "received_at": case((as_it_was, old.received_at), else_=new.received_at),
        "heard_at": new.heard_at,
        "body": new.body,
    }
    statement = statement.on_conflict_do_update(index_elements=["fingerprint", "starts_at"], set_=changes)
    connection.execute(statement, [_row(alert) for alert in alerts])
    _end_before_next(connection, {alert.fingerprint for alert in alerts})


def _row(alert: ReceivedAlert) -> dict[str, object]:
    return {
        "fingerprint": alert.fingerprint,
        "starts_at": alert.starts_at,
        "ends_at": alert.ends_at,
        "received_at": alert.received_at,
        "heard_at": alert.heard_at,
        "model": alert.model,
        "body": RECEIVED_ALERT.dump(alert),
    }


def _end_before_next(connection: Connection, fingerprints: Collection[str]) -> None:
    later, columns = received_alerts.alias("later"), received_alerts.c
    next_start = (
        select(func.min(later.c.starts_at))
        .where(later.c.fingerprint == columns.fingerprint, later.c.starts_at > columns.starts_at)
        .scalar_subquery()
    )
    anew = (columns.fingerprint.in_(fingerprints), columns.ends_at.is_(None), next_start.is_not(None))
    connection.execute(update(received_alerts).where(*anew).values(ends_at=next_start))


def newest_received(connection: Connection, model: str, limit: int) -> tuple[ReceivedAlert, ...]:
    """Those that were told first as they are now, newest first; of one model or of all."""
    of = (received_alerts.c.model == model,) if model else ()
    query = select(received_alerts).where(*of).order_by(received_alerts.c.received_at.desc(), *_ORDER)
    return _read(connection, query.limit(limit))


def received_firing(connection: Connection, at: float, unheard_s: float, model: str) -> tuple[ReceivedAlert, ...]:
    """Those that fired at a moment (`fired_at`), the longest firing first; of one model and of none, or of all."""
    columns = received_alerts.c
    over = or_(columns.ends_at > at, and_(columns.ends_at.is_(None), columns.heard_at > at - unheard_s))
    of = (columns.model.in_((model, "")),) if model else ()
    began = or_(columns.starts_at <= at, columns.received_at <= at)
    return _read(connection, select(received_alerts).where(began, over, *of).order_by(*_ORDER))


def delete_received(connection: Connection, before: float) -> int:
    """Let go of those that nothing was heard of since; gives how many."""
    return connection.execute(delete(received_alerts).where(received_alerts.c.heard_at < before)).rowcount


def _read(connection: Connection, query: Select[Any]) -> tuple[ReceivedAlert, ...]:
    return tuple(
        replace(RECEIVED_ALERT.load(row.body), ends_at=row.ends_at, received_at=row.received_at, heard_at=row.heard_at)
        for row in connection.execute(query)
    )
