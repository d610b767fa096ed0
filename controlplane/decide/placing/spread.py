"""On how many servers a placed model is wanted: on as many as hold its demand with all the instances they may have.

Instances come within a second and copies within a load, so a copy is added only for what the instances of those that
are there cannot give. One goes only after fewer were enough for the whole dwell, and after each of the others has the
instances for its part: the gateway moves the requests at once, sooner than instances could follow. Where one had to
come back, the rest could do less than was learned: none goes for a while, which doubles each time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from controlplane.decide.placing.copies import Together, away, together
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.fleet import ModelSpec
from controlplane.domain.state import PolicyState, Spread, UnitState

# Fewer copies must hold this much more than the demand, so that a number at the edge does not swing.
_MARGIN = 1.10
# Requests that wait for so long are not helped by the instances that were asked for.
_LONG_S = 60.0
LONGEST_HOLD_S = 86_400.0
"""For so long none goes at most, however often one had to come back."""

Loaded = Sequence[tuple[Unit, UnitState]]


def follows(model: ModelSpec) -> bool:
    """Whether the number of its copies goes with its demand."""
    return model.copies_max > model.copies_min


def wanted(model: ModelSpec, state: PolicyState, there: int) -> int:
    """On how many servers the model is wanted now; where that was not decided yet, on as many as it is `there`."""
    held = state.spreads.get(model.name)
    return model.copies_min if not follows(model) else _bounded(model, there if held is None else held.copies)


def spread(model: ModelSpec, units: Loaded, before: Spread | None, policy: Policy, now: float) -> Spread | None:
    """On how many servers the model is wanted from now on, by its units on all servers where it may run.

    What is not known lowers nothing. Where it was never decided on, as many as there are stay; None: that is not known.
    """
    units = [pair for pair in units if not away(pair[0])]
    loaded = [pair for pair in units if pair[0].present is not None and pair[0].present.loaded]
    unread = any(unit.present is None for unit, _ in units)
    if before is None and unread:
        return None
    before = _aged(before or Spread(len(loaded)), policy, now)
    state = replace(
        before, copies=_bounded(model, before.copies), each_instances=0, demand_per_s=None, capacity_per_s=None, why=""
    )
    going = before.each_instances > 0 and len(loaded) > state.copies
    seen, needed, why = together(loaded, policy, now), 0, "none of its copies is read"
    if seen is not None:
        state, needed = _needed(model, state, seen, len(loaded), now)
        why = _none_goes(state, seen, loaded, now, unread=unread)
    if needed > state.copies:
        return _noted(_more(state, _bounded(model, needed), policy, now), needed, policy, now)
    if seen is None or why or seen.one_per_s is None:
        return _kept(state, _bounded(model, len(loaded)) if going else state.copies, why, policy, now)
    state = _noted(state, max(needed, math.ceil(_MARGIN * seen.level_per_s / seen.one_per_s)), policy, now)
    if len(loaded) < state.copies:
        return _not_there(model, state, len(loaded), policy, now)
    if len(loaded) == state.copies:
        return _fewer(state, seen, before.each_instances, policy, now)
    return _prepared(state, seen, state.copies, before.each_instances) if going else state  # going, or moving


def raised(unit: Unit, instances: int) -> tuple[int, Reason] | None:
    """The instances that a copy is to have before another goes, where those are more, and why."""
    held = unit.spread
    if held is None or held.each_instances <= instances:
        return None
    return held.each_instances, reason(unit.spec, held)


def reason(model: ModelSpec, state: Spread) -> Reason:
    """Why it is wanted on so many servers."""
    numbers = {"copies": float(state.copies), "min": float(model.copies_min), "max": float(model.copies_max)}
    if state.each_instances:
        numbers |= {"staying": float(state.staying), "per_s": state.each_per_s}
    if state.capacity_per_s is not None and state.demand_per_s is not None:
        numbers |= {"demand_per_s": state.demand_per_s, "capacity_per_s": state.capacity_per_s}
    return Reason(ReasonCode.SPREAD, numbers, {"why": state.why} if state.why else {})


def _bounded(model: ModelSpec, copies: int) -> int:
    return max(model.copies_min, min(model.copies_max, copies))


def _aged(state: Spread, policy: Policy, now: float) -> Spread:
    """The state without what went long ago and did not come back."""
    stayed_away = state.left_at > 0 and now - state.left_at >= policy.scale_down_after_s
    return replace(state, left_at=0.0, returns=0) if stayed_away else state


def _needed(model: ModelSpec, state: Spread, seen: Together, there: int, now: float) -> tuple[Spread, int]:
    """The state with what is seen, and the copies that are needed now."""
    state = replace(state, demand_per_s=seen.rising_per_s, capacity_per_s=seen.one_per_s)
    needed = model.copies_min
    if seen.one_per_s is not None:
        needed = max(needed, math.ceil(seen.rising_per_s / seen.one_per_s))
    if not seen.waits:
        return replace(state, waits_since=0.0), needed
    since = state.waits_since or now
    if there >= state.copies and (seen.at_most or now - since >= _LONG_S):
        return replace(state, waits_since=now), max(needed, there + 1)
    return replace(state, waits_since=since), needed


def _more(state: Spread, copies: int, policy: Policy, now: float) -> Spread:
    """More copies; where one went just now that was one too many, and none goes for a while."""
    if copies == state.copies or state.left_at == 0:
        return replace(state, copies=copies)
    held_s = min(LONGEST_HOLD_S, policy.ceiling_s * 2**state.returns)
    return replace(state, copies=copies, left_at=0.0, returns=state.returns + 1, held_until=now + held_s)


def _none_goes(state: Spread, seen: Together, loaded: Loaded, now: float, *, unread: bool) -> str:
    """Why none goes now, whatever fewer could hold; empty: nothing is in the way."""
    if unread or len(seen.copies) < len(loaded):
        return "some of its copies are not read"
    if seen.waits:
        return "requests wait"
    if seen.unbounded:
        return "more requests may come than are seen"
    if any(unit.freezes for unit, _ in loaded):
        return "scaling is frozen"
    if now < state.held_until:
        return "one that went had to come back: none goes for a while"
    return ""


def _kept(state: Spread, copies: int, why: str, policy: Policy, now: float) -> Spread:
    """As many as are wanted, or as there are where one is going, which then stays."""
    return _noted(replace(_more(state, copies, policy, now), why=why), copies, policy, now)


def _not_there(model: ModelSpec, state: Spread, there: int, policy: Policy, now: float) -> Spread:
    """Where not all that are wanted have a place: who is not there needs nobody to be ready for its part."""
    copies = max(there, model.copies_min, *(n for _, n in state.needed))
    return replace(state, copies=copies, needed=()) if _long_enough(state, copies + 1, policy, now) else state


def _fewer(state: Spread, seen: Together, ready: int, policy: Policy, now: float) -> Spread:
    """One copy less where fewer were enough for the whole dwell, once those that stay are ready for its part."""
    if not _long_enough(state, state.copies, policy, now):
        return state
    prepared = _prepared(state, seen, state.copies - 1, 0)
    if prepared.each_instances and ready and all(c.instances >= prepared.each_instances for c in seen.copies):
        return replace(prepared, copies=state.copies - 1, needed=(), left_at=now)
    return prepared


def _prepared(state: Spread, seen: Together, staying: int, otherwise: int) -> Spread:
    """Each is to be ready for its part of the demand, on so many that stay."""
    each_per_s = seen.level_per_s / staying
    instances = seen.instances_for(each_per_s)
    if instances is None and not otherwise:
        return replace(state, why="not each of the others could hold its part")
    return replace(state, each_instances=instances or otherwise, each_per_s=each_per_s, staying=staying)


def _noted(state: Spread, needed: int, policy: Policy, now: float) -> Spread:
    """The state with what is needed now; of what was, as much as the dwell looks back on."""
    points = (*state.needed, (now, needed))
    begin = next((i for i in range(len(points) - 1, 0, -1) if points[i][0] <= now - policy.scale_down_after_s), 0)
    return replace(state, needed=points[begin:])


def _long_enough(state: Spread, under: int, policy: Policy, now: float) -> bool:
    """Whether fewer than `under` were enough for the whole dwell."""
    began, _ = state.needed[0]
    return now - began >= policy.scale_down_after_s and max(n for _, n in state.needed) < under
