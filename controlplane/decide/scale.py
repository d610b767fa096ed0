"""The instance count of a loaded model: need, effects of earlier raises, dwell."""

from __future__ import annotations

import math
from dataclasses import replace

from controlplane.decide import effects, expected, headroom
from controlplane.decide.capacity import Capacity
from controlplane.decide.demand import Demand
from controlplane.decide.instances import Need, need
from controlplane.decide.learning import curve, items_per_request
from controlplane.decide.placing import handover, spread
from controlplane.decide.policy import Policy
from controlplane.decide.stabilise import settle
from controlplane.decide.unit import Draft, Unit
from controlplane.domain.decision import Reason, ReasonCode, Target
from controlplane.domain.profiles import BatchProfile
from controlplane.domain.state import UnitState

# Readings are cut at their own moments.
_CUT_S = 0.5


def scale(
    unit: Unit, state: UnitState, draft: Draft, demand: Demand | None, policy: Policy, now: float
) -> tuple[Draft, UnitState]:
    """The draft at the count that demand needs, and the state with what was learned on the way."""
    base = draft.target.instances
    if state.undo_to is not None:
        reason = Reason(ReasonCode.UNDO, {"instances": float(state.undo_to)})
        return draft.because(reason, Target(loaded=True, instances=state.undo_to)), state
    if demand is None or state.blind_since is not None:
        state = _count_as_needed(state, base, now)
    if demand is None:
        return _blind(unit, state, draft, policy, now), state
    wanted = _before_one_goes(unit, _need(unit, state, demand, policy, base, now))
    for reason in wanted.reasons:
        draft = draft.noting(reason)
    state = _note_jump(_lift_ceiling(state, wanted, demand, policy, now), demand)
    draft, state = settle(draft, wanted, state, policy, now)
    if draft.target.instances > base:
        draft = _hold_back(unit, state, draft, demand, base, now)
    return draft, state


def _before_one_goes(unit: Unit, found: Need) -> Need:
    """The need of a copy on one server, with its part of what another serves that is to go."""
    for asked in (spread.raised, handover.readied):
        more = asked(unit, found.up)
        if more is not None:
            count, reason = more
            down, reasons = max(count, found.down), (*found.reasons, reason)
            found = replace(found, up=count, down=down, reasons=reasons, binding=reason.code)
    return found


def _need(unit: Unit, state: UnitState, demand: Demand, policy: Policy, base: int, now: float) -> Need:
    profile = unit.spec.profile
    service = curve(state.batches, unit.max_batch, profile if isinstance(profile, BatchProfile) else None)
    intervals = unit.reading.intervals if unit.reading is not None else ()
    if service is not None:
        quantile, _ = headroom.quantile(unit.judgements, policy)
        threshold_s, share = unit.latency_goal
        capacity = Capacity(service, threshold_s, share, items_per_request(intervals))
        return need(unit, demand, capacity, quantile, policy, base, expected.ahead(unit, demand, policy, now))
    wanted_per_s = demand.likely_high_per_s
    seen = demand.reason(wanted_per_s)
    if wanted_per_s == 0 and math.isfinite(demand.high_per_s):
        return Need(1, 1, 0.0, (seen,), ReasonCode.DEMAND)
    if demand.backlog > 0:
        # Nothing is learned yet, but instances before which requests wait show what they can do.
        given_per_s = effects.throughput_per_s(intervals, state.changed_at) / base
        up = max(base + 1, math.ceil(wanted_per_s / given_per_s)) if given_per_s > 0 else base + 1
        return Need(up, up, given_per_s * base, (seen,), ReasonCode.BACKLOG, urgent=True)
    return Need(base, base, 0.0, (seen, Reason(ReasonCode.CAPACITY_UNKNOWN)), ReasonCode.CAPACITY_UNKNOWN)


def _count_as_needed(state: UnitState, base: int, now: float) -> UnitState:
    """The state with the present count as the need: time without data is no time in which fewer were enough."""
    before = state.recommended
    if before and before[-1][1] == base:
        before = before[:-1]
    return replace(state, recommended=(*before, (now, base)))


def _blind(unit: Unit, state: UnitState, draft: Draft, policy: Policy, now: float) -> Draft:
    """Without demand nothing is lowered; after a while the highest count needed of late is the safe floor."""
    since = max(state.learned_until, state.changed_at)
    words = {"why": "no recent difference of its counters"}
    draft = draft.because(Reason(ReasonCode.DATA_MISSING, {"blind_s": max(0.0, now - since)}, words))
    floor = max((count for _, count in state.recommended), default=unit.spec.instances_min)
    if now - since < policy.blind_raise_after_s or floor <= draft.target.instances:
        return draft
    reason = Reason(ReasonCode.SAFE_FLOOR, {"instances": float(floor)})
    return draft.because(reason, Target(loaded=True, instances=floor))


def _lift_ceiling(state: UnitState, wanted: Need, demand: Demand, policy: Policy, now: float) -> UnitState:
    """The state with the ceiling eased where demand no longer presses against it: fewer do, and nobody waits."""
    ceiling = state.ceiling
    if ceiling is None:
        return state
    eased = wanted.up < ceiling.instances and demand.backlog == 0 and wanted.binding is ReasonCode.DEMAND
    return replace(state, ceiling=effects.lifted(ceiling, policy, now, eased=eased))


def _note_jump(state: UnitState, demand: Demand) -> UnitState:
    """The state with the reading that first showed a jump of demand; forgotten once a whole run came after it."""
    if demand.jumped and state.jump_seen_at == 0:
        return replace(state, jump_seen_at=demand.seen_until)
    if state.jump_seen_at and not demand.jumped and demand.newest_start >= state.jump_seen_at - _CUT_S:
        return replace(state, jump_seen_at=0.0)
    return state


def _hold_back(unit: Unit, state: UnitState, draft: Draft, demand: Demand, base: int, now: float) -> Draft:
    """The draft without the part of a raise that would give nothing, or whose forerunner is not judged yet.

    A jump under backlog is awaited out for one more reading: Triton carries out the next in-place update only when the
    model's queue has been empty for a moment, so that a raise which falls short cannot be mended while the load lasts.
    """
    if demand.backlog > 0 and state.jump_seen_at and demand.newest_start < state.jump_seen_at - _CUT_S:
        words = {"why": "demand jumped within the newest reading; the next one shows how far"}
        return draft.because(Reason(ReasonCode.DATA_PARTIAL, {}, words), Target(loaded=True, instances=base))
    ceiling = state.ceiling
    if ceiling is not None and ceiling.until > now and draft.target.instances > ceiling.instances:
        numbers = {"instances": float(ceiling.instances), "left_s": ceiling.until - now}
        draft = draft.because(
            Reason(ReasonCode.SATURATED, numbers), Target(loaded=True, instances=max(base, ceiling.instances))
        )
    if unit.raising_beside:
        words = {"why": f"a raise of {unit.raising_beside} on the same device is not judged yet"}
        draft = draft.because(Reason(ReasonCode.IN_FLIGHT, {}, words), Target(loaded=True, instances=base))
    if unit.saturated_by:
        words = {"by": unit.saturated_by}
        draft = draft.because(Reason(ReasonCode.SATURATED, {}, words), Target(loaded=True, instances=base))
    intervals = unit.reading.intervals if unit.reading is not None else ()
    if state.expectation is not None and not effects.ripe(state.expectation, intervals):
        words = {"why": "the last raise is not judged yet", "id": state.expectation.decision_id}
        draft = draft.because(Reason(ReasonCode.IN_FLIGHT, {}, words), Target(loaded=True, instances=base))
    return draft
