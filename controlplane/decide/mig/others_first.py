"""A plan without the copies whose start failed before, so that these hold up nothing but what needs them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from controlplane.decide.mig.layouts import Layout, fits
from controlplane.decide.mig.order import order
from controlplane.decide.mig.serving import serving
from controlplane.decide.mig.values import Assignment, Gpu, MigPlan, MigQuestion, Place
from controlplane.domain.mig import Slice

Waits = Callable[[str, str], bool]
"""Whether the start of a copy of a model on a GPU, by its UUID, is to wait."""
_On = Mapping[Slice, frozenset[str]]
"""Slices of a GPU and the models on them."""


def without(question: MigQuestion, planned: MigPlan, waits: Waits) -> tuple[MigPlan, frozenset[str]]:
    """The plan less those copies, and the GPUs that do not get all of it. Same question, same answer.

    Such a GPU gets what fits beside its copies, and none of these is taken from it. Of a model that lacks a copy by
    that none is drained anywhere: a GPU on which one was to be gets no more than that either, and so on. All others are
    as planned.
    """
    gpus = {gpu.uuid: gpu for gpu in question.gpus}
    wanted = _by_gpu(planned)
    stay = {uuid for uuid, on in wanted.items() if any(waits(m, uuid) for m in _starts(gpus[uuid], on))}
    if not stay:
        return planned, frozenset()
    while True:
        has = {uuid: _beside(gpus[uuid], wanted[uuid], waits) if uuid in stay else wanted[uuid] for uuid in gpus}
        lacking = {m for uuid in stay for m in _starts(gpus[uuid], wanted[uuid], has[uuid])}
        more = {uuid for uuid in gpus if lacking.intersection(_drains(gpus[uuid], wanted[uuid]))} - stay
        if not more:
            return _plan(question, planned, has), frozenset(stay)
        stay |= more


def _by_gpu(planned: MigPlan) -> dict[str, _On]:
    names: defaultdict[Place, set[str]] = defaultdict(set)
    for a in planned.assignments:
        names[a.place].add(a.model)
    return {
        uuid: {piece: frozenset(names[Place(uuid, piece)]) for piece in layout}
        for uuid, layout in planned.layouts.items()
    }


def _starts(gpu: Gpu, wanted: _On, has: _On | None = None) -> Iterator[str]:
    """The models of the copies that are to come, or, of these, that do not come where it `has` this."""
    for piece, names in wanted.items():
        yield from (
            names - set(gpu.models.get(piece, ())) - (frozenset() if has is None else has.get(piece, frozenset()))
        )


def _drains(gpu: Gpu, wanted: _On) -> Iterator[str]:
    for piece, names in gpu.models.items():
        yield from set(names) - wanted.get(piece, frozenset())


def _beside(gpu: Gpu, wanted: _On, waits: Waits) -> _On:
    """The copies that it has, and of what it is to have what fits beside them; an idle slice goes only for that."""
    here = {piece: frozenset(gpu.models.get(piece, ())) for piece in gpu.layout}
    has = {piece: names for piece, names in here.items() if names or piece in wanted}
    for piece, names in sorted(wanted.items()):
        come = frozenset(m for m in names if not waits(m, gpu.uuid) or m in here.get(piece, ()))
        if come > has.get(piece, frozenset()) and (piece in has or fits(gpu.board, has, piece)):
            has[piece] = come
    has |= {piece: names for piece, names in here.items() if piece not in has and fits(gpu.board, has, piece)}
    return has


def _plan(question: MigQuestion, planned: MigPlan, has: Mapping[str, _On]) -> MigPlan:
    layouts: dict[str, Layout] = {uuid: tuple(sorted(on)) for uuid, on in has.items()}
    assignments = tuple(_assigned(question, planned, has))
    cost = sum(gpu.price for gpu in question.gpus if any(has[gpu.uuid].values()))
    goals = tuple(
        replace(goal, value=cost, bound=min(cost, goal.bound)) if goal.name == "cost" else goal
        for goal in planned.goals
    )
    steps = order(question.gpus, question.models, layouts, assignments)
    return replace(planned, layouts=layouts, assignments=assignments, steps=steps, goals=goals)


def _assigned(question: MigQuestion, planned: MigPlan, has: Mapping[str, _On]) -> Iterator[Assignment]:
    """As planned, or, of a copy that is there in place of that, with its part of the slice."""
    as_planned = {(a.model, a.place): a for a in planned.assignments}
    for here in serving(question.models, {gpu.uuid: gpu.board for gpu in question.gpus}, has):
        yield as_planned.get((here.model, here.place), here)
