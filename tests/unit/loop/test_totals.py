"""What is counted from tick to tick."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from controlplane.domain.decision import Decision, Effect, Plan, ReasonCode, Step, Target, Verdict
from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective, Slice
from controlplane.domain.observation import FleetReading
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known
from controlplane.loop.totals import Tally
from tests.unit.loop.worlds import FLEET, NOW, a_decision, a_reading

OBJECTIVE = Objective(Indicator.AVAILABILITY, 0.99, 86400.0, IndicatorSource.SERVER)
WATCHED = replace(FLEET, models=(replace(FLEET.models[0], objectives=(OBJECTIVE,)),))
A, B = ("a", "t0"), ("b", "t0")


def ticked(
    tally: Tally, *decisions: Decision, at: float = NOW, slices: Iterable[Slice] = (), fleet: Fleet = WATCHED
) -> None:
    tally.tick(fleet, a_reading(), slices, Plan(at, decisions))


def a_slice(start: float = NOW, objective: str = OBJECTIVE.key, **counts: int) -> Slice:
    numbers = {"good": 8, "bad": 2, "unsure": 1, "bad_capacity": 1} | counts
    return Slice("a", objective, start, measured_s=9.0, expected_s=10.0, slo_version="v", **numbers)


def test_an_objective_is_counted_from_zero_and_adds_up_its_closed_slices() -> None:
    tally = Tally(Prices())
    ticked(tally)
    assert tally.totals.objectives == {("a", OBJECTIVE.key): Counts()}
    ticked(tally, slices=(a_slice(), a_slice(NOW + 10, good=1)))
    ticked(tally, slices=(a_slice(NOW + 20),))
    assert tally.totals.objectives == {("a", OBJECTIVE.key): Counts(17, 6, 3, 27.0, 30.0, 3)}


def test_an_objective_that_leaves_the_configuration_is_counted_no_longer() -> None:
    tally = Tally(Prices())
    ticked(tally, slices=(a_slice(),))
    ticked(tally, fleet=FLEET)
    assert tally.totals.objectives == {}


def test_decisions_and_effects_are_counted_by_what_they_were() -> None:
    tally = Tally(Prices())
    hold = a_decision(step=Step.HOLD, binding=ReasonCode.DWELL)
    ticked(tally, a_decision(), hold)
    tally.tick(FLEET, a_reading(), (), Plan(NOW + 15, (hold,), (Effect("d", Verdict.HARMED, NOW, 2.0, 1.0),)))
    assert tally.totals.decisions == {
        (Step.SET_INSTANCES, ReasonCode.DEMAND): 1,
        (Step.HOLD, ReasonCode.DWELL): 2,
    }
    assert tally.totals.effects == dict.fromkeys(Verdict, 0) | {Verdict.HARMED: 1}


def raising(model: str = "a") -> Decision:
    return a_decision(model=model)


def lowering(**changes: object) -> Decision:
    return a_decision("d-1", "a", current=Target(loaded=True, instances=3), **changes)


def test_a_unit_turns_when_it_goes_the_other_way() -> None:
    tally = Tally(Prices())
    for at, decision in enumerate((raising(), raising(), a_decision(step=Step.HOLD), lowering(), raising())):
        ticked(tally, decision, at=NOW + at)
    assert tally.totals.turns == {A: (NOW + 3, NOW + 4)}
    ticked(tally, raising(), at=NOW + 3603.5)
    assert tally.totals.turns == {A: (NOW + 4,)}
    before = tally.totals
    ticked(tally, lowering(), at=NOW + 3603.6)
    assert tally.totals.turns == {A: (NOW + 4, NOW + 3603.6)}
    assert before.turns == {A: (NOW + 4,)}, "who holds totals sees no half of the next"


def test_loading_and_unloading_are_turns_too() -> None:
    tally = Tally(Prices())
    ticked(tally, a_decision(step=Step.LOAD), at=NOW)
    ticked(tally, a_decision(step=Step.UNLOAD), at=NOW + 1)
    ticked(tally, a_decision(step=Step.RELOAD), at=NOW + 2)
    assert tally.totals.turns == {A: (NOW + 1,)}


def test_what_a_person_asked_for_or_nobody_carried_out_is_no_turn() -> None:
    tally = Tally(Prices())
    ticked(tally, raising())
    ticked(tally, lowering(by_person=True))
    ticked(tally, lowering(mode="recommend"))
    assert tally.totals.turns == {}


def test_a_unit_that_is_gone_has_no_turns() -> None:
    tally = Tally(Prices())
    ticked(tally, raising(), at=NOW)
    ticked(tally, lowering(), at=NOW + 1)
    ticked(tally, raising(model="b"), at=NOW + 2)
    assert tally.totals.turns == {}


def reading(*, live: bool = True, problem: str = "") -> FleetReading:
    seen = a_reading()
    server = replace(seen.servers["t0"], live=Known(live, NOW), problem=problem)
    return replace(seen, servers={"t0": server})


def test_a_round_counts_whether_each_server_was_read() -> None:
    tally = Tally(Prices())
    tally.round(FLEET, reading())
    assert tally.totals.reads == {("t0", True): 1, ("t0", False): 0}
    tally.round(FLEET, reading(live=False))
    tally.round(FLEET, reading(problem="half a page"))
    tally.round(FLEET, replace(reading(), servers={}))
    assert tally.totals.reads == {("t0", True): 1, ("t0", False): 3}
    tally.round(replace(FLEET, servers=()), reading())
    assert tally.totals.reads == {}


def test_a_picture_that_was_taken_does_not_change_with_the_next_tick() -> None:
    tally = Tally(Prices())
    ticked(tally, raising())
    before = tally.totals
    counted = dict(before.decisions)
    ticked(tally, lowering(), slices=(a_slice(),))
    assert before.decisions == counted
    assert before.objectives == {("a", OBJECTIVE.key): Counts()}
