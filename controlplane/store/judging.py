"""What judging keeps: versions of objectives, what people corrected, and when alerts fired."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.history import Adjustment, AdjustmentKind, AlertEvent, ObjectiveVersion
from controlplane.store.codec import ADJUSTMENT, ALERT_EVENT, OBJECTIVE_VERSION
from controlplane.store.engine import insert
from controlplane.store.tables import adjustments, alert_events, objective_versions


def add_versions(connection: Connection, new: Sequence[ObjectiveVersion]) -> None:
    """Keep what each version of an objective is, from when it came in place of another.

    One that held already stays as it was first seen; one that comes back after another is kept again.
    """
    held: dict[tuple[str, str], tuple[ObjectiveVersion, ...]] = {}
    for version in sorted(new, key=lambda v: v.since):
        key = (version.model, version.objective.key)
        known = held[key] if key in held else versions_of(connection, *key)
        before = [other.version for other in known if other.since <= version.since]
        if before[-1:] != [version.version]:
            row = {
                "model": version.model,
                "version": version.version,
                "objective": version.objective.key,
                "since": version.since,
                "body": OBJECTIVE_VERSION.dump(version),
            }
            connection.execute(insert(connection, objective_versions).values(**row).on_conflict_do_nothing())
            known = tuple(sorted((*known, version), key=lambda v: v.since))
        held[key] = known


def add_past_versions(connection: Connection, new: Sequence[ObjectiveVersion]) -> None:
    """Keep what imported history was judged by, where it begins before all that is known.

    What begins later fills in what is missing of a time that other versions held in.
    """
    first = {(v.model, v.objective.key): next(iter(versions_of(connection, v.model, v.objective.key)), v) for v in new}
    add_versions(connection, [v for v in new if v.since <= first[v.model, v.objective.key].since])


def versions_of(connection: Connection, model: str, objective: str) -> tuple[ObjectiveVersion, ...]:
    """The versions of an objective, oldest first."""
    query = select(objective_versions.c.body).where(
        objective_versions.c.model == model, objective_versions.c.objective == objective
    )
    bodies = connection.execute(query.order_by(objective_versions.c.since)).scalars()
    return tuple(OBJECTIVE_VERSION.load(body) for body in bodies)


def add_adjustment(connection: Connection, adjustment: Adjustment) -> None:
    """Append it. Raises NotFoundError, ConflictError for one that withdraws what is not there or was withdrawn."""
    if adjustment.kind is AdjustmentKind.WITHDRAW:
        made = {a.id: a for a in all_adjustments(connection)}
        withdrawn = made.get(adjustment.withdraws)
        if withdrawn is None or withdrawn.kind is AdjustmentKind.WITHDRAW:
            raise NotFoundError("adjustment", adjustment.withdraws)
        if any(a.withdraws == adjustment.withdraws for a in made.values()):
            raise ConflictError(f"adjustment {adjustment.withdraws} was withdrawn already")
    row = {"id": adjustment.id, "end": adjustment.end, "body": ADJUSTMENT.dump(adjustment)}
    connection.execute(adjustments.insert().values(**row))


def all_adjustments(connection: Connection) -> tuple[Adjustment, ...]:
    """Every adjustment that was ever made, oldest first. There are few: people make them."""
    bodies = connection.execute(select(adjustments.c.body).order_by(adjustments.c.seq)).scalars()
    return tuple(ADJUSTMENT.load(body) for body in bodies)


def add_alert_events(connection: Connection, new: Sequence[AlertEvent]) -> None:
    """Keep them; writing the same ones again changes nothing."""
    if new:
        rows = [
            {
                "at": event.at,
                "model": event.model,
                "objective": event.objective,
                "severity": event.severity.value,
                "body": ALERT_EVENT.dump(event),
            }
            for event in new
        ]
        connection.execute(insert(connection, alert_events).on_conflict_do_nothing(), rows)


def newest_alert_events(
    connection: Connection, model: str, limit: int, objective: str, since: float | None
) -> tuple[AlertEvent, ...]:
    """Newest first, of what is not empty; with `since` also the last of each alert before, as the port has it."""
    columns = alert_events.c
    named = ((columns.model, model), (columns.objective, objective))
    wanted = [column == name for column, name in named if name]
    inside = wanted if since is None else [*wanted, columns.at >= since]
    query = select(columns.body).where(*inside).order_by(columns.seq.desc()).limit(limit)
    bodies = list(connection.execute(query).scalars())
    if since is not None and len(bodies) < limit:
        last = select(func.max(columns.seq)).where(*wanted, columns.at < since)
        last = last.group_by(columns.model, columns.objective, columns.severity)
        before = select(columns.body).where(columns.seq.in_(last)).order_by(columns.seq.desc())
        bodies += connection.execute(before).scalars()
    return tuple(ALERT_EVENT.load(body) for body in bodies)
