"""Models behind a gateway that routes by model: loaded where they are placed, unloaded once the gateway let go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from controlplane.decide.explain import headline
from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.fleet import Mode
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.signal import known
from controlplane.domain.state import MemorySample, UnitState
from tests.unit.decide.placed_world import GIB, NOW, PlacedWorld, a_model


def pinned(model: str, server: str, kind: OverrideKind = OverrideKind.LOADED) -> Override:
    return Override("o", model, kind, "me", "by hand", NOW - 1, NOW + 3600, server=server)


def two(*, held: tuple[str, ...] = ("a", "b")) -> PlacedWorld:
    return PlacedWorld({"t0": 4, "t1": 4}, [a_model("a", 2), a_model("b", 2)], t0=held)


def test_nothing_moves_before_a_place_is_known() -> None:
    world = two()
    world.tick()
    assert {d.step for d in world.decisions} == {Step.HOLD}
    assert headline(world.of("a", "t1")) == "hold at unloaded: stays as it is until its place is known: not asked yet"


def test_copies_are_loaded_where_there_is_room_and_never_where_all_is_well() -> None:
    world = two(held=("a",))
    world.run()
    assert sorted(m for held in world.held.values() for m in held) == ["a", "b"]
    assert "a" in world.held["t0"]


def test_a_move_loads_first_and_unloads_once_the_gateway_has_dropped_the_server() -> None:
    world = two()
    world.run(3)
    assert world.held == {"t0": {"a", "b"}, "t1": set()}, "nothing moves without a reason"
    world.overrides = (pinned("a", "t1"),)
    seen = []
    for _ in range(8):
        world.tick()
        seen.append((world.of("a", "t1").step, world.of("a", "t0").step, world.of("a", "t0").binding))
    assert [step for both in seen for step in both[:2] if step is not Step.HOLD] == [Step.LOAD, Step.UNLOAD]
    left = next(i for i, (_, step, _) in enumerate(seen) if step is Step.UNLOAD)
    assert seen[left - 1][2] is ReasonCode.ROUTED
    assert world.held == {"t0": {"b"}, "t1": {"a"}}


@pytest.mark.parametrize(
    ("how", "why"), [("answers", "not known (refused)"), ("obeys", "it still routes to this server")]
)
def test_a_gateway_that_tells_nothing_or_goes_on_routing_keeps_the_model_there(how: str, why: str) -> None:
    world = two()
    setattr(world, how, False)
    world.overrides = (pinned("a", "t1"),)
    world.run(50)
    assert world.held == {"t0": {"a", "b"}, "t1": {"a"}}
    assert why in headline(world.of("a", "t0"))


def test_what_a_person_unloads_waits_for_no_gateway() -> None:
    world = two()
    world.obeys = False
    world.overrides = (pinned("a", "t0", OverrideKind.UNLOADED),)
    world.tick()
    assert "a" not in world.held["t0"]


def test_a_load_is_refused_before_it_is_tried_where_memory_is_known_not_to_suffice() -> None:
    world = two(held=("a",))
    world.overrides = (pinned("b", "t0"),)
    world.fleet = replace(world.fleet, models=(a_model("a", 3), a_model("b", 2)))
    world.tick()
    decision = world.of("b", "t0")
    assert (decision.step, decision.binding) == (Step.HOLD, ReasonCode.NO_ROOM)
    assert headline(decision).endswith("not loaded: it takes 2 GiB, and 1 GiB are left on the server")
    world.run()
    assert world.held == {"t0": {"b"}, "t1": {"a"}}, "room is made for what a person wants there"


def test_two_loads_of_one_tick_do_not_count_on_the_same_memory() -> None:
    world = PlacedWorld({"t0": 4}, [a_model("a", 3, ["t0"]), a_model("b", 3, ["t0"])])
    world.fleet = replace(world.fleet, routes=())  # all servers hold the same models
    world.tick()
    assert [d.step for d in world.decisions] == [Step.LOAD, Step.HOLD]
    assert world.of("b", "t0").binding is ReasonCode.NO_ROOM


def test_memory_that_nobody_knows_is_no_ground_to_refuse_and_none_to_move() -> None:
    world = PlacedWorld({"t0": None, "t1": None}, [a_model("a", None), a_model("b", 2)], t0=("a", "b"))
    world.overrides = (pinned("a", "t1"),)
    world.run()
    assert world.held["t1"] == {"a"}, "a person's word"
    assert world.held["t0"] == {"a", "b"}, "the plan moves nothing whose memory is not known"


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.RECOMMEND])
def test_what_does_not_act_stays_while_others_make_no_room_with_it(mode: Mode) -> None:
    world = PlacedWorld({"t0": 4, "t1": 4}, [a_model("a", 4, mode=mode), a_model("b", 4, priority=9)], t0=("a",))
    world.run()
    assert world.held == {"t0": {"a"}, "t1": {"b"}}


def test_a_frozen_model_is_not_moved_and_is_restored_where_it_was() -> None:
    world = two()
    world.run(2)
    world.freezes = (Freeze("f", "a", FreezeDirection.ALL, "me", "incident", NOW, NOW + 9999),)
    world.fleet = replace(world.fleet, models=(a_model("a", 2, copies_min=2), a_model("b", 2)))
    world.run(5)
    assert world.held == {"t0": {"a", "b"}, "t1": set()}
    world.held["t0"].clear()  # it restarted
    world.run(5)
    assert "a" in world.held["t0"]


@pytest.mark.parametrize("kind", [OverrideKind.BOUNDS, OverrideKind.ROLLOUT])
def test_bounds_a_rollout_and_a_freeze_of_replicas_elsewhere_are_no_word_about_where_a_model_is(
    kind: OverrideKind,
) -> None:
    told = replace(pinned("a", "", kind), least=1, most=2, version="2")
    elsewhere = Freeze("f", "", FreezeDirection.ALL, "me", "incident", NOW, NOW + 9999, workload="llm")
    world = two(held=("b",))
    world.overrides, world.freezes = (told,), (elsewhere,)
    world.run()
    assert sorted(m for held in world.held.values() for m in held) == ["a", "b"], "a copy of each, and no more"


def test_the_higher_priority_has_its_place_where_not_all_fit_and_the_other_is_told_why() -> None:
    models = [a_model("low", 3), a_model("high", 3, priority=5), a_model("higher", 3, priority=9)]
    world = PlacedWorld({"t0": 4, "t1": 4}, models)
    world.run()
    assert world.held["t0"] | world.held["t1"] == {"high", "higher"}
    assert "1 more wanted, but: memory, 2 GiB too few" in headline(world.of("low", "t0"))


def test_components_stay_while_an_ensemble_needs_them_and_are_loaded_by_none_but_triton() -> None:
    models = [
        a_model("one", None, components=("part",)),
        a_model("two", None, components=("part",)),
        a_model("part", 2),
    ]
    world = PlacedWorld({"t0": 4, "t1": 4}, models, t0=("one", "two", "part"))
    world.overrides = (pinned("one", "t1"),)
    for _ in range(10):
        world.tick()
        if "one" in world.held["t1"]:
            world.held["t1"].add("part")  # as Triton does
    assert world.held == {"t0": {"two", "part"}, "t1": {"one", "part"}}
    world.overrides = (pinned("one", "t1"), replace(pinned("two", "t1"), id="p"))
    world.run()
    assert world.held["t0"] == set()


def test_what_a_model_takes_is_the_most_that_was_seen_of_late() -> None:
    world = PlacedWorld({"t0": 9, "t1": 8}, [a_model("a", None), a_model("b", 6)], t0=("a",), t1=("b",))
    world.state = replace(
        world.state, units={"a@t0": UnitState(memory=tuple(MemorySample(0, 1, n * GIB) for n in (1, 3, 2)))}
    )
    world.overrides = (pinned("a", "t1"),)
    world.tick()
    assert world.of("a", "t1").binding is ReasonCode.NO_ROOM
    world.run()
    assert world.held == {"t0": {"b"}, "t1": {"a"}}


@st.composite
def wishes(draw: st.DrawFn) -> tuple[dict[str, tuple[int, int]], ...]:
    one = st.fixed_dictionaries({name: st.tuples(st.integers(1, 4), st.integers(1, 2)) for name in "abcd"})
    return tuple(draw(st.lists(one, min_size=2, max_size=3)))


@settings(max_examples=25, deadline=None)
@given(wishes())
@example(({"a": (3, 1), "b": (3, 1), "c": (4, 1), "d": (3, 1)}, {"a": (1, 1), "b": (1, 1), "c": (1, 1), "d": (1, 2)}))
def test_whatever_is_wanted_memory_suffices_and_no_model_that_keeps_a_copy_is_without_one(
    wanted: tuple[dict[str, tuple[int, int]], ...],
) -> None:
    rooms = {"t0": 6, "t1": 6}
    world = PlacedWorld(rooms, [])
    for models in wanted:
        # a server that has less than its models take already is no question of moves
        size = {name: gib for name, (gib, _) in wanted[0].items()}
        world.fleet = replace(
            world.fleet,
            models=tuple(a_model(name, size[name], copies_min=copies) for name, (_, copies) in models.items()),
        )
        before = {name: sum(name in held for held in world.held.values()) for name in models}
        for _ in range(30):
            world.tick()
            copies = {name: sum(name in held for held in world.held.values()) for name in models}
            assert all(sum(size[m] for m in held) <= rooms[name] for name, held in world.held.items())
            plan = known(world.plan)
            stays = {name for held in plan.target.values() for name in held} if plan is not None else set()
            assert all(copies[name] >= 1 for name in models if before[name] and name in stays)
            before = copies
        steps = {d.step for d in world.decisions}
        assert steps == {Step.HOLD}, "it comes to rest"
