"""MIG layouts planned in the loop: demand that is held, capacities that are learned, GPUs that are left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest

from controlplane.decide.mig.boards import WHOLE
from controlplane.decide.mig.proposal import MigAsk
from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.decision import Decision, Reason, ReasonCode, Step
from controlplane.domain.errors import ConflictError, NotFoundError
from controlplane.domain.fleet import Mode
from controlplane.domain.gpu import GpuReading
from controlplane.domain.layouts import (
    ChangeState,
    LaidSlice,
    LayoutChange,
    LayoutPlan,
    LayoutStep,
    MigMemory,
    StepEnd,
    StepKind,
)
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known, Missing, Stale
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from controlplane.loop.mig_failing import FailingCopies
from controlplane.loop.mig_one_change import Outdated
from controlplane.loop.mig_planner import MigPlanner
from controlplane.loop.mig_seen import occupied
from controlplane.store.codec import POLICY_STATE
from tests.unit.loop.cut_gpus import CUT, EMPTY, FLEET, NOW, a_gpu, a_reading, a_slice, a_waiting_gpu, process

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


def restarted(before: MigPlanner, now: float) -> MigPlanner:
    """Another process, with what the tick keeps of the one before, as the store gives it back."""
    kept = PolicyState(slice_capacity=before.learned, slice_demand=before.demand)
    after = MigPlanner(replace(SETTINGS, mode=Mode.OBSERVE), Prices(), max_age_s=60.0)
    loaded = POLICY_STATE.load(POLICY_STATE.dump(kept))
    assert loaded == kept
    after.resume(loaded, lambda: SEEN, MigMemory(), now)
    return after


@pytest.mark.parametrize("restart_s", [60, 699, 3500])
def test_a_restart_takes_nothing_from_the_demand_that_is_held(planner: MigPlanner, restart_s: float) -> None:
    planner.tick(FLEET, a_reading(CUT, EMPTY, per_s=25.0), (), NOW)
    after = restarted(planner, NOW + restart_s)
    with closing(after):
        for past_s, held in ((restart_s + 1, 25.0), (3600, 25.0), (3600 + 3600 / 60 + 1, 2.0)):
            after.tick(FLEET, a_reading(CUT, EMPTY, per_s=2.0, at=NOW + past_s), (), NOW + past_s)
            demand = after.picture(FLEET, a_reading(CUT, EMPTY), NOW + past_s).models[0].demand_per_s
            assert demand == Known(held, NOW + past_s)


def test_demand_of_before_that_is_not_known_after_a_restart_is_told_so_and_forgotten_after_the_dwell(
    planner: MigPlanner,
) -> None:
    planner.tick(FLEET, a_reading(CUT, EMPTY, per_s=25.0), (), NOW)
    for past_s, held in ((700, Stale(25.0, NOW, 700.0, "no tick yet")), (4000, Missing("no tick yet"))):
        with closing(restarted(planner, NOW + past_s)) as after:
            assert after.picture(FLEET, a_reading(CUT, EMPTY), NOW + past_s).models[0].demand_per_s == held


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


@pytest.mark.parametrize(
    ("profiles", "why"),
    [({}, "what a copy of small serves on h100-80gb is not known"), ({"1g.10gb": 0.0}, ""), ({"2g.20gb": 5.0}, "")],
)
def test_a_copy_of_which_nobody_knows_what_it_serves_is_left_alone(profiles: dict[str, float], why: str) -> None:
    """Planned with as one that serves nothing it would be drained."""
    made = MigPlanner(
        replace(SETTINGS, models=(MigWish("small", 6.0, profiles),)), Prices(), max_age_s=60.0, answer=echo
    )
    with closing(made):
        made.tick(FLEET, a_reading(CUT, EMPTY), (), NOW)
        assert set(until_planned(made, NOW).layouts) == ({"GPU-b"} if why else {"GPU-a", "GPU-b"})
        shown = made.picture(FLEET, a_reading(CUT, EMPTY), NOW).gpus
        assert isinstance(shown, Known)
        assert [gpu.why for gpu in shown.value] == [why, ""]


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


class Kept:
    """A changer that only remembers, under the planner."""

    def __init__(self) -> None:
        self.busy, self.ended_at, self.why = False, 0.0, ""
        self.out: dict[str, str] = {}
        self.begun: list[tuple[LayoutPlan, dict[str, str]]] = []
        self.kept: list[MigMemory] = []
        self.copies = FailingCopies(lambda: NOW, 600.0, 3600.0)
        self.change: LayoutChange | None = None
        self.ended_in: dict[ChangeState, int] = {}
        self.steps: dict[tuple[StepKind, StepEnd], int] = {}
        self.unresumed = False
        self.resumed: list[Snapshot] = []

    def held(self, plan: LayoutPlan, _nodes: object, now: Snapshot, at: float) -> str:
        assert plan.pays
        assert now is SEEN
        assert at >= NOW
        return self.why

    def begin(
        self,
        plan: LayoutPlan,
        nodes: dict[str, str],
        look: Callable[[], Snapshot],
        begun: MigMemory,
        outdated: Outdated,
    ) -> None:
        assert look() is SEEN
        self.outdated = outdated
        self.kept.append(begun)
        self.begun.append((plan, nodes))
        self.busy = True

    def halt(self) -> None:
        self.busy = False

    def resume_is_due(self, now: float) -> bool:
        return self.unresumed and now > NOW

    def resume(self, look: Callable[[], Snapshot], kept: MigMemory | None = None) -> None:  # noqa: ARG002
        """Goes on with what was left half done."""
        self.resumed += [look()]
        self.unresumed = False

    def left_out(self, now: float) -> dict[str, str]:
        assert now >= NOW
        return self.out


SEEN = Snapshot(FLEET, a_reading(CUT, EMPTY))


@pytest.fixture
def changer() -> Kept:
    return Kept()


@pytest.fixture
def acting(changer: Kept) -> Iterator[MigPlanner]:
    settings = replace(SETTINGS, mode=Mode.ACT)
    made = MigPlanner(settings, Prices(), max_age_s=60.0, changer=changer)  # type: ignore[arg-type]
    yield made
    made.close()


def tick(planner: MigPlanner, at: float, read_at: float | None = None) -> None:
    reading = a_reading(CUT, EMPTY, per_s=20.0, at=at if read_at is None else read_at)
    planner.tick(FLEET, reading, (), at, lambda: SEEN)


def test_a_plan_that_pays_is_handed_on_once_and_nothing_is_planned_meanwhile(acting: MigPlanner, changer: Kept) -> None:
    tick(acting, NOW)
    plan = until_planned(acting, NOW)
    assert plan.pays
    changer.why = "everything is frozen by ann: incident 7"
    tick(acting, NOW + 15)
    held = acting.picture(FLEET, a_reading(CUT, EMPTY), NOW + 15)
    assert (held.held, changer.begun) == (changer.why, [])
    changer.why = ""
    tick(acting, NOW + 30)
    assert changer.begun == [(plan, {"GPU-a": "node-a", "GPU-b": "node-a"})]
    tick(acting, NOW + 1000)
    assert until_planned(acting, NOW) == plan, "no other is asked for while it is carried out"
    changer.busy, changer.ended_at = False, NOW + 1005
    tick(acting, NOW + 1010, read_at=NOW + 1004)
    assert until_planned(acting, NOW) == plan, "what was read before its end knows nothing of it"
    tick(acting, NOW + 1020)
    assert until_planned(acting, NOW + 1020), "then one is asked for at once"
    assert len(changer.begun) == 1
    tick(acting, NOW + 1035)
    assert len(changer.begun) == 2


def test_who_rests_forgets_what_it_saw_and_lets_no_change_go_on(acting: MigPlanner, changer: Kept) -> None:
    tick(acting, NOW)
    until_planned(acting, NOW)
    tick(acting, NOW + 15)
    begun = changer.busy
    acting.rest()
    assert (begun, changer.busy) == (True, False)
    (model,) = acting.picture(FLEET, a_reading(CUT, EMPTY), NOW + 20).models
    assert isinstance(model.demand_per_s, Missing)


def test_between_two_plans_copies_come_for_what_has_risen_and_nothing_is_asked_where_nobody_is_short(
    acting: MigPlanner, changer: Kept
) -> None:
    reading = a_reading(CUT, EMPTY, per_s=5.0)
    acting.tick(FLEET, reading, (), NOW, lambda: SEEN)
    first = until_planned(acting, NOW)
    changer.why = "held"
    for past_s in (15, 75):
        acting.tick(FLEET, a_reading(CUT, EMPTY, per_s=5.0, at=NOW + past_s), (), NOW + past_s, lambda: SEEN)
    assert until_planned(acting, NOW) == first, "nobody is short"
    for past_s in (135, 150):
        acting.tick(FLEET, a_reading(CUT, EMPTY, per_s=12.0, at=NOW + past_s), (), NOW + past_s, lambda: SEEN)
    plan = until_planned(acting, NOW + 135)
    assert plan.between
    assert plan.reasons[0] == "between two plans: 2 copies more, on room that is free"
    assert {step.action for step in plan.steps} == {"create", "start"}
    changer.why = ""
    tick(acting, NOW + 165)
    assert [begun for begun, _ in changer.begun] == [plan]


def test_what_was_learned_outlives_the_process(planner: MigPlanner) -> None:
    planner.tick(FLEET, a_reading(CUT, EMPTY), (learned(7.0),), NOW)
    assert planner.learned == {"small h100-80gb 1g.10gb": 7.0}
    again = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=echo)
    again.resume(PolicyState(slice_capacity=planner.learned), lambda: SEEN, MigMemory(), NOW)
    (model,) = again.picture(FLEET, a_reading(CUT, EMPTY), NOW).models
    assert model.capacities["h100-80gb", "1g.10gb"] == (7.0, 7.0, "learned")


def test_a_plan_of_an_earlier_term_is_never_carried_out(acting: MigPlanner, changer: Kept) -> None:
    changer.why = "another control plane may lead by now"
    tick(acting, NOW)
    until_planned(acting, NOW)
    tick(acting, NOW + 15)
    acting.rest()
    changer.why = ""
    acting.resume(PolicyState(), lambda: SEEN, MigMemory(), NOW)
    tick(acting, NOW + 7200)
    assert changer.begun == []
    plan = until_planned(acting, NOW + 7200)
    tick(acting, NOW + 7215)
    assert [begun for begun, _ in changer.begun] == [plan]


def test_a_gpu_that_held_the_last_change_is_left_out_of_plans_with_the_reason(
    acting: MigPlanner, changer: Kept
) -> None:
    changer.out = {"GPU-b": "GPU GPU-b of node-a: its geometry is another"}
    tick(acting, NOW)
    assert set(until_planned(acting, NOW).layouts) == {"GPU-a"}
    shown = acting.picture(FLEET, a_reading(CUT, EMPTY), NOW).gpus
    assert isinstance(shown, Known)
    assert [gpu.why for gpu in shown.value] == ["", changer.out["GPU-b"]]


def failing(ask: MigAsk) -> LayoutPlan:
    """A plan that tells which copies are to wait."""
    return replace(echo(ask), reasons=(f"{sorted(ask.resting)} {sorted(ask.behind)}",))


def test_a_copy_whose_start_failed_rests_and_its_model_comes_after_others(changer: Kept) -> None:
    made = MigPlanner(replace(SETTINGS, mode=Mode.ACT), Prices(), max_age_s=60.0, answer=failing, changer=changer)  # type: ignore[arg-type]
    changer.copies.started("small", "GPU-a", answers=False)
    pair, small = "[('small', 'GPU-a')]", "['small']"
    for at, told in ((NOW, f"{pair} {small}"), (NOW + 600, f"[] {small}"), (NOW + 600 + 3600, "[] []")):
        tick(made, at)
        assert until_planned(made, at).reasons == (told,)
    made.close()


def test_a_gpu_that_waits_for_a_reset_is_left_out_with_what_to_do_until_it_was_reset() -> None:
    planner = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=echo)
    shown = planner.picture(FLEET, a_reading(CUT, a_waiting_gpu("GPU-c")), NOW).gpus
    assert isinstance(shown, Known)
    assert shown.value[0].why == ""
    assert shown.value[1].why.startswith("MIG is on from its next reset on: end all that uses it")
    after = replace(a_gpu("GPU-c"), mig_pending=Known(value=True, observed_at=NOW))
    assert [one.why for one in occupied(FLEET, a_reading(CUT, after), SETTINGS)] == ["", ""]
    untold = replace(a_gpu("GPU-c", mig=False), mig_pending=Missing("an older agent"))
    assert [one.why for one in occupied(FLEET, a_reading(CUT, untold), SETTINGS)] == ["", ""]


def drains(ask: MigAsk) -> LayoutPlan:
    """A plan that takes GPU-a out of service."""
    return replace(echo(ask), pays=True, steps=(LayoutStep(0, "drain", "GPU-a", "1g.10gb", 0, "small"),))


def adds(ask: MigAsk) -> LayoutPlan:
    """One that takes nothing away."""
    return replace(echo(ask), pays=True, steps=(LayoutStep(0, "create", "GPU-a", "1g.10gb", 1),))


@pytest.mark.parametrize(
    ("answer", "waiting", "why"),
    [
        (
            drains,
            1,
            "GPU-c waits for a reset; 1 more would be out of service, and no more than 1 may be (mig.max_share)",
        ),
        (drains, 0, ""),
        (adds, 1, ""),
    ],
)
def test_gpus_that_wait_for_a_reset_are_out_of_service_and_hold_what_would_take_more(
    changer: Kept, answer: Callable[[MigAsk], LayoutPlan], waiting: int, why: str
) -> None:
    made = MigPlanner(replace(SETTINGS, mode=Mode.ACT), Prices(), max_age_s=60.0, answer=answer, changer=changer)  # type: ignore[arg-type]
    gpus = (CUT, *(a_waiting_gpu("GPU-c") for _ in range(waiting)))
    made.picture(FLEET, a_reading(*gpus), NOW)  # while another one decides
    for at in (NOW, NOW + 15):  # for the reset nobody tells of the GPU
        made.tick(FLEET, a_reading(CUT, at=at), (), at, lambda: SEEN)
        until_planned(made, NOW)
    assert made.picture(FLEET, a_reading(CUT), NOW + 15).held == why
    assert bool(changer.begun) is not bool(why)
    made.close()


def test_a_gpu_that_waits_for_a_reset_while_its_agent_is_ended_is_out_of_service_for_the_next_process_too(
    changer: Kept,
) -> None:
    first = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=echo)
    first.picture(FLEET, a_reading(CUT, a_waiting_gpu("GPU-c")), NOW)
    settings = replace(SETTINGS, mode=Mode.ACT)
    made = MigPlanner(settings, Prices(), max_age_s=60.0, answer=drains, changer=changer)  # type: ignore[arg-type]
    with closing(first), closing(made):
        made.resume(PolicyState(slice_resets=first.resets), lambda: SEEN, MigMemory(), NOW)
        for at in (NOW, NOW + 15):
            made.tick(FLEET, a_reading(CUT, at=at), (), at, lambda: SEEN)
            until_planned(made, NOW)
        assert made.picture(FLEET, a_reading(CUT), NOW + 15).held.startswith("GPU-c waits for a reset; 1 more")
        assert changer.begun == []


def consolidates(ask: MigAsk) -> LayoutPlan:
    """A plan that pays by draining the copy that is there, where nothing is asked of it."""
    drain = (LayoutStep(0, "drain", "GPU-a", "1g.10gb", 0, "small"),)
    layouts = {"GPU-a": (LaidSlice("1g.10gb", 0, 1), LaidSlice("3g.40gb", 4, 4)), "GPU-b": ()}
    return replace(echo(ask), layouts=layouts, pays=True, steps=drain, cost=0.0)


def test_a_plan_is_judged_by_the_demand_there_is_when_it_is_begun_and_before_each_round(changer: Kept) -> None:
    settings = replace(SETTINGS, mode=Mode.ACT)
    made = MigPlanner(settings, Prices(), max_age_s=60.0, answer=consolidates, changer=changer)  # type: ignore[arg-type]

    def asked_of(per_s: float, at: float) -> None:
        made.tick(FLEET, a_reading(CUT, EMPTY, per_s=per_s, at=at), (), at, lambda: SEEN)

    with closing(made):
        asked_of(0.0, NOW)
        until_planned(made, NOW)
        asked_of(4.0, NOW + 15)
        held = "4/s are asked of small by now, not 0/s; short of 0/s now, it would be of 4/s"
        assert made.picture(FLEET, a_reading(CUT, EMPTY), NOW + 15).held.endswith(held)
        assert changer.begun == []
        plan = until_planned(made, NOW + 15)  # it is asked anew at once
        asked_of(4.0, NOW + 30)
        assert [begun for begun, _ in changer.begun] == [plan]
        assert changer.outdated(plan.steps) == ""
        asked_of(5.0, NOW + 45)
        assert "5/s are asked of small by now, not 4/s" in changer.outdated(plan.steps)


def test_what_is_left_half_done_is_gone_on_with_once_it_is_due(acting: MigPlanner, changer: Kept) -> None:
    tick(acting, NOW)
    assert changer.resumed == []
    changer.unresumed = True
    tick(acting, NOW + 15)
    tick(acting, NOW + 30)
    assert changer.resumed == [SEEN]
