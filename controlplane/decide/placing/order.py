"""From what is to what should be: loads before the unloads that they replace, never more than a server has room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set as AbstractSet

from controlplane.decide.placing.space import Pair, Space
from controlplane.domain.decision import Step
from controlplane.domain.placing import Move


def order(space: Space, target: AbstractSet[Pair]) -> tuple[tuple[Move, ...], frozenset[Pair]]:
    """The moves in order, and the loads for which none was found.

    A model never has fewer copies meanwhile than it has before or after, whichever is less; a server never more on it
    than it has room for. In turns all loads that fit and all unloads that are allowed go on together, loads first whose
    model then can leave another server.
    """
    loaded = set(space.present)
    pending, leaving = set(target - space.present), set(space.present - target)
    before, after = (Counter(m for m, _ in pairs) for pairs in (space.present, target))
    least = {m: min(before[m], after[m]) for m in range(len(space.models))}
    moves: list[Move] = []
    wave = 0
    while pending or leaving:
        step, turn = Step.LOAD, _loads(space, loaded, pending, leaving)
        if not turn:
            step, turn = Step.UNLOAD, _unloads(loaded, pending, leaving, least)
        if not turn:
            break
        moves += [_move(space, wave, step, pair) for pair in turn]
        loaded = loaded | set(turn) if step is Step.LOAD else loaded - set(turn)
        pending, leaving = pending - set(turn), leaving - set(turn)
        wave += 1
    return tuple(moves), frozenset(pending)


def _loads(space: Space, loaded: set[Pair], pending: set[Pair], leaving: set[Pair]) -> list[Pair]:
    """What fits now, together."""
    movers = {m for m, _ in leaving}
    free = [room - space.taken(loaded, s) for s, room in enumerate(space.room)]
    turn = []
    for m, s in sorted(pending, key=lambda pair: (pair[0] not in movers, -space.models[pair[0]].priority, pair)):
        if space.size_of((m, s)) <= free[s]:
            free[s] -= space.size_of((m, s))
            turn.append((m, s))
    return turn


def _unloads(loaded: set[Pair], pending: set[Pair], leaving: set[Pair], least: dict[int, int]) -> list[Pair]:
    """What may go now, first from servers on which something waits for room."""
    awaited = {s for _, s in pending}
    left = Counter(m for m, _ in loaded)
    turn = []
    for m, s in sorted(leaving, key=lambda pair: (pair[1] not in awaited, pair)):
        if left[m] > least[m]:
            left[m] -= 1
            turn.append((m, s))
    return turn


def _move(space: Space, wave: int, step: Step, pair: Pair) -> Move:
    model, server = space.models[pair[0]], space.servers[pair[1]]
    return Move(wave, step, model.name, server.name, server.present.get(model.name) or model.instances)
