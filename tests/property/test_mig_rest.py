"""What is left of a plan, judged anew before each round: by what, and what a plan leaves that is dropped there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.mig import Gpu, MigQuestion
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.rest import _as_left, outdated
from controlplane.decide.mig.still_out import still_out
from controlplane.domain.layouts import LayoutPlan
from controlplane.loop.mig_going import HeldError
from controlplane.loop.mig_hands import ByAgents
from tests.property.test_mig_changes import anew
from tests.property.test_mig_plan import occupied
from tests.unit.loop.mig_node import Free, Nodes


class Stops(Free):
    """Is told before each round what is left; goes on until so many rounds were asked for."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    def pays(self, left: object) -> None:
        self.rounds -= 1
        if self.rounds <= 0:
            raise HeldError(str(left))


def dropped(question: MigQuestion, plan: LayoutPlan) -> Iterator[tuple[int, MigQuestion]]:
    """By round, how many steps are done before it, and the GPUs where the plan is dropped there."""
    for number in range(1, plan.rounds):
        nodes, stops = Nodes.of(question.gpus), Stops(number)
        try:
            asyncio.run(ByAgents(nodes, nodes, serves=nodes.serves, start_s=0.0).carry_out(plan, nodes.node_of, stops))
        except HeldError:
            yield stops.done, anew(question, nodes)


def serves(question: MigQuestion) -> dict[str, float]:
    """By model, what its copies serve, each as if it had its slice for itself."""
    models, found = {m.name: m for m in question.models}, defaultdict[str, float](float)
    for gpu in question.gpus:
        for piece, names in gpu.models.items():
            for name in names:
                found[name] += capacity_on(models[name], gpu.board, piece.profile)
    return found


def alike(gpu: Gpu) -> tuple[object, ...]:
    return gpu.uuid, gpu.layout, {piece: names for piece, names in gpu.models.items() if names}


@settings(max_examples=25, deadline=None)
@given(occupied())
def test_it_goes_by_the_gpus_as_they_are_before_each_round(question: MigQuestion) -> None:
    plan = propose(MigAsk(question, 3600.0, max_share=0.01))
    for done, after in dropped(question, plan):
        assert [alike(gpu) for gpu in _as_left(question, plan, plan.steps[done:])] == [alike(g) for g in after.gpus]


@settings(max_examples=25, deadline=None)
@given(occupied(), st.lists(st.floats(1.0, 3.0), min_size=6, max_size=6))
def test_nothing_is_dropped_while_the_demand_is_what_it_was_nor_what_only_adds_where_it_rises(
    question: MigQuestion, factors: list[float]
) -> None:
    ask = MigAsk(question, 3600.0, max_share=0.01)
    plan, asked = propose(ask), {m.name: m.demand for m in question.models}
    risen = {name: asked[name] * factor for name, factor in zip(asked, factors, strict=False)}
    for done in {0, *(done for done, _ in dropped(question, plan))}:
        left = plan.steps[done:]
        assert outdated(ask, plan, left, asked) == ""
        assert not outdated(ask, plan, left, risen) or any(step.action == "drain" for step in left)


@settings(max_examples=25, deadline=None)
@given(occupied())
def test_where_the_rest_is_dropped_no_gpu_is_out_of_service_and_no_model_worse_off_than_before_and_after(
    question: MigQuestion,
) -> None:
    plan = propose(MigAsk(question, 3600.0, max_share=0.01))
    before = serves(question)
    planned = serves(replace(question, gpus=_as_left(question, plan, ())))
    for done, after in dropped(question, plan):
        assert still_out(plan, (), after.gpus) <= {step.uuid for step in plan.steps[done:] if not step.takes_away}
        interrupted = {step.model for step in plan.steps if step.interrupts}
        for name, per_s in serves(after).items():
            assert name in interrupted or per_s >= min(before[name], planned[name]) * (1 - 1e-9)
