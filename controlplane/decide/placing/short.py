"""What is placed nowhere, and why."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from controlplane.decide.placing.space import MIB, Pair, Space
from controlplane.decide.placing.values import ModelNeed, PlacementQuestion
from controlplane.domain.placing import Short, Unplaced


def unplaced(
    question: PlacementQuestion, space: Space, target: AbstractSet[Pair], banned: AbstractSet[Pair]
) -> Iterator[Unplaced]:
    """Every model with fewer copies than wanted, or not where a person wants it, by name."""
    index = {model.name: m for m, model in enumerate(space.models)}
    for model in sorted(question.models, key=lambda model: model.name):
        m = index.get(model.name)
        missing = _unknown(question, model) if m is None else _known(space, target, banned, m)
        if missing is not None:
            yield missing


def _unknown(question: PlacementQuestion, model: ModelNeed) -> Unplaced | None:
    there = {server.name for server in question.servers if model.name in server.present}
    missing = max(model.copies - len(there), len(set(model.pins) - there))
    return Unplaced(model.name, missing, Short.MEMORY_UNKNOWN) if missing > 0 else None


def _known(space: Space, target: AbstractSet[Pair], banned: AbstractSet[Pair], m: int) -> Unplaced | None:
    model = space.models[m]
    here = {s for other, s in target if other == m}
    unpinned = {s for other, s in space.pins if other == m} - here
    missing = max(space.most[m] - len(here), len(unpinned))
    if missing <= 0:
        return None
    servers = unpinned or {
        s for s, server in enumerate(space.servers) if server.name in model.servers and s not in here
    }
    open_to = {s for s in servers if not space.servers[s].pinned}
    if not open_to:
        return Unplaced(model.name, missing, Short.SERVERS)
    lacks = {s: space.lacks(target, (m, s)) for s in open_to & space.known}
    if not lacks:
        return Unplaced(model.name, missing, Short.SERVER_UNKNOWN)
    least = min(lacks.values())
    if least > 0:
        return Unplaced(model.name, missing, Short.MEMORY, least * MIB)
    by_order = any(lack <= 0 and (m, s) in banned for s, lack in lacks.items())
    return Unplaced(model.name, missing, Short.ORDER if by_order else Short.SEARCH)
