"""What became of the steps of a workload, and what holds back its next one."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.limits import held_by
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.pool import Pool, lead_s
from controlplane.decide.replicas.scaled import Scaled
from controlplane.domain.decision import OF_REPLICAS, ActionStatus, Decision, Outcome, Reason, ReasonCode, Step
from controlplane.domain.state import WorkloadState

# More would overflow after a week of failures.
_DOUBLINGS = 20


def absorb(pool: Pool, state: WorkloadState, policy: Policy) -> WorkloadState:
    """The state after the outcomes of its last steps: back-off after failures. What was not done was not asked for."""
    for outcome in pool.results:
        match outcome.status:
            case ActionStatus.SUCCEEDED if outcome.action.step is Step.SCALE:
                count, at = outcome.action.target.instances, outcome.finished_at
                state = replace(state, failures=0, remedy="", act_at=0.0, set_to=count, set_at=at)
            case ActionStatus.FAILED if not was_not_put_back(outcome):
                wait_s = min(policy.back_off_max_s, policy.back_off_min_s * 2.0 ** min(state.failures, _DOUBLINGS))
                state = replace(
                    state,
                    failures=state.failures + 1,
                    remedy=outcome.remedy,
                    act_at=outcome.finished_at + wait_s,
                    asked=pool.present,
                )
            case ActionStatus.FAILED | ActionStatus.DROPPED | ActionStatus.INTERRUPTED:
                state = replace(state, asked=pool.present)
            case _:  # what leads up to a step says nothing of how that one goes
                pass
    return state


def was_not_put_back(outcome: Outcome) -> bool:
    """Whether replicas could not be put back into traffic; that is tried each tick, and no other step waits for it."""
    action = outcome.action
    return outcome.status is ActionStatus.FAILED and action.step is Step.TRAFFIC and not action.lowers


def held(one: Scaled, now: float) -> Scaled:
    """The same, or held where something is in its way: what is not set is not asked for."""
    if one.decision.step not in OF_REPLICAS:
        return one
    reason = _hindrance(one.pool, one.state, one.decision, one.replicas, now)
    if reason is None:
        return one
    return replace(one, decision=held_by(one.decision, reason), state=replace(one.state, asked=one.before.asked))


def _hindrance(pool: Pool, state: WorkloadState, decision: Decision, replicas: int, now: float) -> Reason | None:
    """Why so many replicas are not set now: one step at a time, a back-off, or they were set and are on their way.

    Who was out of traffic and is not to go waits for nothing but the step under way.
    """
    if pool.in_flight is not None:
        return Reason(ReasonCode.IN_FLIGHT, {}, {"step": pool.in_flight.step.value, "id": pool.in_flight.id})
    if decision.step is Step.TRAFFIC and not decision.lowers:
        return None
    if now < state.act_at:
        numbers = {"failures": float(state.failures), "left_s": state.act_at - now}
        return Reason(ReasonCode.BACK_OFF, numbers, {"remedy": state.remedy} if state.remedy else {})
    no_node_yet = pool.present < replicas <= pool.present + len(pool.scaling.unscheduled)
    if state.set_to == replicas and (no_node_yet or now - state.set_at < lead_s(state.startups)):
        return Reason(ReasonCode.IN_FLIGHT, {"replicas": float(replicas), "since_s": now - state.set_at})
    return None
