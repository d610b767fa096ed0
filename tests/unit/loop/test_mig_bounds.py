"""How many GPUs changes of MIG layouts take out of service: what counts, what is held, and what is asked anew."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.config.mig.boards import boards
from controlplane.decide.mig import MigModel, Slice
from controlplane.decide.mig.asked import Occupied
from controlplane.decide.mig.proposal import MigAsk
from controlplane.decide.mig.rounds import in_rounds
from controlplane.decide.mig.seen import seen_gpu
from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.domain.fleet import Mode
from controlplane.domain.gpu import GpuReading
from controlplane.domain.layouts import LaidSlice, LayoutPlan, LayoutStep, MigMemory
from controlplane.domain.mig import GpuOperator
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known
from controlplane.domain.state import PolicyState
from controlplane.loop.mig_bounds import full, lost
from controlplane.loop.mig_going import HeldError
from controlplane.loop.mig_hands import ByAgents
from controlplane.loop.mig_nodes import ByNodes
from controlplane.loop.mig_planner import MigPlanner
from tests.unit.decide.test_mig_rounds import by_wave, exchange, recut
from tests.unit.loop.cut_gpus import CUT, EMPTY, FLEET, NOW, a_gpu, a_reading, a_waiting_gpu
from tests.unit.loop.mig_node import Free
from tests.unit.loop.test_mig_changer import Bench, Operator, four
from tests.unit.loop.test_mig_planner import SEEN, Kept, until_planned

SETTINGS = MigSettings(Mode.ACT, 600.0, 3600.0, (MigWish("small", 6.0, {"1g.10gb": 5.0}),))
TABLE = tuple(boards().values())
COPY = (LaidSlice("1g.10gb", 0, 1, ("small",)),)


def a_plan(*steps: LayoutStep, of: int, most: int = 1) -> LayoutPlan:
    """A plan of so many GPUs, with a copy wanted on each of them."""
    layouts = {f"GPU-{at}": COPY for at in range(of)}
    return LayoutPlan(layouts, in_rounds(steps, most), True, (), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # noqa: FBT003


def recuts(gpus: int) -> tuple[LayoutStep, ...]:
    return by_wave([step for at in range(gpus) for step in recut(f"GPU-{at}", f"m{at}")])


@pytest.mark.parametrize(
    ("steps", "of", "most", "waiting", "why"),
    [
        (recuts(4), 13, 4, 0, ""),
        (
            recuts(4),
            12,
            3,
            1,
            "GPU-w0 waits for a reset; 3 more would be out of service, and no more than 3 may be (mig.max_share)",
        ),
        (
            recuts(4),
            13,
            4,
            3,
            "GPU-w0, GPU-w1, GPU-w2 wait for a reset; 4 more would be out of service, and no more than 4 may be",
        ),
        (recuts(4), 13, 1, 3, ""),
        (recuts(1), 4, 1, 1, "GPU-w0 waits"),
        (exchange("GPU-0", "GPU-1"), 4, 1, 0, ""),
        (exchange("GPU-0", "GPU-1"), 2, 1, 0, ""),
        (exchange("GPU-0", "GPU-1", "GPU-2"), 6, 1, 0, ""),
        (exchange("GPU-0", "GPU-1", "GPU-2"), 4, 1, 0, "(mig.max_plan_share), and 3 that need each other's room"),
        (exchange("GPU-0", "GPU-1"), 6, 1, 1, "GPU-w0 waits"),
        ([LayoutStep(0, "create", "GPU-0", "1g.10gb", 1)], 1, 1, 1, ""),
    ],
)
def test_a_plan_is_held_where_with_those_that_wait_more_would_be_out_than_may(
    steps: tuple[LayoutStep, ...], of: int, most: int, waiting: int, why: str
) -> None:
    said = full(a_plan(*by_wave(list(steps)), of=of, most=most), [f"GPU-w{at}" for at in range(waiting)], (), SETTINGS)
    assert bool(said) is bool(why)
    assert why in said


def test_who_is_out_of_service_is_named() -> None:
    plan, resets = a_plan(*recuts(1), of=4), [f"GPU-{at}" for at in range(4, 8)]
    assert full(plan, resets, {"GPU-x", "GPU-4"}, SETTINGS) == (
        "GPU-4, GPU-5, GPU-6 and 1 more wait for a reset; GPU-x has lost its copies;"
        " 1 more would be out of service, and no more than 2 may be (mig.max_share)"
    )


def test_a_gpu_of_the_plan_that_waits_for_a_copy_is_out_of_service() -> None:
    plan = replace(a_plan(*recuts(1), of=4), waiting={"GPU-3": COPY})
    assert full(plan, (), (), SETTINGS) == (
        "GPU-3 waits for a copy whose start failed;"
        " 1 more would be out of service, and no more than 1 may be (mig.max_share)"
    )
    assert full(replace(plan, layouts={f"GPU-{at}": COPY for at in range(8)}), (), (), SETTINGS) == ""


def test_under_the_operator_a_plan_takes_one_node_at_a_time_however_many_gpus_it_changes() -> None:
    by_node = replace(SETTINGS, operator=GpuOperator("controlplane", "gpu-operator"))
    plan = a_plan(*recuts(4), of=12, most=12)
    assert full(plan, ["GPU-12", "GPU-13"], (), by_node) == ""
    assert full(plan, [f"GPU-{at}" for at in range(12, 16)], (), by_node) != ""


def an_occupied(reading: GpuReading, *, copy: bool = False, why: str = "") -> Occupied:
    return Occupied(seen_gpu(reading, TABLE), {Slice("1g.10gb", 0): ("small",)} if copy else {}, {}, why)


def test_what_may_not_be_cut_and_has_lost_its_copies_is_out_of_service() -> None:
    gpus = (
        an_occupied(a_gpu("GPU-0"), why="it held the last change"),
        an_occupied(a_gpu("GPU-1"), why="it held the last change", copy=True),
        an_occupied(a_gpu("GPU-2")),
        an_occupied(a_gpu("GPU-x"), why="never of a plan"),
    )
    assert lost(gpus, MigMemory(a_plan(of=3)), None) == {"GPU-0"}
    assert lost(gpus, MigMemory(), None) == frozenset()
    before = MigMemory(a_plan(of=0), frozenset({"GPU-0", "GPU-2"}))
    assert lost(gpus, before, {"node-a"}) == {"GPU-0"}, "it was before the last plan too"
    assert lost(gpus, before, {"node-b"}) == frozenset(), "its node was taken out of mig.agents"


def four_drained(ask: MigAsk) -> LayoutPlan:
    """As many at a time as the question allows."""
    drains = tuple(LayoutStep(0, "drain", f"GPU-{at}", "1g.10gb", 0, "small") for at in range(1, 5))
    layouts = {gpu.uuid: () for gpu in ask.question.gpus}
    reasons = (f"{ask.most_out()} at a time",)
    return LayoutPlan(layouts, in_rounds(drains, ask.most_out()), True, reasons, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # noqa: FBT003


def test_a_plan_that_no_longer_fits_is_held_and_asked_anew() -> None:
    """16 GPUs, of which 4 may be out of service: once 3 wait for a reset the rounds are of one."""
    changer = Kept()
    made = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=four_drained, changer=changer)  # type: ignore[arg-type]
    others = [a_gpu(f"GPU-{at}") for at in range(1, 16)]
    made.tick(FLEET, a_reading(CUT, *others, at=NOW), (), NOW, lambda: SEEN)
    assert until_planned(made, NOW).reasons == ("4 at a time",)
    waiting = [a_waiting_gpu(f"GPU-{at}") for at in (13, 14, 15)]
    reading = a_reading(CUT, *others[:-3], *waiting, at=NOW + 15)
    made.tick(FLEET, reading, (), NOW + 15, lambda: SEEN)
    assert made.picture(FLEET, reading, NOW + 15).held.startswith("GPU-13, GPU-14, GPU-15 wait for a reset; 4 more")
    assert changer.begun == []
    assert until_planned(made, NOW + 15).reasons == ("1 at a time",)
    made.tick(FLEET, replace(reading, at=NOW + 30, gpus=Known(tuple(waiting), NOW + 30)), (), NOW + 30, lambda: SEEN)
    ((begun, _),) = changer.begun
    assert begun.rounds == 4
    made.close()


def left_by(ask: MigAsk) -> LayoutPlan:
    """A plan that gives up the slice of GPU-a for another one; tells what is out of service."""
    layouts = {gpu.uuid: () for gpu in ask.question.gpus} | {"GPU-a": (LaidSlice("1g.10gb", 1, 1, ("small",)),)}
    pieces = [("3g.40gb", 4, ""), ("1g.10gb", 0, "small"), ("1g.10gb", 0, "")]
    gone = [LayoutStep(0, "drain" if model else "destroy", "GPU-a", at, start, model) for at, start, model in pieces]
    come = [LayoutStep(1, "create", "GPU-a", "1g.10gb", 1), LayoutStep(2, "start", "GPU-a", "1g.10gb", 1, "small")]
    steps = (*gone, *come)
    return LayoutPlan(layouts, steps, True, (f"out: {sorted(ask.out)}",), 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)  # noqa: FBT003


def test_the_next_plan_is_asked_with_what_the_last_one_left_out_of_service() -> None:
    changer = Kept()
    made = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=left_by, changer=changer)  # type: ignore[arg-type]
    made.tick(FLEET, a_reading(CUT, EMPTY, at=NOW), (), NOW, lambda: SEEN)
    assert until_planned(made, NOW).reasons == ("out: []",)
    made.tick(FLEET, a_reading(CUT, EMPTY, at=NOW + 15), (), NOW + 15, lambda: SEEN)
    assert len(changer.begun) == 1
    for at, gpu, out in ((NOW + 30, CUT, "[]"), (NOW + 60, a_gpu("GPU-a"), "['GPU-a']")):
        changer.busy, changer.ended_at, changer.why = False, at, "wait"
        made.tick(FLEET, a_reading(gpu, EMPTY, at=at + 1), (), at + 1, lambda: SEEN)
        assert until_planned(made, at + 1).reasons == (f"out: {out}",)
    made.close()


@pytest.mark.parametrize(("kept", "out"), [(True, "['GPU-a']"), (False, "[]")])
def test_a_new_process_asks_with_what_the_last_plan_of_another_left_out_of_service(*, kept: bool, out: str) -> None:
    changer = Kept()
    first = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=left_by, changer=changer)  # type: ignore[arg-type]
    first.tick(FLEET, a_reading(CUT, EMPTY, at=NOW), (), NOW, lambda: SEEN)
    until_planned(first, NOW)
    first.tick(FLEET, a_reading(CUT, EMPTY, at=NOW + 15), (), NOW + 15, lambda: SEEN)
    first.close()
    (memory,) = changer.kept
    second = MigPlanner(SETTINGS, Prices(), max_age_s=60.0, answer=left_by, changer=Kept())  # type: ignore[arg-type]
    second.resume(PolicyState(), lambda: SEEN, memory if kept else MigMemory(), NOW + 30)
    second.tick(FLEET, a_reading(a_gpu("GPU-a"), EMPTY, at=NOW + 30), (), NOW + 30, lambda: SEEN)
    assert until_planned(second, NOW + 30).reasons == (f"out: {out}",)
    second.close()


async def test_the_first_round_may_take_two_that_need_each_other_and_no_more_than_the_plan() -> None:
    bench = Bench(four(), plan_share=0.25)
    assert isinstance(bench.hands, ByAgents)
    three = replace(bench.plan, steps=in_rounds(by_wave(exchange("GPU-0", "GPU-1", "GPU-2")), 1))
    with pytest.raises(HeldError) as held:
        await bench.hands.carry_out(three, bench.nodes.node_of, Free())
    assert str(held.value) == (
        "one plan takes 1 of 4 GPUs out of service at most (mig.max_plan_share),"
        " and 3 that need each other's room are to change"
    )
    assert bench.nodes.calls == []


async def test_under_the_operator_all_gpus_of_a_node_count_also_those_of_no_plan() -> None:
    slices = replace(four(), models=(MigModel("small", 140.0, {"1g.10gb": 5.0}, 6.0),))
    bench, operator = Bench(slices), Operator()
    plan = replace(bench.plan, layouts={**bench.plan.layouts, **{f"GPU-{at}": () for at in range(4, 8)}})
    nodes = {f"GPU-{at}": f"node-{at // 2}" for at in range(8)} | {f"GPU-x{at}": "node-0" for at in range(3)}
    with pytest.raises(HeldError) as held:
        await ByNodes(operator, bench.nodes, plan_share=0.5).carry_out(plan, nodes, Free())
    assert "takes 4 of 8 GPUs out of service at most, and this one did 5" in str(held.value)
    assert [node for node, _ in operator.asked] == ["node-0"]
