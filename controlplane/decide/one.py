"""The decision about one unit: blocked or not, loaded or not, how many, what people said, and which step that is."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from dataclasses import replace
from operator import attrgetter

from controlplane.decide import doubt, effects, expected, fits, people, placed, placement, rollout, tuning
from controlplane.decide.advising import advised
from controlplane.decide.blocks import blocked
from controlplane.decide.demand import Demand, estimate
from controlplane.decide.health import dead_backend
from controlplane.decide.learning import learn
from controlplane.decide.policy import Policy
from controlplane.decide.scale import scale
from controlplane.decide.stabilise import within
from controlplane.decide.unit import Draft, Unit
from controlplane.domain.decision import Decision, Effect, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Mode, ServerKind
from controlplane.domain.instructions import OverrideKind
from controlplane.domain.observation import ModelReading
from controlplane.domain.state import Expectation, UnitState

# A dead backend is reloaded in place of these.
_MENDED = (Step.HOLD, Step.SET_INSTANCES, Step.CONFIGURE)
# After these Triton looks into its repository: they name the versions of a rollout.
_LOADING = (Step.LOAD, Step.SET_INSTANCES, Step.RELOAD, Step.CONFIGURE)


def decide_unit(unit: Unit, state: UnitState, policy: Policy, now: float) -> tuple[Decision, UnitState, Effect | None]:
    """What should be done with one model on one server, the state for the next tick, and the effect judged now."""
    state = doubt.absorb(effects.absorb(state, unit.results, policy), unit.results, policy)
    state = tuning.absorb(state, unit.results, policy)
    state = rollout.advanced(unit, state, now)
    if state.expectation is not None and state.expectation.done_at == 0 and unit.in_flight is None:
        state = replace(state, expectation=None)
    present = unit.present
    stop = blocked(unit)
    if stop is not None or present is None:
        reason = stop or Reason(ReasonCode.DATA_MISSING, {}, {"why": "its state is changing"})
        if reason.code is not ReasonCode.IN_FLIGHT:
            state = replace(state, blind_since=state.blind_since or now)
        wish = None if state.wanted is None else Target(state.wanted, state.instances or 0 if state.wanted else 0)
        return _decision(unit, Step.HOLD, None, wish, (reason,), reason.code, now), state, None
    state = placement.first_sight(unit, state)
    state = _remember(unit, state, now)
    demand = _demand(unit, policy, now)
    intervals = unit.reading.intervals if unit.reading is not None else ()
    effect, state = tuning.judged(unit, tuning.followed(unit, state, policy, now), demand, policy, now)
    if state.expectation is not None and demand is not None:
        effect = effects.judge(state.expectation, intervals, demand, policy, now)
        if effect is not None:
            state = effects.conclude(state, effect, policy, now)
    state = placed.aimed(unit, state, present)
    base = _base(unit, state, present, demand)
    draft, state = _wish(unit, state, base, present, demand, policy, now)
    draft = tuning.held(state, draft, base, policy, now)
    draft = _steps_of(unit, placed.wished(unit, draft, present, state))
    base = placed.base_of(unit, base, present)
    draft = people.freeze(draft, base, unit.freezes, now)
    floor, acts = placed.floor(unit, present), unit.spec.mode is Mode.ACT
    draft = people.override(draft, base, unit.override, floor, now, acts=acts)
    draft, state = doubt.doubted(unit, state, draft, present, policy, now)
    state = _settled(unit, state, draft, now)
    advice, state = advised(unit, state, now)
    draft = tuning.wish(unit, state, draft, present, advice, now)
    decision, state = _to_step(unit, state, draft, present, demand, policy, now)
    state = tuning.begun(state, decision, advice, intervals)
    return decision, state, effect


def _remember(unit: Unit, state: UnitState, now: float) -> UnitState:
    """The state with the newest intervals learned from and the use of the model noted."""
    intervals = unit.reading.intervals if unit.reading is not None else ()
    fresh = intervals[bisect_right(intervals, state.learned_until, key=attrgetter("end")) :]
    sums = learn(state.batches, fresh, state.changed_at)
    return placement.note_use(unit, replace(state, batches=sums), fresh, now)


def _demand(unit: Unit, policy: Policy, now: float) -> Demand | None:
    if unit.reading is None:
        return None
    return estimate(unit.reading.intervals, now, policy.data_max_age_s, unit.reading.max_batch)


def _base(unit: Unit, state: UnitState, present: Target, demand: Demand | None) -> Target:
    """What should have been so far. In `act` the last target, else what is: nobody carried our targets out.

    What somebody else loaded stays until it is seen to be idle; what somebody else added, while demand is not known.
    """
    if not (present.loaded or state.wanted):
        return Target(loaded=False, instances=0)
    told = state.instances or max(1, unit.spec.instances_min)
    if not present.loaded:
        return Target(loaded=True, instances=told)
    if unit.spec.mode is not Mode.ACT or state.instances is None:
        return present
    return Target(loaded=True, instances=told if demand is not None else max(told, present.instances))


def _wish(
    unit: Unit, state: UnitState, base: Target, present: Target, demand: Demand | None, policy: Policy, now: float
) -> tuple[Draft, UnitState]:
    """What the policy wants, inside the bounds."""
    draft = Draft(base, (), ReasonCode.IN_PLACE)
    if not base.loaded:
        come = expected.why_load(unit, policy, now)
        if come is None:
            return draft.noting(Reason(ReasonCode.IDLE, {}, {"why": "not wanted since it was last unloaded"})), state
        draft = draft.because(come, Target(loaded=True, instances=max(1, unit.spec.instances_min)))
        return _floored(unit, draft, Step.LOAD, policy, now), state
    if not present.loaded:
        draft = draft.because(_why_load(unit, state))
    else:
        come = expected.why_load(unit, policy, now)
        idle = placement.idle_reason(unit, state) if demand is not None and come is None else None
        if idle is not None:
            return draft.because(idle, Target(loaded=False, instances=0)), state
        if unit.server.kind is ServerKind.TRITON:  # others have one instance, or none
            draft, state = scale(unit, state, draft, demand, policy, now)
    draft = within(draft, max(1, unit.spec.instances_min), unit.spec.instances_max)
    return _floored(unit, draft, Step.SET_INSTANCES if present.loaded else Step.LOAD, policy, now), state


def _floored(unit: Unit, draft: Draft, step: Step, policy: Policy, now: float) -> Draft:
    """The draft of a model that is to be loaded, at no less than its schedules say, as far as its bounds allow."""
    floor = expected.due(unit.floors, now, expected.lead_s(unit, step, policy))
    least = 0 if floor is None else min(floor.least, unit.spec.instances_max)
    if floor is None or least <= draft.target.instances:
        return draft
    return draft.because(expected.scheduled(floor, now), Target(loaded=True, instances=least))


def _why_load(unit: Unit, state: UnitState) -> Reason:
    if unit.want is not None and unit.want.at == state.used_at:
        return Reason(ReasonCode.WANTED, {}, {"actor": unit.want.actor})
    if state.instances is not None and unit.spec.mode is Mode.ACT:  # in others it was wanted, and not carried out
        return Reason(ReasonCode.RECONCILE, {}, {"why": "the server does not have it loaded"})
    return Reason(ReasonCode.BOUNDS, {"min": float(unit.spec.instances_min)}, {"why": "it must be loaded"})


def _steps_of(unit: Unit, draft: Draft) -> Draft:
    """The draft at a total that the model's instance groups can express: rounded up, down where up is out of bounds."""
    count, rounded = draft.target.instances, unit.rounded_up(draft.target.instances)
    if not draft.target.loaded or count == rounded:
        return draft
    if rounded > unit.spec.instances_max and rounded - unit.step >= max(1, unit.spec.instances_min):
        rounded -= unit.step
    numbers = {"wanted": float(count), "per_step": float(unit.step)}
    return draft.because(Reason(ReasonCode.INSTANCE_STEP, numbers), Target(loaded=True, instances=rounded))


def _settled(unit: Unit, state: UnitState, draft: Draft, now: float) -> UnitState:
    """The state with the target remembered. A person's `unload` does not change what the policy wants afterwards."""
    told, target = unit.override, draft.target
    if told is not None and told.kind is OverrideKind.UNLOADED:
        return replace(state, blind_since=None, undo_to=None)
    return replace(
        state,
        blind_since=None,
        undo_to=None,
        used_at=state.used_at if told is None or told.kind is OverrideKind.BOUNDS else now,
        wanted=target.loaded,
        instances=target.instances if target.loaded else state.instances,
    )


def _to_step(
    unit: Unit, state: UnitState, draft: Draft, present: Target, demand: Demand | None, policy: Policy, now: float
) -> tuple[Decision, UnitState]:
    """The decision: which step leads from what is to the draft's target, if it may be taken now."""
    target = draft.target
    step = _step_between(present, target)
    draft, versions = _to_versions(unit, state, draft, step)
    if versions and unit.reading is not None:
        step, target = Step.SET_VERSIONS, replace(target, versions=versions, batching=None)
        present = replace(present, versions=unit.reading.versions)
    if step is Step.SET_INSTANCES and draft.binding is ReasonCode.IN_PLACE:
        draft = draft.because(Reason(ReasonCode.RECONCILE, {}, {"why": "the server has another count"}))
    if step in _MENDED and target.loaded and unit.reading is not None:
        draft, step, state = _mended(unit.reading, state, draft, step, policy, now)
    hindrance, state = _hindrance(unit, state, draft, step, now)
    hindrance = hindrance or _no_room(unit, draft, step, present, target)
    if hindrance is not None:
        draft, step = draft.because(hindrance), Step.HOLD
    if step is not Step.HOLD and now < state.retry_at:
        reason = Reason(ReasonCode.BACK_OFF, {"failures": float(state.failures), "left_s": state.retry_at - now})
        draft, step = draft.because(reason), Step.HOLD
    if step in _LOADING and state.rollout is not None:
        target = replace(target, versions=state.rollout.versions)
    # Whoever pinned a model did not ask for its reload: in `recommend` that stays a recommendation.
    by_person = step is Step.SET_VERSIONS or (
        step not in (Step.RELOAD, Step.CONFIGURE) and (draft.by_person or _asked(draft))
    )
    decision = _decision(unit, step, present, target, draft.reasons, draft.binding, now, by_person=by_person)
    raises = step is Step.SET_INSTANCES and target.instances > present.instances
    if raises and decision.actionable and demand is not None:
        intervals = unit.reading.intervals if unit.reading is not None else ()
        before_per_s = effects.throughput_per_s(intervals, state.changed_at)
        expectation = Expectation(decision.id, present.instances, target.instances, 0.0, before_per_s, now)
        state = replace(state, expectation=expectation)
    elif step is not Step.HOLD:
        state = replace(state, expectation=None)
    return decision, state


def _mended(
    reading: ModelReading, state: UnitState, draft: Draft, step: Step, policy: Policy, now: float
) -> tuple[Draft, Step, UnitState]:
    """A reload in place of the step where the backend is dead, or where something else is loaded than configured."""
    dead = dead_backend(reading.intervals, policy, state.changed_at, now)
    if dead is not None:
        draft = draft.because(Reason(ReasonCode.DEAD_BACKEND, {"failures": float(dead[0]), "share": dead[1]}))
        step, state = _heal(state, policy, now)
    elif step is Step.HOLD and reading.outdated:
        draft, step = draft.because(_outdated(reading.outdated)), Step.RELOAD
    return draft, step, state


def _no_room(unit: Unit, draft: Draft, step: Step, present: Target, target: Target) -> Reason | None:
    """The memory that stands against a step, whoever asked for it. A backend that died has given its own back."""
    dead = step is Step.RELOAD and any(reason.code is ReasonCode.DEAD_BACKEND for reason in draft.reasons)
    return None if dead or doubt.tries(draft, step) else fits.no_room(unit, step, present, target)


def _hindrance(unit: Unit, state: UnitState, draft: Draft, step: Step, now: float) -> tuple[Reason | None, UnitState]:
    """What stands against an unload, and the state with since when the gateway is told to drop the model.

    Whose word is to unload is not kept waiting by a gateway.
    """
    if step is not Step.UNLOAD:
        return None, state if state.leaving_since is None else replace(state, leaving_since=None)
    since = now if state.leaving_since is None else state.leaving_since
    return (None if draft.by_person else placed.still_routed(unit, since)), replace(state, leaving_since=since)


def _to_versions(unit: Unit, state: UnitState, draft: Draft, step: Step) -> tuple[Draft, tuple[str, ...]]:
    """The draft with where a rollout stands, and the versions to be set now, with the instances; none: no such step."""
    reason = rollout.reason(unit, state.rollout)
    if reason is None:
        return draft, ()
    versions = rollout.wanted(unit, state.rollout) if step in _MENDED else ()
    return (draft.because(reason), versions) if versions else (draft.noting(reason), ())


def _step_between(present: Target, target: Target) -> Step:
    if target.loaded != present.loaded:
        return Step.LOAD if target.loaded else Step.UNLOAD
    if target.instances != present.instances:
        return Step.SET_INSTANCES
    return Step.HOLD if target.batching is None else Step.CONFIGURE


def _outdated(loaded: str) -> Reason:
    return Reason(ReasonCode.RECONCILE, {}, {"why": f"the server has {loaded}, the configuration another"})


def _heal(state: UnitState, policy: Policy, now: float) -> tuple[Step, UnitState]:
    """A full reload, unless one was tried lately: a backend that dies again at once is not mended by more reloads."""
    if state.healed_at and now - state.healed_at < policy.back_off_max_s:
        wait_s = state.healed_at + policy.back_off_max_s
        return Step.RELOAD, replace(state, retry_at=max(state.retry_at, wait_s), failures=max(1, state.failures))
    return Step.RELOAD, state


def _asked(draft: Draft) -> bool:
    """A client's `ensure` is an explicit request, so it is carried out in `recommend` mode too, inside the bounds."""
    return any(reason.code is ReasonCode.WANTED for reason in draft.reasons)


def _decision(
    unit: Unit,
    step: Step,
    current: Target | None,
    target: Target | None,
    reasons: tuple[Reason, ...],
    binding: ReasonCode,
    now: float,
    *,
    by_person: bool = False,
) -> Decision:
    name = f"{unit.spec.name}@{unit.server.name}|{now!r}"
    return Decision(
        id=f"d-{hashlib.sha256(name.encode()).hexdigest()[:12]}",
        at=now,
        model=unit.spec.name,
        server=unit.server.name,
        mode=unit.spec.mode,
        step=step,
        current=current,
        target=target,
        reasons=reasons,
        binding=binding,
        by_person=by_person,
    )
