"""The handovers of all placed models, those among them that can only wait for each other's room."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from controlplane.decide.placing.circle import Group, Leaving, Room, first_of_circles
from controlplane.decide.placing.handover import handover, with_components
from controlplane.decide.placing.spread import Loaded
from controlplane.decide.placing.turn import Handover
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Unit
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import ModelState
from controlplane.domain.state import UnitState

Handovers = Mapping[str, Handover | None]


def handovers(built: Mapping[str, Loaded], models: Mapping[str, ModelSpec], policy: Policy, now: float) -> Handovers:
    """By model, of all that are placed. `built` are their units on all servers."""
    apart = {name: handover(units, policy, now) for name, units in built.items()}
    holders: dict[str, tuple[str, ...]] = {}
    if any(held is not None and held.fitting for held in apart.values()):
        moving = {unit.server.name for units in built.values() for unit in _moving(units, policy, now)}
        leaving: dict[Group, Leaving | None] = {
            (name, True): _due(models[name], built, apart, moving) for name in built
        }
        leaving |= {(name, False): _later(models[name], built, policy, now) for name in built}
        found = {group: one for group, one in leaving.items() if one is not None}
        holders = dict(first_of_circles(found, _rooms(built)))
    return {name: _whole(apart, models[name], holders.get(name, ())) for name in built}


def _rooms(built: Mapping[str, Loaded]) -> dict[str, Room]:
    """What is left on each server, and what the loads that are to come take; where one is not known it has no room."""
    rooms: dict[str, Room] = {}
    for unit in (unit for units in built.values() for unit, _ in units):
        comes = 0 if unit.placed is None else unit.placed.comes
        size = unit.size.of(comes) if comes else 0
        before = rooms.get(unit.server.name, Room(unit.free_bytes, 0))
        claimed = None if size is None or before.claimed is None else before.claimed + size
        rooms[unit.server.name] = Room(before.left, claimed)
    return rooms


def _due(model: ModelSpec, built: Mapping[str, Loaded], apart: Handovers, moving: set[str]) -> Leaving | None:
    """A model of which it is the turn to leave servers, with the components that leave with it; None: it is not."""
    goes = [(unit, state) for unit, state in built[model.name] if _is_there(unit) and unit.placed and unit.placed.goes]
    placed = next((unit.placed for unit, _ in goes if unit.placed is not None and unit.placed.due), None)
    if placed is None:
        return None
    parts = [name for name in model.components if name in built]
    held = [one for name in (model.name, *parts) if (one := apart[name]) is not None]
    needs = _needs(held)
    if any(_kept(unit) for unit, _ in goes):
        return Leaving(placed.gateway, {}, needs)
    frees = _frees([u for name in parts or [model.name] for u, _ in built[name] if u.placed and u.placed.goes])
    wanted = sum(sum(one.instances.values()) for one in held)
    there = sum(sum((one.fitting or one.instances).values()) for one in held)
    return Leaving(
        placed.gateway,
        frees,
        needs,
        cramped=bool(needs) and moving.isdisjoint(needs) and all(one.fitting or not one.why for one in held),
        priority=model.priority,
        waits=any(one.waits for one in held),
        told=any(state.leaving_since is not None for _, state in goes),
        share=1 - there / wanted if wanted else 0.0,
    )


def _later(model: ModelSpec, built: Mapping[str, Loaded], policy: Policy, now: float) -> Leaving | None:
    """A model that leaves servers once those have of which it is the turn; None: it does not."""
    goes = [unit for unit, _ in built[model.name] if _is_there(unit) and unit.placed and unit.placed.later]
    placed = next((unit.placed for unit in goes if unit.placed is not None and not unit.placed.component), None)
    if placed is None or any(_kept(unit) for unit in goes):
        return None
    parts = [name for name in model.components if name in built] or [model.name]
    frees = _frees([unit for name in parts for unit, _ in built[name] if unit.placed and unit.placed.later])
    held = [one for name in parts if (one := handover(built[name], policy, now, later=True)) is not None]
    return Leaving(placed.gateway, frees, _needs(held))


def _needs(held: Iterable[Handover]) -> dict[str, int | None]:
    """What those that stay need, by server."""
    needs: dict[str, int | None] = {}
    for server, size in ((server, size) for one in held for server, size in one.needs.items()):
        before = needs.get(server, 0)
        needs[server] = None if size is None or before is None else before + size
    return needs


def _frees(goes: Iterable[Unit]) -> dict[str, int | None]:
    """What copies have, by server."""
    frees: dict[str, int | None] = {}
    for unit in goes:
        if unit.present is not None and unit.present.loaded:
            size, before = unit.size.of(unit.present.instances), frees.get(unit.server.name, 0)
            frees[unit.server.name] = None if size is None or before is None else before + size
    return frees


def _is_there(unit: Unit) -> bool:
    return unit.present is not None and unit.present.loaded


def _kept(unit: Unit) -> bool:
    """A person keeps it where it is, of which the placement may not know yet."""
    return bool(unit.freezes) or (unit.override is not None and unit.override.kind is not OverrideKind.BOUNDS)


def _moving(units: Loaded, policy: Policy, now: float) -> Iterator[Unit]:
    """Those on whose servers the room may still change by itself: one comes or goes, or is to have fewer instances.

    Whether copies of a model that is moved need theirs only a dwell shows after the last change.
    """
    placed = [unit.placed for unit, _ in units if unit.placed is not None]
    moved = any(one.goes or one.later or one.comes for one in placed)
    for unit, state in units:
        seen = None if unit.reading is None else unit.reading.state
        changes = unit.in_flight is not None or seen in (None, ModelState.LOADING, ModelState.UNLOADING)
        fresh = moved and _is_there(unit) and now - state.changed_at < policy.scale_down_after_s
        if changes or (state.leaving_since is None and (fresh or _shrinks(unit, state))):
            yield unit


def _shrinks(unit: Unit, state: UnitState) -> bool:
    """Whether it has more instances than it needs, of which it gives up some after the dwell."""
    if unit.present is None or not unit.present.loaded or unit.instances_told is not None or not state.recommended:
        return False
    needed = max(state.recommended[-1][1], unit.spec.instances_min)
    return unit.rounded_up(needed) < unit.present.instances


def _whole(apart: Handovers, model: ModelSpec, holders: tuple[str, ...]) -> Handover | None:
    """The handover of a model with those of its components; with `holders` it goes with what there is room for."""
    own = apart[model.name]
    if own is not None and holders:
        own = replace(own, instances=own.fitting or own.instances, why="", holders=holders)
    return with_components(own, {name: apart[name] for name in model.components if name in apart})
