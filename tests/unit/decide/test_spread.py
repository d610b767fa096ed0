"""On how many servers a model is wanted by its demand, behind a gateway that routes by model."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.explain import reason_text
from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.domain.expected import Announced
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from tests.unit.decide.placed_world import NOW, SERVICE_S, PlacedWorld, a_model

ONE_PER_S = 0.8 / SERVICE_S
"""What an instance is taken to hold where there is no objective."""
SERVERS = ("t0", "t1", "t2")
DWELL_TICKS = int(Policy().scale_down_after_s / 15)
HOUR_TICKS = 240


def world(per_s: float, *, copies: tuple[int, int] = (1, 3), instances: int = 1, held: int = 1) -> PlacedWorld:
    bounds = {"copies_min": copies[0], "copies_max": copies[1], "instances_max": instances}
    made = PlacedWorld(
        dict.fromkeys(SERVERS, 8),
        [a_model("a", 2, SERVERS, **bounds)],
        **dict.fromkeys(SERVERS[:held], ("a",)),
    )
    made.per_s["a"] = per_s
    return made


def copies(made: PlacedWorld) -> int:
    return sum("a" in held for held in made.held.values())


def told(made: PlacedWorld, server: str = "t0") -> str:
    """Why it was decided so on a server."""
    return "\n".join(reason_text(reason) for reason in made.of("a", server).reasons)


@pytest.mark.parametrize(("per_s", "wanted"), [(5, 1), (60, 1), (100, 2), (140, 2), (200, 3), (1000, 3)])
def test_there_are_as_many_copies_as_hold_the_demand(per_s: float, wanted: int) -> None:
    made = world(per_s)
    made.run(6)
    assert copies(made) == wanted


def test_instances_come_before_copies() -> None:
    made = world(3 * ONE_PER_S, instances=8)
    made.run(6)
    assert copies(made) == 1
    assert made.counts["a", "t0"] > 3


def test_a_copy_is_added_for_what_all_the_instances_cannot_give() -> None:
    made = world(5 * ONE_PER_S, instances=4)
    made.run(10)
    assert copies(made) == 2
    assert "wanted on 2 servers (bounds 1 to 3): to hold 408/s, of which one can hold 320/s" in told(made)


def test_one_goes_only_after_the_dwell_and_once_the_others_are_ready_for_its_part() -> None:
    made = world(5 * ONE_PER_S, instances=4, held=2)
    made.counts |= {("a", "t0"): 4, ("a", "t1"): 4}
    made.run(3)
    assert copies(made) == 2
    made.per_s["a"] = 2.5 * ONE_PER_S
    ticks = 0
    while copies(made) == 2:
        before = [made.counts.get(("a", s), 1) for s, held in made.held.items() if "a" in held]
        made.tick()
        ticks += 1
        assert ticks < 4 * DWELL_TICKS
    assert ticks >= DWELL_TICKS
    assert min(before) >= 3, "each could hold the whole before one went"


def test_what_each_is_to_be_ready_for_is_told() -> None:
    made = world(2.5 * ONE_PER_S, instances=4, held=2)
    said = ""
    for _ in range(2 * DWELL_TICKS):
        made.tick()
        said += told(made)
    assert "1 server was enough for long: each is to hold 206/s before one goes" in said


def test_without_data_none_goes_and_time_without_data_is_no_time_in_which_fewer_were_enough() -> None:
    made = world(5, held=3, copies=(1, 3))
    made.seen = False
    made.run(3 * DWELL_TICKS)
    assert copies(made) == 3
    made.seen = True
    made.run(DWELL_TICKS - 1)
    assert copies(made) == 3
    made.run(4 * DWELL_TICKS)
    assert copies(made) == 1


def test_after_the_memory_is_lost_what_is_there_stays_until_it_is_seen_to_be_too_much() -> None:
    made = world(5, held=3)
    made.run(DWELL_TICKS // 2)
    made.state = replace(made.state, spreads={})
    made.run(DWELL_TICKS - 1)
    assert copies(made) == 3


@pytest.mark.parametrize("unread", [1, 2, 3])
def test_nothing_goes_by_a_first_look_that_did_not_see_all(unread: int) -> None:
    made = world(1800, instances=32, held=3)
    made.counts |= {("a", server): 8 for server in SERVERS}
    made.unread = set(SERVERS[:unread])
    made.tick()
    made.unread = set()
    for _ in range(DWELL_TICKS):
        made.tick()
        assert copies(made) == 3
        assert all(d.target is None or d.target.loaded for d in made.decisions)


def test_bounds_that_were_one_number_for_a_while_leave_no_old_wish_behind() -> None:
    made = world(5)
    made.run(3)
    (model,) = made.fleet.models
    made.per_s["a"] = 250
    made.fleet = replace(made.fleet, models=(replace(model, copies_min=3),))
    made.run(3)
    assert made.state.spreads == {}
    made.fleet = replace(made.fleet, models=(model,))
    made.run(DWELL_TICKS - 1)
    assert copies(made) == 3


@pytest.mark.parametrize("per_s", [160, 250, 400])
def test_where_the_rest_could_do_less_than_was_learned_copies_come_and_go_ever_less_often(per_s: float) -> None:
    made = world(per_s, instances=8)
    made.most_per_s = 150
    made.run(4 * HOUR_TICKS)
    assert made.loads <= 6


def test_a_server_that_is_down_keeps_no_copy_on_the_others() -> None:
    made = world(5, held=2)
    made.dead = {"t2"}
    made.run(2 * DWELL_TICKS)
    assert copies(made) == 1


def test_what_has_no_place_is_not_wanted_for_ever() -> None:
    made = world(200)
    small = tuple(replace(s, memory_bytes=1) if s.name == "t2" else s for s in made.fleet.servers)
    made.fleet = replace(made.fleet, servers=small)
    made.run(6)
    assert (copies(made), made.state.spreads["a"].copies) == (2, 3)
    made.per_s["a"] = 5
    made.run(4 * DWELL_TICKS)
    assert (copies(made), made.state.spreads["a"].copies) == (1, 1)


def test_a_move_adds_none() -> None:
    made = world(20, instances=2)
    made.fleet = replace(made.fleet, models=(*made.fleet.models, a_model("large", 8, ("t0",), priority=9)))
    made.run(5)
    assert made.held["t0"] == {"large"}
    assert copies(made) == 1


def test_a_copy_without_requests_is_made_ready_too_and_then_one_goes() -> None:
    made = world(2.5 * ONE_PER_S, instances=4, held=2)
    made.weights = {"t0": 1.0, "t1": 0.0}
    made.run(3 * DWELL_TICKS)
    assert copies(made) == 1


def test_where_one_could_not_hold_its_part_nobody_is_made_ready_for_it() -> None:
    made = world(225, instances=4, held=3)
    made.service_s = {"t0": 0.05}
    made.weights = {"t0": 0.2}
    made.run(3 * DWELL_TICKS)
    assert copies(made) >= 2
    assert "not each of the others could hold its part" in told(made, "t1")


def test_instances_that_a_person_set_are_all_that_there_will_be() -> None:
    made = world(250, instances=4)
    made.overrides = (Override("o", "a", OverrideKind.INSTANCES, "me", "why", NOW - 1, NOW + 9e9, instances=1),)
    made.run(6)
    assert copies(made) == 3


def test_requests_that_wait_for_long_get_a_copy_though_instances_were_asked_for() -> None:
    made = world(250, instances=4)
    made.obeyed = False
    made.run(30)
    assert copies(made) == 3


def test_a_copy_is_there_when_what_was_announced_begins_and_stays_while_it_lasts() -> None:
    made = world(5)
    begins = made.now + 900
    made.announced = (Announced("e", "launch", "a", begins, begins + HOUR_TICKS * 15, per_s=120.0),)
    while made.now < begins:
        made.tick()
    assert copies(made) == 2
    made.run(HOUR_TICKS - 4)
    assert (copies(made), made.loads) == (2, 1)


def test_none_goes_while_scaling_is_frozen() -> None:
    made = world(5, held=2)
    made.freezes = (Freeze("f", "a", FreezeDirection.ALL, "me", "incident", NOW - 1, NOW + 1200),)
    made.run(2 * DWELL_TICKS)
    assert copies(made) == 2
    assert made.state.spreads["a"].copies == 2


def test_time_in_which_no_control_plane_ran_is_none_in_which_fewer_were_enough() -> None:
    made = world(5, held=3)
    made.run(DWELL_TICKS // 2)
    made.now += 7200
    made.state = resumed(made.state, Policy(), made.now)
    made.run(DWELL_TICKS - 1)
    assert copies(made) == 3


def test_a_copy_beyond_the_fewest_takes_no_place_that_another_model_needs_at_all() -> None:
    shape = {"copies_min": 1, "copies_max": 2, "priority": 5}
    made = PlacedWorld(
        {"t0": 4, "t1": 4},
        [a_model("a", 3, ("t0", "t1"), **shape), a_model("b", 3, ("t0", "t1"))],
        t0=("a",),
        t1=("b",),
    )
    made.per_s["a"] = 150
    made.run(6)
    assert made.held == {"t0": {"a"}, "t1": {"b"}}
    assert "1 more wanted, but: memory" in told(made)


def test_bounds_of_one_number_stay_as_they_are_whatever_comes() -> None:
    made = world(1000, copies=(2, 2))
    made.run(6)
    assert copies(made) == 2
    assert made.state.spreads == {}


def test_where_a_person_wants_it_beside_counts_and_comes_first() -> None:
    made = world(5)
    made.overrides = (Override("o", "a", OverrideKind.LOADED, "me", "by hand", NOW - 1, NOW + 9e9, server="t2"),)
    made.run(6)
    assert "a" in made.held["t2"]


def test_what_was_asked_for_beyond_the_memory_there_is_is_told() -> None:
    made = world(200)
    small = tuple(replace(s, memory_bytes=1) if s.name != "t0" else s for s in made.fleet.servers)
    made.fleet = replace(made.fleet, servers=small)
    made.run(6)
    assert copies(made) == 1
    assert "1 more wanted, but: memory" in told(made)


levels = st.lists(st.tuples(st.floats(0, 400), st.booleans(), st.integers(1, 25)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=25)
@given(levels, st.integers(1, 3), st.integers(0, 2), st.integers(1, 3))
def test_bounds_hold_and_nothing_unseen_lowers_anything(
    course: list[tuple[float, bool, int]], least: int, room: int, instances: int
) -> None:
    most = min(3, least + room)
    made = world(0, copies=(least, most), instances=instances, held=least)
    for per_s, seen, ticks in course:
        made.per_s["a"], made.seen = per_s, seen
        for tick in range(ticks):
            before = copies(made)
            made.tick()
            assert least <= copies(made) <= most
            if not seen and tick > 0:  # what was under way ends
                assert copies(made) >= before
