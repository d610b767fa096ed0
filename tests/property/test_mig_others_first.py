"""Plans without copies whose start failed: they can be carried out, and nobody loses a copy by it."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.decide.mig import MigQuestion
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.domain.layouts import LayoutPlan
from tests.property.test_mig_changes import carry_out, is_as_planned
from tests.property.test_mig_out_of_service import a_fleet, wishes
from tests.unit.loop.mig_node import Nodes

Copies = set[tuple[str, str, str, int]]


def copies(plan: LayoutPlan) -> Copies:
    return {
        (name, uuid, of.profile, of.start) for uuid, here in plan.layouts.items() for of in here for name in of.models
    }


@settings(max_examples=25, deadline=None)
@given(st.randoms(use_true_random=True))
def test_what_does_not_need_a_start_that_failed_goes_on_and_no_model_loses_a_copy_for_it(random: Random) -> None:
    question = MigQuestion(a_fleet(random), wishes(random))
    whole = propose(MigAsk(question, 3600.0))
    starts = sorted({(step.model, step.uuid) for step in whole.steps if step.action == "start" and not step.temporary})
    resting = frozenset(random.sample(starts, random.randint(0, min(3, len(starts)))))
    plan = propose(MigAsk(question, 3600.0, resting=resting))
    if not resting:
        assert plan == whole
        return
    begun = {(step.model, step.uuid) for step in plan.steps if step.action == "start" and not step.temporary}
    assert not begun & resting
    here = {(n, g.uuid, p.profile, p.start) for g in question.gpus for p, names in g.models.items() for n in names}
    lacking = {name for name, *_ in copies(whole) - here - copies(plan)}
    assert not {copy for copy in here - copies(plan) if copy[0] in lacking}, "none goes of a model that lacks one"
    stay = {uuid for uuid in whole.layouts if plan.layouts[uuid] != whole.layouts[uuid]}
    assert stay >= {uuid for _, uuid in resting}
    assert not {copy for copy in here - copies(plan) if copy[1] in stay}, "and none on a GPU that waits"
    assert all(
        count <= whole.short_now_per_s[name] + 1e-6 for name, count in plan.short_then_per_s.items() if name in lacking
    )
    nodes = Nodes.of(question.gpus)
    carry_out(nodes, plan)
    is_as_planned(nodes, plan)
