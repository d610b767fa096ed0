"""What people said would come raises what is decided, in time, inside the bounds, and nothing is lowered by it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.decide.expected import due
from controlplane.decide.explain import reason_text
from controlplane.decide.forecast import Event, Reading
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.decide.replicas.seasons import learned
from controlplane.domain.decision import Decision, ReasonCode, Step, Target
from controlplane.domain.expected import Announced, Floor
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ReplicaBounds, ServerKind, ServerSpec, Wake
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, ServerReading
from controlplane.domain.profiles import BatchProfile
from controlplane.domain.signal import Known, Missing
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.startups import REPLICA, Knob, StartupTimes
from controlplane.domain.state import PolicyState, UnitState
from tests.unit.decide.replicas import KNOWN, NOW, POLICY, a_pool, decided, reason, under, wanted
from tests.unit.decide.values import an_interval

HOUR_S = 3600.0
SERVER = ServerSpec("t", ServerKind.TRITON, "http://t", "http://t/metrics", "t:8001")
BERT = ModelSpec(
    "bert", "bert", ("t",), Mode.ACT, instances_max=8, profile=BatchProfile(0.002, 0.01, 8, 1, "a test", 0.0, 6, 0.01)
)
NEW = PolicyState()
LEAD_S = 100.0 + POLICY.horizon_s
"""Of a workload whose replicas were seen to start in 100 s."""


def a_floor(starts_in_s: float, least: int = 4, lasts_s: float = HOUR_S) -> Floor:
    return Floor(NOW + starts_in_s, NOW + starts_in_s + lasts_s, least, "0 8 * * mon-fri")


def sale(starts_in_s: float = 0.0, **asked: float) -> Event:
    return Event("sale", NOW + starts_in_s, NOW + starts_in_s + HOUR_S, **asked)


def of_unit(
    *announced: Announced,
    per_s: float = 20.0,
    floors: tuple[Floor, ...] = (),
    model: ModelSpec = BERT,
    loaded: bool = True,
    state: PolicyState = NEW,
    startups: Mapping[Knob, StartupTimes] | None = None,
) -> Decision:
    """One instance under so many requests a second; 66.7/s is what it holds."""
    intervals = tuple(an_interval(NOW - 5 * k, NOW - 5 * (k - 1), int(5 * per_s)) for k in range(14, 0, -1))
    reading = ModelReading(
        ModelState.READY if loaded else ModelState.UNLOADED,
        instances=Known(1 if loaded else 0, NOW),
        intervals=intervals if loaded else (),
    )
    seen = ServerReading(
        "t", Known(value=True, observed_at=NOW), Known(ControlMode.EXPLICIT, NOW), 0, {"bert": Known(reading, NOW)}
    )
    snapshot = Snapshot(
        Fleet((SERVER,), (model,)),
        FleetReading(NOW, {"t": seen}, {}, {}, Missing("no driver")),
        announced=announced,
        floors={"bert": floors},
        startups={} if startups is None else {"bert": startups},
    )
    return decide(snapshot, state, Policy(), NOW)[0].decisions[0]


def instances(decision: Decision) -> int:
    assert decision.target is not None
    return decision.target.instances


def test_a_floor_is_due_from_a_start_up_before_its_start_until_its_end() -> None:
    floor = a_floor(100.0)
    assert due([floor], NOW, 99.9) is None
    assert due([floor], NOW, 100.0) == floor
    assert due([floor], floor.end_s - 0.1, 0.0) == floor
    assert due([floor], floor.end_s, 1000.0) is None
    assert due([floor, a_floor(0.0, least=6), a_floor(0.0, least=5)], NOW, 0.0) == a_floor(0.0, least=6)


def test_replicas_are_asked_for_a_start_up_and_a_decision_before_the_schedule() -> None:
    early, _ = decided(under(2.0, 1, floors=(a_floor(LEAD_S + 1.0),)))
    assert wanted(early) == 1
    decision, _ = decided(under(2.0, 1, floors=(a_floor(LEAD_S - 1.0),)))
    assert (decision.step, decision.binding, wanted(decision)) == (Step.SCALE, ReasonCode.SCHEDULE, 4)
    assert "at least 4 by the schedule 0 8 * * mon-fri" in reason_text(reason(decision, ReasonCode.SCHEDULE))


def test_an_unknown_start_up_is_taken_for_long() -> None:
    pool, unknown = under(2.0, 1, floors=(a_floor(300.0),)), replace(KNOWN, startups=())
    assert wanted(decided(pool, unknown)[0]) == 4
    assert wanted(decided(pool)[0]) == 1, "known to start in 100 s"


def test_a_schedule_goes_no_higher_than_the_bounds_and_never_lowers() -> None:
    assert wanted(decided(under(2.0, 1, floors=(a_floor(0.0, 9),), bounds=ReplicaBounds(1, 3)))[0]) == 3
    decision, _ = decided(under(20.0, 4, floors=(a_floor(0.0, 2),)))
    assert (wanted(decision), decision.binding) == (5, ReasonCode.DEMAND_AHEAD)


def test_replicas_of_a_schedule_are_started_from_none() -> None:
    asleep = replace(KNOWN, asked=0, used_at=NOW - 9000.0)
    assert wanted(decided(a_pool([], floors=(a_floor(0.0),), bounds=ReplicaBounds(0, 9)), asleep)[0]) == 4
    assert wanted(decided(a_pool([], events=(sale(per_s=3.0),), bounds=ReplicaBounds(0, 9)), asleep)[0]) == 1


def test_a_freeze_holds_a_schedule_too() -> None:
    freeze = Freeze("f", "", FreezeDirection.NO_UP, "ann", "release", NOW - 60.0, NOW + 60.0)
    decision, _ = decided(under(2.0, 1, floors=(a_floor(0.0),), freezes=(freeze,)))
    assert (wanted(decision), decision.binding) == (1, ReasonCode.FROZEN)


def test_replicas_are_there_for_an_announced_level_and_the_reason_names_it() -> None:
    assert wanted(decided(under(2.0, 1, events=(sale(LEAD_S + 1.0, per_s=20.0),)))[0]) == 1
    decision, _ = decided(under(2.0, 1, events=(sale(LEAD_S - 1.0, per_s=20.0),)))
    assert (wanted(decision), decision.binding) == (4, ReasonCode.EVENT)
    told = reason(decision, ReasonCode.EVENT)
    assert (told.numbers["per_s"], told.words["event"]) == (20.0, "sale")
    assert reason_text(told) == "sale was announced: 20/s are to come"


def test_a_factor_is_of_what_there_is_before_the_event() -> None:
    decision, _ = decided(under(4.0, 1, events=(sale(60.0, factor=4.0),)))
    assert reason(decision, ReasonCode.EVENT).numbers["per_s"] == pytest.approx(16.0, rel=0.05)


floors = st.builds(a_floor, st.floats(-5000.0, 5000.0), st.integers(1, 60))
events = st.builds(
    lambda starts_in_s, factor, per_s: sale(starts_in_s, factor=factor, per_s=per_s),
    st.floats(-5000.0, 5000.0),
    st.floats(0.0, 20.0),
    st.floats(0.0, 500.0),
)


@given(st.lists(floors, max_size=3), st.lists(events, max_size=3), st.floats(0.0, 20.0), st.integers(1, 5))
def test_what_is_said_to_come_lowers_no_replicas_and_keeps_the_bounds(
    floors: list[Floor], events: list[Event], per_s: float, serving: int
) -> None:
    plain = under(per_s, serving, bounds=ReplicaBounds(1, 8))
    told = replace(plain, floors=tuple(floors), events=tuple(events))
    state = replace(KNOWN, asked=serving, wanted=((NOW - 200.0, 1), (NOW - 15.0, 1)))
    assert wanted(decided(plain, state)[0]) <= wanted(decided(told, state)[0]) <= 8


@given(st.lists(floors, max_size=3), st.floats(0.0, 20.0), st.floats(0.0, 500.0), st.floats(0.0, 60.0))
def test_what_is_said_to_come_lowers_no_instances_and_keeps_the_bounds(
    floors: list[Floor], factor: float, level_per_s: float, per_s: float
) -> None:
    said = Announced("e", "sale", "bert", NOW, NOW + HOUR_S, factor, level_per_s)
    plain, told = of_unit(per_s=per_s), of_unit(said, floors=tuple(floors), per_s=per_s)
    assert instances(plain) <= instances(told) <= BERT.instances_max


def test_instances_are_there_for_an_announced_level() -> None:
    said = Announced("e", "sale", "bert", NOW + 40.0, NOW + HOUR_S, per_s=200.0)
    decision = of_unit(said)
    assert (decision.step, decision.binding) == (Step.SET_INSTANCES, ReasonCode.EVENT)
    assert instances(decision) >= 3
    assert instances(of_unit(replace(said, start_s=NOW + 60.0))) == 1, "an instance takes no longer than 30 s"
    assert instances(of_unit(replace(said, subject="resnet"))) == 1


def test_instances_of_a_schedule_are_prepared_by_the_learned_start_up() -> None:
    learned_s = {("", Step.SET_INSTANCES.value): StartupTimes(12, 0, 2.0, 5.0), ("", REPLICA): StartupTimes(9, 1, 9, 9)}
    floor = a_floor(30.0, 3)
    assert instances(of_unit(floors=(floor,), startups=learned_s)) == 1
    decision = of_unit(floors=(floor,))
    assert (decision.binding, instances(decision)) == (ReasonCode.SCHEDULE, 3)


def test_a_model_that_was_unloaded_for_idleness_is_loaded_for_a_schedule_and_for_an_event() -> None:
    model = replace(BERT, instances_min=0, idle_unload_s=600.0, wake=Wake(ensure=True))
    asleep = PolicyState({"bert@t": UnitState(wanted=False, used_at=NOW - 9000.0)})
    assert of_unit(model=model, loaded=False, state=asleep).step is Step.HOLD
    decision = of_unit(model=model, loaded=False, state=asleep, floors=(a_floor(100.0, 3),))
    assert (decision.step, decision.target) == (Step.LOAD, Target(loaded=True, instances=3))
    said = Announced("e", "sale", "bert", NOW, NOW + HOUR_S, per_s=50.0)
    assert of_unit(said, model=model, loaded=False, state=asleep).step is Step.LOAD


def test_a_model_is_not_unloaded_while_a_schedule_holds() -> None:
    model = replace(BERT, instances_min=0, idle_unload_s=600.0, wake=Wake(ensure=True))
    idle = PolicyState({"bert@t": UnitState(wanted=True, instances=1, used_at=NOW - 9000.0, learned_until=NOW - 5.0)})
    assert of_unit(model=model, per_s=0.0, state=idle).step is Step.UNLOAD
    assert of_unit(model=model, per_s=0.0, state=idle, floors=(a_floor(0.0, 1),)).step is Step.HOLD


def test_instances_rise_ahead_of_a_season_that_was_found() -> None:
    day_s, minutes = 86_400.0, range(3 * 1440, 0, -1)
    rush = (int(NOW // 60) % 1440 + 1) % 1440  # it begins each day within the next minute

    def per_s(at: float) -> float:
        return 200.0 if (int(at // 60) - rush) % 1440 < 30 else 20.0

    state = learned(Reading(NOW - 60.0 * k, per_s(NOW - 60.0 * k), per_s(NOW - 60.0 * k)) for k in minutes)
    assert state.season is not None
    assert state.season.period_s == day_s
    decision = of_unit(state=PolicyState({}, {}, {"bert@t": state}))
    assert (decision.binding, instances(decision) > 1) == (ReasonCode.SEASON, True)
