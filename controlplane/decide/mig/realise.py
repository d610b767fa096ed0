"""From counts to slices: which GPU is cut how, and which model has which slice, so that most of both stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from scipy.optimize import linear_sum_assignment

from controlplane.decide.mig.choices import near
from controlplane.decide.mig.layouts import Layout, fits, multiset
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

    Slices are created only where a model has them; those that are there stay unless they are in the way.
    """
    cut = found.layouts if found.kept else _least_change(needs, gpus, found.layouts)
    by_uuid = {gpu.uuid: gpu for gpu in sorted(gpus, key=lambda gpu: gpu.uuid)}
    assignments: list[Assignment] = []
    used: dict[str, list[Place]] = {uuid: [] for uuid in by_uuid}
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
            used[place.uuid].append(place)
            assignments += [
                Assignment(needs.models[m].name, place, share * offer.gain[m] * needs.models[m].demand, share)
                for m, share in bin_.shares.items()
            ]
    layouts = {uuid: _after(gpu, tuple(place.piece for place in used[uuid])) for uuid, gpu in by_uuid.items()}
    return layouts, tuple(sorted(assignments, key=lambda a: (a.model, a.place)))


def _after(gpu: Gpu, wanted: Layout) -> Layout:
    """The layout with these slices, and those that are there and in the way of none of them."""
    return tuple(sorted({*wanted, *(p for p in gpu.layout if p not in wanted and fits(gpu.board, wanted, p))}))


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
