"""Placement under memory: what goes where, what stays, what is left out, and in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.decide.placing import (
    Limits,
    ModelNeed,
    Move,
    PlacementQuestion,
    ServerRoom,
    Short,
    Unplaced,
    place,
)
from controlplane.domain.decision import Step

GIB = 2**30
BOTH = ("t0", "t1")


def a_model(name: str, gib: float | None, copies: int = 1, **changes: object) -> ModelNeed:
    need = ModelNeed(name, None if gib is None else int(gib * GIB), copies, BOTH)
    return replace(need, **changes)  # type: ignore[arg-type]


def a_server(name: str, gib: float | None, *present: str, pinned: bool = False) -> ServerRoom:
    return ServerRoom(name, None if gib is None else int(gib * GIB), dict.fromkeys(present, 2), pinned=pinned)


def steps(moves: tuple[Move, ...]) -> list[tuple[int, Step, str, str]]:
    return [(move.wave, move.step, move.model, move.server) for move in moves]


def test_nothing_moves_where_all_is_as_it_should_be() -> None:
    servers = (a_server("t0", 10, "a", "b", "c"), a_server("t1", 10))
    placement = place(PlacementQuestion(servers, tuple(a_model(n, 3, busy_share=0.3) for n in "abc")))
    assert placement.moves == ()
    assert placement.target == {"t0": ("a", "b", "c"), "t1": ()}
    assert placement.gap == 0.0


def test_new_copies_go_where_they_balance_the_busy_share() -> None:
    servers = (a_server("t0", 40, "a"), a_server("t1", 40, "b"))
    models = (a_model("a", 3, busy_share=0.6), a_model("b", 3, busy_share=0.2), a_model("c", 3, busy_share=0.3))
    assert steps(place(PlacementQuestion(servers, models)).moves) == [(0, Step.LOAD, "c", "t1")]


def test_what_is_in_the_way_is_loaded_elsewhere_before_it_goes() -> None:
    servers = (a_server("t0", 8, "a"), a_server("t1", 6))
    models = (a_model("a", 4), a_model("big", 8))
    assert steps(place(PlacementQuestion(servers, models)).moves) == [
        (0, Step.LOAD, "a", "t1"),
        (1, Step.UNLOAD, "a", "t0"),
        (2, Step.LOAD, "big", "t0"),
    ]


def test_a_copy_that_moves_keeps_its_instances() -> None:
    servers = (a_server("t0", 8, "a"), a_server("t1", 6))
    models = (a_model("a", 4, instances=2), a_model("big", 8, instances=3))
    load, unload, fresh = place(PlacementQuestion(servers, models)).moves
    assert (load.instances, unload.instances, fresh.instances) == (2, 2, 3)


def test_where_not_all_fit_the_higher_priority_does_and_the_other_goes_first() -> None:
    servers = (a_server("t0", 8, "low"),)
    models = (a_model("low", 6, priority=1), a_model("high", 6, priority=2))
    placement = place(PlacementQuestion(servers, models))
    assert steps(placement.moves) == [(0, Step.UNLOAD, "low", "t0"), (1, Step.LOAD, "high", "t0")]
    assert placement.unplaced == (Unplaced("low", 1, Short.MEMORY, 4 * GIB),)


def test_inside_a_class_each_model_has_a_copy_before_one_has_two() -> None:
    servers = (a_server("t0", 6, "a"), a_server("t1", 6, "a"))
    placement = place(PlacementQuestion(servers, (a_model("a", 4, copies=2), a_model("b", 4))))
    assert sorted(placement.target.values()) == [("a",), ("b",)]
    assert [entry.model for entry in placement.unplaced] == ["a"]


def test_a_model_of_unknown_memory_stays_and_takes_what_is_free_off_its_server() -> None:
    servers = (a_server("t0", 80, "unknown", "a"), a_server("t1", 4))
    models = (a_model("unknown", None, copies=2), a_model("a", 3), a_model("b", 5), a_model("c", 4))
    placement = place(PlacementQuestion(servers, models))
    assert placement.target == {"t0": ("a", "unknown"), "t1": ("c",)}
    assert placement.unplaced == (
        Unplaced("b", 1, Short.MEMORY, 5 * GIB),
        Unplaced("unknown", 1, Short.MEMORY_UNKNOWN),
    )


def test_a_model_that_nobody_configured_counts_as_one_of_unknown_memory() -> None:
    placement = place(PlacementQuestion((a_server("t0", 80, "theirs"),), (a_model("a", 1),)))
    assert placement.target == {"t0": ("theirs",)}
    assert placement.unplaced == (Unplaced("a", 1, Short.SERVER_UNKNOWN),)


def test_a_server_of_unknown_memory_may_change_hands_and_no_more() -> None:
    servers = (a_server("t0", None, "low"),)
    models = (a_model("low", 6, priority=0), a_model("high", 5, priority=1), a_model("more", 1, priority=1))
    placement = place(PlacementQuestion(servers, models))
    assert placement.target == {"t0": ("high", "more")}


def test_what_runs_fits_whatever_the_figures_say() -> None:
    servers = (a_server("t0", 8, "a", "b"),)
    assert place(PlacementQuestion(servers, (a_model("a", 6), a_model("b", 6)))).moves == ()


def test_a_pinned_server_is_left_alone() -> None:
    servers = (a_server("t0", 8, "a", pinned=True), a_server("t1", 3))
    placement = place(PlacementQuestion(servers, (a_model("a", 3, copies=0), a_model("b", 4))))
    assert placement.moves == ()
    assert placement.unplaced == (Unplaced("b", 1, Short.MEMORY, 1 * GIB),)


def test_a_pin_wins_over_any_priority_and_over_the_number_of_copies() -> None:
    servers = (a_server("t0", 8, "high"),)
    models = (a_model("high", 6, priority=9), a_model("told", 6, copies=0, pins=("t0",)))
    placement = place(PlacementQuestion(servers, models))
    assert placement.target == {"t0": ("told",)}


def test_a_copy_takes_what_it_has_where_it_is_and_what_it_is_loaded_with_elsewhere() -> None:
    servers = (replace(a_server("t0", 8, "a"), taken_bytes={"a": 2 * GIB}), a_server("t1", 3))
    (small,) = place(PlacementQuestion(servers, (a_model("a", 4), a_model("b", 6)))).moves
    assert (small.model, small.server) == ("b", "t0"), "beside what the one with fewer instances has"
    placement = place(PlacementQuestion(servers, (a_model("a", 4), a_model("b", 7))))
    assert placement.moves == (), "with its instances it does not fit on the other"
    assert placement.unplaced == (Unplaced("b", 1, Short.MEMORY, 1 * GIB),)


def test_more_copies_than_servers_are_told_as_such() -> None:
    placement = place(PlacementQuestion((a_server("t0", 80), a_server("t1", 80)), (a_model("a", 1, copies=3),)))
    assert placement.unplaced == (Unplaced("a", 1, Short.SERVERS),)


def test_full_servers_that_would_have_to_swap_keep_what_they_have() -> None:
    # b must go to t0 to make room on t1 for big, a to t1 to make room for b: neither can be first
    servers = (a_server("t0", 6, "a"), a_server("t1", 7, "b"))
    models = (
        a_model("a", 5, priority=2),
        a_model("b", 6, priority=2),
        a_model("small", 2, priority=1, servers=("t1",)),
    )
    placement = place(PlacementQuestion(servers, models))
    assert placement.moves == ()
    assert placement.unplaced == (Unplaced("small", 1, Short.MEMORY, 1 * GIB),)
    assert placement.gap > 0.0, "without an order there is a better target"


@pytest.mark.parametrize("exact", [True, False], ids=["as a whole", "around the relaxation"])
def test_large_questions_are_answered_as_small_ones_are(exact: bool) -> None:
    servers = tuple(ServerRoom(f"s{i}", 16 * GIB) for i in range(8))
    names = tuple(server.name for server in servers)
    models = tuple(
        ModelNeed(f"m{i}", (1 + i % 4) * GIB, 1 + i % 3, names, busy_share=0.1 + 0.02 * i) for i in range(12)
    )
    limits = Limits(exact_pairs=1000 if exact else 0)
    placement = place(PlacementQuestion(servers, models, limits))
    assert placement.unplaced == ()
    assert len(placement.moves) == sum(model.copies for model in models)
    assert placement.gap <= 0.15
    assert placement == place(PlacementQuestion(servers, models, limits))
