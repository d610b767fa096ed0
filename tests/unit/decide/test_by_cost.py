"""Several workloads that serve one model: which of them gets what, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from controlplane.decide.explain import headline, reason_text
from controlplane.domain.decision import Decision, ReasonCode
from controlplane.domain.expected import Announced, Floor
from controlplane.domain.fleet import ModelSpec, Quota, ReplicaBounds, Sharing, WorkloadSpec
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.state import PolicyState
from tests.unit.decide.fleets import a_snapshot, a_workload, planned, replicas
from tests.unit.decide.replicas import MODEL, NOW, PER_REPLICA_PER_S, STEP_S

DEAR = a_workload("dear", price_per_h=4.0, replicas=ReplicaBounds(0, 20))
CHEAP = a_workload("cheap", price_per_h=1.0, replicas=ReplicaBounds(1, 20))
SHARED = replace(MODEL, name="shared", workloads=("dear", "cheap"), variants=Sharing.BY_COST)


class Routed:
    """Two workloads between which the load is shared by what they can hold; a replica is ready after so many ticks."""

    def __init__(
        self,
        per_s: float,
        dear: int,
        cheap: int,
        *,
        model: ModelSpec = SHARED,
        ticks: int = 7,
        specs: Mapping[str, WorkloadSpec] | None = None,
        owners: Mapping[str, ScaleStatus] | None = None,
    ) -> None:
        self.per_s, self.model, self.ticks = per_s, model, ticks
        self.owners = owners or {}
        self.specs = specs or {"dear": DEAR, "cheap": CHEAP}
        self.ready, self.coming = {"dear": dear, "cheap": cheap}, list[tuple[int, str]]()
        self.tick = 0
        self.state: PolicyState | None = None
        self.held: list[int] = []

    def step(self, freezes: tuple[Freeze, ...] = (), silent: str = "", **more: object) -> dict[str, Decision]:
        now, all_ = NOW + self.tick * STEP_S, sum(self.ready.values())
        rates = {name: self.per_s * n / all_ for name, n in self.ready.items() if n and name != silent}
        snapshot = a_snapshot(
            dict.fromkeys(self.specs.values(), self.model), self.ready, rates, Quota(), freezes, now=now
        )
        snapshot = replace(snapshot, fleet=replace(snapshot.fleet, scaling=self.owners))
        decisions, self.state = planned(replace(snapshot, **more), self.state, now)  # type: ignore[arg-type]
        for name, wanted in ((n, w) for n, w in replicas(decisions).items() if n not in self.owners):
            on_the_way = sum(of == name for _, of in self.coming)
            self.coming += [(self.tick + self.ticks, name)] * (wanted - self.ready[name] - on_the_way)
            self.ready[name] = min(self.ready[name], wanted)
        self.tick += 1
        for due, name in list(self.coming):
            if due <= self.tick:
                self.coming.remove((due, name))
                self.ready[name] += 1
        self.held.append(sum(self.ready.values()))
        return decisions


def test_the_demand_moves_to_what_costs_less_for_it_and_nothing_is_taken_away_before_that_is_ready() -> None:
    fleet = Routed(20.0, dear=5, cheap=2)
    first = fleet.step()
    assert replicas(first)["cheap"] > 2
    assert "nothing is taken away before" in reason_text(first["dear"].reasons[-1])
    for _ in range(60):
        fleet.step()
    assert fleet.ready["dear"] == 0
    for _ in range(90):
        last = fleet.step()
    assert fleet.ready == {"dear": 0, "cheap": 4}, "the shift itself is no move of demand after half an hour"
    assert min(fleet.held) >= 4, "what is there holds the demand all the time"
    assert max(fleet.held) <= 12
    assert headline(last["cheap"]).startswith("hold at")
    assert any("at the least cost by dear 0, cheap" in reason_text(reason) for reason in last["cheap"].reasons)


def test_as_served_each_keeps_what_it_serves() -> None:
    fleet = Routed(20.0, dear=3, cheap=3, model=replace(SHARED, variants=Sharing.AS_SERVED))
    for _ in range(30):
        decisions = fleet.step()
    assert fleet.ready["dear"] >= 2
    assert all(reason.code is not ReasonCode.BY_COST for d in decisions.values() for reason in d.reasons)


def test_the_answer_to_the_same_question_is_to_stay() -> None:
    fleet = Routed(20.0, dear=0, cheap=5)
    seen = set()
    for _ in range(40):
        fleet.step()
        seen.add((fleet.ready["dear"], fleet.ready["cheap"]))
    assert seen <= {(0, 5), (0, 4)}


def test_a_frozen_variant_stays_and_one_that_tells_nothing_leaves_all_as_they_are() -> None:
    freeze = Freeze("f", "shared", FreezeDirection.NO_DOWN, "eve", "incident", NOW, NOW + 9e4)
    fleet = Routed(20.0, dear=3, cheap=3)
    for _ in range(30):
        fleet.step((freeze,))
    assert fleet.ready["dear"] == 3
    blind = Routed(20.0, dear=3, cheap=3)
    for _ in range(30):
        decisions = blind.step(silent="dear")
    assert blind.ready["dear"] == 3
    assert all(reason.code is not ReasonCode.BY_COST for d in decisions.values() for reason in d.reasons)


def test_the_mix_takes_nothing_away_that_a_schedule_keeps_there() -> None:
    floors = {"dear": (Floor(NOW, NOW + 9e4, 3, "0 8 * * *"),)}
    fleet = Routed(20.0, dear=5, cheap=2)
    for _ in range(60):
        fleet.step(floors=floors)
    assert fleet.ready["dear"] == 3


def test_the_part_of_an_announced_event_that_falls_to_a_workload_at_zero_is_held_by_the_mix() -> None:
    said = Announced("e", "launch", "shared", NOW, NOW + 9e4, per_s=60.0)
    fleet = Routed(10.0, dear=0, cheap=5)
    for _ in range(30):
        fleet.step(announced=(said,))
    assert fleet.held[-1] * PER_REPLICA_PER_S >= 60.0


def test_a_variant_that_something_else_scales_counts_with_what_it_has() -> None:
    fleet = Routed(20.0, dear=5, cheap=2, owners={"dear": ScaleStatus(owner="HorizontalPodAutoscaler dear")})
    for _ in range(60):
        decisions = fleet.step()
    assert (fleet.ready["dear"], fleet.ready["cheap"]) == (5, 1)
    assert not decisions["dear"].actionable
