"""Configurations of models whose versions a rollout set, by model and server."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, select

from controlplane.domain.errors import StoreError
from controlplane.domain.state import PolicyState, unit_key
from controlplane.store.engine import insert
from controlplane.store.tables import kept_configs


def keep_config(connection: Connection, model: str, server: str, config: Mapping[str, Any]) -> None:
    """Keep it in place of the one before."""
    row = {"body": json.dumps(config)}
    statement = insert(connection, kept_configs).values(model=model, server=server, **row)
    connection.execute(statement.on_conflict_do_update(index_elements=["model", "server"], set_=row))


def kept_config(connection: Connection, model: str, server: str = "") -> dict[str, Any] | None:
    """The one kept, without a server that of the first; None: there is none. Raises StoreError for a damaged one."""
    which = _of(model, server) if server else kept_configs.c.model == model
    kept = select(kept_configs.c.server, kept_configs.c.body).where(which).order_by(kept_configs.c.server)
    row = connection.execute(kept.limit(1)).first()
    if row is None:
        return None
    server, body = row
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StoreError(f"the kept configuration of {model} on {server} cannot be read; the database is damaged")
    return found


def drop_config(connection: Connection, model: str, server: str) -> None:
    """Forget it."""
    connection.execute(delete(kept_configs).where(_of(model, server)))


def drop_unheld(connection: Connection, state: PolicyState) -> None:
    """Forget those of units on which no rollout holds any more."""
    for model, server in connection.execute(select(kept_configs.c.model, kept_configs.c.server)).all():
        unit = state.units.get(unit_key(model, server))
        if unit is None or unit.rollout is None or not unit.rollout.holds:
            drop_config(connection, model, server)


def _of(model: str, server: str) -> ColumnElement[bool]:
    return and_(kept_configs.c.model == model, kept_configs.c.server == server)
