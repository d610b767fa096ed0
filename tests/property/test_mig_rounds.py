"""Any plan put into rounds comes to the same by the same rules, with few GPUs out of service at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.mig import MigQuestion
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.rounds import in_rounds, taken_out
from controlplane.domain.layouts import LayoutStep
from controlplane.domain.mig import Slice
from tests.property.test_mig_changes import carry_out, is_as_planned
from tests.property.test_mig_plan import occupied
from tests.unit.loop.mig_node import Nodes


def bare(steps: Iterable[LayoutStep]) -> list[LayoutStep]:
    return sorted((replace(step, wave=0, round=0) for step in steps), key=repr)


def least(question: MigQuestion, steps: Iterable[LayoutStep]) -> dict[str, float]:
    """By model, the least that its copies serve at any time, each as if it had its slice for itself."""
    models, boards = {m.name: m for m in question.models}, {gpu.uuid: gpu.board for gpu in question.gpus}
    copies = {(n, g.uuid, piece) for g in question.gpus for piece, names in g.models.items() for n in names}
    found: dict[str, float] = {}

    def note() -> None:
        serves: defaultdict[str, float] = defaultdict(float)
        for name, uuid, piece in copies:
            serves[name] += capacity_on(models[name], boards[uuid], piece.profile)
        found.update({name: min(found.get(name, serves[name]), serves[name]) for name in models})

    note()
    for step in steps:
        if step.model:
            copy = (step.model, step.uuid, Slice(step.profile, step.start))
            (copies.add if step.action == "start" else copies.remove)(copy)
            note()
    return found


def waits(drained: LayoutStep, steps: Iterable[LayoutStep]) -> bool:
    """Whether the copy waits for one of its model on another of the GPUs."""
    return any(s.action == "start" and s.model == drained.model and s.uuid != drained.uuid for s in steps)


@settings(max_examples=35, deadline=None)
@given(occupied(), st.integers(1, 3))
def test_rounds_come_to_the_same_by_the_same_rules(question: MigQuestion, most: int) -> None:
    plan = propose(MigAsk(question, 3600.0))
    cut = in_rounds(plan.steps, most)
    assert bare(cut) == bare(plan.steps)
    for uuid in {step.uuid for step in cut}:
        before, after = ([s for s in steps if s.uuid == uuid] for steps in (plan.steps, cut))
        order = [replace(step, wave=0, round=0) for step in after]
        assert order == [replace(step, wave=0, round=0) for step in before], "each GPU's order is kept"
    assert [(step.round, step.wave) for step in cut] == sorted((step.round, step.wave) for step in cut)
    before_, after_ = least(question, plan.steps), least(question, cut)
    assert all(after_[name] >= before_[name] * (1 - 1e-9) for name in before_)
    rounds = [[s for s in cut if s.round == number] for number in range(max((s.round for s in cut), default=-1) + 1)]
    seen: set[str] = set()
    for number, steps in enumerate(rounds):
        out = taken_out(steps)
        assert not out & seen, "a GPU is out of service in one round only"
        seen |= out
        assert all(step.round <= number for step in cut if step.uuid in out), "and back at its end"
        if len(out) > most:
            assert any(s.action == "drain" and waits(s, steps) for s in steps), "more only for what waits"


@settings(max_examples=15, deadline=None)
@given(occupied())
def test_a_plan_in_rounds_is_carried_out_and_told(question: MigQuestion) -> None:
    plan, nodes = propose(MigAsk(question, 3600.0, max_share=0.01)), Nodes.of(question.gpus)
    assert carry_out(nodes, plan) == len(plan.steps)
    is_as_planned(nodes, plan)
    assert (plan.rounds > 1) == any(f"in {plan.rounds} rounds: " in reason for reason in plan.reasons)
