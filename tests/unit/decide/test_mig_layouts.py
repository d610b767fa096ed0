"""Boards and their layouts, against counts from the enumeration in public sources and a count of our own."""

from __future__ import annotations

from itertools import combinations

import pytest

from controlplane.config.mig.boards import boards
from controlplane.decide.mig.boards import WHOLE, Board, Slice
from controlplane.decide.mig.layouts import fits, layouts, legal, maximal, multiset

DOUBLE_MEMORY = 9
"""NVML's number of the profile with one compute slice and twice its memory."""

of_every_board = pytest.mark.parametrize("board", boards().values(), ids=lambda board: board.key)


def base(board: Board, *, double_memory: bool = False) -> tuple[str, ...]:
    """Profiles without media engines or graphics of their own."""
    numbers = {0, 1, 2, 3, 4} | ({DOUBLE_MEMORY} if double_memory else set())
    return tuple(p.name for p in board.profiles if p.nvml in numbers)


@of_every_board
def test_layouts_are_as_many_as_public_enumerations_count(board: Board) -> None:
    # physical layouts, maximal ones, and maximal ones by how often each profile is there
    counts = {True: (297, 19, 14), False: (25, 5, 4)}[board.units == 8]
    assert counted(board, base(board)) == counts


@of_every_board
def test_the_double_memory_profile_adds_to_them(board: Board) -> None:
    names = base(board, double_memory=True)
    if board.units == 8:
        assert counted(board, names) == (722, 78, 38)
    else:
        assert names == base(board)


def counted(board: Board, names: tuple[str, ...]) -> tuple[int, int, int]:
    most = maximal(board, names)
    return len(layouts(board, names)), len(most), len({multiset(layout) for layout in most})


@pytest.mark.parametrize("key", ["a30-24gb", "rtx-pro-6000-96gb"])
def test_layouts_are_all_sets_of_places_that_are_legal(key: str) -> None:
    board = boards()[key]
    names = tuple(p.name for p in board.profiles if not p.name.endswith("gfx"))
    places = board.placements(names)
    most = max(len(layout) for layout in layouts(board, names))
    sets = (tuple(sorted(chosen)) for size in range(1, most + 2) for chosen in combinations(places, size))
    assert set(layouts(board, names)) == {chosen for chosen in sets if by_the_rules(board, chosen)}


def by_the_rules(board: Board, chosen: tuple[Slice, ...]) -> bool:
    """The rules as they are written: intervals apart, limits of profiles, groups that exclude each other."""
    units = [unit for piece in chosen for unit in range(piece.start, piece.start + board.size(piece))]
    names = [piece.profile for piece in chosen]
    limits = all(names.count(p.name) <= p.most for p in board.profiles)
    groups = all(
        not (a in these and b in those) for these, those in board.apart for a, b in [*combinations(names, 2)]
    ) and all(not (b in these and a in those) for these, those in board.apart for a, b in [*combinations(names, 2)])
    return len(units) == len(set(units)) and limits and groups


@of_every_board
def test_no_profile_has_a_limit_that_pairs_of_slices_do_not_tell(board: Board) -> None:
    for profile in board.profiles:
        assert profile.most == 1 or profile.most >= len(profile.starts), profile.name


@of_every_board
def test_the_axis_is_as_wide_as_the_farthest_place(board: Board) -> None:
    assert board.units == max(p.starts[-1] + p.size for p in board.profiles)


@of_every_board
def test_nothing_is_beside_a_whole_gpu(board: Board) -> None:
    whole = Slice(WHOLE, 0)
    assert not any(fits(board, (whole,), place) for place in board.placements())


def test_a_slice_where_the_board_has_no_place_for_it_is_not_legal() -> None:
    board = boards()["h100-80gb"]
    assert legal(board, (Slice("3g.40gb", 0), Slice("3g.40gb", 4)))
    assert not legal(board, (Slice("3g.40gb", 2),))
    assert not legal(board, (Slice("3g.40gb", 0), Slice("4g.40gb", 0)))


def test_memory_that_nobody_told_is_less_than_the_name_says() -> None:
    board = boards()["h200-141gb"]
    assert board.memory_gib("1g.18gb") == pytest.approx(0.85 * 18)
    assert board.memory_gib("3g.71gb") == pytest.approx(0.95 * 71)
    assert board.memory_gib(WHOLE) == board.memory_gib("7g.141gb")
    assert boards()["h100-94gb"].memory_gib("1g.12gb") == 10.75


@of_every_board
def test_memory_that_was_seen_is_never_under_the_cautious_share(board: Board) -> None:
    for profile in board.profiles:
        if profile.memory_mib is not None:
            share = 0.95 if 2 * profile.size >= board.units else 0.85
            assert share <= profile.memory_mib / 1024 / float(profile.name.split(".")[1].split("gb")[0]) <= 1


def test_a_profile_is_found_by_the_name_that_another_driver_gives_it() -> None:
    board = boards()["gb200-186gb"]
    assert board.profile("7g.189gb") is board.profile("7g.186gb")
    assert board.profile("7g.80gb") is None
