"""Workloads under one quota: what each gets, and what is told of it."""

from __future__ import annotations

from dataclasses import replace

from controlplane.decide.explain import headline
from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.expected import Floor
from controlplane.domain.fleet import KubernetesQuery, Mode, ModelSpec, Quota, ReplicaBounds
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.state import PolicyState, WorkloadState
from tests.unit.decide.fleets import a_model, a_snapshot, a_workload, planned, replicas
from tests.unit.decide.replicas import NOW

A, B = a_workload("a"), a_workload("b")


def test_without_a_quota_each_gets_what_it_needs() -> None:
    decisions, _ = planned(
        a_snapshot({A: a_model("a"), B: a_model("b")}, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota())
    )
    assert replicas(decisions) == {"a": 5, "b": 5}


def test_a_full_quota_cuts_the_lower_priority_and_says_so() -> None:
    specs = {A: a_model("a"), B: a_model("b", priority=5)}
    decisions, state = planned(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota(8)))
    assert replicas(decisions) == {"a": 3, "b": 5}
    assert (decisions["a"].binding, decisions["a"].step) == (ReasonCode.QUOTA, Step.SCALE)
    assert headline(decisions["a"]) == (
        "4 -> 3 replicas: 5 replicas wanted, 3 granted: the quota is 8 GPUs of all types (a 3, b 5), 2 more are needed"
    )
    assert decisions["b"].binding is ReasonCode.DEMAND_AHEAD
    assert state.workloads["a"].asked == 3, "what was not granted is not waited for"


def test_of_equals_none_takes_from_another_for_a_gain_that_moves() -> None:
    specs = {A: a_model("a"), B: a_model("b")}
    decisions, _ = planned(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 19.0, "b": 21.0}, Quota(8)))
    assert replicas(decisions) == {"a": 4, "b": 4}
    assert {d.step for d in decisions.values()} == {Step.HOLD}


def test_a_free_gpu_goes_where_it_serves_the_larger_share() -> None:
    specs = {A: a_model("a"), B: a_model("b")}
    decisions, _ = planned(a_snapshot(specs, {"a": 2, "b": 9}, {"a": 12.0, "b": 46.0}, Quota(12)))
    assert replicas(decisions) == {"a": 3, "b": 9}
    assert decisions["a"].binding is ReasonCode.DEMAND_AHEAD
    assert decisions["b"].binding is ReasonCode.QUOTA


def test_a_quota_below_what_runs_takes_away_at_once() -> None:
    specs = {A: a_model("a"), B: a_model("b")}
    decisions, _ = planned(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota(5)))
    assert sum(replicas(decisions).values()) == 5
    assert min(replicas(decisions).values()) >= 1


def test_a_blind_or_frozen_workload_loses_nothing_to_another() -> None:
    specs = {A: a_model("a"), B: a_model("b", priority=5)}
    blind, _ = planned(a_snapshot(specs, {"a": 4, "b": 4}, {"b": 20.0}, Quota(8)))
    assert replicas(blind) == {"a": 4, "b": 4}
    freeze = Freeze("f", "m-a", FreezeDirection.NO_DOWN, "eve", "incident", NOW - 60.0, NOW + 60.0)
    frozen, _ = planned(a_snapshot(specs, {"a": 4, "b": 4}, {"a": 16.0, "b": 20.0}, Quota(8), (freeze,)))
    assert replicas(frozen) == {"a": 4, "b": 4}


def test_what_is_not_decided_here_is_counted_first() -> None:
    seen = {A: a_model("a", mode=Mode.OBSERVE), B: a_model("b")}
    decisions, _ = planned(a_snapshot(seen, {"a": 4, "b": 4}, {"a": 20.0, "b": 20.0}, Quota(8)))
    assert replicas(decisions) == {"a": 4, "b": 4}
    assert decisions["a"].binding is ReasonCode.MODE
    unscaled = replace(A, replicas=None, gpus_per_replica=2)
    decisions, _ = planned(
        a_snapshot({unscaled: a_model("a"), B: a_model("b")}, {"a": 2, "b": 4}, {"b": 20.0}, Quota(8))
    )
    assert replicas(decisions) == {"b": 4}


def test_of_a_workload_that_is_not_listed_what_was_decided_last_is_counted() -> None:
    specs = {replace(A, replicas=ReplicaBounds(1, 9)): a_model("a"), B: a_model("b")}
    known = WorkloadState(startups=(100.0,) * 12, asked=0, ready=frozenset(f"b/{n} b/{n}" for n in range(4)))
    state = PolicyState(workloads={"a": WorkloadState(asked=3), "b": known})
    snapshot = a_snapshot(specs, {"a": 0, "b": 4}, {"b": 20.0}, Quota(7), unlisted=frozenset({"a"}))
    assert replicas(planned(snapshot, state)[0]) == {"b": 4}
    assert replicas(planned(snapshot, PolicyState(workloads={"b": known}))[0]) == {"b": 5}


def test_a_cut_of_what_something_else_scales_is_told_and_not_carried_out() -> None:
    here = KubernetesQuery("default", pods="app=a", kind="Deployment", name="a")
    specs = {replace(A, query=here): a_model("a"), B: a_model("b", priority=5)}
    snapshot = a_snapshot(specs, {"a": 5, "b": 4}, {"a": 20.0, "b": 20.0}, Quota(4))
    free, _ = planned(snapshot)
    owned = replace(snapshot.fleet, scaling={"a": ScaleStatus(owner="HorizontalPodAutoscaler a")})
    decisions, _ = planned(replace(snapshot, fleet=owned))
    assert (decisions["a"].binding, decisions["a"].step) == (ReasonCode.QUOTA, Step.SCALE)
    assert (free["a"].actionable, decisions["a"].actionable) == (True, False)
    assert decisions["a"].reasons[-1].code is ReasonCode.OWNED


def test_what_a_schedule_keeps_there_comes_before_what_the_policy_wants() -> None:
    specs = {A: a_model("a"), B: a_model("b", priority=5)}
    snapshot = a_snapshot(specs, {"a": 4, "b": 4}, {"a": 16.0, "b": 25.0}, Quota(8))
    assert replicas(planned(snapshot)[0])["a"] < 4, "the other comes first"
    floor = Floor(NOW - 60.0, NOW + 3600.0, 4, "0 8 * * *")
    assert replicas(planned(replace(snapshot, floors={"a": (floor,)}))[0]) == {"a": 4, "b": 4}


def test_what_runs_and_is_not_ours_to_take_away_is_not_given_to_others() -> None:
    def given(a: ModelSpec, owner: str = "") -> dict[str, int]:
        specs = {A: a, B: a_model("b", priority=5)}
        snapshot = a_snapshot(specs, {"a": 5, "b": 4}, {"a": 20.0, "b": 30.0}, Quota(10))
        fleet = replace(snapshot.fleet, scaling={"a": ScaleStatus(owner)})
        return replicas(planned(replace(snapshot, fleet=fleet))[0])

    assert given(a_model("a", mode=Mode.RECOMMEND)) == {"a": 5, "b": 5}
    assert given(a_model("a"), "HorizontalPodAutoscaler a") == {"a": 5, "b": 5}
    assert given(a_model("a"))["b"] > 5, "what is ours shrinks for who comes first"
