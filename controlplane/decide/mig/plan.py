"""Layouts planned: pure, and slow where there are many GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from controlplane.decide.mig.needs import Needs, needs_of
from controlplane.decide.mig.order import order
from controlplane.decide.mig.values import Assignment, Lack, MigPlan, MigQuestion, Unserved
from controlplane.domain.mig import Act

_NOTHING = 1e-6
"""A share of a demand so small counts as nothing."""


def plan(question: MigQuestion) -> MigPlan:
    """The layouts, who has which slice, and the steps to get there. Same question, same answer."""
    # take half a second and 60 MB, and only the worker of slow jobs has a use for them
    from controlplane.decide.mig.realise import realise  # noqa: PLC0415
    from controlplane.decide.mig.search import search  # noqa: PLC0415

    needs = needs_of(question)
    found = search(needs, question.gpus, question.limits)
    layouts, assignments = realise(needs, question.gpus, found)
    steps = order(question.gpus, question.models, layouts, assignments)
    changed = sum(len(set(gpu.layout) ^ set(layouts[gpu.uuid])) for gpu in question.gpus)
    drained = sum(step.act is Act.DRAIN and not step.temporary for step in steps)
    # what was found for the fewest GPUs may be realised with fewer changes than what was found for these says, and with
    # more copies drained, as it does not say where they are
    realised = {"changed_slices": float(changed), "drained_copies": float(drained)}
    goals = tuple(replace(goal, value=realised.get(goal.name, goal.value)) for goal in found.goals)
    return MigPlan(layouts, assignments, steps, tuple(_unserved(needs, assignments)), goals)


def _unserved(needs: Needs, assignments: Sequence[Assignment]) -> Iterator[Unserved]:
    """Every model whose copies serve less than is asked, by name."""
    for m, model in enumerate(needs.models):
        served = sum(a.capacity for a in assignments if a.model == model.name)
        if model.demand - served > _NOTHING * model.demand:
            possible = any(m in offer.gain for offer in needs.offers)
            yield Unserved(model.name, model.demand - served, Lack.GPUS if possible else Lack.PROFILES)
