"""Plans carried out step by step on nodes in memory: they come to what was planned, whatever fails on the way."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.mig import Gpu, MigQuestion
from controlplane.decide.mig.needs import capacity_on
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.domain.layouts import LayoutPlan
from controlplane.domain.mig import Act
from controlplane.loop.mig_going import FailedError, before
from controlplane.loop.mig_hands import ByAgents
from tests.property.test_mig_plan import occupied
from tests.unit.loop.mig_node import OFF, Free, Nodes


def carry_out(nodes: Nodes, plan: LayoutPlan) -> int:
    hands, free = ByAgents(nodes, nodes, serves=nodes.serves, start_s=0.0), Free()
    asyncio.run(hands.carry_out(plan, nodes.node_of, free))
    return free.done


def anew(question: MigQuestion, nodes: Nodes) -> MigQuestion:
    """The same question about the GPUs as they are by now."""
    gpus = []
    for gpu in question.gpus:
        models = {
            piece: tuple(sorted(name for name, uuid, at in nodes.copies if (uuid, at) == (gpu.uuid, piece)))
            for piece in sorted(nodes.slices[gpu.uuid])
        }
        layout = tuple(sorted(nodes.slices[gpu.uuid]))
        gpus.append(Gpu(gpu.uuid, gpu.board, layout, gpu.price, {p: names for p, names in models.items() if names}))
    return MigQuestion(tuple(gpus), question.models, question.limits)


def is_as_planned(nodes: Nodes, plan: LayoutPlan) -> None:
    for uuid, layout in plan.layouts.items():
        here = {(piece.profile, piece.start) for piece in nodes.slices[uuid] - {OFF}}
        assert here == {(piece.profile, piece.start) for piece in layout if piece.profile != "whole"}
    wanted = {
        (name, uuid, piece.profile, piece.start)
        for uuid, of in plan.layouts.items()
        for piece in of
        for name in piece.models
    }
    assert {(name, uuid, piece.profile, piece.start) for name, uuid, piece in nodes.copies} == wanted


@settings(max_examples=40, deadline=None)
@given(occupied())
def test_a_plan_is_carried_out_step_by_step_in_its_order(question: MigQuestion) -> None:
    plan, nodes = propose(MigAsk(question, 3600.0)), Nodes.of(question.gpus)
    assert before(plan) == {gpu.uuid: frozenset(gpu.layout) for gpu in question.gpus if gpu.uuid in before(plan)}
    assert carry_out(nodes, plan) == len(plan.steps)
    is_as_planned(nodes, plan)
    copies = [(act, uuid, piece.profile, model) for act, uuid, piece, model in nodes.done if model]
    order = [(Act(s.action), s.uuid, s.profile, s.model) for s in plan.steps if s.model]
    assert copies == order, "copies move wave by wave, and nothing is done twice"


@settings(max_examples=40, deadline=None)
@given(occupied(), st.integers(1, 12))
def test_after_a_step_that_fails_the_next_plan_comes_to_its_layouts(question: MigQuestion, at: int) -> None:
    plan, nodes = propose(MigAsk(question, 3600.0)), Nodes.of(question.gpus)
    nodes.fail_at = at
    try:
        carry_out(nodes, plan)
    except FailedError:
        assert len(nodes.calls) >= at
    nodes.fail_at = 0
    again = propose(MigAsk(anew(question, nodes), 3600.0))
    carry_out(nodes, again)
    is_as_planned(nodes, again)


@settings(max_examples=60, deadline=None)
@given(occupied())
def test_copies_between_two_plans_only_come_and_no_more_than_are_wanted(question: MigQuestion) -> None:
    plan, nodes = propose(MigAsk(question, 3600.0, between=True)), Nodes.of(question.gpus)
    if not plan.between:
        assert plan.pays
        assert plan == propose(MigAsk(question, 3600.0)), "where no room is free, a plan of all, but only if it pays"
        return
    before = {uuid: set(pieces) for uuid, pieces in nodes.slices.items()}, set(nodes.copies)
    assert {step.action for step in plan.steps} <= {Act.CREATE, Act.START}
    carry_out(nodes, plan)
    is_as_planned(nodes, plan)
    assert all(before[0][uuid] <= pieces for uuid, pieces in nodes.slices.items())
    assert before[1] <= nodes.copies
    by_uuid = {gpu.uuid: gpu for gpu in question.gpus}
    for model in question.models:
        came = [(uuid, piece) for name, uuid, piece in nodes.copies - before[1] if name == model.name]
        if came:
            assert plan.short_now_per_s[model.name] > 0
            serve = [capacity_on(model, by_uuid[uuid].board, piece.profile) for uuid, piece in came]
            assert sum(serve) - max(serve) < plan.short_now_per_s[model.name] * (1 + 1e-9), (
                "none comes once it is served"
            )
    assert propose(MigAsk(question, 3600.0, between=True)) == plan
