"""Raises, reloads and loads are weighed against the memory that is free, by what their instances take."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.copy_size import CopySize
from controlplane.decide.explain import headline
from controlplane.decide.fits import no_room, takes
from controlplane.decide.unit import Unit
from controlplane.domain.decision import Decision, ReasonCode, Step, Target
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.state import MemorySample, UnitState
from tests.unit.decide.placed_world import GIB, NOW, SERVICE_S, PlacedWorld, a_model

ONE_PER_S = 0.8 / SERVICE_S
ONE_GIB = UnitState(wanted=True, instances=1, memory=(MemorySample(0, 1, GIB), MemorySample(1, 2, GIB)))
"""A model whose copy takes 1 GiB for each instance."""


def measured(room: int | None, *names: str, per_s: float = 8 * ONE_PER_S, routes: bool = False) -> PlacedWorld:
    """Models of measured memory on one server of so many GiB."""
    world = PlacedWorld({"t0": room}, [a_model(n, None, ["t0"], instances_max=16) for n in names], t0=names)
    if not routes:
        world.fleet = replace(world.fleet, routes=())
    world.state = replace(world.state, units={f"{name}@t0": ONE_GIB for name in names})
    world.per_s = dict.fromkeys(names, per_s)
    return world


def of(world: PlacedWorld, name: str = "a") -> Decision:
    return world.of(name, "t0")


def test_a_raise_is_cut_to_the_memory_that_is_left_and_says_so() -> None:
    world = measured(4, "a")
    world.run(6)
    assert world.counts["a", "t0"] == 4
    assert of(world).step is Step.HOLD
    world.tick()
    assert "would take" in headline(of(world))
    assert "0 bytes are left on the server" in headline(of(world))
    unhindered = measured(64, "a")
    unhindered.run(6)
    assert unhindered.counts["a", "t0"] > 8


def test_memory_that_is_not_known_cuts_nothing() -> None:
    for world in (measured(None, "a"), measured(4, "a")):
        if world.fleet.servers[0].memory_bytes is not None:
            world.state = replace(world.state, units={"a@t0": UnitState(wanted=True, instances=1)})
        world.run(6)
        assert world.counts["a", "t0"] > 8


def test_two_raises_of_one_tick_do_not_count_on_the_same_memory() -> None:
    world = measured(5, "a", "b")
    for _ in range(6):
        world.tick()
        assert world.counts.get(("a", "t0"), 1) + world.counts.get(("b", "t0"), 1) <= 5


def test_what_a_person_set_is_set_so_or_not_at_all() -> None:
    world = measured(4, "a", per_s=0.0)
    told = Override("o", "a", OverrideKind.INSTANCES, "me", "by hand", NOW, NOW + 3600, instances=6)
    world.overrides = (told,)
    world.run(3)
    assert ("a", "t0") not in world.counts
    assert headline(of(world)).endswith("no set instances: it takes 5 GiB more, and 3 GiB are left on the server")
    world.overrides = (replace(told, instances=4),)
    world.run(3)
    assert world.counts["a", "t0"] == 4


def test_a_model_comes_back_with_the_instances_that_there_is_room_for() -> None:
    world = measured(4, "a")
    world.state = replace(world.state, units={"a@t0": replace(ONE_GIB, instances=6)})
    world.held["t0"].clear()  # it restarted
    world.tick()
    target = of(world).target
    assert (of(world).step, target and target.instances) == (Step.LOAD, 4)


@pytest.mark.parametrize(
    ("step", "target", "gib"),
    [
        (Step.LOAD, Target(loaded=True, instances=3), 3),
        (Step.SET_INSTANCES, Target(loaded=True, instances=3), 1),
        (Step.SET_INSTANCES, Target(loaded=True, instances=1), 0),
        (Step.RELOAD, Target(loaded=True, instances=2), 2),
        (Step.CONFIGURE, Target(loaded=True, instances=2), 2),
        (Step.SET_VERSIONS, Target(loaded=True, instances=2, versions=("1", "2")), 2),
        (Step.SET_VERSIONS, Target(loaded=True, instances=2, versions=("1",)), 0),
        (Step.UNLOAD, Target(loaded=False, instances=0), 0),
    ],
)
def test_what_triton_holds_twice_for_a_while_has_to_fit_twice(step: Step, target: Target, gib: int) -> None:
    world = measured(8, "a")
    (server,), (model,) = world.fleet.servers, world.fleet.models
    here = Target(loaded=True, instances=2, versions=("1",))
    size = CopySize(None, {1: GIB}, GIB, GIB, apart=(GIB,))
    unit = Unit(model, server, None, ModelReading(ModelState.READY), free_bytes=gib * GIB, size=size)
    assert takes(unit, step, here, target) == gib * GIB
    assert no_room(unit, step, here, target) is None
    if gib:
        assert no_room(replace(unit, free_bytes=gib * GIB - 1), step, here, target) is not None
    assert no_room(replace(unit, free_bytes=None), step, here, target) is None


def test_a_reload_waits_for_the_memory_that_it_takes_beside_what_serves() -> None:
    world = measured(5, "a", per_s=0.0)
    world.counts["a", "t0"] = 3
    world.state = replace(world.state, units={"a@t0": replace(ONE_GIB, instances=3)})
    world.outdated = "another version"
    world.tick()
    assert (of(world).step, of(world).binding) == (Step.HOLD, ReasonCode.NO_ROOM)
    assert headline(of(world)).endswith("no reload: it takes 3 GiB more, and 2 GiB are left on the server")
    world.fleet = replace(world.fleet, servers=(replace(world.fleet.servers[0], memory_bytes=6 * GIB),))
    world.tick()
    assert of(world).step is Step.RELOAD


@pytest.mark.parametrize("failing", [1, 3])
def test_a_backend_that_died_is_healed_whatever_memory_is_left(failing: int) -> None:
    world = measured(1, "a", per_s=10.0)
    world.failing = failing
    world.run(3)
    assert of(world).step is Step.RELOAD, headline(of(world))


def test_what_a_whole_copy_was_seen_to_take_refuses_no_raise() -> None:
    """Else nothing would ever teach what an instance takes: that copy may be all its own."""
    world = measured(8, "a")
    large = replace(ONE_GIB, instances=1, memory=(MemorySample(0, 1, 5 * GIB),))
    world.state = replace(world.state, units={"a@t0": large})
    world.run(6)
    assert world.counts["a", "t0"] > 1, headline(of(world))
