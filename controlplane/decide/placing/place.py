"""Placement: pure, and slow where there is much to place."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.placing.order import order
from controlplane.decide.placing.short import unplaced
from controlplane.decide.placing.space import Pair, Space, space_of
from controlplane.decide.placing.values import PlacementQuestion, ServerRoom
from controlplane.domain.placing import Goal, Placement


def place(question: PlacementQuestion) -> Placement:
    """Where each model should be, and how to get there. Same question, same answer.

    A target whose moves have no order, such as two full servers that are to swap their models, is searched again
    without the loads that wait for each other; the bounds stay those of the first search.
    """
    # takes half a second and 60 MB, and only the worker of slow jobs has a use for it
    from controlplane.decide.placing.search import search  # noqa: PLC0415

    space = space_of(question)
    banned: frozenset[Pair] = frozenset()
    first: tuple[Goal, ...] = ()
    for attempt in range(question.limits.orders + 1):
        if attempt == question.limits.orders:
            # what only goes always goes
            banned = frozenset(space.pairs) - space.present
        target, goals = search(space, banned, question.limits)
        first = first or goals
        moves, stuck = order(space, target)
        if not stuck:
            break
        banned |= stuck
    return Placement(
        {server.name: _held(server, s, space, target) for s, server in enumerate(space.servers)},
        moves,
        tuple(unplaced(question, space, target, banned)),
        tuple(_as_first(goal, before) for goal, before in zip(goals, first, strict=True)),
    )


def _held(server: ServerRoom, s: int, space: Space, target: frozenset[Pair]) -> tuple[str, ...]:
    """Names of the models that the server holds in the end, with those that placing does not move."""
    ours = {space.models[m].name for m, on in space.present if on == s}
    placed = {space.models[m].name for m, on in target if on == s}
    return tuple(sorted((set(server.present) - ours) | placed))


def _as_first(goal: Goal, first: Goal) -> Goal:
    """The goal with the bound of the first search, as long as it is about copies; fewer copies need fewer loads."""
    return replace(goal, bound=min(goal.bound, first.bound)) if goal.name not in ("loads", "balance") else goal
