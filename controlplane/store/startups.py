"""Start-ups from which times are learned: the newest KEPT of each model, workload and knob."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, select

from controlplane.domain.startups import Startup
from controlplane.store.engine import insert
from controlplane.store.tables import startups

KEPT = 50


def add_startups(connection: Connection, new: Collection[Startup]) -> None:
    """Keep them. Writing the same ones again changes nothing."""
    rows = [
        {
            "model": startup.model,
            "server": startup.server,
            "workload": startup.workload,
            "knob": startup.knob,
            "at": startup.at,
            "seconds": startup.seconds,
            "least_s": startup.least_s,
        }
        for startup in new
    ]
    if rows:
        connection.execute(insert(connection, startups).on_conflict_do_nothing(), rows)
    for model, workload, knob in sorted({(startup.model, startup.workload, startup.knob) for startup in new}):
        mine = (startups.c.model == model, startups.c.workload == workload, startups.c.knob == knob)
        newest_gone = select(startups.c.seq).where(*mine).order_by(startups.c.seq.desc()).offset(KEPT).limit(1)
        connection.execute(delete(startups).where(*mine, startups.c.seq <= newest_gone.scalar_subquery()))


def newest_startups(connection: Connection, model: str, knob: str, server: str) -> tuple[Startup, ...]:
    """Those of a model, newest first; of one knob and on one server only where they are given."""
    query = select(startups).where(startups.c.model == model).order_by(startups.c.seq.desc())
    if knob:
        query = query.where(startups.c.knob == knob)
    if server:
        query = query.where(startups.c.server == server)
    return tuple(
        Startup(row.model, row.server, row.knob, row.at, row.seconds, row.least_s, row.workload)
        for row in connection.execute(query)
    )
