"""MIG layouts planned in the loop: demand that is held, capacities that are learned, GPUs that are left alone."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from controlplane.decide.mig.boards import WHOLE
from controlplane.decide.mig.proposal import MigAsk
from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.fleet import Mode
from controlplane.domain.gpu import GpuReading
from controlplane.domain.layouts import LaidSlice, LayoutPlan
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.loop.mig_planner import MigPlanner
from controlplane.loop.mig_seen import occupied
from tests.unit.loop.cut_gpus import CUT, EMPTY, FLEET, NOW, a_gpu, a_reading, a_slice, process

SETTINGS = MigSettings(Mode.RECOMMEND, 600.0, 3600.0, (MigWish("small", 6.0, {"1g.10gb": 5.0}),))


def echo(ask: MigAsk) -> LayoutPlan:
    """A plan that tells what was asked for."""
    model = ask.question.models[0]
    reasons = tuple(f"{place} {per_s:g}" for place, per_s in sorted(model.profiles.items()))
    layouts = {gpu.uuid: () for gpu in ask.question.gpus}
    return LayoutPlan(layouts, (), False, reasons, model.demand, 0.0, 0.0, 0.0, 0.0, 0.0)  # noqa: FBT003


@pytest.fixture
def planner() -> Iterator[MigPlanner]:
    made = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=echo)
    yield made
    made.close()


def until_planned(planner: MigPlanner, asked_at: float) -> LayoutPlan:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        plan = planner.picture(FLEET, a_reading(CUT, EMPTY), asked_at).plan
        if isinstance(plan, Known) and plan.observed_at == asked_at:
            return plan.value
        time.sleep(0.01)
    raise AssertionError("no plan came")


def learned(per_s: float) -> Decision:
    reasons = (Reason(ReasonCode.CAPACITY, {"capacity_per_s": per_s}),)
    return Decision("d", NOW, "small", "v0", Mode.OBSERVE, Step.HOLD, None, None, reasons, ReasonCode.DEMAND)


def test_demand_rises_at_once_and_falls_only_after_the_dwell(planner: MigPlanner) -> None:
    for past_s, per_s, held in ((0, 20.0, 20.0), (600, 50.0, 50.0), (1200, 10.0, 50.0), (4300, 10.0, 10.0)):
        planner.tick(FLEET, a_reading(CUT, EMPTY, per_s=per_s, at=NOW + past_s), (), NOW + past_s)
        assert until_planned(planner, NOW + past_s).cost == pytest.approx(held)


def test_a_plan_is_made_when_due_of_what_is_learned_on_slices_and_scaled_to_the_others(
    planner: MigPlanner,
) -> None:
    reading = a_reading(CUT, EMPTY)
    planner.tick(FLEET, reading, (learned(8.0),), NOW)
    model = planner.picture(FLEET, reading, NOW).models[0]
    assert model.capacities["h100-80gb", "1g.10gb"] == (8.0, 8.0, "learned")
    low, high, basis = model.capacities["h100-80gb", "2g.20gb"]
    assert (basis, high) == ("scaled", 16.0)
    assert 8.0 < low < 16.0
    assert "h100-80gb/1g.10gb 8" in until_planned(planner, NOW).reasons
    planner.tick(FLEET, a_reading(CUT, EMPTY, at=NOW + 599), (), NOW + 599)
    plan = planner.picture(FLEET, reading, NOW + 599).plan
    assert isinstance(plan, Known)
    assert plan.observed_at == NOW


def test_demand_that_is_not_known_is_the_last_that_was_and_is_told_so(planner: MigPlanner) -> None:
    planner.tick(FLEET, a_reading(CUT, EMPTY, per_s=30.0), (), NOW)
    until_planned(planner, NOW)
    blind = a_reading(CUT, EMPTY, at=NOW)
    later = NOW + 5000
    planner.tick(FLEET, blind, (), later)  # its newest interval is too old by now
    demand = planner.picture(FLEET, blind, later).models[0].demand_per_s
    assert isinstance(demand, Stale)
    assert (demand.value, demand.why) == (30.0, "nothing was counted on v0 of late")
    assert until_planned(planner, later).cost == 30.0


def test_without_any_demand_known_nothing_is_planned_and_the_reason_told(planner: MigPlanner) -> None:
    planner.tick(FLEET, a_reading(CUT, EMPTY, at=NOW - 1000), (), NOW)
    plan = planner.picture(FLEET, a_reading(CUT, EMPTY), NOW).plan
    assert plan == Missing("the demand of small was never known: nothing was counted on v0 of late")


@pytest.mark.parametrize(
    ("gpu", "why"),
    [
        (a_gpu(name="NVIDIA L4"), "NVIDIA L4 is no board that can be cut"),
        (a_gpu(processes=Missing("denied")), "who computes on it is not known"),
        (
            a_gpu("GPU-a", a_slice("1g.10gb", 0, 1, "MIG-0"), processes=Known((process("MIG-0", 1234),), NOW)),
            "process 1 computes on it, of which no server is known",
        ),
        (
            a_gpu("GPU-a", a_slice("1g.10gb", 0, 2, "MIG-0")),
            "profiles and starts of its slices are not told, or h100-80gb has none such",
        ),
        (
            a_gpu("GPU-a", a_slice("3g.40gb", 0, 4, "MIG-0"), a_slice("4g.40gb", 0, 4, "MIG-1")),
            "h100-80gb cannot have these together: 3g.40gb at 0, 4g.40gb at 0",
        ),
    ],
)
def test_a_gpu_that_is_not_ours_to_cut_is_left_alone_for_a_reason(
    planner: MigPlanner, gpu: GpuReading, why: str
) -> None:
    reading = a_reading(gpu, EMPTY)
    shown = planner.picture(FLEET, reading, NOW).gpus
    assert isinstance(shown, Known)
    assert [(one.uuid, one.why) for one in shown.value] == [("GPU-a", why), ("GPU-b", "")]
    assert [one.gpu.reading.uuid for one in occupied(FLEET, reading, SETTINGS) if not one.why] == ["GPU-b"]


def test_models_that_are_not_named_and_nodes_that_are_not_named_are_left_alone() -> None:
    other = MigPlanner(
        MigSettings(Mode.RECOMMEND, 1.0, 1.0, (MigWish("idle", 1.0),), frozenset({"node-b"})), Prices(), max_age_s=60.0
    )
    shown = other.picture(FLEET, a_reading(CUT), NOW).gpus
    assert isinstance(shown, Known)
    assert shown.value[0].why == "its node is not among mig.agents"
    named = MigPlanner(MigSettings(Mode.RECOMMEND, 1.0, 1.0, (MigWish("idle", 1.0),)), Prices(), max_age_s=60.0)
    shown = named.picture(FLEET, a_reading(CUT), NOW).gpus
    assert isinstance(shown, Known)
    assert shown.value[0].why == "small is on it, which mig.models does not name"


def test_layouts_are_shown_though_nothing_is_configured() -> None:
    picture = MigPlanner(None, Prices(), max_age_s=60.0).picture(FLEET, a_reading(CUT, a_gpu("GPU-c", mig=False)), NOW)
    assert picture.mode is None
    assert picture.plan == Missing("mig is not configured")
    assert isinstance(picture.gpus, Known)
    assert [gpu.now for gpu in picture.gpus.value] == [
        (LaidSlice("1g.10gb", 0, 1, ("small",)), LaidSlice("3g.40gb", 4, 4)),
        (LaidSlice(WHOLE, 0, 8),),
    ]


async def test_a_dry_run_plans_for_other_demand_and_is_kept_by_nobody() -> None:
    planner = MigPlanner(SETTINGS, Prices(), max_age_s=60.0)
    reading = a_reading(CUT, EMPTY)
    try:
        with pytest.raises(ConflictError, match="the demand of small was never known"):
            await planner.try_out(FLEET, reading, {}, NOW)
        with pytest.raises(NotFoundError, match="idle"):
            await planner.try_out(FLEET, reading, {"idle": 1.0}, NOW)
        tried = await planner.try_out(FLEET, reading, {"small": 15.0}, NOW)
        assert isinstance(tried.plan, Known)
        assert tried.plan.value.pays
        assert tried.plan.value.reasons[1] == "small is short of 10/s now, and of 0/s as planned"
        assert isinstance(tried.gpus, Known)
        one, other = tried.gpus.value
        # the slice that is there and idle will do
        assert [(one.created, one.destroyed), (other.created, other.destroyed)] == [((), ())] * 2
        steps = [(step.action, step.profile, step.start, step.model) for step in tried.plan.value.steps]
        assert steps == [("start", "3g.40gb", 4, "small")]
        assert isinstance(planner.picture(FLEET, reading, NOW).plan, Missing)
    finally:
        planner.close()
