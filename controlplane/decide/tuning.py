"""Advice on batching carried out: where that was asked for, one change at a time, looked at afterwards, and taken back.

Only `dynamic_batching` is set, never `max_batch_size`, and the instance count stays. What was set is remembered as what
is wanted, so that it is set again after a restart of the server, which forgets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.decide import effects, fits, rollout
from controlplane.decide.advising import reason
from controlplane.decide.batching import BatchingAdvice
from controlplane.decide.demand import Demand, started_since
from controlplane.decide.policy import Policy
from controlplane.decide.unit import Draft, Unit
from controlplane.domain.batching import BatchingUse
from controlplane.domain.decision import (
    ActionStatus,
    Decision,
    Effect,
    Outcome,
    Reason,
    ReasonCode,
    Step,
    Target,
    Verdict,
)
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import Interval
from controlplane.domain.state import Expectation, Refusal, Tuning, UnitState

DWELL_S = 600.0
"""Advice is carried out after it was told for so long without a break: a reload is worth no passing load."""
# The wait after a change that was taken back doubles from `ceiling_s` up to that many times: days.
_LONGEST = 2**8


def absorb(state: UnitState, results: Sequence[Outcome], policy: Policy) -> UnitState:
    """The state after the outcomes of the last actions: when a change was made, or that it failed and is given up."""
    for outcome in results:
        tuning = state.tuning
        if outcome.action.step is not Step.CONFIGURE or tuning is None or tuning.trial is None:
            continue
        if outcome.status is ActionStatus.SUCCEEDED:
            trial = replace(tuning.trial, done_at=outcome.finished_at)
            state = replace(state, tuning=replace(tuning, trial=trial))
        elif outcome.status is ActionStatus.FAILED:
            state = _refused(state, tuning, policy, outcome.finished_at)
            if outcome.failure not in effects.NO_ANSWER:  # else what is read next tells what came of it
                state = replace(state, tuning=_back(tuning))
    return state


def followed(unit: Unit, state: UnitState, policy: Policy, now: float) -> UnitState:
    """The state by what is configured: as was wanted, not yet, no more, or by somebody else, who then has his way."""
    tuning, reading = state.tuning, unit.reading
    if tuning is None or reading is None or not _read_since(reading.intervals, state.changed_at):
        return state
    knobs, trial = reading.batching, tuning.trial
    if knobs not in (tuning.origin, tuning.before, tuning.wanted):
        return replace(state, tuning=None)
    if knobs == tuning.wanted:
        if trial is not None:
            trial = replace(trial, done_at=trial.done_at or now)
        elif knobs == tuning.origin:
            return replace(state, tuning=None)
        return replace(state, tuning=replace(tuning, trial=trial, undone=False))
    if trial is None:
        return state
    if trial.done_at > 0:  # lost before it was judged: the server may have died of it
        state = _refused(state, tuning, policy, now)
    return replace(state, tuning=_back(tuning))


def judged(
    unit: Unit, state: UnitState, demand: Demand | None, policy: Policy, now: float
) -> tuple[Effect | None, UnitState]:
    """The effect of a change, None while it cannot be told yet, and the state: harm is to be undone.

    It is judged `settle_s` after the change, by throughput under backlog as a raise is, by the mean of a request that
    went over its objective, and by throughput that fell while requests took longer (clients who wait for answers leave
    no backlog).
    """
    tuning, reading = state.tuning, unit.reading
    trial = tuning.trial if tuning is not None else None
    if tuning is None or trial is None or demand is None or reading is None or not _settled(trial, policy, now):
        return None, state
    effect = effects.judge(trial, reading.intervals, demand, policy, now)
    if effect is None:
        return None, state
    if unit.present is None or unit.present.instances != trial.to_instances:
        return replace(effect, verdict=Verdict.NOT_JUDGED), replace(state, tuning=replace(tuning, trial=None))
    if _slower(unit, tuning, effect, trial.done_at):
        effect = replace(effect, verdict=Verdict.HARMED)
    if effect.verdict is not Verdict.HARMED:
        return effect, replace(state, tuning=replace(tuning, trial=None))
    undo = replace(tuning, before=tuning.wanted, wanted=tuning.before, trial=None, undone=True)
    return effect, replace(_refused(state, tuning, policy, now), tuning=undo)


def held(state: UnitState, draft: Draft, base: Target, policy: Policy, now: float) -> Draft:
    """The draft without another count while a change is not judged: else nobody could tell which of them did what."""
    trial = state.tuning.trial if state.tuning is not None else None
    other = draft.target.loaded and base.loaded and draft.target.instances != base.instances
    if not other or trial is None or trial.done_at == 0 or _settled(trial, policy, now):
        return draft
    words = {"why": "a change of its batching is not judged yet", "id": trial.decision_id}
    return draft.because(Reason(ReasonCode.IN_FLIGHT, {}, words), base)


def wish(
    unit: Unit, state: UnitState, draft: Draft, present: Target, advice: BatchingAdvice | None, now: float
) -> Draft:
    """The draft with the advice noted, and with other batching where that is to be set now and nothing else is."""
    told = draft if advice is None else draft.noting(reason(advice))
    reading, tuning = unit.reading, state.tuning
    if unit.spec.batching is not BatchingUse.ACT or unit.spec.mode is not Mode.ACT or reading is None:
        return told
    free = present.loaded and draft.target == present and _read_since(reading.intervals, state.changed_at)
    if tuning is not None and (tuning.trial is not None or reading.batching != tuning.wanted):
        if tuning.trial is not None or not free:
            return told
        return _again(unit, tuning, told, present, now)
    if advice is None:
        return told
    wait = _person(unit, now) or _not_yet(unit, state, advice, now)
    if wait is not None:
        return told.noting(wait)
    return draft.because(reason(advice), replace(present, batching=advice.then)) if free else told


def begun(
    state: UnitState, decision: Decision, advice: BatchingAdvice | None, intervals: Sequence[Interval]
) -> UnitState:
    """The state with what is expected of a decision, where it changes the batching as advised."""
    target, tuning = decision.target, state.tuning
    if decision.step is not Step.CONFIGURE or target is None or advice is None or target.batching != advice.then:
        return state
    before_per_s = effects.throughput_per_s(intervals, state.changed_at)
    trial = Expectation(decision.id, target.instances, target.instances, 0.0, before_per_s, decision.at)
    origin = tuning.origin if tuning is not None else advice.now
    latency_s = advice.worked.mean_s
    return replace(state, tuning=Tuning(advice.case, origin, advice.now, advice.then, trial, latency_s))


def longest_refusal_s(policy: Policy) -> float:
    """The longest wait after a change that was taken back."""
    return policy.ceiling_s * _LONGEST


def _again(unit: Unit, tuning: Tuning, told: Draft, present: Target, now: float) -> Draft:
    """The draft with the batching that should be there, and is not."""
    if not tuning.undone:
        words = {"why": "the server has other batching than was set"}
        return told.because(Reason(ReasonCode.RECONCILE, {}, words), replace(present, batching=tuning.wanted))
    if (wait := _person(unit, now)) is not None:
        return told.noting(wait)
    words = {"case": tuning.case.value}
    return told.because(Reason(ReasonCode.UNDO, {}, words), replace(present, batching=tuning.wanted))


def _person(unit: Unit, now: float) -> Reason | None:
    """Who said that nothing shall change."""
    for freeze in unit.freezes:
        return _waits(f"{freeze.actor} froze scaling", freeze.expires_at - now)
    told = unit.override
    if told is not None and told.kind is not OverrideKind.BOUNDS:
        return _waits(f"{told.actor} said {told.kind.value}", told.expires_at - now)
    return None


def _not_yet(unit: Unit, state: UnitState, advice: BatchingAdvice, now: float) -> Reason | None:
    """What else speaks against a change now, or at all."""
    if advice.then.max_batch_size != advice.now.max_batch_size:
        return _waits("max_batch_size is the model's own, and yours to change")
    if advice.gain is None:
        return _waits("capacity with larger batches is not learned")
    refusal = next((one for one in state.refused if one.case is advice.case and one.until > now), None)
    if refusal is not None:
        return _waits("it was tried and did not help", refusal.until - now)
    told_since = state.batching.told_since if state.batching is not None else now
    if now - told_since < DWELL_S:
        return _waits("the advice has to stand", told_since + DWELL_S - now)
    rolling = rollout.changes(unit.turn, state.rollout)
    if rolling or state.expectation is not None or unit.raising_beside:
        return _waits("a rollout is under way" if rolling else "a raise is not judged yet")
    here = unit.present
    tight = here is not None and fits.no_room(unit, Step.CONFIGURE, here, here) is not None
    return _waits("it does not fit there twice, as a reload needs") if tight else None


def _waits(why: str, left_s: float | None = None) -> Reason:
    return Reason(ReasonCode.BATCHING_WAITS, {} if left_s is None else {"left_s": left_s}, {"why": why})


def _slower(unit: Unit, tuning: Tuning, effect: Effect, since: float) -> bool:
    intervals = started_since(unit.reading.intervals, since) if unit.reading is not None else ()
    answered = sum(i.completed - i.failed - i.rejected - i.canceled for i in intervals)
    if answered <= 0:
        return False
    mean_s, threshold_s = sum(i.request_s for i in intervals) / answered, unit.latency_objective[0]
    broken = threshold_s is not None and tuning.latency_s <= threshold_s < mean_s
    fell = effect.after_per_s < effects.HARM_MAX * effect.before_per_s
    return broken or (fell and effects.HARM_MAX * mean_s > tuning.latency_s)


def _settled(trial: Expectation, policy: Policy, now: float) -> bool:
    return trial.done_at > 0 and now - trial.done_at >= policy.settle_s


def _read_since(intervals: Sequence[Interval], since: float) -> bool:
    """Whether a whole reading came after the last action: what is configured was read again with it."""
    return bool(intervals) and intervals[-1].start >= since


def _back(tuning: Tuning) -> Tuning | None:
    """What is wanted once a change was given up that is not there."""
    if tuning.before == tuning.origin:
        return None
    return replace(tuning, wanted=tuning.before, before=tuning.origin, trial=None)


def _refused(state: UnitState, tuning: Tuning, policy: Policy, now: float) -> UnitState:
    """The state that remembers a change which did not help."""
    times = next((one.times for one in state.refused if one.case is tuning.case), 0)
    wait_s = min(policy.ceiling_s * 2.0**times, longest_refusal_s(policy))
    others = tuple(one for one in state.refused if one.case is not tuning.case)
    return replace(state, refused=(*others, Refusal(tuning.case, min(times + 1, 8), now + wait_s)))
