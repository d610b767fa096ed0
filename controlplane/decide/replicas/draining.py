"""Replicas leave in two steps: out of traffic first, and for good once they have ended what they had.

Each tick looks at who is out of traffic and at what is wanted now, whoever took them out, and when: they go, or they
are put back. One lot leaves after another: who is out goes before more are taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from controlplane.decide.policy import Policy
from controlplane.decide.replicas.idle import quiet_s
from controlplane.decide.replicas.pool import Pool, identity
from controlplane.decide.replicas.scaled import Scaled
from controlplane.decide.replicas.steps import was_not_put_back
from controlplane.domain.decision import Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import KubernetesQuery, Member, Phase, ServerKind
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.scaling import IN_ORDER, Drain
from controlplane.domain.signal import Known

_GONE = frozenset({ModelState.UNLOADED, ModelState.ABSENT})


def drained(one: Scaled, policy: Policy, now: float) -> Scaled:
    """The same, with what leads up to fewer replicas in their place, or takes it back, where replicas are drained."""
    drain, pool = one.pool.spec.drain, one.pool
    if drain is None:
        # what was taken out while they were drained is put back first, whatever is wanted
        one = replace(one, state=replace(one.state, leaving={}))
        return _put_back(one) if pool.draining and pool.spec.names_object else one
    first = _first(pool)
    leaving = {identity(member): one.state.leaving.get(identity(member), now) for member in first}
    one = replace(one, state=replace(one.state, leaving=leaving))
    down = one.decision.actionable and one.replicas < pool.present
    # who is out of traffic does not wait there for another try
    if down and not (pool.draining and now < one.state.act_at):
        return _down(one, first, drain, policy, now)
    return _put_back(one) if pool.draining else one


def _first(pool: Pool) -> tuple[Member, ...]:
    """Replicas that go before all others: those out of traffic, and those not ready where its kind takes them first."""
    in_order = isinstance(pool.spec.query, KubernetesQuery) and pool.spec.query.kind in IN_ORDER
    return pool.draining if in_order else (*pool.draining, *pool.starting)


def _down(one: Scaled, first: Sequence[Member], drain: Drain, policy: Policy, now: float) -> Scaled:
    pool, lowest = one.pool, one.pool.present - len(first)
    if not first or (pool.draining and one.replicas > lowest):
        count = float(pool.present - one.replicas)
        return _traffic(one, one.replicas, _waiting(count, count, 0.0, drain), asked=pool.present)
    served = [m for m in first if m.phase is Phase.DRAINING or identity(m) in one.state.ready]
    busy = [m for m in served if not _has_ended(one, m, drain, policy, now)]
    since = {identity(m): now - one.state.leaving[identity(m)] for m in busy}
    if any(waited_s < drain.timeout_s for waited_s in since.values()):
        reason = _waiting(float(len(served)), float(len(busy)), max(since.values()), drain)
        decision = replace(one.decision, step=Step.HOLD, reasons=(*one.decision.reasons, reason), binding=reason.code)
        return replace(one, decision=decision, state=replace(one.state, asked=pool.present))
    target = max(one.replicas, lowest)
    decision = replace(one.decision, target=Target(loaded=target > 0, instances=target))
    if served:
        cut = {"cut": float(len(busy)), "timeout_s": drain.timeout_s} if busy else {}
        reason = Reason(ReasonCode.DRAINED, {"replicas": float(len(served)), **cut})
        decision = replace(decision, reasons=(*decision.reasons, reason), binding=reason.code)
    return replace(one, decision=decision, state=replace(one.state, asked=target))


def _put_back(one: Scaled) -> Scaled:
    """Put back who is out of traffic; where that has just failed, more that are wanted come first."""
    if one.decision.actionable and one.replicas > one.pool.present and any(map(was_not_put_back, one.pool.results)):
        return one
    reason = Reason(ReasonCode.PUT_BACK, {"replicas": float(len(one.pool.draining))})
    present = one.pool.present
    return _traffic(one, present, reason, asked=max(present, one.before.asked or 0))


def _traffic(one: Scaled, replicas: int, reason: Reason, *, asked: int) -> Scaled:
    """Have so many in traffic, in place of what is decided."""
    there = one.pool.present - len(one.pool.draining)
    decision = replace(
        one.decision,
        step=Step.TRAFFIC,
        current=Target(loaded=there > 0, instances=there),
        target=Target(loaded=replicas > 0, instances=replicas),
        reasons=(*one.decision.reasons, reason),
        binding=reason.code,
    )
    return replace(one, decision=decision, state=replace(one.state, asked=asked))


def _waiting(replicas: float, left: float, waited_s: float, drain: Drain) -> Reason:
    numbers = {"replicas": replicas, "left": left, "waited_s": waited_s, "timeout_s": drain.timeout_s}
    return Reason(ReasonCode.DRAINING, numbers)


def _has_ended(one: Scaled, member: Member, drain: Drain, policy: Policy, now: float) -> bool:
    """Whether each model is known to hold no request on it, by readings made since none could come any more."""
    after = one.state.leaving[identity(member)] + drain.settle_s
    if now < after:
        return False
    for model in one.pool.models:
        reading = one.pool.readings.get(model.name, {}).get(member.server.name)
        if reading is None:
            return False
        if one.pool.spec.kind is ServerKind.TRITON:
            still_s = quiet_s(one.state.services, model.name)
            # what is known is no older than that
            unloaded = reading.state in _GONE and now - after >= policy.data_max_age_s
            if not unloaded and not _is_quiet(reading, after, still_s):
                return False
        elif not (_is_zero(reading.pending, after) and _is_zero(reading.running, after)):
            return False
    return True


def _is_zero(signal: object, after: float) -> bool:
    return isinstance(signal, Known) and signal.value == 0 and signal.observed_at >= after


def _is_quiet(reading: ModelReading, after: float, still_s: float) -> bool:
    """Whether nothing waits, and nothing waited or was answered in all that was read for so long."""
    read = [i for i in reading.intervals if i.start >= after]
    nothing = all(i.completed == 0 and i.pending_start == 0 and i.pending_end == 0 for i in read)
    return nothing and _is_zero(reading.pending, after) and sum(i.length_s for i in read) >= still_s
