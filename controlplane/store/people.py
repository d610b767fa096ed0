"""What people and programs asked for: overrides, freezes, wants, and the log of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Table, and_, or_, select, update

from controlplane.domain.errors import NotFoundError
from controlplane.domain.expected import Announced
from controlplane.domain.instructions import Freeze, Override, OverrideKind, Want
from controlplane.domain.records import AuditEntry
from controlplane.store.codec import ANNOUNCED, FREEZE, OVERRIDE, Codec
from controlplane.store.engine import insert
from controlplane.store.tables import announcements, audit, freezes, overrides, wants

T = TypeVar("T")


def add_override(connection: Connection, override: Override) -> None:
    """Keep it, and end those in force of the same subject and server: the newest word holds. Again changes nothing.

    Which version a model has is another matter than whatever else is said of it: rollouts end rollouts only.
    """
    added = connection.execute(
        insert(connection, overrides)
        .values(
            id=override.id,
            model=override.subject,
            server=override.server,
            expires_at=override.expires_at,
            body=OVERRIDE.dump(override),
        )
        .on_conflict_do_nothing()
        .returning(overrides.c.id)
    ).first()
    if not added:
        return
    rolls = override.kind is OverrideKind.ROLLOUT
    replaced = [
        other.id
        for other in overrides_at(connection, override.created_at)
        if other.subject == override.subject
        and other.id != override.id
        and (not override.server or other.server in ("", override.server))
        and (other.kind is OverrideKind.ROLLOUT) == rolls
    ]
    _end(connection, overrides, overrides.c.id.in_(replaced), override.created_at)


def end_overrides(connection: Connection, subject: str, now: float) -> int:
    """End all in force of a model or workload; gives how many."""
    return _end(connection, overrides, overrides.c.model == subject, now)


def end_override(connection: Connection, override_id: str, now: float) -> Override:
    """End one; gives it. Raises NotFoundError."""
    found = override_by_id(connection, override_id)
    _end(connection, overrides, overrides.c.id == override_id, now)
    return found


def overrides_at(connection: Connection, now: float) -> tuple[Override, ...]:
    """Those in force, oldest first."""
    return _in_force(connection, overrides, OVERRIDE, now)


def override_by_id(connection: Connection, override_id: str) -> Override:
    """One, in force or not. Raises NotFoundError."""
    return _by_id(connection, overrides, OVERRIDE, "override", override_id)


def add_freeze(connection: Connection, freeze: Freeze) -> None:
    """Keep it. Again changes nothing."""
    connection.execute(
        insert(connection, freezes)
        .values(id=freeze.id, model=freeze.subject, expires_at=freeze.expires_at, body=FREEZE.dump(freeze))
        .on_conflict_do_nothing()
    )


def put_freeze(connection: Connection, freeze: Freeze) -> bool:
    """Keep it in place of the one of that id, but for one that somebody ended since `created_at`; gives whether."""
    statement = insert(connection, freezes).values(
        id=freeze.id, model=freeze.subject, expires_at=freeze.expires_at, body=FREEZE.dump(freeze)
    )
    moved = {"expires_at": statement.excluded.expires_at, "body": statement.excluded.body, "ended_at": None}
    free = or_(freezes.c.ended_at.is_(None), freezes.c.ended_at < freeze.created_at)
    statement = statement.on_conflict_do_update(index_elements=["id"], set_=moved, where=free)
    return connection.execute(statement.returning(freezes.c.id)).first() is not None


def end_freezes(connection: Connection, subject: str, now: float) -> int:
    """End those in force of one model or workload (empty: those that hold for all); gives how many."""
    return _end(connection, freezes, freezes.c.model == subject, now)


def end_freeze(connection: Connection, freeze_id: str, now: float) -> Freeze:
    """End one; gives it. Raises NotFoundError."""
    found = _by_id(connection, freezes, FREEZE, "freeze", freeze_id)
    _end(connection, freezes, freezes.c.id == freeze_id, now)
    return found


def freezes_at(connection: Connection, now: float) -> tuple[Freeze, ...]:
    """Those in force."""
    return _in_force(connection, freezes, FREEZE, now)


def add_announced(connection: Connection, announced: Announced) -> None:
    """Keep it. Again changes nothing."""
    connection.execute(
        insert(connection, announcements)
        .values(id=announced.id, expires_at=announced.end_s, body=ANNOUNCED.dump(announced))
        .on_conflict_do_nothing()
    )


def end_announced(connection: Connection, announced_id: str, now: float) -> Announced:
    """End one; gives it. Raises NotFoundError."""
    found = _by_id(connection, announcements, ANNOUNCED, "announced event", announced_id)
    _end(connection, announcements, announcements.c.id == announced_id, now)
    return found


def announced_at(connection: Connection, now: float) -> tuple[Announced, ...]:
    """Those that are not over."""
    return _in_force(connection, announcements, ANNOUNCED, now)


def add_want(connection: Connection, want: Want) -> None:
    """Keep the newest want of its model."""
    statement = insert(connection, wants).values(model=want.model, at=want.at, actor=want.actor)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["model"], set_={"at": want.at, "actor": want.actor}, where=wants.c.at <= want.at
        )
    )


def all_wants(connection: Connection) -> tuple[Want, ...]:
    """The newest of each model."""
    return tuple(
        Want(row.model, row.at, row.actor) for row in connection.execute(select(wants).order_by(wants.c.model))
    )


def add_audit(connection: Connection, entry: AuditEntry) -> None:
    """Append to the audit log, whatever characters are in what others said."""
    texts = {"actor": entry.actor, "verb": entry.verb, "subject": entry.subject, "detail": entry.detail}
    connection.execute(audit.insert().values(at=entry.at, **{key: _storable(text) for key, text in texts.items()}))


def audit_entries(connection: Connection, limit: int) -> Sequence[AuditEntry]:
    """Newest first."""
    query = select(audit).order_by(audit.c.seq.desc()).limit(limit)
    return [AuditEntry(row.at, row.actor, row.verb, row.subject, row.detail) for row in connection.execute(query)]


def _storable(text: str) -> str:
    """PostgreSQL takes no NUL, and no database half of a surrogate pair."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _holds(table: Table, now: float) -> ColumnElement[bool]:
    return and_(table.c.expires_at > now, or_(table.c.ended_at.is_(None), table.c.ended_at > now))


def _in_force(connection: Connection, table: Table, codec: Codec[T], now: float) -> tuple[T, ...]:
    values = [codec.load(body) for body in connection.execute(select(table.c.body).where(_holds(table, now))).scalars()]
    return tuple(sorted(values, key=lambda value: (value.created_at, value.id)))  # type: ignore[attr-defined]


def _by_id(connection: Connection, table: Table, codec: Codec[T], kind: str, id_: str) -> T:
    body = connection.execute(select(table.c.body).where(table.c.id == id_)).scalar()
    if body is None:
        raise NotFoundError(kind, id_)
    return codec.load(body)


def _end(connection: Connection, table: Table, which: ColumnElement[bool], now: float) -> int:
    return connection.execute(update(table).where(which, _holds(table, now)).values(ended_at=now)).rowcount
