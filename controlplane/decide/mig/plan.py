"""Layouts planned: pure, and slow where there are many GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from controlplane.decide.mig.needs import Needs, needs_of
from controlplane.decide.mig.order import order
from controlplane.decide.mig.serving import serving
from controlplane.decide.mig.values import Assignment, Lack, MigGoal, MigPlan, MigQuestion, Unserved
from controlplane.domain.mig import Act

_NOTHING = 1e-6
"""A share of a demand so small counts as nothing."""


def plan(question: MigQuestion) -> MigPlan:
    """The layouts, who has which slice, and the steps to get there. Same question, same answer.

    Where the solver finds nothing at all, what is there stays.
    """
    # take half a second and 60 MB, and only the worker of slow jobs has a use for them
    from controlplane.decide.mig.realise import realise  # noqa: PLC0415
    from controlplane.decide.mig.search import NothingFoundError, search  # noqa: PLC0415

    needs = needs_of(question)
    try:
        found = search(needs, question.gpus, question.limits)
    except NothingFoundError as error:
        return _as_it_is(question, needs, str(error))
    layouts, assignments = realise(needs, question.gpus, found)
    steps = order(question.gpus, question.models, layouts, assignments)
    changed = sum(len(set(gpu.layout) ^ set(layouts[gpu.uuid])) for gpu in question.gpus)
    drained = sum(step.act is Act.DRAIN and not step.temporary for step in steps)
    # what was found for the fewest GPUs may be realised with fewer changes than what was found for these says, and with
    # more copies drained, as it does not say where they are; what was found for the least unserved, on fewer GPUs
    realised = {"changed_slices": float(changed), "drained_copies": float(drained)}
    used = {a.place.uuid for a in assignments}
    price = sum(gpu.price for gpu in question.gpus if gpu.uuid in used)
    realised |= {g.name: price for g in found.goals if g.name == "cost" and price < g.value * (1 - _NOTHING)}
    goals = tuple(replace(goal, value=realised.get(goal.name, goal.value)) for goal in found.goals)
    return MigPlan(layouts, assignments, steps, tuple(_unserved(needs, assignments)), goals, found.faults)


def _as_it_is(question: MigQuestion, needs: Needs, why: str) -> MigPlan:
    """Nothing is changed, and nothing proved."""
    gpus = question.gpus
    on = {gpu.uuid: {piece: gpu.models.get(piece, ()) for piece in gpu.layout} for gpu in gpus}
    assignments = tuple(serving(question.models, {gpu.uuid: gpu.board for gpu in gpus}, on))
    unserved = tuple(_unserved(needs, assignments))
    cost = sum(gpu.price for gpu in gpus if any(gpu.models.values()))
    goals = (MigGoal("unserved", sum(one.short for one in unserved), 0.0), MigGoal("cost", cost, 0.0))
    return MigPlan({gpu.uuid: gpu.layout for gpu in gpus}, assignments, (), unserved, goals, (why,))


def _unserved(needs: Needs, assignments: Sequence[Assignment]) -> Iterator[Unserved]:
    """Every model whose copies serve less than is asked, by name."""
    for m, model in enumerate(needs.models):
        served = sum(a.capacity for a in assignments if a.model == model.name)
        if model.demand - served > _NOTHING * model.demand:
            possible = any(m in offer.gain for offer in needs.offers)
            yield Unserved(model.name, model.demand - served, Lack.GPUS if possible else Lack.PROFILES)
