"""A load or a raise that nothing but measured memory refuses is tried after a while: one odd measurement is no limit.

Somebody else's memory that came or went in the same seconds is in a measurement, and what is refused would never teach
better. So a refusal is believed for as long as that a raise gives nothing: longer the more often it was measured, twice
as long each time that the try fails. One step is tried, one on a server at a time, and where it succeeds the
measurements that refused it go: what the step itself took is measured. What a person declared is not doubted.
"""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide import fits, rollout
from controlplane.decide.effects import believed_s, failed_beyond, lifted
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Draft, Unit
from controlplane.domain.decision import ActionStatus, Outcome, Reason, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.state import Ceiling, UnitState

_TRIES = (Step.LOAD, Step.SET_INSTANCES)


def absorb(state: UnitState, results: tuple[Outcome, ...], policy: Policy) -> UnitState:
    """The state after the outcomes of the last actions: where a try failed the refusal is believed for longer.

    Also where nobody answered: a server that has no memory left ends in the middle of it.
    """
    for outcome in results:
        full, action = state.full, outcome.action
        failed = outcome.status is ActionStatus.FAILED and outcome.failure is not FailureClass.SUPERSEDED
        if full is not None and failed and action.step in _TRIES and action.target.instances > full.instances:
            again = failed_beyond(full, full.instances, action.target.instances, policy, outcome.finished_at)
            state = replace(state, full=again)
    return state


def doubted(
    unit: Unit, state: UnitState, draft: Draft, present: Target, policy: Policy, now: float
) -> tuple[Draft, UnitState]:
    """The draft as far as there is room for it, or with one step more where it is time to try that.

    With the state that remembers since when that is refused.
    """
    state = _refuted(state, present, now)
    wanted, draft = draft, fits.cut(unit, draft, present)
    comes = draft.target.instances > present.instances and fits.refused(unit, draft, present) is None
    if unit.size.declared is not None or comes or fits.refused(unit, wanted, present) is None:
        full = state.full and lifted(state.full, policy, now, eased=False)
        return draft, replace(state, full=full)
    full = state.full
    if full is None:
        times = _measured(unit)
        full = Ceiling(present.instances, now + believed_s(times, policy), times)
    full = replace(full, instances=min(full.instances, present.instances))
    state = replace(state, full=full)
    if now < full.until:
        return draft.noting(Reason(ReasonCode.ROOM_DOUBTED, {"left_s": full.until - now})), state
    if unit.unsettled or rollout.wanted(unit, state.rollout):
        return draft.noting(Reason(ReasonCode.ROOM_DOUBTED, {}, {"server": unit.server.name})), state
    target = Target(loaded=True, instances=_one_step(unit, wanted, present))
    return draft.because(Reason(ReasonCode.ROOM_DOUBTED, {"instances": float(target.instances)}), target), state


def tries(draft: Draft, step: Step) -> bool:
    """Whether the step is taken in spite of what was measured."""
    return step in _TRIES and any(
        reason.code is ReasonCode.ROOM_DOUBTED and "instances" in reason.numbers for reason in draft.reasons
    )


def _measured(unit: Unit) -> int:
    """How often it was measured that one instance more does not fit, once at least."""
    return max(1, sum(size > (unit.free_bytes or 0) for size in unit.size.apart))


def _one_step(unit: Unit, draft: Draft, present: Target) -> int:
    """The fewest instances with which it is tried; what a person set is set so."""
    wanted = draft.target.instances
    if draft.by_person and unit.instances_told is not None:
        return wanted
    least = present.instances + unit.step if present.loaded else max(1, unit.spec.instances_min)
    return min(wanted, least)


def _refuted(state: UnitState, present: Target, now: float) -> UnitState:
    """The state where more is there than there was room for: without what was measured, where that was a try.

    Before it was time for one, room has come.
    """
    full = state.full
    if full is None or not present.loaded or present.instances <= full.instances:
        return state
    if now < full.until:
        return replace(state, full=None)
    loads = full.instances == 0
    kept = tuple(sample for sample in state.memory if (0 in (sample.before, sample.after)) is not loads)
    return replace(state, full=None, memory=kept)
