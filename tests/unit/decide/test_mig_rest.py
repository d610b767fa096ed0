"""Whether what is left of a plan of MIG layouts pays with the demand that there is by then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import WHOLE, Gpu, MigModel, MigQuestion, Slice
from controlplane.decide.mig.proposal import MigAsk, propose
from controlplane.decide.mig.rest import outdated
from controlplane.domain.layouts import LaidSlice, LayoutPlan, LayoutStep

H100 = boards()["h100-80gb"]
OFF = Slice(WHOLE, 0)


def four(demand: float = 20.0) -> MigAsk:
    """Four GPUs, each whole under a copy where a slice would do: three are to be given up."""
    gpus = tuple(Gpu(f"GPU-{n}", H100, (OFF,), 1.0, {OFF: ("small",)}) for n in range(4))
    models = (MigModel("small", demand, {"1g.10gb": 5.0, WHOLE: 5.0}, 6.0),)
    return MigAsk(MigQuestion(gpus, models), 3600.0, max_share=0.25)


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (20.0, ""),
        (15.0, ""),
        (30.0, "30/s are asked of small by now, not 20/s; short of 0/s now, it would be of 10/s"),
    ],
)
def test_copies_that_are_wanted_again_are_not_drained(asked: float, why: str) -> None:
    ask = four()
    plan = propose(ask)
    left = [step for step in plan.steps if step.round > 0]
    assert {step.action for step in left} == {"drain"}
    told = f"what is left of the plan does not pay any more: {why}" if why else ""
    assert outdated(ask, plan, left, {"small": asked}) == told


def test_a_model_that_was_left_without_any_copy_keeps_the_last_one_once_it_is_asked_for() -> None:
    gpus = (Gpu("GPU-0", H100, (OFF,), 1.0, {OFF: ("idle",)}), Gpu("GPU-1", H100, (OFF,), 1.0, {OFF: ("busy",)}))
    models = (MigModel("idle", 0.0, {WHOLE: 5.0}, 6.0), MigModel("busy", 5.0, {WHOLE: 5.0}, 6.0))
    ask = MigAsk(MigQuestion(gpus, models), 3600.0)
    plan = propose(ask)
    assert [(step.action, step.model) for step in plan.steps] == [("drain", "idle")]
    assert plan.pays
    assert outdated(ask, plan, plan.steps, {"busy": 5.0}) == ""
    told = outdated(ask, plan, plan.steps, {"idle": 4.0})
    assert told.endswith("4/s are asked of idle by now, not 0/s; short of 0/s now, it would be of 4/s")


def an_exchange() -> tuple[MigAsk, LayoutPlan]:
    """`a` has lost its only copy and is to get one where `b` has one of two: what is left of a plan."""
    one, two = Slice("3g.40gb", 0), Slice("3g.40gb", 4)
    gpus = (Gpu("GPU-0", H100, (one, two), 1.0, {one: ("b",), two: ("b",)}),)
    models = tuple(MigModel(name, 10.0, {"3g.40gb": 10.0}, 30.0) for name in "ab")
    planned = {"GPU-0": (LaidSlice("3g.40gb", 0, 4, ("a",)), LaidSlice("3g.40gb", 4, 4, ("b",)))}
    steps = (LayoutStep(0, "drain", "GPU-0", "3g.40gb", 0, "b"), LayoutStep(1, "start", "GPU-0", "3g.40gb", 0, "a"))
    plan = LayoutPlan(planned, steps, True, (), 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)  # noqa: FBT003
    return MigAsk(MigQuestion(gpus, models), 3600.0), plan


@pytest.mark.parametrize(("asked", "goes_on"), [(10.0, True), (15.0, True), (21.0, False)])
def test_a_model_that_waits_for_its_copy_gets_it_unless_another_would_lack_more(asked: float, *, goes_on: bool) -> None:
    ask, plan = an_exchange()
    assert (outdated(ask, plan, plan.steps, {"b": asked}) == "") == goes_on


def test_what_does_not_pay_by_itself_goes_on_while_the_demand_is_what_it_was() -> None:
    ask = four()
    plan = propose(ask)
    last = plan.steps[-1:]
    assert outdated(ask, replace(plan, cost=4.0), last, {"small": 20.0}) == ""
