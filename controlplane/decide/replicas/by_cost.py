"""Workloads that serve one model, such as on other GPUs or quantised: the mix that holds its demand at the least cost.

What each is seen to serve is added up, so that it does not matter how the routing shares the load now; what each is to
hold follows from the mix, and the routing has to follow capacity. Nothing is taken away before what is to take its load
is ready, nor before the mix had a whole dwell of demand to look at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from controlplane.decide.forecast import announced
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.pool import lead_s
from controlplane.decide.replicas.scaled import Scaled
from controlplane.decide.variants import Mix, Variant, mix
from controlplane.domain.decision import Reason, ReasonCode
from controlplane.domain.fleet import Mode, ModelSpec, Sharing

# A switch to another variant must be paid back in so long.
_PAYBACK_S = 1800.0
# Replicas that have less to do say little about what they can.
_TELLING = 0.1


def by_cost(scaled: Sequence[Scaled], models: Iterable[ModelSpec], policy: Policy, now: float) -> list[Scaled]:
    """The workloads with their part of the mix, where they share a model by cost; all others as they are.

    As they are too while it is not known who the servers of one are, or what one of them does.
    """
    found = {one.name: one for one in scaled}
    for model in models:
        mine = [found[name] for name in model.workloads if name in found]
        if model.variants is Sharing.BY_COST and len(mine) == len(model.workloads) and model.mode is not Mode.OBSERVE:
            found |= {one.name: one for one in _shared(model.name, [_noted(m, policy, now) for m in mine], policy, now)}
    return [found[one.name] for one in scaled]


def _noted(one: Scaled, policy: Policy, now: float) -> Scaled:
    """With what it is to hold, as it is decided on its own, noted; nothing is where that is not known."""
    seen, ahead = one.numbers(ReasonCode.REPLICA_DEMAND), one.numbers(ReasonCode.DEMAND_AHEAD)
    capacity_per_s = one.state.capacity_per_s
    if seen.get("demand_replicas", 0.0) >= _TELLING:
        capacity_per_s = seen["capacity_per_s"]
    kept = tuple(entry for entry in one.state.ahead if entry[0] > now - policy.replicas_down_after_s - 1.0)
    if not one.pool.serving:
        # its part of what was announced, of which nobody there tells
        announced_per_s, _ = announced(one.pool.events, now, lead_s(one.state.startups) + policy.horizon_s, None, 0.0)
        kept = (*kept, (now, announced_per_s))
    elif ahead and one.pool.told(now, policy.data_max_age_s / 2) >= {m.server.name for m in one.pool.serving}:
        replicas = ahead["replicas"] + seen["waiting_replicas_s"] / max(policy.backlog_drain_s, ahead["lead_s"])
        if seen["needed_replicas"] > max(1, math.ceil(replicas)):
            # requests were turned away
            replicas = seen["needed_replicas"]
        kept = (*kept, (now, seen["arrivals_per_s"] if capacity_per_s is None else replicas * capacity_per_s))
    return replace(one, state=replace(one.state, ahead=kept, capacity_per_s=capacity_per_s))


def _shared(model: str, mine: Sequence[Scaled], policy: Policy, now: float) -> Sequence[Scaled]:
    by_time = [dict(one.state.ahead) for one in mine]
    totals = {at: sum(known[at] for known in by_time) for at in by_time[0] if all(at in known for known in by_time)}
    if now not in totals:
        return mine
    demand_per_s = max(totals.values())
    if any(one.pool.serving and one.state.capacity_per_s is None for one in mine):
        return mine
    best = mix([_variant(one, demand_per_s, policy, now) for one in mine], demand_per_s, _PAYBACK_S)
    if not any(best.replicas):
        # to zero only as each decides on its own: idle so long, with a wake source
        return mine
    hold = ""
    if now - min(totals) < policy.replicas_down_after_s - 1.0:
        hold = f"nothing is taken away before that held for {policy.replicas_down_after_s:.0f} s"
    elif any(n > len(one.pool.serving) for one, n in zip(mine, best.replicas, strict=True)):
        hold = "nothing is taken away before those are ready"
    return [
        _part(model, one, n, best, hold, demand_per_s, policy, now, mine)
        for one, n in zip(mine, best.replicas, strict=True)
    ]


def _variant(one: Scaled, demand_per_s: float, policy: Policy, now: float) -> Variant:
    """With bounds in which the mix is to be found: more than hold all of the demand are never the cheapest."""
    pool, capacity_per_s = one.pool, one.state.capacity_per_s
    low, high = one.least(policy, now), pool.bounds.most
    if capacity_per_s is not None:
        high = min(high, max(low, math.ceil(demand_per_s / capacity_per_s)))
    if one.numbers(ReasonCode.UNFULFILLED):
        high = max(low, min(high, one.replicas))
    if pool.freezes or one.decision.by_person:
        low = high = one.replicas
    if pool.scaling.owner:
        low = high = pool.present
    spec = pool.spec
    price = float(spec.gpus_per_replica) if spec.price_per_h is None else spec.price_per_h
    return Variant(one.name, capacity_per_s, price, lead_s(one.state.startups), low, high, pool.present)


def _part(
    model: str,
    one: Scaled,
    replicas: int,
    best: Mix,
    hold: str,
    demand_per_s: float,
    policy: Policy,
    now: float,
    mine: Sequence[Scaled],
) -> Scaled:
    present = one.pool.present
    names = ", ".join(f"{each.name} {n}" for each, n in zip(mine, best.replicas, strict=True))
    words = {"model": model, "mix": names}
    if replicas < present and hold:
        replicas, words["why"] = present, hold
    replicas = min(replicas, max(present + policy.max_step_up, 2 * present))
    price = _variant(one, demand_per_s, policy, now).price_per_capacity
    numbers = {"demand_per_s": demand_per_s, "price_per_capacity": price}
    if not math.isfinite(price):
        del numbers["price_per_capacity"]
        words.setdefault("why", "what a replica holds here is not known")
    reason = Reason(ReasonCode.BY_COST, numbers, words)
    return one.noting(reason) if replicas == one.replicas else one.at(replicas, reason)
