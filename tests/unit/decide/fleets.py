"""Fleets of several workloads of vLLM-like replicas, to decide on together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.decide.plan import decide
from controlplane.domain.decision import Decision
from controlplane.domain.fleet import Fleet, Member, ModelSpec, Phase, Quota, WorkloadSpec
from controlplane.domain.instructions import Freeze
from controlplane.domain.observation import NOT_EXPORTED, FleetReading, ModelReading, ServerReading
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, WorkloadState
from tests.unit.decide.replicas import MODEL, NOW, POLICY, SPEC, a_reading, steady


def a_workload(name: str, **changes: object) -> WorkloadSpec:
    return replace(SPEC, name=name, **changes)  # type: ignore[arg-type]


def a_model(workload: str, **changes: object) -> ModelSpec:
    return replace(MODEL, name=f"m-{workload}", workloads=(workload,), **changes)  # type: ignore[arg-type]


def members(spec: WorkloadSpec, count: int) -> list[Member]:
    made_at = NOW - 9000.0
    servers = [spec.server(str(n), f"10.0.0.{n}") for n in range(count)]
    return [Member(s, spec.name, Phase.READY, made_at, made_at + 100.0, s.name) for s in servers]


def a_snapshot(
    specs: Mapping[WorkloadSpec, ModelSpec],
    serving: Mapping[str, int],
    per_s: Mapping[str, float],
    quota: Quota,
    freezes: tuple[Freeze, ...] = (),
    unlisted: frozenset[str] = frozenset(),
    now: float = NOW,
) -> Snapshot:
    """Workloads with so many replicas under so many requests a second; one without a rate tells nothing."""
    found = [member for spec in specs for member in members(spec, serving[spec.name])]
    fleet = Fleet((), tuple(dict.fromkeys(specs.values())), workloads=tuple(specs), quota=quota).with_members(
        found, unlisted
    )
    servers = {}
    for spec, model in specs.items():
        for member in (m for m in found if m.workload == spec.name):
            seen: dict[str, Known[ModelReading] | Missing] = {model.name: Missing("does not answer")}
            if spec.name in per_s:
                seen[model.name] = Known(a_reading(steady(now, per_s[spec.name] / serving[spec.name])), now)
            name = member.server.name
            servers[name] = ServerReading(name, Known(value=True, observed_at=now), Missing("observed"), 0, seen)
    return Snapshot(fleet, FleetReading(now, servers, {}, {}, NOT_EXPORTED), freezes=freezes)


def planned(
    snapshot: Snapshot, state: PolicyState | None = None, now: float = NOW
) -> tuple[dict[str, Decision], PolicyState]:
    """What is decided about each workload; without a state, of workloads whose replicas were seen to start in 100 s."""
    ready = {m.workload: frozenset(f"{n} {n}" for n in snapshot.fleet.members) for m in snapshot.fleet.members.values()}
    known = {name: WorkloadState(startups=(100.0,) * 12, asked=0, ready=ids) for name, ids in ready.items()}
    plan, after = decide(snapshot, state or PolicyState(workloads=known), POLICY, now)
    again, _ = decide(snapshot, state or PolicyState(workloads=known), POLICY, now)
    assert plan == again, "same input, same plan"
    names = {spec.name for spec in snapshot.fleet.workloads}
    return {d.server: d for d in plan.decisions if d.server in names}, after


def replicas(decisions: Mapping[str, Decision]) -> dict[str, int]:
    return {name: d.target.instances for name, d in decisions.items() if d.target is not None}
