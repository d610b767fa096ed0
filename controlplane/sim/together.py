"""Several models, each on replicas of its own, that share one quota of GPUs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np

from controlplane.domain.errors import PermanentError
from controlplane.domain.fleet import Quota
from controlplane.sim.faults import Disturbance
from controlplane.sim.ours.fleet import Served
from controlplane.sim.ours.plane import Plane
from controlplane.sim.peers.registry import entry
from controlplane.sim.runner import HELD_S, READ_S, Control, Lane, Outcome
from controlplane.sim.world import World

OURS = "ours"


@dataclass(frozen=True, slots=True, eq=False)
class Tenant:
    """A model: its load, what it runs on, and its priority."""

    name: str
    world: World
    priority: int = 0

    @property
    def gpus(self) -> int:
        """Of one replica."""
        return self.world.setting.model.service.gpus


Decide = Callable[[Mapping[str, Lane]], Mapping[str, int]]
"""Replicas wanted now by model, without those about which nobody decides now."""


def run_together(tenants: Sequence[Tenant], policy: str, knob: float | None, quota_gpus: int) -> dict[str, Outcome]:
    """What a policy does for each model, of which all together never have more GPUs than the quota.

    Ours decides on all of them at once and knows the quota. Any other policy scales each model by itself and knows of
    no other; a replica starts where GPUs are free, first come, first served, in the order of `tenants` where two ask
    at once. A replica that ends has its GPUs until it is gone. `knob` None: the policy's preset. Raises PermanentError
    where the quota is less than what the models begin with, and NotFoundError for a policy that there is not.
    """
    entry(policy)
    begins = sum(tenant.world.initial * tenant.gpus for tenant in tenants)
    if begins > quota_gpus:
        raise PermanentError(f"a quota of {quota_gpus} GPUs; the models begin with {begins}")
    lanes = {tenant.name: tenant.world.lane() for tenant in tenants}
    gpus = {tenant.name: tenant.gpus for tenant in tenants}
    end_s = max(lane.end_s for lane in lanes.values())
    with ExitStack() as stack:
        decide = (_ours if policy == OURS else _apart)(stack, tenants, policy, knob, quota_gpus)
        for now_s in np.arange(0.0, end_s, READ_S).tolist():
            for lane in lanes.values():
                lane.advance(now_s)
            free = quota_gpus - sum(lane.there * gpus[name] for name, lane in lanes.items())
            for name, wanted in decide(lanes).items():
                free -= max(0, lanes[name].carry_out(wanted, max(0, free) // gpus[name])) * gpus[name]
    return {tenant.name: lanes[tenant.name].outcome(tenant.world.serving.is_inside, end_s) for tenant in tenants}


def _ours(stack: ExitStack, tenants: Sequence[Tenant], policy: str, knob: float | None, quota_gpus: int) -> Decide:
    served = {tenant.name: Served(tenant.world.setting, tenant.priority) for tenant in tenants}
    burn = entry(policy).preset(tenants[0].world.setting) if knob is None else knob
    plane = stack.enter_context(closing(Plane(served, burn, quota=Quota(quota_gpus))))
    for tenant in tenants:
        if len(tenant.world.before):
            plane.warm(tenant.name, tenant.world.before)
    due_s = HELD_S

    def decide(lanes: Mapping[str, Lane]) -> Mapping[str, int]:
        nonlocal due_s
        histories = {name: lane.history for name, lane in lanes.items()}
        if next(iter(histories.values())).now.at_s < due_s:
            return {}
        due_s += plane.interval_s
        return plane.decide(histories)

    return decide


def _apart(stack: ExitStack, tenants: Sequence[Tenant], policy: str, knob: float | None, quota_gpus: int) -> Decide:
    del quota_gpus
    controls = {}
    for tenant in tenants:
        setting = tenant.world.setting
        made = entry(policy).make(entry(policy).preset(setting) if knob is None else knob, setting)
        controls[tenant.name] = stack.enter_context(closing(Control(made, Disturbance((), tenant.world.seed))))

    def decide(lanes: Mapping[str, Lane]) -> Mapping[str, int]:
        wanted = {name: control.decide(lanes[name].history) for name, control in controls.items()}
        return {name: count for name, count in wanted.items() if count is not None}

    return decide
