"""A workload whose replicas are drained, as the decider sees it and as a ReplicaSet treats it, in virtual time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controlplane.act.kubernetes.draining import going_first
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.draining import drained
from controlplane.decide.replicas.pool import Pool
from controlplane.decide.replicas.scaled import Scaled
from controlplane.decide.replicas.steps import absorb, held
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import KubernetesQuery, Member, Phase, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import ModelReading
from controlplane.domain.scaling import OFF, Drain
from controlplane.domain.signal import Known, Signal
from controlplane.domain.state import WorkloadState
from tests.unit.decide.replicas import MODEL, NOW, SPEC, a_reading, decided, loaded

TICK_S = 15.0
DRAIN = Drain("controlplane/traffic", "on", timeout_s=60.0, settle_s=10.0)
POLICY = Policy()


def spec(kind: str = "Deployment", server: ServerKind = ServerKind.VLLM) -> WorkloadSpec:
    return replace(SPEC, kind=server, query=KubernetesQuery("default", kind=kind, name="llm", drain=DRAIN))


@dataclass
class Replica:
    """`holds`: requests under way, None: it tells nothing. `out_at`: since when its label says so."""

    number: int
    ready: bool = True
    holds: int | None = 0
    out_at: float | None = None
    born_at: float = NOW - 9000.0

    @property
    def name(self) -> str:
        return f"llm-{self.number}"

    def as_object(self) -> Mapping[str, Any]:
        labels = {DRAIN.key: DRAIN.value if self.out_at is None else OFF}
        conditions = [{"type": "Ready", "status": str(self.ready)}]
        return {"metadata": {"name": self.name, "labels": labels}, "status": {"conditions": conditions}}

    def as_member(self, of: WorkloadSpec) -> Member:
        phase = Phase.DRAINING if self.out_at is not None else Phase.READY if self.ready else Phase.STARTING
        ready_at = self.born_at + 30.0 if self.ready else None
        return Member(of.server(self.name, "10.0.0.1"), of.name, phase, self.born_at, ready_at, f"uid-{self.number}")

    def reading(self, now: float) -> ModelReading | None:
        if self.holds is None:
            return None
        seen: Signal[int] = Known(self.holds, now)
        return a_reading((loaded(now - TICK_S, now, 1.0),), running=seen, pending=Known(0, now))


@dataclass
class Fleet:
    """Replicas of one workload, what is wanted of them by a person, and the decider's memory."""

    of: WorkloadSpec = field(default_factory=spec)
    replicas: list[Replica] = field(default_factory=list)
    now: float = NOW
    wanted: int | None = None
    state: WorkloadState = field(default_factory=WorkloadState)
    results: tuple[Outcome, ...] = ()
    changes: Mapping[str, object] = field(default_factory=dict)
    gone: list[Replica] = field(default_factory=list)
    born: int = 0

    @classmethod
    def serving(cls, count: int, **more: Any) -> Fleet:
        fleet = cls(**more)
        fleet.born = count
        fleet.replicas = [Replica(n) for n in range(count)]
        fleet.decide()
        return fleet

    @property
    def out(self) -> list[str]:
        return [one.name for one in self.replicas if one.out_at is not None]

    def pool(self) -> Pool:
        readings = {f"{self.of.name}/{one.name}": one.reading(self.now) for one in self.replicas}
        told = {name: reading for name, reading in readings.items() if reading is not None}
        wish = None
        if self.wanted is not None:
            said = ("o", "", OverrideKind.REPLICAS, "ann", "fewer", self.now, self.now + 900.0)
            wish = Override(*said, instances=self.wanted, workload=self.of.name)
        members = tuple(one.as_member(self.of) for one in self.replicas)
        pool = Pool(self.of, ReplicaBounds(1, 50), (MODEL,), members, {MODEL.name: told}, override=wish)
        return replace(pool, results=self.results, **self.changes)  # type: ignore[arg-type]

    def decide(self) -> Decision:
        """As a tick does it."""
        pool = self.pool()
        before = absorb(pool, self.state, POLICY)
        one = Scaled(pool, *decided(pool, before, self.now), before)
        one = held(drained(one, POLICY, self.now), self.now)
        self.state, self.results = one.state, ()
        return one.decision

    def tick(self, *, fails: bool = False, seconds: float = TICK_S) -> Decision:
        """Decide and, unless that `fails`, carry out; then time passes."""
        decision = self.decide()
        if decision.actionable and decision.target is not None:
            if not fails:
                self._carry_out(decision.step, decision.target.instances)
            self.results = (self._outcome(decision, decision.target, fails=fails),)
        self.now += seconds
        return decision

    def going(self, replicas: int) -> list[Replica]:
        """Who goes, as a ReplicaSet or StatefulSet has it."""
        objects = [one.as_object() for one in self.replicas]
        assert isinstance(self.of.query, KubernetesQuery)
        names = going_first(self.of.query.kind, objects, replicas, self._loads(), DRAIN)
        first = [] if self.of.query.kind == "StatefulSet" else [one for one in self.replicas if not one.ready]
        return [*first[: max(0, len(objects) - replicas)], *(one for one in self.replicas if one.name in names)]

    def start(self) -> None:
        self.replicas.append(Replica(self.born, ready=False, holds=None, born_at=self.now))
        self.born += 1

    def _loads(self) -> dict[str, float]:
        return {one.name: float(one.holds) for one in self.replicas if one.holds is not None}

    def _carry_out(self, step: Step, replicas: int) -> None:
        if step is Step.TRAFFIC:
            objects = [one.as_object() for one in self.replicas]
            assert isinstance(self.of.query, KubernetesQuery)
            names = going_first(self.of.query.kind, objects, replicas, self._loads(), DRAIN)
            for one in self.replicas:
                one.out_at = None if one.name not in names else self.now if one.out_at is None else one.out_at
            return
        for one in self.going(replicas):
            self.replicas.remove(one)
            self.gone.append(one)
        while len(self.replicas) < replicas:
            self.start()

    def _outcome(self, decision: Decision, target: Target, *, fails: bool) -> Outcome:
        where = (decision.model, decision.server)
        action = Action(decision.id, *where, decision.step, target, self.now, decision.current)
        if fails:
            return Outcome(action, ActionStatus.FAILED, self.now + 1.0, "403", FailureClass.UNKNOWN, "let it")
        return Outcome(action, ActionStatus.SUCCEEDED, self.now + 1.0)
