"""Workloads under one quota: what each gets, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.decide.explain import headline
from controlplane.decide.plan import decide
from controlplane.domain.decision import Decision, Freeze, FreezeDirection, ReasonCode, Step
from controlplane.domain.fleet import Fleet, Member, Mode, ModelSpec, Phase, Quota, ReplicaBounds, WorkloadSpec
from controlplane.domain.observation import NOT_EXPORTED, FleetReading, ModelReading, ServerReading
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, WorkloadState
from tests.unit.decide.replicas import MODEL, NOW, POLICY, SPEC, a_reading, steady


def a_workload(name: str, gpus: int = 1) -> WorkloadSpec:
    return replace(SPEC, name=name, gpus_per_replica=gpus)


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
) -> Snapshot:
    """Workloads with so many replicas under so many requests a second; one without a rate tells nothing."""
    found = [member for spec in specs for member in members(spec, serving[spec.name])]
    fleet = Fleet((), tuple(specs.values()), workloads=tuple(specs), quota=quota).with_members(found, unlisted)
    servers = {}
    for spec, model in specs.items():
        for member in (m for m in found if m.workload == spec.name):
            seen: dict[str, Known[ModelReading] | Missing] = {model.name: Missing("does not answer")}
            if spec.name in per_s:
                seen[model.name] = Known(a_reading(steady(NOW, per_s[spec.name] / serving[spec.name])), NOW)
            name = member.server.name
            servers[name] = ServerReading(name, Known(value=True, observed_at=NOW), Missing("observed"), 0, seen)
    return Snapshot(fleet, FleetReading(NOW, servers, {}, {}, NOT_EXPORTED), freezes=freezes)


def decided(snapshot: Snapshot, state: PolicyState | None = None) -> tuple[dict[str, Decision], PolicyState]:
    ready = {m.workload: frozenset(f"{n} {n}" for n in snapshot.fleet.members) for m in snapshot.fleet.members.values()}
    known = {name: WorkloadState(startups=(100.0,) * 12, asked=0, ready=ids) for name, ids in ready.items()}
    plan, after = decide(snapshot, state or PolicyState(workloads=known), POLICY, NOW)
    again, _ = decide(snapshot, state or PolicyState(workloads=known), POLICY, NOW)
    assert plan == again, "same input, same plan"
    names = {spec.name for spec in snapshot.fleet.workloads}
    return {d.server: d for d in plan.decisions if d.server in names}, after


def replicas(decisions: Mapping[str, Decision]) -> dict[str, int]:
    return {name: d.target.instances for name, d in decisions.items() if d.target is not None}


A, B = a_workload("a"), a_workload("b")


def test_without_a_quota_each_gets_what_it_needs() -> None:
    decisions, _ = decided(
        a_snapshot({A: a_model("a"), B: a_model("b")}, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota())
    )
    assert replicas(decisions) == {"a": 5, "b": 5}


def test_a_full_quota_cuts_the_lower_priority_and_says_so() -> None:
    specs = {A: a_model("a"), B: a_model("b", priority=5)}
    decisions, state = decided(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota(8)))
    assert replicas(decisions) == {"a": 3, "b": 5}
    assert (decisions["a"].binding, decisions["a"].step) == (ReasonCode.QUOTA, Step.SCALE)
    assert headline(decisions["a"]) == (
        "4 -> 3 replicas: 5 replicas wanted, 3 granted: the quota is 8 GPUs of all types (a 3, b 5), 2 more are needed"
    )
    assert decisions["b"].binding is ReasonCode.DEMAND_AHEAD
    assert state.workloads["a"].asked == 3, "what was not granted is not waited for"


def test_of_equals_none_takes_from_another_for_a_gain_that_moves() -> None:
    specs = {A: a_model("a"), B: a_model("b")}
    decisions, _ = decided(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 19.0, "b": 21.0}, Quota(8)))
    assert replicas(decisions) == {"a": 4, "b": 4}
    assert {d.step for d in decisions.values()} == {Step.HOLD}


def test_a_free_gpu_goes_where_it_serves_the_larger_share() -> None:
    specs = {A: a_model("a"), B: a_model("b")}
    decisions, _ = decided(a_snapshot(specs, {"a": 2, "b": 9}, {"a": 12.0, "b": 46.0}, Quota(12)))
    assert replicas(decisions) == {"a": 3, "b": 9}
    assert decisions["a"].binding is ReasonCode.DEMAND_AHEAD
    assert decisions["b"].binding is ReasonCode.QUOTA


def test_a_quota_below_what_runs_takes_away_at_once() -> None:
    specs = {A: a_model("a"), B: a_model("b")}
    decisions, _ = decided(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota(5)))
    assert sum(replicas(decisions).values()) == 5
    assert min(replicas(decisions).values()) >= 1


def test_a_blind_or_frozen_workload_loses_nothing_to_another() -> None:
    specs = {A: a_model("a"), B: a_model("b", priority=5)}
    blind, _ = decided(a_snapshot(specs, {"a": 4, "b": 4}, {"b": 20.0}, Quota(8)))
    assert replicas(blind) == {"a": 4, "b": 4}
    freeze = Freeze("f", "m-a", FreezeDirection.NO_DOWN, "eve", "incident", NOW - 60.0, NOW + 60.0)
    frozen, _ = decided(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 16.0, "b": 20.0}, Quota(8), (freeze,)))
    assert replicas(frozen) == {"a": 4, "b": 4}


def test_what_is_not_decided_here_is_counted_first() -> None:
    seen = {A: a_model("a", mode=Mode.OBSERVE), B: a_model("b")}
    decisions, _ = decided(a_snapshot(seen, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota(8)))
    assert replicas(decisions) == {"a": 4, "b": 4}
    assert decisions["a"].binding is ReasonCode.MODE
    unscaled = replace(A, replicas=None, gpus_per_replica=2)
    decisions, _ = decided(
        a_snapshot({unscaled: a_model("a"), B: a_model("b")}, {"a": 2, "b": 4}, {"b": 20.0}, Quota(8))
    )
    assert replicas(decisions) == {"b": 4}


def test_of_a_workload_that_is_not_listed_what_was_decided_last_is_counted() -> None:
    specs = {replace(A, replicas=ReplicaBounds(1, 9)): a_model("a"), B: a_model("b")}
    known = WorkloadState(startups=(100.0,) * 12, asked=0, ready=frozenset(f"b/{n} b/{n}" for n in range(4)))
    state = PolicyState(workloads={"a": WorkloadState(asked=3), "b": known})
    snapshot = a_snapshot(specs, {"a": 0, "b": 4}, {"b": 20.0}, Quota(7), unlisted=frozenset({"a"}))
    assert replicas(decided(snapshot, state)[0]) == {"b": 4}
    assert replicas(decided(snapshot, PolicyState(workloads={"b": known}))[0]) == {"b": 5}
