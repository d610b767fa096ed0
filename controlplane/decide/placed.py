"""A unit behind a gateway that routes by model: it is where the placement has it, and leaves only what has let go."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.placing import handover, spread
from controlplane.decide.placing.turn import Placed
from controlplane.decide.unit import Draft, Unit
from controlplane.domain.decision import Reason, ReasonCode, Target
from controlplane.domain.signal import Known, Missing
from controlplane.domain.state import UnitState


def aimed(unit: Unit, state: UnitState, present: Target) -> UnitState:
    """The state with what the placement wants; what is not known, not due or frozen stays as it is."""
    placed = unit.placed
    if placed is None or unit.freezes:
        return state
    if not _moves(unit, placed, present):
        return replace(state, wanted=present.loaded)
    if placed.wanted and (state.instances is None or not state.wanted):
        return replace(state, wanted=True, instances=max(placed.instances, unit.spec.instances_min, 1))
    return replace(state, wanted=placed.wanted)


def base_of(unit: Unit, base: Target, present: Target) -> Target:
    """What should have been so far: a move to here is a change, and none that restores what was."""
    if unit.placed is None or unit.freezes or present.loaded:
        return base
    return Target(loaded=False, instances=0)


def floor(unit: Unit, present: Target) -> int:
    """The least instances of what is loaded: of a copy that comes beside others as many as one of those has."""
    least, most = max(1, unit.spec.instances_min), max(1, unit.spec.instances_max)
    return least if unit.placed is None or present.loaded else max(least, min(unit.beside, most))


def wished(unit: Unit, draft: Draft, present: Target, state: UnitState) -> Draft:
    """The draft with the move that is due, and where the model is to be."""
    placed = unit.placed
    if placed is None or unit.freezes:
        return draft
    if not _moves(unit, placed, present):
        if not present.loaded:
            return Draft(Target(loaded=False, instances=0), (placed.why,), ReasonCode.PLACED)
        return _spread(unit, _waiting(unit, draft.noting(placed.why), present))
    if placed.wanted:
        draft = Draft(Target(loaded=True, instances=state.instances or placed.instances), (), ReasonCode.PLACED)
        return _spread(unit, draft.because(placed.why))
    if unit.handover is not None:
        draft = draft.noting(handover.reason(unit.handover))
    return _spread(unit, draft.because(placed.why, Target(loaded=False, instances=0)))


def _spread(unit: Unit, draft: Draft) -> Draft:
    """The draft with why there are so many copies, where it does not say that already."""
    held = unit.spread
    if held is None or any(reason.code is ReasonCode.SPREAD for reason in draft.reasons):
        return draft
    return draft.noting(spread.reason(unit.spec, held))


def _waiting(unit: Unit, draft: Draft, present: Target) -> Draft:
    """The draft with what keeps a copy whose turn it is to go."""
    held = unit.handover
    if unit.placed is None or not unit.placed.goes or held is None or not held.why:
        return draft
    binds = draft.target == present and draft.binding in (ReasonCode.IN_PLACE, ReasonCode.DWELL)
    return draft.because(handover.reason(held)) if binds else draft.noting(handover.reason(held))


def _moves(unit: Unit, placed: Placed, present: Target) -> bool:
    if placed.component and placed.wanted:
        return False  # Triton loads it with its ensemble
    if placed.goes and unit.handover is not None and unit.handover.why:
        return False  # nor is the gateway told
    return placed.due and placed.wanted is not None and placed.wanted != present.loaded


def still_routed(unit: Unit, since: float) -> Reason | None:
    """Why a model that leaves since `since` may not be unloaded yet: by the gateway, which says where it routes it."""
    placed = unit.placed
    if placed is None:
        return None
    routed, words = placed.routed, {"gateway": placed.gateway}
    if not isinstance(routed, Known):
        why = routed.why if isinstance(routed, Missing) else "not read lately"
        return Reason(ReasonCode.ROUTED, {}, words | {"why": f"its routes are not known ({why})"})
    if routed.observed_at <= since:
        return Reason(ReasonCode.ROUTED, {}, words | {"why": "it has only now been told to drop this server"})
    if unit.server.name in routed.value:
        return Reason(ReasonCode.ROUTED, {}, words | {"why": "it still routes to this server"})
    return None
