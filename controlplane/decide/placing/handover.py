"""Before a copy of a placed model goes, those that stay are ready for its part: created before destroyed, by capacity.

The gateway moves its requests at once, sooner than instances could follow. So those that stay raise their instances
first, whoever wished for the move, and only then is the gateway told.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from controlplane.decide.placing.copies import Copy, Together, together
from controlplane.decide.placing.served import served
from controlplane.decide.placing.spread import Loaded
from controlplane.decide.placing.turn import Handover
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.fleet import ServerKind
from controlplane.domain.state import UnitState

_ON = "instances on "


def handover(units: Loaded, policy: Policy, now: float) -> Handover | None:
    """What is to be so before a copy goes, by the units of a model on all servers.

    None: it is no copy's turn, or none is to stay. What is not known keeps the copy.
    """
    loaded = [pair for pair in units if pair[0].present is not None and pair[0].present.loaded]
    goes = [pair for pair in loaded if pair[0].placed is not None and pair[0].placed.goes]
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
    why = next((_lacks(unit, least[unit.server.name]) for unit in stays if _has(unit) < least[unit.server.name]), "")
    # once the gateway was told, its requests are on their way
    told = any(state.leaving_since is not None for _, state in goes)
    if not why and seen.waits and not told and any(_has(u) < _most(u, copies[u.server.name]) for u in stays):
        why = "requests wait"
    return Handover(least, each_per_s, why)


def with_components(own: Handover | None, components: dict[str, Handover | None]) -> Handover | None:
    """That of an ensemble, which goes no sooner than each of its components can."""
    if own is None or own.why:
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
    each = ", ".join(f"{count} on {server}" for server, count in held.instances.items())
    return Reason(ReasonCode.HANDOVER, numbers, {"each": each} | ({"why": held.why} if held.why else {}))


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
    step = 1 if unit.reading is None else unit.reading.instances_per_step
    most = max(1, unit.spec.instances_max)
    if unit.placed is not None and unit.placed.short:
        most = min(most, copy.most)
    return most - most % step or most


def _lacks(unit: Unit, least: int) -> str:
    return f"{unit.server.name} has {_has(unit)} of {least} instances"


def _has_none(unit: Unit) -> bool:
    """It has no instances of its own, as an ensemble, or what others than a Triton serve."""
    ensemble = bool(unit.spec.components) or (unit.reading is not None and bool(unit.reading.components))
    return ensemble or unit.server.kind is not ServerKind.TRITON
