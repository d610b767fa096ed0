"""A copy of a placed model goes only once those that stay are ready for its part, whoever wished for the move."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.decide.explain import headline, reason_text
from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.domain.decision import Step
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.state import MemorySample, UnitState
from controlplane.loop.recheck import objection
from tests.unit.decide.placed_world import GIB, NOW, SERVICE_S, PlacedWorld, a_model

ONE_PER_S = 0.8 / SERVICE_S
"""What an instance is taken to hold where there is no objective."""
DWELL_TICKS = 20
ONE_GIB_EACH = UnitState(wanted=True, instances=5, memory=(MemorySample(0, 1, GIB), MemorySample(1, 2, GIB)))
"""Of a model whose copy takes 1 GiB for each instance."""


def said(kind: OverrideKind = OverrideKind.LOADED, server: str = "t1", instances: int | None = None) -> Override:
    return Override("o", "m", kind, "me", "by hand", NOW, NOW + 36_000, server=server, instances=instances)


def busy(*, per_s: float = 4 * ONE_PER_S, most: int = 8) -> PlacedWorld:
    """A model with the instances for its demand on the one of two servers."""
    world = PlacedWorld({"t0": 8, "t1": 8}, [a_model("m", 2, instances_max=most)], t0=["m"])
    world.counts["m", "t0"] = 5
    world.per_s = {"m": per_s}
    world.run(2)
    assert world.counts["m", "t0"] == 5
    return world


def serving(world: PlacedWorld) -> int:
    """Instances of the model to which requests are sent."""
    return sum(world.counts.get(("m", server), 1) for server in world.routes()["m"])


def moved(world: PlacedWorld, ticks: int = 30) -> list[int]:
    """Instances that served at each moment, until a copy is unloaded."""
    found = []
    for _ in range(ticks):
        steps = [(d.step, d.server) for d in world.tick() if d.model == "m" and d.actionable]
        found.append(serving(world))
        if (Step.UNLOAD, "t0") in steps:
            return found
    raise AssertionError(found)


def told(world: PlacedWorld, model: str = "m") -> str:
    """Why it was decided so on the first server."""
    return "; ".join(reason_text(reason) for reason in world.of(model, "t0").reasons)


def a_pin(world: PlacedWorld) -> None:
    world.overrides = (said(),)


def two_words(world: PlacedWorld) -> None:
    world.overrides = (said(), replace(said(OverrideKind.BOUNDS, "t0"), id="p", created_at=NOW + 1, least=1, most=8))


def a_model_that_needs_the_place(world: PlacedWorld) -> None:
    world.fleet = replace(world.fleet, models=(*world.fleet.models, a_model("big", 8, ["t0"], priority=9)))


@pytest.mark.parametrize("wish", [a_pin, two_words, a_model_that_needs_the_place])
@pytest.mark.parametrize("slow", [0, 2 * DWELL_TICKS])
def test_no_move_takes_capacity_away_whoever_wished_for_it_and_however_slow_the_gateway(
    wish: object, slow: int
) -> None:
    world = busy()
    wish(world)  # type: ignore[operator]
    if slow:
        world.answers = False
        world.run(slow)
        assert "m" in world.held["t0"]
        world.answers = True
    found = moved(world)
    assert min(found) >= 5, found
    assert world.counts["m", "t1"] >= 5


def test_a_copy_that_a_person_wants_comes_with_as_many_instances_as_there_are_elsewhere() -> None:
    world = busy()
    a_pin(world)
    world.tick()
    decision = world.of("m", "t1")
    assert (decision.step, decision.target and decision.target.instances) == (Step.LOAD, 5)


def test_a_copy_that_is_moved_comes_with_the_instances_of_now_and_not_with_those_that_it_once_had_there() -> None:
    world = busy()
    world.state = replace(world.state, units={**world.state.units, "m@t1": UnitState(wanted=False, instances=1)})
    a_model_that_needs_the_place(world)
    world.tick()
    world.tick()
    decision = world.of("m", "t1")
    assert (decision.step, decision.target and decision.target.instances) == (Step.LOAD, 5)


def test_a_copy_that_stays_tells_for_what_it_has_more_instances_and_not_why_the_other_waits() -> None:
    world = busy()
    world.overrides = (said(),)
    world.obeyed = False
    world.run(4)
    decision = world.of("m", "t1")
    assert decision.step is Step.SET_INSTANCES
    said_so = "; ".join(reason_text(reason) for reason in decision.reasons)
    assert "one goes once those that stay have their instances (5 on t1)" in said_so
    assert "stays until" not in said_so


def test_of_two_copies_the_other_takes_the_part_of_the_one_that_goes_before_it_goes() -> None:
    world = PlacedWorld({"t0": 8, "t1": 8}, [a_model("m", 2, instances_max=8, copies_min=2)], t0=["m"], t1=["m"])
    world.counts |= {("m", "t0"): 3, ("m", "t1"): 3}
    world.per_s = {"m": 4 * ONE_PER_S}
    world.run(2)
    world.fleet = replace(world.fleet, models=(a_model("m", 2, instances_max=8),))
    found = []
    for _ in range(DWELL_TICKS):
        world.tick()
        found.append(serving(world))
    assert sum("m" in held for held in world.held.values()) == 1
    assert min(found) >= 5, found


def test_where_no_instances_come_the_old_copy_stays_and_the_gateway_is_not_told_to_drop_it() -> None:
    world = busy()
    world.obeyed = False
    a_pin(world)
    world.run(10)
    decision = world.of("m", "t0")
    assert "m" in world.held["t0"]
    assert decision.target is not None
    assert decision.target.loaded, "what is to be unloaded is told to the gateway"
    assert "stays until those that stay are ready for its part: t1 has 1 of 5 instances" in headline(decision)
    world.obeyed = True
    assert min(moved(world)) >= 5


def test_what_a_person_fixed_at_too_few_takes_over_nothing() -> None:
    world = busy()
    world.overrides = (said(OverrideKind.INSTANCES, instances=1),)
    world.run(10)
    assert "t1 has 1 of 5 instances" in told(world)
    world.run(3 * DWELL_TICKS)
    assert "m" in world.held["t0"]


def test_a_copy_whose_requests_are_not_read_stays() -> None:
    world = busy()
    a_pin(world)
    world.run(2)
    world.seen = False
    world.run(30)
    assert "m" in world.held["t0"]
    assert "some of its copies are not read" in told(world)
    world.seen = True
    assert min(moved(world)) >= 5


def test_what_never_has_enough_moves_with_all_that_it_may_have() -> None:
    world = busy(per_s=20 * ONE_PER_S, most=5)
    a_pin(world)
    assert min(moved(world)) >= 5


def test_a_lull_is_no_time_in_which_fewer_were_enough() -> None:
    world = busy()
    world.per_s = {"m": 0.0}
    a_pin(world)
    assert min(moved(world)) >= 5


def test_what_makes_room_for_a_higher_priority_goes_though_the_other_cannot_hold_it() -> None:
    world = PlacedWorld({"t0": 8, "t1": 8}, [a_model("m", 2, instances_max=8, copies_min=2)], t0=["m"], t1=["m"])
    world.counts |= {("m", "t0"): 4, ("m", "t1"): 4}
    world.per_s = {"m": 6 * ONE_PER_S}
    world.run(2)
    world.overrides = (said(OverrideKind.PIN, "t1", 4),)
    world.fleet = replace(world.fleet, models=(*world.fleet.models, a_model("big", 8, ["t0"], priority=9)))
    world.run(10)
    assert world.held == {"t0": {"big"}, "t1": {"m"}}


def test_an_ensemble_goes_no_sooner_than_its_components_can() -> None:
    models = [a_model("e", None, components=("m",)), a_model("m", 2, instances_max=8)]
    world = PlacedWorld({"t0": 8, "t1": 8}, models, t0=["e", "m"])
    world.counts["m", "t0"] = 5
    world.per_s = {"m": 4 * ONE_PER_S}
    world.overrides = (replace(said(), model="e"),)
    world.obeyed = False
    for _ in range(10):
        world.tick()
        if "e" in world.held["t1"]:
            world.held["t1"].add("m")  # as Triton does
    assert "e" in world.held["t0"]
    assert "its component m: t1 has 1 of 5 instances" in headline(world.of("e", "t0"))
    world.obeyed = True
    found = []
    for _ in range(20):
        world.tick()
        found.append(serving(world))
    assert world.held == {"t0": set(), "t1": {"e", "m"}}
    assert world.counts["m", "t1"] >= 5


def test_right_before_the_unload_it_is_asked_once_more_whether_the_others_are_ready() -> None:
    world = busy()
    a_pin(world)
    moved(world)
    world.held["t0"].add("m")
    world.counts["m", "t0"] = 5
    unload = world.of("m", "t0")
    assert unload.step is Step.UNLOAD
    assert objection(unload, world.snapshot()) == ""

    world.counts["m", "t1"] = 4
    assert objection(unload, world.snapshot()) == "m on t1, which was to take its part, no longer has 5 instances"
    assert objection(replace(unload, by_person=True), world.snapshot()) == ""
    world.dead.add("t1")
    assert "no longer has 5 instances" in objection(unload, world.snapshot())


def test_where_memory_has_no_room_for_all_its_instances_the_old_copy_stays_beside_those_that_fit() -> None:
    world = PlacedWorld({"t0": 8, "t1": 3}, [a_model("m", None, instances_max=8)], t0=["m"])
    world.counts["m", "t0"] = 5
    world.state = replace(world.state, units={"m@t0": ONE_GIB_EACH})
    world.per_s = {"m": 4 * ONE_PER_S}
    world.run(2)
    a_pin(world)
    world.tick()
    decision = world.of("m", "t1")
    assert (decision.step, decision.target and decision.target.instances) == (Step.LOAD, 3)
    world.run(10)
    assert world.counts == {("m", "t0"): 5, ("m", "t1"): 3}
    assert world.held == {"t0": {"m"}, "t1": {"m"}}
    assert "t1 has 3 of 5 instances" in told(world)
    assert "5 instances would take 2 GiB more" in "; ".join(map(reason_text, world.of("m", "t1").reasons))
    world.fleet = replace(
        world.fleet, servers=(world.fleet.servers[0], replace(world.fleet.servers[1], memory_bytes=5 * GIB))
    )
    assert min(moved(world)) >= 5


def untimed(*copies: int, kept: int = 1) -> PlacedWorld:
    """A model of which it is not known what an instance takes, with so many instances on each server."""
    places = {f"t{i}": ["m"] for i, count in enumerate(copies) if count}
    most = a_model("m", 2, ["t0", "t1", "t2"], instances_max=32, copies_min=kept)
    world = PlacedWorld({"t0": 8, "t1": 8, "t2": 8}, [most], **places)
    world.timed = False
    world.counts = {("m", f"t{i}"): count for i, count in enumerate(copies) if count}
    world.per_s = {"m": 4 * ONE_PER_S}
    world.run(2)
    return world


@pytest.mark.parametrize("slow", [0, 3 * DWELL_TICKS])
def test_where_it_is_not_known_what_instances_take_a_copy_that_moves_is_to_have_as_many_and_no_more(slow: int) -> None:
    world = untimed(5, 0, 0)
    a_pin(world)
    world.obeys = slow == 0
    found = set()
    for _ in range(slow):
        world.tick()
        found.add(world.counts.get(("m", "t1"), 5))
    world.obeys = True
    moved(world)
    world.run(5)
    assert (world.counts, found - {5}) == ({("m", "t1"): 5}, set())


def test_where_it_is_not_known_the_one_that_stays_has_what_both_had_and_that_once() -> None:
    world = untimed(3, 3, 0, kept=2)
    world.fleet = replace(world.fleet, models=(replace(world.fleet.models[0], copies_min=1),))
    world.obeys = False
    world.run(10)
    (stays,) = {d.server for d in world.decisions if "m" in world.held[d.server] and d.target and d.target.loaded}
    assert world.counts["m", stays] == 6, "once, and not of what it was raised to again"
    world.obeys = True
    world.run(5)
    assert world.counts == {("m", stays): 6}


def test_of_several_that_go_all_are_made_up_for_and_the_next_asks_for_no_more() -> None:
    world = untimed(3, 4, 0, kept=2)
    world.fleet = replace(world.fleet, models=(replace(world.fleet.models[0], copies_min=1),))
    world.overrides = (said(server="t2"),)
    seen = []
    for _ in range(10):
        world.tick()
        seen.append(serving(world))
    assert world.held == {"t0": set(), "t1": set(), "t2": {"m"}}
    assert world.counts == {("m", "t2"): 7}
    assert min(seen) >= 7, seen


def test_a_copy_that_has_served_alone_since_it_came_counts_when_the_next_is_to_go() -> None:
    world = untimed(5, 0, 0)
    a_pin(world)
    moved(world)
    world.fleet = replace(world.fleet, models=(replace(world.fleet.models[0], copies_min=2),))
    world.run(5)
    assert sum(world.counts.values()) == 10
    world.fleet = replace(world.fleet, models=(replace(world.fleet.models[0], copies_min=1),))
    world.run(5)
    assert world.counts == {("m", "t1"): 10}


def test_after_a_restart_in_the_middle_no_more_is_asked_for_than_before_it() -> None:
    world = untimed(3, 3, 0, kept=2)
    world.fleet = replace(world.fleet, models=(replace(world.fleet.models[0], copies_min=1),))
    world.obeys = False
    world.run(4)
    world.state = resumed(world.state, Policy(), world.now)
    world.run(4)
    assert sorted(world.counts.values()) == [3, 6]


SERVERS = ("t0", "t1", "t2")
somewhere = st.sampled_from(("", *SERVERS))
wishes = st.lists(
    st.tuples(somewhere, somewhere, st.sampled_from(("", "slow", "blind", "stuck")), st.integers(1, 8)),
    min_size=2,
    max_size=5,
)
"""Where a person wants the model, where another needs room, what is wrong, and for how many ticks."""


@settings(max_examples=25, deadline=None)
@given(wishes)
@example([("t1", "", "stuck", 8)])
@example([("", "t1", "", 4), ("t1", "t1", "", 8)])
def test_whatever_is_wished_and_goes_wrong_the_demand_has_its_instances_and_the_instances_their_memory(
    wished: list[tuple[str, str, str, int]],
) -> None:
    model = a_model("m", None, SERVERS, instances_max=8)
    world = PlacedWorld(dict.fromkeys(SERVERS, 9), [model], t0=["m"])
    world.state = replace(world.state, units={"m@t0": ONE_GIB_EACH})
    world.counts["m", "t0"] = 5
    world.per_s = {"m": 4 * ONE_PER_S}
    world.run(2)
    for pin, crowd, wrong, ticks in wished:
        world.overrides = (replace(said(server=pin), created_at=world.now),) if pin else ()
        for held in world.held.values():
            held.discard("big")  # which nobody sees any more
        big = a_model("big", 5, [crowd], priority=9)
        world.fleet = replace(world.fleet, models=(model, big) if crowd else (model,))
        world.answers, world.seen, world.obeyed = wrong != "slow", wrong != "blind", wrong != "stuck"
        for _ in range(ticks):
            world.tick()
            assert serving(world) >= 5, (wrong, world.held, world.counts)
            for name, held in world.held.items():
                taken = world.counts.get(("m", name), 1) * ("m" in held) + 5 * ("big" in held)
                assert taken <= 9, (wrong, world.held, world.counts)
