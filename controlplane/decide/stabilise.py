"""Up at once, down only when fewer were enough for a whole dwell; steps limited; inside the bounds."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.instances import Need
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Draft
from controlplane.domain.decision import Reason, ReasonCode, Target
from controlplane.domain.state import UnitState


def settle(draft: Draft, need: Need, state: UnitState, policy: Policy, now: float) -> tuple[Draft, UnitState]:
    """The draft at the stabilised count, and the state with this need remembered."""
    base = draft.target.instances
    recent = tuple((at, n) for at, n in state.recommended if at > now - policy.scale_down_after_s)
    oldest = state.recommended[0][0] if state.recommended else now
    state = replace(state, recommended=(*recent, (now, need.down)))
    if need.up > base:
        limit = max(base + policy.max_step_up, 2 * base)
        draft = draft.because(Reason(need.binding, {}), Target(loaded=True, instances=need.up))
        # Under backlog the next update may have to wait for the backlog's end, so this one has to suffice.
        if need.up > limit and not need.urgent:
            reason = Reason(ReasonCode.STEP_LIMIT, {"needed": float(need.up), "limit": float(limit)})
            draft = draft.because(reason, Target(loaded=True, instances=limit))
        return draft, state
    if need.down >= base:
        return draft, state
    lowest = max(need.down, *(n for _, n in recent), 0) if recent else need.down
    if lowest >= base or now - oldest < policy.scale_down_after_s:
        waited_s = now - oldest if lowest < base else 0.0
        numbers = {"needed": float(need.down), "waited_s": waited_s, "dwell_s": policy.scale_down_after_s}
        return draft.because(Reason(ReasonCode.DWELL, numbers)), state
    reason = Reason(ReasonCode.CONSOLIDATION, {"instances": float(lowest), "dwell_s": policy.scale_down_after_s})
    return draft.because(reason, Target(loaded=True, instances=lowest)), state


def within(draft: Draft, low: int, high: int) -> Draft:
    """The draft clamped to the bounds of a loaded model."""
    clamped = max(low, min(high, draft.target.instances))
    if clamped == draft.target.instances:
        return draft
    numbers = {"wanted": float(draft.target.instances), "min": float(low), "max": float(high)}
    return draft.because(Reason(ReasonCode.BOUNDS, numbers), Target(loaded=True, instances=clamped))
