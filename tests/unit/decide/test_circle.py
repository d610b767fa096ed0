"""Copies that wait for each other's room: one of them goes all the same, where waiting can never help."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.explain import reason_text
from controlplane.decide.placing.circle import Group, Leaving, Room, first_of_circles
from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.domain.decision import Step
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.state import MemorySample, UnitState
from tests.unit.decide.placed_world import GIB, NOW, SERVICE_S, PlacedWorld, a_model

ONE_PER_S = 0.8 / SERVICE_S
DWELL_TICKS = 20
LONG_TICKS = 4 * DWELL_TICKS
EACH_GIB = (MemorySample(0, 1, GIB), MemorySample(1, 2, GIB))
"""A copy takes 1 GiB for each instance."""
WHOLE_ONLY = (MemorySample(0, 1, GIB),)
"""What one instance more takes was not seen apart."""


def pinned(model: str, server: str) -> Override:
    return Override(f"o-{model}", model, OverrideKind.LOADED, "me", "by hand", NOW, NOW + 36_000, server=server)


def round_about(names: str = "ab", memory: tuple[MemorySample, ...] = EACH_GIB, **more: object) -> PlacedWorld:
    """Each model fills a server with the 6 instances that it needs, and a person wants each on the next server."""
    servers = [f"t{i}" for i in range(len(names))]
    models = [a_model(name, None, servers, instances_max=8, **more) for name in names]
    world = PlacedWorld(dict.fromkeys(servers, 7), models, **{s: [n] for s, n in zip(servers, names, strict=True)})
    world.counts = dict.fromkeys(zip(names, servers, strict=True), 6)
    units = {f"{name}@{server}": UnitState(wanted=True, instances=6, memory=memory) for name, server in world.counts}
    world.state = replace(world.state, units=units)
    world.per_s = dict.fromkeys(names, 5.2 * ONE_PER_S)
    world.run(2)
    world.overrides = tuple(pinned(name, servers[(i + 1) % len(names)]) for i, name in enumerate(names))
    return world


def fitted(world: PlacedWorld) -> bool:
    """Whether what is on each server has its memory."""
    taken = {s: sum(world.counts.get((m, s), 1) for m in held) for s, held in world.held.items()}
    return max(taken.values()) <= 7


def told(world: PlacedWorld, model: str, server: str) -> str:
    return "; ".join(reason_text(reason) for reason in world.of(model, server).reasons)


@pytest.mark.parametrize("names", ["ab", "abc"])
def test_models_that_are_to_change_places_do_and_one_of_them_first_with_what_there_is_room_for(names: str) -> None:
    world = round_about(names)
    short = {}
    for _ in range(LONG_TICKS):
        for decision in world.tick():
            if decision.step is Step.UNLOAD and decision.actionable:
                left = sum(count for (m, _), count in world.counts.items() if m == decision.model)
                short[decision.model] = (left, "waits for this one" in told(world, decision.model, decision.server))
        assert fitted(world)
        assert all(any(name in held for held in world.held.values()) for name in names)
    servers = list(world.held)
    assert world.counts == {(name, servers[(i + 1) % len(names)]): 6 for i, name in enumerate(names)}
    assert sorted(short.values()) == [(4, True)] + [(6, False)] * (len(names) - 1), "only one went with fewer"


def test_it_says_with_how_many_it_went_and_who_has_the_room() -> None:
    world = round_about()
    for _ in range(LONG_TICKS):
        if any(d.step is Step.UNLOAD and d.actionable for d in world.tick()):
            break
    assert "goes once those that stay have the instances for which there is room (4 on t1)" in told(world, "a", "t0")
    assert "b has the rest, and waits for this one" in told(world, "a", "t0")
    assert "t0 has 4 of 6 instances, and 2 GiB too few for the rest" in told(world, "b", "t1")


def test_before_the_dwell_is_over_none_goes_since_copies_that_need_less_give_room_by_themselves() -> None:
    world = round_about()
    world.per_s = dict.fromkeys("ab", 3.5 * ONE_PER_S)
    for _ in range(LONG_TICKS):
        world.tick()
        texts = [reason_text(r) for d in world.decisions if d.step is Step.UNLOAD for r in d.reasons]
        assert not any("waits for this one" in text for text in texts)
    assert world.held == {"t0": {"b"}, "t1": {"a"}}


@pytest.mark.parametrize("which", ["a", "b"])
def test_one_that_is_frozen_is_not_gone_for(which: str) -> None:
    world = round_about()
    world.run(DWELL_TICKS + 5)
    assert world.held == {"t0": {"a", "b"}, "t1": {"a", "b"}}
    world.freezes = (Freeze("f", which, FreezeDirection.ALL, "me", "incident", NOW, NOW + 36_000),)
    world.run(LONG_TICKS)
    assert world.held == {"t0": {"a", "b"}, "t1": {"a", "b"}}
    (other,) = {"a", "b"} - {which}
    left = "t0" if other == "a" else "t1"
    assert "2 GiB too few for the rest" in told(world, other, left), "a person can act on it"
    world.freezes = ()
    world.run(LONG_TICKS)
    assert world.held == {"t0": {"b"}, "t1": {"a"}}


def test_where_it_is_not_known_what_instances_take_none_goes_with_fewer() -> None:
    world = round_about(memory=WHOLE_ONLY)
    world.obeyed = False  # Triton does not find the memory either
    world.run(LONG_TICKS)
    assert world.held == {"t0": {"a", "b"}, "t1": {"a", "b"}}


def test_while_requests_wait_none_goes_with_fewer() -> None:
    world = round_about()
    world.run(DWELL_TICKS + 5)
    world.most_per_s = 2 * ONE_PER_S
    world.run(LONG_TICKS)
    assert world.held == {"t0": {"a", "b"}, "t1": {"a", "b"}}


def test_the_lower_priority_goes_first() -> None:
    world = round_about()
    low, high = world.fleet.models
    world.fleet = replace(world.fleet, models=(replace(low, priority=1), high))
    for _ in range(LONG_TICKS):
        if gone := [d.model for d in world.tick() if d.step is Step.UNLOAD and d.actionable]:
            break
    assert gone == ["b"]


@pytest.mark.parametrize("ticks", [2, DWELL_TICKS + 4, DWELL_TICKS + 23, DWELL_TICKS + 25])
def test_a_restart_at_any_moment_comes_to_the_same(ticks: int) -> None:
    world = round_about()
    world.run(ticks)
    world.state = resumed(world.state, Policy(), world.now)
    world.run(LONG_TICKS)
    assert world.counts == {("a", "t1"): 6, ("b", "t0"): 6}


def test_a_gateway_that_is_slow_is_told_the_same_all_the_time() -> None:
    world = round_about()
    world.obeys = False
    world.run(3 * DWELL_TICKS)
    for _ in range(DWELL_TICKS):
        world.tick()
        leaving = {(d.model, d.server) for d in world.decisions if d.target is not None and not d.target.loaded}
        assert leaving == {("a", "t0")}
    world.obeys = True
    world.run(LONG_TICKS)
    assert world.counts == {("a", "t1"): 6, ("b", "t0"): 6}


def test_an_ensemble_goes_first_by_what_its_components_lack() -> None:
    both = ["t0", "t1"]
    parts = [a_model(name, None, both, instances_max=8) for name in "ab"]
    wholes = [a_model(name, None, both, components=(part,)) for name, part in (("e", "a"), ("f", "b"))]
    world = PlacedWorld(dict.fromkeys(both, 7), [*wholes, *parts], t0=["e", "a"], t1=["f", "b"])
    world.counts = {("a", "t0"): 3, ("b", "t1"): 3}
    units = {f"{name}@{server}": UnitState(wanted=True, instances=3, memory=EACH_GIB) for name, server in world.counts}
    world.state = replace(world.state, units=units)
    world.run(2)
    world.overrides = (pinned("e", "t1"), pinned("f", "t0"))
    gone = []
    for _ in range(LONG_TICKS):
        gone += [told(world, d.model, d.server) for d in world.tick() if d.step is Step.UNLOAD and d.actionable]
        for whole, part in (("e", "a"), ("f", "b")):  # as Triton does
            for server, held in world.held.items():
                if whole in held and part not in held:
                    held.add(part)
                    world.counts[part, server] = 3
                if whole not in held and part in held:
                    held.remove(part)
                    world.counts.pop((part, server))
        world.per_s = dict.fromkeys("ab", 5.2 * ONE_PER_S)  # which came once the ensembles were there
    assert world.held == {"t0": {"f", "b"}, "t1": {"e", "a"}}
    assert world.counts == {("a", "t1"): 6, ("b", "t0"): 6}
    assert ["goes once its components have the instances" in text for text in gone] == [True, False]


def test_who_leaves_in_a_later_turn_has_the_room_too() -> None:
    """Until a has gone c does not come, so that d does not leave t1, where a lacks an instance."""
    leaving = {("a", True): leaves({"t0": 3}, {"t1": 1}), ("d", False): leaves({"t1": 2}, {}, cramped=False)}
    assert dict(first_of_circles(leaving, {"t0": Room(0, 2), "t1": Room(0, 0)})) == {"a": ("d",)}
    full = {"t0": Room(0, 2), "t1": Room(0, 2)}
    assert not dict(first_of_circles(leaving, full)), "what then comes there needs the room"


def leaves(frees: dict[str, int | None], needs: dict[str, int | None], **more: object) -> Leaving:
    return Leaving("edge", frees, needs, **({"cramped": True} | more))  # type: ignore[arg-type]


FULL = {"t0": Room(0, 0), "t1": Room(0, 0), "t2": Room(0, 0)}
A, B = leaves({"t0": 3}, {"t1": 2}, share=0.5), leaves({"t1": 3}, {"t0": 2}, share=0.3)
Groups = dict[Group, Leaving]


@pytest.mark.parametrize(
    ("leaving", "first"),
    [
        ({("a", True): A, ("b", True): B}, {"b": ("a",)}),
        ({("a", True): A, ("b", True): replace(B, priority=1)}, {"a": ("b",)}),
        ({("a", True): replace(A, told=True), ("b", True): B}, {"a": ("b",)}),
        ({("a", True): A, ("b", True): replace(B, waits=True)}, {}),
        ({("a", True): A, ("b", True): replace(B, cramped=False)}, {}),
        ({("a", True): A, ("b", True): replace(B, frees={"t1": 1})}, {}),
        ({("a", True): A, ("b", True): replace(B, frees={"t1": None})}, {}),
        ({("a", True): A, ("b", True): B, ("c", True): leaves({"t2": 3}, {"t1": 1}, share=0.1)}, {"b": ("a",)}),
        ({("a", True): A, ("b", True): B, ("c", True): leaves({"t2": 3}, {"t1": 2}, share=0.1)}, {}),
        ({("a", True): A, ("b", True): B, ("c", True): leaves({"t1": 2}, {}, cramped=False)}, {}),
    ],
    ids=[
        "who lacks the smallest share",
        "who has the lower priority",
        "whom the gateway was told of",
        "none where requests of one wait",
        "none where one does not wait for room",
        "none where one would lack it even then",
        "none where it is not known what one has",
        "none that waits for a circle and is not in it",
        "none where it is too little for all",
        "none where another gives it up",
    ],
)
def test_the_first_of_a_circle_is(leaving: Groups, first: dict[str, tuple[str, ...]]) -> None:
    assert dict(first_of_circles(leaving, FULL)) == first
