"""A plan with the judgement whether it pays, as it is shown and kept. What the worker of slow jobs runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.decide.mig.plan import plan
from controlplane.decide.mig.values import MigPlan, MigQuestion
from controlplane.decide.mig.worth import Worth, change_s, changed_gpus, worth
from controlplane.domain.layouts import LaidSlice, LayoutPlan, LayoutStep


@dataclass(frozen=True, slots=True)
class MigAsk:
    """A question, and how long the layouts asked for are likely to last."""

    question: MigQuestion
    dwell_s: float


def propose(ask: MigAsk) -> LayoutPlan:
    """Layouts, the steps to them, and whether they pay. Same question, same answer."""
    planned = plan(ask.question)
    judged = worth(ask.question, planned, ask.dwell_s)
    return LayoutPlan(
        layouts=_layouts(ask.question, planned),
        steps=tuple(
            LayoutStep(
                step.wave,
                step.act.value,
                step.place.uuid,
                step.place.piece.profile,
                step.place.piece.start,
                step.model,
                step.temporary,
                step.interrupts,
            )
            for step in planned.steps
        ),
        pays=judged.pays,
        reasons=tuple(_reasons(planned, judged, ask.dwell_s)),
        cost=planned.cost.value,
        bound=planned.cost.bound,
        gain_per_s=judged.gain_per_s,
        disturbance=judged.disturbance,
        pays_after_s=judged.pays_after_s,
        change_s=change_s(planned),
        short_now_per_s=judged.short_now_per_s,
        short_then_per_s=judged.short_then_per_s,
        unserved={short.model: short.why.value for short in planned.unserved},
    )


def _layouts(question: MigQuestion, planned: MigPlan) -> dict[str, tuple[LaidSlice, ...]]:
    boards = {gpu.uuid: gpu.board for gpu in question.gpus}
    on: dict[tuple[str, str, int], set[str]] = {}
    for a in planned.assignments:
        on.setdefault((a.place.uuid, a.place.piece.profile, a.place.piece.start), set()).add(a.model)
    return {
        uuid: tuple(
            LaidSlice(p.profile, p.start, boards[uuid].size(p), tuple(sorted(on.get((uuid, p.profile, p.start), ()))))
            for p in sorted(layout, key=lambda p: p.start)
        )
        for uuid, layout in sorted(planned.layouts.items())
    }


def _reasons(planned: MigPlan, judged: Worth, dwell_s: float) -> Iterator[str]:
    """Sentences, what settles it first."""
    if not planned.steps:
        yield "what is there is as it should be"
    elif judged.pays:
        yield f"it pays after {judged.pays_after_s:.0f} s, within the dwell of {dwell_s:.0f} s"
    elif judged.gain_per_s <= 0:
        yield "it gains nothing over what is there"
    else:
        yield f"it pays only after {judged.pays_after_s:.0f} s, and layouts are to last {dwell_s:.0f} s"
    for name, short in judged.short_now_per_s.items():
        then = judged.short_then_per_s[name]
        if short > then + 1e-6 * short:
            yield f"{name} is short of {short:.3g}/s now, and of {then:.3g}/s as planned"
    for unserved in planned.unserved:
        yield f"{unserved.short:.3g}/s of {unserved.model} cannot be served: {_WHY[unserved.why.value]}"
    if planned.steps:
        interrupts = sum(step.interrupts for step in planned.steps)
        yield f"{len(changed_gpus(planned))} GPUs are cut anew; {interrupts} steps interrupt a model"


_WHY = {"profiles": "no slice of these GPUs serves it", "gpus": "there are too few GPUs"}
