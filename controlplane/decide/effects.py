"""Did it help? An increase is judged by throughput, never by latency alone: a burst may still be growing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.decide.demand import RECENT_S, Demand, started_since, tail
from controlplane.decide.policy import Policy
from controlplane.domain.decision import ActionStatus, Effect, Outcome, Step, Verdict
from controlplane.domain.failures import FailureClass
from controlplane.domain.observation import Interval
from controlplane.domain.state import Ceiling, Expectation, UnitState

# Less than this more throughput from more instances under backlog means that something else is the limit.
GAIN_MIN = 1.10
HARM_MAX = 0.90
# A raise that fails again and again is tried again after so many times `ceiling_s` at most.
_LONGEST = 8
# More would overflow after a week of failures.
_DOUBLINGS = 20
_JUDGE_AFTER_S = 4.0
# After these it is not known whether the instances are there: under load they work long before Triton answers.
NO_ANSWER = (FailureClass.UNREACHABLE, FailureClass.TIMEOUT, FailureClass.SUPERSEDED)


def absorb(state: UnitState, results: tuple[Outcome, ...], policy: Policy) -> UnitState:
    """The state after the outcomes of the last actions: back-off after failures, undo where an increase failed."""
    for outcome in results:
        step, target = outcome.action.step, outcome.action.target
        if outcome.status is ActionStatus.SUCCEEDED:
            state = replace(state, failures=0, retry_at=0.0, changed_at=outcome.finished_at)
            if step is Step.SET_INSTANCES and state.expectation is not None:
                state = replace(state, expectation=replace(state.expectation, done_at=outcome.finished_at))
            if step is Step.RELOAD:
                state = replace(state, healed_at=outcome.finished_at)
        elif outcome.status is ActionStatus.FAILED:
            wait_s = min(policy.back_off_max_s, policy.back_off_min_s * 2.0 ** min(state.failures, _DOUBLINGS))
            state = replace(state, failures=state.failures + 1, retry_at=outcome.finished_at + wait_s)
            pending = state.expectation
            raised = step is Step.SET_INSTANCES and pending is not None and pending.to_instances == target.instances
            if raised and pending is not None and outcome.failure not in NO_ANSWER:
                # Out of memory or refused: stay where it was, and believe that for a while.
                kept = pending.from_instances
                ceiling = failed_beyond(state.ceiling, kept, pending.to_instances, policy, outcome.finished_at)
                state = replace(state, instances=kept, expectation=None, ceiling=ceiling)
        elif outcome.status is ActionStatus.DROPPED:
            state = replace(state, expectation=None)
    return state


def judge(
    expectation: Expectation, intervals: tuple[Interval, ...], demand: Demand, policy: Policy, now: float
) -> Effect | None:
    """The effect of an increase, None while it cannot be told yet.

    Under backlog the instances work as fast as they can: throughput after against before tells what they gave. Without
    backlog demand sets the throughput, and nothing can be told but that it suffices. Judged as soon as it is clear, at
    the latest `settle_s` after the action.
    """
    if not ripe(expectation, intervals):
        return None
    after = _after(expectation, intervals)
    per_s = sum(i.completed - i.rejected - i.canceled for i in after) / sum(i.length_s for i in after)
    if demand.backlog == 0:
        if now - expectation.done_at < policy.settle_s:
            return None
        verdict = Verdict.HELPED if per_s >= expectation.throughput_per_s else Verdict.NOT_JUDGED
    elif per_s < HARM_MAX * expectation.throughput_per_s:
        verdict = Verdict.HARMED
    elif per_s < GAIN_MIN * expectation.throughput_per_s:
        verdict = Verdict.NO_GAIN
    else:
        verdict = Verdict.HELPED
    return Effect(expectation.decision_id, verdict, now, expectation.throughput_per_s, per_s)


def throughput_per_s(intervals: Sequence[Interval], since: float) -> float:
    """Answered per second by what has been there since `since`, over the newest RECENT_S at most; 0 without readings.

    What an earlier count gave does not belong into it: against such a mean any raise would seem to help.
    """
    recent = tail(started_since(intervals, since), RECENT_S)
    covered_s = sum(i.length_s for i in recent)
    return max(0, sum(i.completed - i.rejected - i.canceled for i in recent)) / covered_s if covered_s > 0 else 0.0


def ripe(expectation: Expectation, intervals: tuple[Interval, ...]) -> bool:
    """Whether enough was seen since the increase to say anything about it; before that, no further increase."""
    seen_s = sum(i.length_s for i in _after(expectation, intervals))
    return expectation.done_at > 0 and seen_s >= _JUDGE_AFTER_S


def _after(expectation: Expectation, intervals: tuple[Interval, ...]) -> Sequence[Interval]:
    return started_since(intervals, expectation.done_at)


def conclude(state: UnitState, effect: Effect, policy: Policy, now: float) -> UnitState:
    """The state after an increase was judged: a ceiling where it gave nothing, the old count where it did harm.

    One that helped refutes the ceiling that it went beyond.
    """
    expectation, ceiling = state.expectation, state.ceiling
    if expectation is None:
        return state
    lower, upper = expectation.from_instances, expectation.to_instances
    if effect.verdict is Verdict.HARMED:
        ceiling = failed_beyond(ceiling, lower, upper, policy, now)
        return replace(state, expectation=None, undo_to=lower, ceiling=ceiling)
    if effect.verdict is Verdict.NO_GAIN:
        return replace(state, expectation=None, ceiling=failed_beyond(ceiling, upper, upper, policy, now))
    refuted = effect.verdict is Verdict.HELPED and ceiling is not None and upper > ceiling.instances
    return replace(state, expectation=None, ceiling=None if refuted else ceiling)


def believed_s(times: int, policy: Policy) -> float:
    """How long a ceiling holds beyond which a raise failed `times` in a row: twice as long each time, up to a cap."""
    return policy.ceiling_s * min(2.0 ** min(times - 1, _DOUBLINGS), _LONGEST)


def lifted(ceiling: Ceiling, policy: Policy, now: float, *, eased: bool) -> Ceiling | None:
    """The ceiling, None once it is no longer remembered: as long after its end as a ceiling may hold at most.

    `eased`: demand does not press against it any more. One that failed once is tried then, one that failed again not
    before its end.
    """
    if eased and ceiling.times == 1:
        ceiling = replace(ceiling, until=min(ceiling.until, now))
    return None if now - ceiling.until >= policy.ceiling_s * _LONGEST else ceiling


def failed_beyond(before: Ceiling | None, instances: int, to: int, policy: Policy, now: float) -> Ceiling:
    """The ceiling after a raise to `to` failed; where it went beyond the one `before` that failed again."""
    times = before.times + 1 if before is not None and to > before.instances else 1
    return Ceiling(instances, now + believed_s(times, policy), times)
