"""All workloads under one quota of GPUs: what was decided about each, cut where there are not enough.

The quota wins over everything, what runs now included: the replicas decided on never need more GPUs than it has. Who is
cut follows the same order as a decision does: an override stands before a freeze, that before bounds, these before
what the policy wants (see decide/arbitrate.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import NormalDist

from controlplane.decide.arbitrate import Taken, Wish, arbitrate
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.scaled import Scaled
from controlplane.domain.decision import ReasonCode
from controlplane.domain.fleet import Fleet, Mode, Phase, Quota, WorkloadSpec
from controlplane.domain.state import PolicyState

_NORMAL = NormalDist()


def under_quota(
    scaled: Sequence[Scaled], taken: Sequence[Taken], quota: Quota, policy: Policy, now: float
) -> list[Scaled]:
    """The workloads with what the quota leaves them. Those in mode `observe` are counted, and not cut.

    Of those whose decision nobody carries out, what runs counts too, where that is more than was decided.
    """
    wishes = [_wish(one, policy, now) for one in scaled if one.pool.mode is not Mode.OBSERVE]
    seen = [_taken(one.pool.spec, one.pool.present) for one in scaled if one.pool.mode is Mode.OBSERVE]
    cuts = {grant.workload: grant for grant in arbitrate(wishes, quota, (*taken, *seen)) if grant.cut is not None}
    return [
        one.at(cut.granted, cut.cut)
        if (cut := cuts.get(one.name)) is not None and cut.cut is not None and cut.granted < one.replicas
        else one
        for one in scaled
    ]


def taken_by_others(fleet: Fleet, state: PolicyState, scaled: Iterable[str]) -> list[Taken]:
    """GPUs of the workloads about which nothing is decided now.

    Where it is not known who the members of one are, those that were decided on last, at least its fewest.
    """
    decided, found = frozenset(scaled), []
    for spec in fleet.workloads:
        if spec.name in decided:
            continue
        members = [m for m in fleet.members.values() if m.workload == spec.name and m.phase is not Phase.TERMINATING]
        replicas = len(members)
        if spec.name in fleet.unlisted and spec.replicas is not None:
            known = state.workloads.get(spec.name)
            replicas = max(spec.replicas.least, (known.asked if known is not None else None) or 0)
        found.append(_taken(spec, replicas))
    return found


def _taken(spec: WorkloadSpec, replicas: int) -> Taken:
    return Taken(spec.name, replicas * spec.gpus_per_replica, spec.gpu)


def _wish(one: Scaled, policy: Policy, now: float) -> Wish:
    pool = one.pool
    wanted = one.replicas if one.carried_out else max(one.replicas, pool.present)
    may_shrink = one.carried_out and one.may_shrink(now, policy.data_max_age_s)
    return Wish(
        one.name,
        current=pool.present,
        wanted=wanted,
        # less than its fewest only where a freeze keeps it there
        floor=min(one.least(policy, now), one.replicas),
        held=0 if may_shrink else min(pool.present, wanted),
        told=wanted if one.decision.by_person else None,
        gpus_per_replica=pool.spec.gpus_per_replica,
        priority=max(model.priority for model in pool.models),
        gains=_gains(one),
        gpu=pool.spec.gpu,
    )


def _gains(one: Scaled) -> tuple[float, ...]:
    """The share of its requests that each replica adds, none where its demand is not known.

    Demand in replicas is taken to be normal about what is seen, with the deviation of its moves: n replicas serve
    E[min(D, n)] of it, and the n-th adds the difference.
    """
    seen, ahead = one.numbers(ReasonCode.REPLICA_DEMAND), one.numbers(ReasonCode.DEMAND_AHEAD)
    mean, spread = seen.get("demand_replicas", 0.0), ahead.get("spread_replicas", 0.0)
    if mean <= 0 or spread <= 0:
        return ()

    def served(replicas: int) -> float:
        z = (mean - replicas) / spread
        return mean - spread * (z * _NORMAL.cdf(z) + _NORMAL.pdf(z))

    gains = ((served(n) - served(n - 1)) / mean for n in range(1, one.replicas + 1))
    return tuple(gain if math.isfinite(gain) else 0.0 for gain in gains)
