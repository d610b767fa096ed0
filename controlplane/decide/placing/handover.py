"""Before a copy of a placed model goes, those that stay are ready for its part: created before destroyed, by capacity.

The gateway moves its requests at once, sooner than instances could follow. So those that stay raise their instances
first, whoever wished for the move, and only then is the gateway told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from controlplane.decide import fits
from controlplane.decide.placing.copies import Copy, Together, together
from controlplane.decide.placing.served import served
from controlplane.decide.placing.spread import Loaded
from controlplane.decide.placing.turn import Handover
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Reason, ReasonCode, Target
from controlplane.domain.fleet import ServerKind
from controlplane.domain.sizes import memory_text
from controlplane.domain.state import UnitState

_ON = "instances on "


def handover(units: Loaded, policy: Policy, now: float, *, later: bool = False) -> Handover | None:
    """What is to be so before a copy goes, by the units of a model on all servers.

    None: it is no copy's turn, or none is to stay. What is not known keeps the copy. `later`: as if it were the turn of
    all copies that are to go.
    """
    loaded = [pair for pair in units if pair[0].present is not None and pair[0].present.loaded]
    goes = [pair for pair in loaded if _goes(pair[0], later=later)]
    if not goes or not any(unit.placed is not None and unit.placed.stays for unit, _ in units):
        return None
    stays = [unit for unit, _ in loaded if unit.placed is not None and unit.placed.stays]
    if not stays:
        return Handover({}, why="none of those that stay is loaded")
    if all(_has_none(unit) for unit, _ in loaded):
        return Handover({unit.server.name: 0 for unit in stays})
    seen = together(loaded, policy, now)
    if seen is None or len(seen.copies) < len(loaded):
        return Handover({}, why="some of its copies are not read")
    kept = math.ceil(sum(_kept(unit, state) for unit, state in goes) / len(stays))
    each_per_s = seen.level_per_s / len(stays)
    copies = {unit.server.name: copy for (unit, _), copy in zip(loaded, seen.copies, strict=True)}
    before = sum(served(*pair, copy.instances) for pair, copy in zip(loaded, seen.copies, strict=True))
    unknown = math.ceil(before / len(stays))
    least = {
        unit.server.name: _least(seen, unit, copies[unit.server.name], each_per_s, kept, unknown) for unit in stays
    }
    lacking = [unit for unit in stays if _has(unit) < least[unit.server.name]]
    # once the gateway was told, its requests are on their way
    told = any(state.leaving_since is not None for _, state in goes)
    waits = seen.waits and not told
    if lacking:
        needs = {unit.server.name: _takes(unit, least[unit.server.name]) for unit in lacking}
        fitting = _fitting(lacking, least, needs, told=told)
        why = _lacks(lacking[0], least, needs if fitting else {})
        return Handover(least, each_per_s, why, waits, needs, fitting)
    why = "requests wait" if waits and any(_has(u) < _most(u, copies[u.server.name]) for u in stays) else ""
    return Handover(least, each_per_s, why, waits)


def with_components(own: Handover | None, components: Mapping[str, Handover | None]) -> Handover | None:
    """That of an ensemble, which goes no sooner than each of its components can."""
    if own is None or own.why or own.holders:
        return own
    whys = (f"its component {name}: {one.why}" for name, one in components.items() if one is not None and one.why)
    return replace(own, why=next(whys, ""))


def readied(unit: Unit, instances: int) -> tuple[int, Reason] | None:
    """The instances that a copy which stays is to have, where those are more, and why."""
    held = unit.handover
    least = 0 if held is None else held.instances.get(unit.server.name, 0)
    return None if held is None or least <= instances else (least, reason(replace(held, why="")))


def reason(held: Handover) -> Reason:
    """What is waited for, or was, and on which servers."""
    numbers = {"per_s": held.per_s} | {f"{_ON}{server}": float(count) for server, count in held.instances.items()}
    words = {"each": ", ".join(f"{count} on {server}" for server, count in held.instances.items())}
    if held.holders:
        words["holders" if any(held.instances.values()) else "holders_of_components"] = " and ".join(held.holders)
    return Reason(ReasonCode.HANDOVER, numbers, words | ({"why": held.why} if held.why else {}))


def relied_on(reasons: Iterable[Reason]) -> dict[str, int]:
    """The instances by server on which the unload of a copy rests, by its reasons."""
    found = (reason.numbers.items() for reason in reasons if reason.code is ReasonCode.HANDOVER)
    return {key.removeprefix(_ON): int(count) for numbers in found for key, count in numbers if key.startswith(_ON)}


def _least(seen: Together, unit: Unit, copy: Copy, each_per_s: float, kept: int, unknown: int) -> int:
    """The instances of one that stays: for its part of the demand, at least as many as were `kept` for it so far.

    The most that it may have where that would not do; where it is not known what an instance can take, as many as make
    up what served before (`unknown`).
    """
    most = _most(unit, copy)
    capacity = copy.capacity or seen.capacity
    if seen.level_per_s == 0:
        return min(kept, most)
    if capacity is None:
        return min(most, unknown)
    return min(most, max(kept, capacity.smallest(each_per_s, most)))


def _kept(unit: Unit, state: UnitState) -> int:
    """The instances that were needed within the dwell, of those that it has."""
    return min(_has(unit), max((count for _, count in state.recommended), default=_has(unit)))


def _has(unit: Unit) -> int:
    """Its instances; where a person set fewer, those."""
    has = 0 if unit.present is None else unit.present.instances
    return has if unit.instances_told is None else min(has, unit.instances_told)


def _most(unit: Unit, copy: Copy) -> int:
    """The most instances by its bounds, as its instance groups can have them.

    Where not all copies have a place, by all that is in the way: one goes all the same, once the others have that.
    """
    step, most = unit.step, max(1, unit.spec.instances_max)
    if unit.placed is not None and unit.placed.short:
        most = min(most, copy.most)
    return most - most % step or most


def _goes(unit: Unit, *, later: bool) -> bool:
    return unit.placed is not None and (unit.placed.goes or (later and unit.placed.later))


def _lacks(unit: Unit, least: Mapping[str, int], needs: Mapping[str, int | None]) -> str:
    name = unit.server.name
    why, needed = f"{name} has {_has(unit)} of {least[name]} instances", needs.get(name)
    if needed is None or unit.free_bytes is None:
        return why
    return f"{why}, and {memory_text(needed - unit.free_bytes)} too few for the rest"


def _takes(unit: Unit, least: int) -> int | None:
    """Bytes of the instances that it lacks, None: not known."""
    return unit.size.between(_has(unit), unit.rounded_up(least))


def _fitting(
    lacking: list[Unit], least: Mapping[str, int], needs: Mapping[str, int | None], *, told: bool
) -> dict[str, int]:
    """For how many instances there is room, where each that lacks some has those, or the gateway was told already.

    Empty: something else is in the way, or that is not known.
    """
    fitting = dict(least)
    for unit in lacking:
        name, has = unit.server.name, _has(unit)
        wanted = unit.rounded_up(least[name])
        there = fits.most(unit, Target(loaded=True, instances=has), wanted)
        if unit.instances_told is not None or there >= wanted or needs[name] is None:
            return {}
        there = max(has, there - there % unit.step)
        if has < there and not told:
            return {}
        fitting[name] = there
    return fitting


def _has_none(unit: Unit) -> bool:
    """It has no instances of its own, as an ensemble, or what others than a Triton serve."""
    ensemble = bool(unit.spec.components) or (unit.reading is not None and bool(unit.reading.components))
    return ensemble or unit.server.kind is not ServerKind.TRITON
