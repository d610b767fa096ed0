"""Copies that come between two plans: for models that are short, on room that is free. Nothing has to go for them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from controlplane.decide.mig.arrive import arrive
from controlplane.decide.mig.boards import WHOLE
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.values import Assignment, Gpu, MigGoal, MigPlan, MigQuestion, MigStep, Place
from controlplane.decide.mig.worth import served_now
from controlplane.domain.mig import Act

MOST = 32
"""Copies at once: each is looked for on all GPUs, and the next plan is made right after they came."""
_NOTHING = 1e-6
"""A share of a demand so small counts as nothing."""


def arrivals(question: MigQuestion) -> MigPlan:
    """One copy after another goes where `arrive` has it, first of the models that are short of the largest share.

    A GPU with MIG off and no model is left to the next plan, unless it is wanted whole: it would have to be cut first.
    No more than MOST come at once. The plan has no steps where nobody is short, or no room is free. Same question, same
    plan.
    """
    gpus = {gpu.uuid: gpu for gpu in sorted(question.gpus, key=lambda gpu: gpu.uuid)}
    served = served_now(question)
    before = {uuid: frozenset(gpu.layout) for uuid, gpu in gpus.items()}
    came: list[tuple[str, Place]] = []
    for model in sorted(question.models, key=lambda m: (served[m.name] / m.demand if m.demand else 1.0, m.name)):
        while len(came) < MOST and (short := model.demand - served[model.name]) > _NOTHING * model.demand:
            place = arrive(tuple(gpus.values()), model, short)
            if place is None or (place.piece.profile == WHOLE and len(model.profiles) > 1):
                break
            gpu = gpus[place.uuid]
            layout = tuple(sorted({*gpu.layout, place.piece}))
            gpus[place.uuid] = replace(gpu, layout=layout, models={**gpu.models, place.piece: (model.name,)})
            served[model.name] += capacity_on(model, gpu.board, place.piece.profile)
            came.append((model.name, place))
    cut = sorted({place for _, place in came if place.piece not in before[place.uuid]})
    steps = [MigStep(0, Act.CREATE, place) for place in cut]
    steps += [MigStep(1, Act.START, place, name) for name, place in sorted(came)]
    cost = sum(gpu.price for gpu in gpus.values() if any(gpu.models.values()))
    layouts = {uuid: gpu.layout for uuid, gpu in gpus.items()}
    return MigPlan(layouts, tuple(_assigned(question, gpus)), tuple(steps), (), (MigGoal("cost", cost, 0.0),))


def _assigned(question: MigQuestion, gpus: dict[str, Gpu]) -> Iterator[Assignment]:
    models = {model.name: model for model in question.models}
    for uuid, gpu in gpus.items():
        for piece, names in sorted(gpu.models.items()):
            for name in names:
                if name in models:
                    per_s = capacity_on(models[name], gpu.board, piece.profile) / len(names)
                    yield Assignment(name, Place(uuid, piece), per_s, 1.0 / len(names))
