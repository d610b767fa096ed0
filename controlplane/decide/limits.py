"""How much may be changed at once: steps over what is allowed wait for a later tick, and say why.

A limit on changes within a minute, over the whole fleet, and one on the share of a group's servers that lose capacity
at a time (the group: a workload, or all listed servers that load and unload models). People's instructions are held by
neither, nor is what puts replicas back into traffic. Capacity that is raised goes first, then healing, then what is
taken away.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from controlplane.decide import circuit
from controlplane.decide.policy import Policy
from controlplane.domain.decision import OF_REPLICAS, Action, Decision, Reason, ReasonCode, Step, Target
from controlplane.domain.fleet import CONTROLLED, Fleet, Phase, workload_of
from controlplane.domain.state import Circuit

_MINUTE_S = 60.0


class Restraint:
    """What a plan has taken up so far of what may be done at once; `changes` are the moments of the last minute's."""

    def __init__(
        self,
        fleet: Fleet,
        circuits: Mapping[str, Circuit],
        changes: Sequence[float],
        in_flight: Iterable[Action],
        policy: Policy,
        now: float,
    ) -> None:
        self._circuits, self._policy, self._now = circuits, policy, now
        self.changes = tuple(at for at in changes if now - _MINUTE_S < at <= now)
        self._sizes: defaultdict[str, int] = defaultdict(int)
        for server in fleet.servers:
            member = fleet.members.get(server.name)
            counts = server.kind in CONTROLLED if member is None else member.phase is not Phase.TERMINATING
            self._sizes[workload_of(server.name)] += counts
        self._losing: defaultdict[str, set[str]] = defaultdict(set)
        self._going: defaultdict[str, int] = defaultdict(int)
        self._busy: set[str] = set()
        for action in in_flight:
            self._busy.add(action.server)
            if action.lowers:
                self._take(action.step, action.server, action.before, action.target)

    def plan(self, decisions: Sequence[Decision]) -> tuple[Decision, ...]:
        """The decisions in their order, those that are over a limit held or cut."""
        after = list(decisions)
        ready = [(d.by_person, d.lowers, d.step is Step.RELOAD, n) for n, d in enumerate(decisions) if d.actionable]
        for *_, n in sorted(ready, key=lambda r: (not r[0], r[1], not r[2], r[3])):
            after[n] = self._one(after[n])
        return tuple(after)

    def _one(self, decision: Decision) -> Decision:
        tried = decision.server in self._busy
        reason = circuit.hindrance(self._circuits.get(decision.server), self._now, tried=tried)
        if reason is not None:
            return held_by(decision, reason)
        takes_back = decision.step is Step.TRAFFIC and not decision.lowers
        if not decision.by_person and not takes_back:
            if len(self.changes) >= self._policy.changes_per_min:
                return held_by(decision, Reason(ReasonCode.CHANGE_RATE, {"changes": float(len(self.changes))}))
            decision = self._within_radius(decision) if decision.lowers else decision
            if not decision.actionable:
                return decision
            self.changes = (*self.changes, self._now)
        self._busy.add(decision.server)
        if decision.lowers:
            self._take(decision.step, decision.server, decision.current, decision.target)
        return decision

    def _within_radius(self, decision: Decision) -> Decision:
        scales = decision.step in OF_REPLICAS
        group = decision.server if scales else workload_of(decision.server)
        if decision.server in self._losing[group]:
            return decision
        most = max(1, math.floor(self._policy.max_share * self._sizes[group]))
        losing = len(self._losing[group]) + self._going[group]
        left, numbers = max(0, most - losing), {"losing": float(losing), "most": float(most)}
        if not scales or not left or decision.current is None or decision.target is None:
            return decision if left else held_by(decision, Reason(ReasonCode.BLAST_RADIUS, numbers))
        lowest = decision.current.instances - left
        if decision.target.instances >= lowest:
            return decision
        reason = Reason(ReasonCode.BLAST_RADIUS, {**numbers, "wanted": float(decision.target.instances)})
        target = Target(loaded=lowest > 0, instances=lowest)
        return replace(decision, target=target, reasons=(*decision.reasons, reason), binding=reason.code)

    def _take(self, step: Step, server: str, before: Target | None, target: Target | None) -> None:
        if step not in OF_REPLICAS:
            self._losing[workload_of(server)].add(server)
        elif before is not None and target is not None:
            self._going[server] += before.instances - target.instances


def held_by(decision: Decision, reason: Reason) -> Decision:
    """The decision, not to be carried out now; what should be stays what it is."""
    return replace(decision, step=Step.HOLD, reasons=(*decision.reasons, reason), binding=reason.code)
