"""Whether what is left of a plan still pays, asked again before each round with the demand that there is by then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from controlplane.decide.mig.proposal import MigAsk
from controlplane.decide.mig.serving import serving
from controlplane.decide.mig.values import Gpu, MigGoal, MigPlan, MigQuestion, MigStep, Place
from controlplane.decide.mig.worth import Worth, worth
from controlplane.domain.layouts import LayoutPlan, LayoutStep
from controlplane.domain.mig import Act, Slice

_On = dict[str, dict[Slice, set[str]]]
"""By GPU, its slices and the models on them."""


def outdated(ask: MigAsk, plan: LayoutPlan, left: Sequence[LayoutStep], demand: Mapping[str, float]) -> str:
    """Why the steps that are `left` of a plan are not to be begun any more; empty: they may be.

    They are not where they do not pay with this `demand`, and gain less than with that of the question. A model that
    has lost a copy and is yet to get another is short as it is, so to go on for it is a gain; what has paid already is
    none, but that is no reason to stop.
    """
    before = ask.question
    models = tuple(replace(model, demand=demand.get(model.name, model.demand)) for model in before.models)
    if models == before.models:
        return ""
    then = replace(before, gpus=_as_left(before, plan, left))
    now = replace(then, models=models)
    planned, judged = (worth(asked, _rest(asked, plan, left), ask.dwell_s, ask.pace) for asked in (then, now))
    if judged.pays or _net(judged, ask.dwell_s) >= _net(planned, ask.dwell_s):
        return ""
    return _told(before, now, judged)


def _net(judged: Worth, dwell_s: float) -> float:
    return dwell_s * judged.gain_per_s - judged.disturbance


def _told(before: MigQuestion, now: MigQuestion, judged: Worth) -> str:
    """By the model that it would leave the shortest, else by that of which the demand moved most."""
    was = {model.name: model.demand for model in before.models}
    short, then = judged.short_now_per_s, judged.short_then_per_s
    model = max(now.models, key=lambda m: (then[m.name] - short[m.name], abs(m.demand - was[m.name]), m.name))
    told = f"{model.demand:.3g}/s are asked of {model.name} by now, not {was[model.name]:.3g}/s"
    would = f"short of {short[model.name]:.3g}/s now, it would be of {then[model.name]:.3g}/s"
    return f"what is left of the plan does not pay any more: {told}; {would}"


def _as_left(question: MigQuestion, plan: LayoutPlan, left: Sequence[LayoutStep]) -> tuple[Gpu, ...]:
    """The GPUs with what they have before these steps: what is planned, and the steps taken back."""
    has = _planned(plan)
    for step in reversed(left):
        on, piece = has[step.uuid], Slice(step.profile, step.start)
        match step.action:
            case Act.CREATE:
                del on[piece]
            case Act.DESTROY:
                on[piece] = set()
            case Act.START:
                on[piece].discard(step.model)
            case _:
                on[piece].add(step.model)
    gpus = {gpu.uuid: gpu for gpu in question.gpus}
    return tuple(
        replace(
            gpus[uuid], layout=tuple(sorted(on)), models={piece: tuple(sorted(names)) for piece, names in on.items()}
        )
        for uuid, on in has.items()
    )


def _rest(question: MigQuestion, plan: LayoutPlan, left: Sequence[LayoutStep]) -> MigPlan:
    planned = _planned(plan)
    steps = tuple(
        MigStep(
            step.wave,
            Act(step.action),
            Place(step.uuid, Slice(step.profile, step.start)),
            step.model,
            step.temporary,
            step.interrupts,
        )
        for step in left
    )
    copies = tuple(serving(question.models, {gpu.uuid: gpu.board for gpu in question.gpus}, planned))
    layouts = {uuid: tuple(sorted(on)) for uuid, on in planned.items()}
    return MigPlan(layouts, copies, steps, (), (MigGoal("cost", plan.cost, plan.bound),))


def _planned(plan: LayoutPlan) -> _On:
    return {
        uuid: {Slice(of.profile, of.start): set(of.models) for of in pieces} for uuid, pieces in plan.layouts.items()
    }
