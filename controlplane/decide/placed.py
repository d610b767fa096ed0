"""A unit behind a gateway that routes by model: it is where the placement has it, and leaves only what has let go."""

from __future__ import annotations

from dataclasses import replace

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
    if not _moves(placed, present):
        return replace(state, wanted=present.loaded)
    if placed.wanted and state.instances is None:
        return replace(state, wanted=True, instances=max(placed.instances, unit.spec.instances_min, 1))
    return replace(state, wanted=placed.wanted)


def base_of(unit: Unit, base: Target, present: Target) -> Target:
    """What should have been so far: a move to here is a change, and none that restores what was."""
    if unit.placed is None or unit.freezes or present.loaded:
        return base
    return Target(loaded=False, instances=0)


def wished(unit: Unit, draft: Draft, present: Target, state: UnitState) -> Draft:
    """The draft with the move that is due, and where the model is to be."""
    placed = unit.placed
    if placed is None or unit.freezes:
        return draft
    if not _moves(placed, present):
        if not present.loaded:
            return Draft(Target(loaded=False, instances=0), (placed.why,), ReasonCode.PLACED)
        return draft.noting(placed.why)
    if placed.wanted:
        return Draft(Target(loaded=True, instances=state.instances or placed.instances), (), ReasonCode.PLACED).because(
            placed.why
        )
    return draft.because(placed.why, Target(loaded=False, instances=0))


def _moves(placed: Placed, present: Target) -> bool:
    if placed.component and placed.wanted:
        return False  # Triton loads it with its ensemble
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


def no_room(unit: Unit) -> Reason | None:
    """Why a load is refused before it is tried: by memory, where both what there is and what it takes are known.

    A vLLM has set aside the memory of its adapters when it started.
    """
    if unit.spec.lora is not None:
        return None
    if unit.free_bytes is None or unit.copy_bytes is None or unit.copy_bytes <= unit.free_bytes:
        return None
    sizes = {"takes_mib": unit.copy_bytes / 2**20, "free_mib": max(0, unit.free_bytes) / 2**20}
    return Reason(ReasonCode.NO_ROOM, sizes)
