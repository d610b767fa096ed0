"""What happened after a position, over the tables that are only appended to."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select

from controlplane.domain.events import INSTRUCTIONS, Event, Position
from controlplane.domain.records import AuditEntry
from controlplane.store.codec import ALERT_EVENT, DECISION, OUTCOME
from controlplane.store.tables import alert_events, audit, decisions, outcomes

_SETTLED_S = 2.0
"""So long a transaction may take between its number and its commit: until then one of a lower number may still come.

A time that is further ahead is that of another clock, which tells nothing: it is not waited for.
"""


@dataclass(frozen=True, slots=True)
class _Kind:
    table: Table
    at: str
    value: Callable[[Row[Any]], Any]
    which: ColumnElement[bool] | None = None


_KINDS: Mapping[str, _Kind] = {
    "decisions": _Kind(decisions, "at", lambda row: DECISION.load(row.body)),
    "outcomes": _Kind(outcomes, "finished_at", lambda row: OUTCOME.load(row.body)),
    "alerts": _Kind(alert_events, "at", lambda row: ALERT_EVENT.load(row.body)),
    "instructions": _Kind(
        audit,
        "at",
        lambda row: AuditEntry(row.at, row.actor, row.verb, row.subject, row.detail),
        audit.c.verb.in_(sorted(INSTRUCTIONS)),
    ),
}


def newest(connection: Connection) -> Position:
    """The position of who has seen everything."""
    return Position(**{name: _newest(connection, kind) for name, kind in _KINDS.items()})


def _newest(connection: Connection, kind: _Kind) -> int:
    return connection.scalar(select(func.max(kind.table.c.seq))) or 0


def after(connection: Connection, position: Position, limit: int, now: float) -> list[Event]:
    """At most `limit`, by time, and those of a kind in the order in which they were written.

    A position ahead of what there is, as of another database, counts as the newest.
    """
    position = Position(*map(min, position, newest(connection)))
    rows = [_rows(connection, name, getattr(position, name), limit, now) for name in _KINDS]
    found = []
    for _, name, row in islice(heapq.merge(*rows, key=lambda one: one[0]), limit):
        position = position._replace(**{name: row.seq})
        found.append(Event(position, _KINDS[name].value(row)))
    return found


def _rows(
    connection: Connection, name: str, seen: int, limit: int, now: float
) -> Iterator[tuple[float, str, Row[Any]]]:
    kind = _KINDS[name]
    seq = kind.table.c.seq
    query = select(kind.table).where(seq > seen).order_by(seq).limit(limit)
    if kind.which is not None:
        query = query.where(kind.which)
    for row in connection.execute(query).all():
        at = getattr(row, kind.at)
        if row.seq > seen + 1 and abs(now - at) < _SETTLED_S:
            return
        yield at, name, row
        seen = row.seq
