"""A plan with the judgement whether it pays, as it is shown and kept. What the worker of slow jobs runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controlplane.decide.mig.arrivals import arrivals
from controlplane.decide.mig.others_first import without
from controlplane.decide.mig.plan import plan
from controlplane.decide.mig.rounds import in_rounds, most_at_once, most_gpus
from controlplane.decide.mig.values import MigPlan, MigQuestion
from controlplane.decide.mig.worth import BY_NVML, Pace, Worth, change_s, changed_gpus, worth
from controlplane.domain.layouts import LaidSlice, LayoutPlan, LayoutStep
from controlplane.domain.mig import Act


@dataclass(frozen=True, slots=True)
class MigAsk:
    """A question, how long the layouts asked for are likely to last, and how long changing to them takes.

    `between`: whether copies for models that are short have room; a plan of all only where they have not. `max_share`
    of the GPUs may be out of service at a time, among them so many `waiting` that are not of the question, as for a
    reset, and those of the question that are `out`; whoever cuts whole nodes goes node by node. Copies of models on
    GPUs that are `resting`, since their start failed there, are not to be tried now; other copies of the models that
    are `behind`, since a start of theirs failed somewhere, once nothing else is to do.
    """

    question: MigQuestion
    dwell_s: float
    pace: Pace = BY_NVML
    between: bool = False
    max_share: float = 1.0
    waiting: int = 0
    out: frozenset[str] = frozenset()
    resting: frozenset[tuple[str, str]] = frozenset()
    behind: frozenset[str] = frozenset()

    def most_out(self, stay: int = 0) -> int:
        """So many GPUs more may be out of service, where so many of the question `stay` so; 0 or less: none."""
        return most_gpus(self.max_share, len(self.question.gpus) + self.waiting) - self.waiting - stay


def propose(ask: MigAsk) -> LayoutPlan:
    """Layouts, the steps to them, and whether they pay. Same question, same answer."""
    whole, of_whole, between = choose(ask)
    planned, judged, stay = _others_first(ask, whole, of_whole)
    waiting = stay & ask.out
    most = max(1, ask.most_out(len(waiting)))
    steps = _steps(ask, planned, most)
    reasons = (*_reasons(ask, planned, judged, between=between), *_of_stay(ask, stay), *_of_rounds(ask, steps, most))
    return LayoutPlan(
        layouts=_layouts(ask.question, planned),
        steps=steps,
        pays=judged.pays,
        reasons=reasons,
        cost=planned.cost.value,
        bound=planned.cost.bound,
        gain_per_s=judged.gain_per_s,
        disturbance=judged.disturbance,
        pays_after_s=judged.pays_after_s,
        change_s=change_s(planned, ask.pace),
        short_now_per_s=judged.short_now_per_s,
        short_then_per_s=judged.short_then_per_s,
        between=between,
        unserved={short.model: short.why.value for short in planned.unserved},
        waiting={uuid: of for uuid, of in _layouts(ask.question, whole).items() if uuid in waiting},
    )


def choose(ask: MigAsk) -> tuple[MigPlan, Worth, bool]:
    """A plan, its judgement, and whether it only adds copies on free room.

    Between two plans those copies; where they leave a model short, a plan of all, if it pays.
    """
    if ask.between:
        came = arrivals(ask.question)
        judged = worth(ask.question, came, ask.dwell_s, ask.pace)
        demand = {model.name: model.demand for model in ask.question.models}
        if all(short <= _NOTHING * demand[name] for name, short in judged.short_then_per_s.items()):
            return came, judged, True
    planned = plan(ask.question)
    of_all = worth(ask.question, planned, ask.dwell_s, ask.pace)
    if ask.between and not of_all.pays:
        return came, judged, True
    return planned, of_all, False


def _others_first(ask: MigAsk, whole: MigPlan, of_whole: Worth) -> tuple[MigPlan, Worth, frozenset[str]]:
    """Without the copies whose start failed, or, where that is nothing that pays, without those that rest.

    With the GPUs that do not get all that the whole plan has for them.
    """
    planned, judged, stay = whole, of_whole, frozenset[str]()
    for last in (ask.behind, frozenset[str]()):
        planned, stay = without(ask.question, whole, lambda m, uuid: m in last or (m, uuid) in ask.resting)  # noqa: B023
        judged = worth(ask.question, planned, ask.dwell_s, ask.pace) if stay else of_whole
        if judged.pays:
            break
    return planned, judged, stay


def _of_stay(ask: MigAsk, stay: frozenset[str]) -> Iterator[str]:
    """What waits, and for whom."""
    if stay:
        names = ", ".join(sorted({*ask.behind, *(model for model, _ in ask.resting)}))
        yield f"{len(stay)} GPUs wait in part for a copy of {names}, of which a start failed: others go first"


def _steps(ask: MigAsk, planned: MigPlan, most: int) -> tuple[LayoutStep, ...]:
    steps = tuple(
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
    )
    return steps if ask.pace.whole_gpu else in_rounds(steps, most, ask.out)


def _of_rounds(ask: MigAsk, steps: tuple[LayoutStep, ...], bound: int) -> Iterator[str]:
    """How many GPUs are out of service at a time, where there is more than one round or they are more than may be."""
    rounds, most = len({step.round for step in steps}), most_at_once(steps)
    over = most > bound and not ask.pace.whole_gpu
    if rounds > 1 or over:
        told = f"in {rounds} rounds: " if rounds > 1 else ""
        why = f", not {bound} (mig.max_share): they need each other's room" if over else ""
        yield f"{told}{most} of {len(ask.question.gpus)} GPUs at most are out of service at a time{why}"


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


def _reasons(ask: MigAsk, planned: MigPlan, judged: Worth, *, between: bool) -> Iterator[str]:
    """Sentences, what settles it first."""
    if between and planned.steps:
        copies = sum(step.act is Act.START for step in planned.steps)
        yield f"between two plans: {copies} copies more, on room that is free"
    for fault in sorted(set(planned.faults)):
        yield f"the solver failed, so a better plan may be missed: {fault}"
    if not planned.steps:
        yield "what is there stays" if planned.faults else "what is there is as it should be"
    elif judged.pays:
        yield f"it pays after {judged.pays_after_s:.0f} s, within the dwell of {ask.dwell_s:.0f} s"
    elif judged.gain_per_s <= 0:
        yield "it gains nothing over what is there"
    else:
        yield f"it pays only after {judged.pays_after_s:.0f} s, and layouts are to last {ask.dwell_s:.0f} s"
    for name, short in judged.short_now_per_s.items():
        then = judged.short_then_per_s[name]
        if short > then + _NOTHING * short:
            yield f"{name} is short of {short:.3g}/s now, and of {then:.3g}/s as planned"
    for unserved in planned.unserved:
        yield f"{unserved.short:.3g}/s of {unserved.model} cannot be served: {_WHY[unserved.why.value]}"
    if planned.steps:
        interrupts = sum(step.interrupts for step in planned.steps)
        yield f"{len(changed_gpus(planned))} GPUs are cut anew; {interrupts} steps interrupt a model"


_NOTHING = 1e-6
"""A share of a demand so small counts as nothing."""
_WHY = {"profiles": "no slice of these GPUs serves it", "gpus": "there are too few GPUs"}
