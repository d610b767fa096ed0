"""The decision about the replicas of one workload: how many, and why."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from controlplane.decide import expected, people
from controlplane.decide.forecast import State, announced
from controlplane.decide.policy import Policy
from controlplane.decide.replicas import seasons
from controlplane.decide.replicas.ahead import STEP_S, noted
from controlplane.decide.replicas.hands import handed, unscheduled_words
from controlplane.decide.replicas.idle import idle_reason
from controlplane.decide.replicas.need import Need, need_of, one_fewer, reasons
from controlplane.decide.replicas.pool import Pool, due, identity, lead_s, remember, work_of
from controlplane.decide.replicas.work import LEVEL_S
from controlplane.decide.unit import Draft
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Member, Mode
from controlplane.domain.state import DemandPoint, WorkloadState

# A replica that starts counts until twice the time that nine tenths take.
_OVERDUE = 2.0
# After so long without a decision on what was seen a dwell begins anew.
_GAP_S = 120.0


def decide_pool(
    pool: Pool, state: WorkloadState, forecast: State | None, policy: Policy, now: float
) -> tuple[Decision, WorkloadState, State | None]:
    """How many replicas there should be, and the state and the forecast for the next tick.

    `state` is that after the outcomes of its last steps (see decide/replicas/steps.py).
    Up at once, by what is asked for and not yet there counted as there; down only when fewer were enough for the whole
    dwell, all servers told what they do, and what is left holds the demand for as long as it takes to get one back.
    """
    # what was asked for stands until less is decided, though it has not come or has gone
    standing = max(pool.present, state.asked or 0)
    base = Target(loaded=standing > 0, instances=standing)
    draft = Draft(base, (), ReasonCode.IN_PLACE)
    if pool.mode is Mode.OBSERVE:
        draft = draft.because(Reason(ReasonCode.MODE, {}, {"mode": pool.mode.value}))
        return _decided(pool, draft, now), state, forecast
    state = remember(pool, state)
    starting = {identity(member): state.starting.get(identity(member), now) for member in pool.starting}
    state = replace(state, starting=starting)
    told = pool.told(now, policy.data_max_age_s)
    if pool.serving and not told:
        draft, state = _blind(draft, state, policy, now)
    elif not pool.serving:
        draft = _none_serving(pool, state, draft, policy, now)
    else:
        state = replace(state, blind_since=None)
        draft, state, forecast = _seen(pool, state, forecast, draft, told, policy, now)
    draft = _scheduled(pool, state, _within(pool, draft), policy, now)
    draft = people.freeze(draft, base, pool.freezes, now)
    draft = people.override(draft, base, pool.override, pool.bounds.least, now, acts=pool.mode is Mode.ACT)
    state = replace(state, asked=draft.target.instances)
    return _decided(pool, draft, now), state, forecast


def _blind(draft: Draft, state: WorkloadState, policy: Policy, now: float) -> tuple[Draft, WorkloadState]:
    """Nothing is lowered; after a while what was needed most of late is the safe floor."""
    since = state.blind_since or now
    # time in which nothing was seen is no time without use
    state = replace(state, blind_since=since, used_at=now)
    why = {"why": "no server told what it does"}
    draft = draft.because(Reason(ReasonCode.DATA_MISSING, {"blind_s": now - since}, why))
    floor = max((count for _, count in state.wanted), default=0)
    if now - since < policy.blind_raise_after_s or floor <= draft.target.instances:
        return draft, state
    reason = Reason(ReasonCode.SAFE_FLOOR, {"instances": float(floor)})
    return draft.because(reason, Target(loaded=True, instances=floor)), state


def _none_serving(pool: Pool, state: WorkloadState, draft: Draft, policy: Policy, now: float) -> Draft:
    """Nobody serves: at least one is wanted where its wake source says so, or it may not be at zero.

    The last ones, which leave because nobody uses them, go on with that as long as nobody does.
    """
    if draft.target.loaded and pool.scaling.unscheduled:
        numbers = {"replicas": float(len(pool.scaling.unscheduled))}
        return draft.because(Reason(ReasonCode.UNFULFILLED, numbers, unscheduled_words(pool.scaling)))
    want = max((want for want in pool.wants), key=lambda w: w.at, default=None)
    if want is not None and want.at > (state.used_at or now - policy.scale_down_after_s) and pool.present == 0:
        reason = Reason(ReasonCode.WANTED, {}, {"actor": want.actor})
        return draft.because(reason, Target(loaded=True, instances=max(1, pool.bounds.least)))
    asked_per_s, name = announced(pool.events, now, lead_s(state.startups) + policy.horizon_s, None, 0.0)
    if name is not None and draft.target.instances == 0:
        draft = draft.because(expected.event_reason(asked_per_s, name), Target(loaded=True, instances=1))
    if pool.starting:
        return draft.because(Reason(ReasonCode.IN_FLIGHT, {}, {"why": "its first replicas are starting"}))
    if name is None and pool.draining and (idle := idle_reason(pool, state, now)) is not None:
        return draft.because(idle, Target(loaded=False, instances=0))
    return draft


def _seen(
    pool: Pool,
    state: WorkloadState,
    forecast: State | None,
    draft: Draft,
    told: frozenset[str],
    policy: Policy,
    now: float,
) -> tuple[Draft, WorkloadState, State | None]:
    work = work_of(pool, state, now, policy.data_max_age_s)
    if work is None:
        state = replace(state, used_at=now)
        return draft.because(Reason(ReasonCode.CAPACITY_UNKNOWN)), state, forecast
    # one that has just become ready carries next to nothing yet
    carrying = [m for m in pool.serving if m.server.name in told or not _is_new(m, policy, now)]
    scale = len(carrying) / len(told)
    point = DemandPoint(now, work.level * scale, work.newest * scale)
    if pool.read_since(now - LEVEL_S):
        # what is told of a shorter time moves more than demand does
        state = replace(state, history=noted(state.history, point))
    if work.arrivals_per_s > 0 or work.newest > 0 or state.used_at is None or len(told) < len(pool.serving):
        state = replace(state, used_at=now)
    forecast = seasons.noted(forecast, now, work.arrivals_per_s * scale, partial=scale > 1)
    # what is old enough to decide on is too old to take something away by
    fresh = pool.told(now, policy.data_max_age_s / 2)
    need = need_of(pool, state, forecast, work, point, policy, partial=len(fresh) < len(pool.serving))
    for reason in reasons(need):
        draft = draft.noting(reason)
    draft, state = _settle(pool, state, draft, need, policy, now)
    if draft.target.instances > 1:
        draft = draft.noting(one_fewer(need, draft.target.instances))
    return draft, state, forecast


def _settle(
    pool: Pool, state: WorkloadState, draft: Draft, need: Need, policy: Policy, now: float
) -> tuple[Draft, WorkloadState]:
    present = draft.target.instances
    idle = None if need.partial or need.event is not None else idle_reason(pool, state, now)
    wanted = pool.bounds.least if idle is not None else need.replicas
    # time in which some told nothing is no time in which fewer were enough
    stays = wanted if idle is not None else max(need.stays, present if need.partial else 0)
    state = replace(state, wanted=_dwelt(state, stays, policy, now))
    if wanted > present:
        return _up(pool, state, draft, need, policy, now)
    if pool.present >= present and not _overdue(pool, state, need, now):
        state = replace(state, refused=0, retry_at=0.0)
    elif wanted == present:
        return draft.because(_unfulfilled(pool, state, need, present, now)), state
    if wanted == present:
        return _bound(draft, ReasonCode.DEMAND_AHEAD), state
    return _down(draft, state, need, idle, wanted, policy, now), state


def _down(
    draft: Draft, state: WorkloadState, need: Need, idle: Reason | None, wanted: int, policy: Policy, now: float
) -> Draft:
    """Fewer, where nothing speaks against it."""
    if idle is not None:
        return draft.because(idle, Target(loaded=wanted > 0, instances=wanted))
    lowest = max(count for _, count in state.wanted)
    if need.partial:
        words = {"why": "some servers told nothing: no replica is taken away"}
        return draft.because(Reason(ReasonCode.DATA_PARTIAL, {}, words))
    waited_s = 0.0 if lowest >= draft.target.instances else now - state.wanted[0][0]
    if waited_s < policy.replicas_down_after_s - 1.0:
        numbers = {"needed": float(wanted), "waited_s": waited_s, "dwell_s": policy.replicas_down_after_s}
        return draft.because(Reason(ReasonCode.DWELL, numbers))
    reason = Reason(ReasonCode.CONSOLIDATION, {"replicas": float(lowest), "lead_s": need.lead_s, "dwell_s": waited_s})
    return draft.because(reason, Target(loaded=True, instances=max(1, lowest)))


def _bound(draft: Draft, code: ReasonCode) -> Draft:
    return Draft(draft.target, draft.reasons, code, draft.by_person)


def _up(
    pool: Pool, state: WorkloadState, draft: Draft, need: Need, policy: Policy, now: float
) -> tuple[Draft, WorkloadState]:
    present = draft.target.instances
    missing = present - pool.present + _overdue(pool, state, need, now)
    draft = _bound(draft, need.binding)
    if missing and now < state.retry_at:
        return draft.because(_unfulfilled(pool, state, need, present, now)), state
    refused = state.refused + 1 if missing else 0
    if refused:
        wait_s = min(policy.back_off_max_s, max(policy.back_off_min_s, need.lead_s) * 2 ** min(refused - 1, 10))
        state = replace(state, refused=refused, retry_at=now + wait_s)
    limit = max(present + policy.max_step_up, 2 * present)
    wanted = need.replicas
    if wanted > limit:
        draft = draft.because(Reason(ReasonCode.STEP_LIMIT, {"needed": float(wanted), "limit": float(limit)}))
        wanted = limit
    return Draft(Target(loaded=True, instances=wanted), draft.reasons, draft.binding), state


def _unfulfilled(pool: Pool, state: WorkloadState, need: Need, present: int, now: float) -> Reason:
    missing = present - pool.present + _overdue(pool, state, need, now)
    left_s = max(0.0, state.retry_at - now)
    numbers = {"replicas": float(missing), "lead_s": need.lead_s, "left_s": left_s}
    return Reason(ReasonCode.UNFULFILLED, numbers, unscheduled_words(pool.scaling))


def _overdue(pool: Pool, state: WorkloadState, need: Need, now: float) -> int:
    """Replicas that should have been ready long ago; one that was ready before is not starting up.

    Of one that does not tell when it was created it counts from when it was first seen.
    """
    latest = now - _OVERDUE * need.lead_s
    starting = (m for m in pool.starting if identity(m) not in state.ready)
    since = (state.starting.get(identity(m), now) if m.created_at is None else m.created_at for m in starting)
    return sum(1 for at in since if at < latest)


def _is_new(member: Member, policy: Policy, now: float) -> bool:
    return member.ready_at is not None and now - member.ready_at < policy.data_max_age_s


def _dwelt(state: WorkloadState, wanted: int, policy: Policy, now: float) -> tuple[tuple[float, int], ...]:
    """What was wanted in the dwell, and the newest before it: it held until the dwell began. A gap begins it anew."""
    since = now - policy.replicas_down_after_s
    if state.wanted and now - state.wanted[-1][0] > _GAP_S:
        return ((now, wanted),)
    inside = [entry for entry in state.wanted if entry[0] > since]
    before = [entry for entry in state.wanted if entry[0] <= since][-1:]
    if len(inside) > 1 and now - inside[-2][0] < STEP_S + 1.0:
        # decisions in quick succession see the same load: more of them must not find more of its peaks
        inside = inside[:-1]
    return (
        *((since, count) for _, count in before if not inside or inside[0][0] > since + 1.0),
        *inside,
        (now, wanted),
    )


def _within(pool: Pool, draft: Draft) -> Draft:
    low, high = pool.bounds.least, pool.bounds.most
    clamped = max(low, min(high, draft.target.instances))
    if clamped == draft.target.instances:
        return draft
    numbers = {"wanted": float(draft.target.instances), "min": float(low), "max": float(high)}
    return draft.because(Reason(ReasonCode.BOUNDS, numbers), Target(loaded=clamped > 0, instances=clamped))


def _scheduled(pool: Pool, state: WorkloadState, draft: Draft, policy: Policy, now: float) -> Draft:
    """No fewer than the schedules say."""
    floor = due(pool, state.startups, policy, now)
    if floor is None or floor.least <= draft.target.instances:
        return draft
    return draft.because(expected.scheduled(floor, now), Target(loaded=True, instances=floor.least))


def _decided(pool: Pool, draft: Draft, now: float) -> Decision:
    present = Target(loaded=pool.present > 0, instances=pool.present)
    step = Step.HOLD if draft.target.instances == present.instances else Step.SCALE
    model = pool.models[0].name
    name = f"{model}@{pool.spec.name}|{now!r}"
    decision = Decision(
        id=f"d-{hashlib.sha256(name.encode()).hexdigest()[:12]}",
        at=now,
        model=model,
        server=pool.spec.name,
        mode=pool.mode,
        step=step,
        current=present,
        target=draft.target,
        reasons=draft.reasons,
        binding=draft.binding,
        by_person=draft.by_person,
    )
    return handed(pool, decision)
