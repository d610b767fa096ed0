"""From counts to slices: which GPU is cut how, and which model has which slice, so that most of both stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby

import numpy as np
from scipy.optimize import linear_sum_assignment

from controlplane.decide.mig.boards import Board
from controlplane.decide.mig.choices import near
from controlplane.decide.mig.layouts import Layout, fits, layouts, multiset
from controlplane.decide.mig.needs import Needs
from controlplane.decide.mig.search import Found
from controlplane.decide.mig.values import Assignment, Gpu, Place

_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class _Bin:
    """A slice that some models have, with the share of its time that each has."""

    shares: Mapping[int, float]
    names: frozenset[str]


def realise(needs: Needs, gpus: Sequence[Gpu], found: Found) -> tuple[dict[str, Layout], tuple[Assignment, ...]]:
    """The layout of every GPU, and the assignments.

    Slices are created only where a model has them; those that are there stay unless they are in the way. No copy starts
    that its model can do without.
    """
    by_uuid = {gpu.uuid: gpu for gpu in sorted(gpus, key=lambda gpu: gpu.uuid)}
    cut = found.layouts if found.kept else _least_change(needs, gpus, found.layouts)
    stay = _staying(needs, found)
    cut = {uuid: _keeping(by_uuid[uuid], of, needs.names(by_uuid[uuid].board), stay) for uuid, of in cut.items()}
    assignments: list[Assignment] = []
    for o, offer in enumerate(needs.offers):
        bins = _bins(needs, found, o)
        open_ = [
            Place(uuid, piece)
            for uuid, wanted in sorted(cut.items())
            if by_uuid[uuid].board.key == offer.board.key
            for piece in _after(by_uuid[uuid], wanted)
            if piece.profile == offer.profile
        ]
        for place, bin_ in _matched(by_uuid, bins, open_):
            assignments += [
                Assignment(needs.models[m].name, place, share * offer.gain[m] * needs.models[m].demand, share)
                for m, share in bin_.shares.items()
            ]
    assignments = _wanted(needs, by_uuid, assignments)
    used = {a.place for a in assignments}
    layouts = {
        uuid: _after(gpu, tuple(sorted(place.piece for place in used if place.uuid == uuid)))
        for uuid, gpu in by_uuid.items()
    }
    return layouts, tuple(sorted(assignments, key=lambda a: (a.model, a.place)))


def _wanted(needs: Needs, gpus: Mapping[str, Gpu], assignments: Sequence[Assignment]) -> list[Assignment]:
    """Those without copies that would have to start though their model is served without them."""
    models = {model.name: model for model in needs.models if not model.share}
    serves = {name: sum(a.capacity for a in assignments if a.model == name) for name in models}
    spare = set()
    for a in sorted(assignments, key=lambda a: (-a.capacity, a.model, a.place)):
        starts = a.model in models and a.model not in gpus[a.place.uuid].models.get(a.place.piece, ())
        if starts and serves[a.model] - a.capacity >= models[a.model].demand:
            serves[a.model] -= a.capacity
            spare.add(a)
    return [a for a in assignments if a not in spare]


def _after(gpu: Gpu, wanted: Layout) -> Layout:
    """The layout with these slices, and those that are there and in the way of none of them."""
    return tuple(sorted({*wanted, *(p for p in gpu.layout if p not in wanted and fits(gpu.board, wanted, p))}))


def _staying(needs: Needs, found: Found) -> Counter[tuple[str, str, str]]:
    """How many copies of a model there are to be on a profile of a board, by their names."""
    stay = Counter[tuple[str, str, str]]()
    for o, offer in enumerate(needs.offers):
        for bin_ in _bins(needs, found, o):
            stay.update((name, offer.board.key, offer.profile) for name in bin_.names)
    return stay


def _keeping(gpu: Gpu, wanted: Layout, names: tuple[str, ...], stay: Counter[tuple[str, str, str]]) -> Layout:
    """The same multiset of slices where the fewest copies of the GPU have to go, of these with the fewest changes."""

    def gone(layout: Layout) -> tuple[int, int, bool, Layout]:
        after = _after(gpu, layout)
        here = Counter((name, gpu.board.key, piece.profile) for piece in after for name in gpu.models.get(piece, ()))
        return -(here & stay).total(), len({*after} ^ {*gpu.layout}), layout != wanted, layout

    return min(_alike(gpu.board, names, multiset(wanted)), key=gone) if gpu.models and wanted else wanted


@cache
def _alike(board: Board, names: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[Layout, ...]:
    return tuple(layout for layout in layouts(board, names) if multiset(layout) == wanted)


def _least_change(needs: Needs, gpus: Sequence[Gpu], cut: Mapping[str, Layout]) -> dict[str, Layout]:
    """The same multisets of slices on the GPUs of the same board and price where they change least (an assignment)."""
    result: dict[str, Layout] = {}

    def kind(gpu: Gpu) -> tuple[str, float]:
        return gpu.board.key, gpu.price

    for _, alike in groupby(sorted(gpus, key=lambda gpu: (kind(gpu), gpu.uuid)), key=kind):
        same = list(alike)
        names = needs.names(same[0].board)
        wanted = [multiset(cut.get(gpu.uuid, ())) for gpu in same]
        near_by = {layout: near(same[0].board, names, layout) for layout in sorted({gpu.layout for gpu in same})}
        index = {layout: {multiset(of): i for i, of in enumerate(c.layouts)} for layout, c in near_by.items()}
        costs = [[near_by[g.layout].changes[index[g.layout][wish]] for wish in wanted] for g in same]
        for gpu, column in zip(same, linear_sum_assignment(np.array(costs))[1], strict=True):
            layout = near_by[gpu.layout].layouts[index[gpu.layout][wanted[column]]]
            if layout:
                result[gpu.uuid] = layout
    return result


def _bins(needs: Needs, found: Found, offer: int) -> list[_Bin]:
    """The slices of an offer that models have, by name."""
    whole = [{m: 1.0} for (m, o), count in sorted(found.copies.items()) if o == offer for _ in range(count)]
    shared: list[dict[int, float]] = []
    for pattern, count, times in found.shared:
        if pattern.offer == offer:
            shared += _wrapped(times, count)
    return [_Bin(shares, frozenset(needs.models[m].name for m in shares)) for shares in (*whole, *shared)]


def _wrapped(times: Mapping[int, float], count: int) -> list[dict[int, float]]:
    """Time of slices handed out one slice after the other, so that few copies are split (McNaughton, 1959)."""
    bins: list[dict[int, float]] = [{}]
    left = 1.0
    for m, time in sorted(times.items()):
        rest = time
        while rest > _NOTHING:
            if left <= _NOTHING and len(bins) < count:
                bins.append({})
                left = 1.0
            part = min(rest, left) if len(bins) < count else rest
            bins[-1][m] = bins[-1].get(m, 0.0) + part
            rest, left = rest - part, left - part
    return [shares for shares in bins if shares]


def _matched(gpus: Mapping[str, Gpu], bins: Sequence[_Bin], open_: Sequence[Place]) -> list[tuple[Place, _Bin]]:
    """Slices for all: first those that are there, of these those where the models are now (an assignment)."""
    if not bins:
        return []
    costs = np.zeros((len(bins), len(open_)))
    most = max(len(bin_.names) for bin_ in bins)
    for j, place in enumerate(open_):
        gpu = gpus[place.uuid]
        here = set(gpu.models.get(place.piece, ()))
        create = 0 if place.piece in gpu.layout else (most + 1) * len(bins)
        costs[:, j] = [create + len(bin_.names - here) for bin_ in bins]
    return [(open_[j], bins[i]) for i, j in zip(*linear_sum_assignment(costs), strict=True)]
