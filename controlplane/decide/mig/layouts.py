"""Layouts of a board, every one of them: there are so few that nothing inside one GPU needs to be searched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

from controlplane.decide.mig.boards import Board, Slice

Layout = tuple[Slice, ...]
"""Slices of one GPU, sorted."""


@cache
def layouts(board: Board, names: tuple[str, ...]) -> tuple[Layout, ...]:
    """All legal layouts of the named profiles with at least one slice, sorted."""
    places = board.placements(names)
    free = [
        {j for j, other in enumerate(places) if j > i and board.together(one, other)} for i, one in enumerate(places)
    ]

    def below(chosen: tuple[int, ...], open_: set[int]) -> Iterator[tuple[int, ...]]:
        for i in sorted(open_):
            yield (*chosen, i)
            yield from below((*chosen, i), open_ & free[i])

    found = below((), set(range(len(places))))
    return tuple(sorted(tuple(sorted(places[i] for i in chosen)) for chosen in found))


@cache
def maximal(board: Board, names: tuple[str, ...]) -> tuple[Layout, ...]:
    """The layouts to which no slice of the named profiles can be added."""
    places = board.placements(names)
    return tuple(layout for layout in layouts(board, names) if not any(fits(board, layout, place) for place in places))


def fits(board: Board, layout: Iterable[Slice], piece: Slice) -> bool:
    """Whether the slice may be added to the layout."""
    return all(board.together(piece, other) for other in layout)


def legal(board: Board, layout: Layout) -> bool:
    """Whether all of the layout may be on a GPU at a time, each where the board has a place for it."""
    places = set(board.placements())
    return set(layout) <= places and all(fits(board, layout[:i], piece) for i, piece in enumerate(layout))


def multiset(layout: Iterable[Slice]) -> tuple[str, ...]:
    """The profiles of a layout, each as often as it is there."""
    return tuple(sorted(piece.profile for piece in layout))
