"""A workload with what was decided about it on its own, before it is weighed against others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controlplane.decide.policy import Policy
from controlplane.decide.replicas.hands import handed
from controlplane.decide.replicas.pool import Pool, due
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import FreezeDirection
from controlplane.domain.state import WorkloadState


@dataclass(frozen=True, slots=True)
class Scaled:
    """`state` is that for the next tick, `before` the one that the decision rests on."""

    pool: Pool
    decision: Decision
    state: WorkloadState
    before: WorkloadState

    @property
    def name(self) -> str:
        """That of the workload."""
        return self.pool.spec.name

    @property
    def replicas(self) -> int:
        """How many there should be."""
        return self.decision.target.instances if self.decision.target is not None else self.pool.present

    def least(self, policy: Policy, now: float) -> int:
        """Its fewest, by bounds and schedules."""
        floor = due(self.pool, self.state.startups, policy, now)
        return self.pool.bounds.least if floor is None else max(self.pool.bounds.least, floor.least)

    def numbers(self, code: ReasonCode) -> Mapping[str, float]:
        """Those of its last reason of that code, none where there is no such."""
        return next((reason.numbers for reason in reversed(self.decision.reasons) if reason.code is code), {})

    @property
    def carried_out(self) -> bool:
        """Whether what is decided about it comes to be, by us or by whom it is published for."""
        acts = self.decision.mode is Mode.ACT or self.decision.by_person
        return acts and not self.pool.scaling.owner

    @property
    def frozen_down(self) -> bool:
        """Whether a freeze lets nobody take a replica away."""
        return any(f.direction in {FreezeDirection.ALL, FreezeDirection.NO_DOWN} for f in self.pool.freezes)

    def may_shrink(self, now: float, max_age_s: float) -> bool:
        """Whether others may take from it: no freeze holds it, and all its servers told of late what they do."""
        return not self.frozen_down and len(self.pool.told(now, max_age_s)) == len(self.pool.serving)

    def noting(self, reason: Reason) -> Scaled:
        """The same with a reason that changed nothing."""
        return replace(self, decision=replace(self.decision, reasons=(*self.decision.reasons, reason)))

    def at(self, replicas: int, reason: Reason) -> Scaled:
        """The same with so many replicas, which that reason settles."""
        step = Step.HOLD if replicas == self.pool.present else Step.SCALE
        decision = replace(
            self.decision,
            step=step,
            target=Target(loaded=replicas > 0, instances=replicas),
            reasons=(*self.decision.reasons, reason),
            binding=reason.code,
        )
        return replace(self, decision=handed(self.pool, decision), state=replace(self.state, asked=replicas))
