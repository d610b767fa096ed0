"""What may become of a GPU: every choice of slices for models, what it changes and what it leaves room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from controlplane.decide.mig.boards import WHOLE, Board, Slice
from controlplane.decide.mig.layouts import Layout, layouts, maximal, multiset

Counts = NDArray[np.int64]
Flags = NDArray[np.bool_]
Rank = tuple[float, int]


@dataclass(frozen=True, slots=True, eq=False)
class Choices:
    """Choices for GPUs of one board that are alike, each another multiset of slices for models; the first is empty.

    `counts` has how often a choice has each of the profiles, `changes` how many slices it creates and destroys,
    `rooms` the rank of the largest profile that can still be placed. Slices that are there and in nobody's way stay.
    `worth`: those to which no other one is better in every respect.
    """

    layouts: tuple[Layout, ...]
    counts: Counts
    changes: Counts
    rooms: tuple[Rank, ...]
    worth: Flags


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """All layouts of some profiles as rows of places of the board, how often each has a profile, and its multiset.

    Multisets are numbered; 0 is the empty one.
    """

    layouts: tuple[Layout, ...]
    rows: Counts
    counts: Counts
    multisets: Counts


def fresh(board: Board, names: tuple[str, ...]) -> Choices:
    """Choices for a GPU whose present layout is of no concern: for the cost only maximal layouts matter."""
    by_multiset = {multiset(layout): layout for layout in maximal(board, names)}
    chosen: tuple[Layout, ...] = ((), *(by_multiset[key] for key in sorted(by_multiset)))
    none = np.zeros(len(chosen), dtype=np.int64)
    return Choices(chosen, _counts(chosen, names), none, ((0.0, 0),) * len(chosen), none == 0)


def near(board: Board, names: tuple[str, ...], present: Layout) -> Choices:
    """Choices for a GPU with this layout: of each multiset of profiles the layout that changes least.

    Of equal ones it is the one that leaves room for the largest profile.
    """
    table, blocks, ranks = _table(board, names), _blocks(board), _ranks(board)
    now = np.array([place in present for place in board.placements()], dtype=np.int64)
    destroyed = (table.rows @ blocks > 0) & (now > 0) & (table.rows == 0)
    created = (table.rows > 0) & (now == 0)
    after = (table.rows > 0) | ((now > 0) & ~destroyed)
    changes = (destroyed.sum(axis=1) + created.sum(axis=1)).astype(np.int64)
    levels = sorted({(0.0, 0), *ranks})
    level = np.array([levels.index(rank) for rank in ranks])
    rooms = np.where(after.astype(np.int64) @ blocks == 0, level, 0).max(axis=1)
    order = np.lexsort((-rooms, changes, table.multisets))
    kept = order[np.unique(table.multisets[order], return_index=True)[1]]
    return Choices(
        tuple(table.layouts[i] for i in kept),
        table.counts[kept],
        changes[kept],
        tuple(levels[room] for room in rooms[kept]),
        _worth(table.counts[kept], changes[kept], rooms[kept]),
    )


def _worth(counts: Counts, changes: Counts, rooms: Counts) -> Flags:
    """Choices but those to which another one has all slices and more, with no more changes and no less room."""
    holds = (counts[:, None, :] >= counts[None, :, :]).all(axis=2)
    no_worse = holds & (changes[:, None] <= changes[None, :]) & (rooms[:, None] >= rooms[None, :])
    np.fill_diagonal(no_worse, val=False)
    worth: Flags = np.logical_not(no_worse.any(axis=0))
    worth[0] = True  # no model at all: it costs nothing
    return worth


def _counts(chosen: Sequence[Layout], names: tuple[str, ...]) -> Counts:
    return np.array([[sum(p.profile == name for p in layout) for name in names] for layout in chosen], dtype=np.int64)


@cache
def _table(board: Board, names: tuple[str, ...]) -> _Table:
    index = {place: i for i, place in enumerate(board.placements())}
    found: tuple[Layout, ...] = ((), *layouts(board, names))
    rows = np.zeros((len(found), len(index)), dtype=np.int64)
    for i, layout in enumerate(found):
        rows[i, [index[piece] for piece in layout]] = 1
    numbers = {key: number for number, key in enumerate(sorted({multiset(layout) for layout in found}))}
    return _Table(found, rows, _counts(found, names), np.array([numbers[multiset(layout)] for layout in found]))


@cache
def _blocks(board: Board) -> Counts:
    """Which places cannot both be taken; a place blocks itself."""
    places = board.placements()
    return np.array([[int(not board.together(one, other)) for other in places] for one in places], dtype=np.int64)


@cache
def _ranks(board: Board) -> tuple[Rank, ...]:
    """How large the slice at each place is; that of a whole GPU is no slice."""

    def rank(place: Slice) -> Rank:
        return (0.0, 0) if place.profile == WHOLE else board.rank(place.profile)

    return tuple(map(rank, board.placements()))
