"""Where a copy goes that comes between two plans: so that the fewest larger slices can no longer be."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.decide.mig.boards import Board, Slice
from controlplane.decide.mig.layouts import Layout, fits
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.values import Gpu, MigModel, Place


def arrive(gpus: Sequence[Gpu], model: MigModel, short_per_s: float) -> Place | None:
    """A slice for one more copy of the model, of which `short_per_s` (more than 0) is not served; None: no room.

    That with the least of a GPU (times its price) for what it serves of it. Of slices that are alike in that, one that
    is there and has no model comes first; of places where one can be cut, that by which the fewest larger placements
    are lost, then one on the GPU with the least room left.
    """
    found = []
    alike: dict[object, Gpu] = {}
    for gpu in sorted(gpus, key=lambda gpu: gpu.uuid):
        occupied = frozenset(piece for piece, names in gpu.models.items() if names)
        alike.setdefault((gpu.board.key, gpu.price, gpu.layout, occupied), gpu)
    for gpu in alike.values():
        for piece in gpu.board.placements():
            capacity = capacity_on(model, gpu.board, piece.profile)
            if capacity <= 0 or gpu.board.memory_gib(piece.profile) < model.min_memory_gib:
                continue
            there = piece in gpu.layout
            if gpu.models.get(piece) or not (there or fits(gpu.board, gpu.layout, piece)):
                continue
            served = min(capacity, short_per_s)
            dear = gpu.board.size(piece) / gpu.board.units * gpu.price / served
            cost = 0 if there else lost(gpu.board, gpu.layout, piece)
            found.append((dear, -served, not there, cost, _room(gpu), Place(gpu.uuid, piece)))
    return min(found)[-1] if found else None


def lost(board: Board, layout: Layout, piece: Slice) -> int:
    """How many placements of larger profiles were possible beside the layout and are not any more beside the slice."""
    rank = board.rank(piece.profile)
    return sum(
        board.rank(place.profile) > rank and fits(board, layout, place) and not board.together(place, piece)
        for place in board.placements()
    )


def _room(gpu: Gpu) -> int:
    """Memory units that no slice has."""
    return gpu.board.units - sum(gpu.board.size(piece) for piece in gpu.layout)
