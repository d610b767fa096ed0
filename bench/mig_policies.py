"""Ways to give slices to models: ours, and those that others are known for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from bench.mig_fleet import Copy, Fleet, question
from controlplane.decide.mig import Place
from controlplane.decide.mig.layouts import fits
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.proposal import MigAsk, choose

Policy = Callable[[Fleet, Mapping[str, float], float], None]
"""Turns a fleet towards what is wanted, per second by model, at a moment."""
PLAN_EVERY_S, DWELL_S = 1200.0, 3600.0
_LEFT_OVER = 1e-6


def fixed(fleet: Fleet, wanted: Mapping[str, float], now: float) -> None:
    """Layouts never change; copies come and go on their slices, each on the smallest that serves what is short."""
    _shrink(fleet, wanted, now, destroy=False)
    _grow(fleet, wanted, now, lambda name, short: _cheapest(fleet, name, short, now, _idle(fleet, now)))


def first_fit(fleet: Fleet, wanted: Mapping[str, float], now: float) -> None:
    """The first GPU and the first start that are free, as InstaSlice does it; slices go with their copies."""
    _shrink(fleet, wanted, now, destroy=True)
    _grow(fleet, wanted, now, lambda name, short: _cheapest(fleet, name, short, now, _free(fleet)))


def best_fit(fleet: Fleet, wanted: Mapping[str, float], now: float) -> None:
    """The same on the GPU with the least room left."""
    _shrink(fleet, wanted, now, destroy=True)

    def fullest() -> list[Place]:
        return sorted(_free(fleet), key=lambda p: (_room(fleet, p.uuid), p.uuid, p.piece.start))

    _grow(fleet, wanted, now, lambda name, short: _cheapest(fleet, name, short, now, fullest()))


def nos_like(fleet: Fleet, wanted: Mapping[str, float], now: float) -> None:
    """As nebuly's nos: free slices first; else the first GPU on which free slices make way; used ones stay."""
    _shrink(fleet, wanted, now, destroy=False)

    def choose(name: str, short: float) -> Place | None:
        idle = _cheapest(fleet, name, short, now, _idle(fleet, now))
        if idle is not None and capacity_on(fleet.models[name], fleet.board, idle.piece.profile) >= short:
            return idle
        for uuid in sorted(fleet.layouts):
            used = {c.place.piece for c in fleet.here(now) if c.place.uuid == uuid}
            open_ = [Place(uuid, p) for p in fleet.board.placements() if fits(fleet.board, used, p)]
            place = _cheapest(fleet, name, short, now, open_)
            if place is not None:
                inside = [p for p in fleet.layouts[uuid] - used if not fleet.board.together(p, place.piece)]
                fleet.drop([Place(uuid, p) for p in inside if p != place.piece], now)
                return place
        return idle

    _grow(fleet, wanted, now, choose)


def planned(fleet: Fleet, wanted: Mapping[str, float], now: float) -> None:
    """As the loop does it: a plan now and then, and between two copies where room is free; each where it pays.

    Where no room is free for a model that is short, a plan at once.
    """
    if now < fleet.busy_until:
        return
    asked = MigAsk(question(fleet, wanted, now), DWELL_S, fleet.pace)
    for between in (False, True) if now % PLAN_EVERY_S == 0 else (True,):
        found, judged, _ = choose(replace(asked, between=between))
        if judged.pays:
            fleet.carry_out(found, now)
            return


POLICIES: dict[str, Policy] = {
    "fixed layouts": fixed,
    "first-fit": first_fit,
    "best-fit": best_fit,
    "nos-like greedy": nos_like,
    "planned": planned,
}


def _shrink(fleet: Fleet, wanted: Mapping[str, float], now: float, *, destroy: bool) -> None:
    """Stop copies that are not needed, the largest that can go first."""
    for name, per_s in wanted.items():
        for copy in sorted((c for c in fleet.here(now) if c.model == name), key=_largest):
            if fleet.capacity(name, now) - copy.per_s >= per_s:
                fleet.stop(copy, now, destroy=destroy)


def _largest(copy: Copy) -> tuple[float, Place]:
    return -copy.per_s, copy.place


def _grow(fleet: Fleet, wanted: Mapping[str, float], now: float, choose: Callable[[str, float], Place | None]) -> None:
    """Start copies while a model is short and a place is found, those that are short of the largest share first."""
    names = sorted(wanted, key=lambda name: (fleet.capacity(name, now) / max(wanted[name], _LEFT_OVER), name))
    for name in names:
        while (short := wanted[name] - fleet.capacity(name, now)) > _LEFT_OVER:
            place = choose(name, short)
            if place is None:
                break
            fleet.start(name, place, now)


def _cheapest(fleet: Fleet, name: str, short: float, now: float, open_: list[Place]) -> Place | None:
    """The first of the open places with the least of a GPU for what it serves of the shortage."""
    model, taken = fleet.models[name], {c.place for c in fleet.here(now)}
    best: tuple[tuple[float, float], Place] | None = None
    for place in open_:
        per_s = capacity_on(model, fleet.board, place.piece.profile)
        if per_s <= 0 or place in taken or fleet.board.memory_gib(place.piece.profile) < model.min_memory_gib:
            continue
        served = min(per_s, short)
        rank = (fleet.board.size(place.piece) / served, -served)
        if best is None or rank < best[0]:
            best = (rank, place)
    return None if best is None else best[1]


def _idle(fleet: Fleet, now: float) -> list[Place]:
    taken = {c.place for c in fleet.here(now)}
    return [
        p
        for uuid in sorted(fleet.layouts)
        for piece in sorted(fleet.layouts[uuid])
        if (p := Place(uuid, piece)) not in taken
    ]


def _free(fleet: Fleet) -> list[Place]:
    return [
        Place(uuid, piece)
        for uuid in sorted(fleet.layouts)
        for piece in sorted(fleet.board.placements(), key=lambda p: p.start)
        if fits(fleet.board, fleet.layouts[uuid], piece)
    ]


def _room(fleet: Fleet, uuid: str) -> int:
    return fleet.board.units - sum(fleet.board.size(piece) for piece in fleet.layouts[uuid])
