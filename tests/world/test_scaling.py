"""Instance counts over simulated hours, on the batch-latency lines of published models."""

from __future__ import annotations

from itertools import pairwise

import pytest

from controlplane.decide.policy import Policy
from controlplane.domain.decision import ActionStatus, ReasonCode, Step, Verdict
from tests.world.batcher import DEEPFM_SLOWED, LINES, RESNET_SLOWED, Device, SimModel, full_batch_s, sufficient
from tests.world.server import SimTriton
from tests.world.world import T0, World, model_spec, one_model

DECIDE_S = 15.0
SLOW = (0.2, 0.1)
"""A batch of 8 takes a second: few events, so that hours are cheap to simulate."""


@pytest.mark.parametrize(
    ("name", "before", "after", "phase_s", "seed"),
    [
        ("bert", 0.3, 1.5, 0.4, 0),
        ("bert", 0.5, 3.4, 4.1, 1),
        ("bert", 0.2, 0.9, 13.2, 2),
        ("resnet", 0.3, 2.3, 7.8, 3),
        ("resnet", 1.3, 4.31, 10.4, 4),
        ("resnet", 2.13, 4.05, 8.8, 5),
        ("deepfm", 0.3, 1.5, 11.5, 6),
        ("deepfm", 0.5, 3.4, 2.2, 7),
        ("deepfm", 1.3, 4.7, 6.0, 8),
    ],
)
async def test_a_load_step_is_followed_within_two_intervals_by_enough_and_at_most_one_too_many(
    name: str, before: float, after: float, phase_s: float, seed: int
) -> None:
    line = LINES[name]
    full_per_s = 8 / full_batch_s(line)
    had, enough = sufficient(line, before * full_per_s), sufficient(line, after * full_per_s)
    step_at = T0 + 127.5 + phase_s
    sim = SimModel("m", line, rates=((T0, before * full_per_s), (step_at, after * full_per_s)), seed=seed)
    async with one_model(sim, loaded=had) as world:
        await world.run(step_at - T0)
        assert sim.history == [(T0, had)]
        await world.run(2 * DECIDE_S)
        assert enough <= sim.count
        await world.run(150.0)
    assert max(count for _, count in sim.history) <= enough + 1
    late = [latency for latency in sim.latencies if latency > 3 * full_batch_s(line)]
    assert len(late) <= 0.01 * len(sim.latencies)  # of the last round: served inside the objective again


async def test_the_count_goes_down_only_after_the_dwell() -> None:
    sim = SimModel("m", SLOW, rates=((T0, 3.0), (T0 + 100, 22.0), (T0 + 300, 1.0)))
    async with one_model(sim) as world:
        await world.run(300.0)
        burst = sim.count
        assert burst >= 3
        await world.run(world.policy.scale_down_after_s - DECIDE_S)
        assert sim.count >= burst - 1  # the one that the backlog had bought may be gone
        await world.run(120.0)
    assert sim.count == 1


@pytest.mark.parametrize(("name", "share", "seed"), [("bert", 0.85, 1), ("resnet", 1.7, 2), ("deepfm", 1.8, 3)])
async def test_a_quarter_of_an_hour_of_steady_noisy_load_changes_the_count_hardly_ever(
    name: str, share: float, seed: int
) -> None:
    line = LINES[name]
    rate = share * 8 / full_batch_s(line)
    sim = SimModel("m", line, rates=((T0, rate),), seed=seed)
    async with one_model(sim, loaded=sufficient(line, rate)) as world:
        await world.run(900.0)
    assert len(sim.history) - 1 <= 2
    assert max(count for _, count in sim.history) <= sufficient(line, rate) + 1


async def test_a_load_that_wanders_within_the_dwell_moves_the_count_once() -> None:
    wander = (1.0, 1.15, 0.9, 1.05, 0.85)
    full_per_s = 8 / full_batch_s(LINES["bert"])
    rates = tuple((T0 + 20.0 * i, 1.6 * full_per_s * wander[i * 3 % 5]) for i in range(45))
    sim = SimModel("m", rates=rates, seed=5)
    async with one_model(sim, loaded=2) as world:
        await world.run(900.0)
    assert len(sim.history) - 1 <= 2


async def test_an_increase_that_runs_out_of_memory_is_taken_back_and_backed_off() -> None:
    sim = SimModel("m", SLOW, rates=((T0, 4.0), (T0 + 60, 22.0)))
    async with one_model(sim) as world:
        world.tritons["t0"].memory["m"] = 2
        sim.set_count(2, T0)
        await world.run(1500.0)
        tried = world.steps(Step.SET_INSTANCES)
        assert 1 <= len([a for a in tried if a.target.instances > 2]) <= 3
        assert world.last("m").target == world.last("m").current
        record = await world.thread.call(lambda s: s.decision(tried[-1].id))
    assert sim.count == 2
    assert record.outcomes[0].status is ActionStatus.FAILED
    assert record.outcomes[0].remedy


async def test_an_increase_that_fails_again_and_again_is_tried_ever_more_rarely_over_a_restart_too() -> None:
    sim = SimModel("m", SLOW, rates=((T0, 4.0), (T0 + 60, 22.0)))
    sim.up(2, T0)
    world = World([SimTriton("t0", [sim], T0)], [model_spec(sim)], policy=Policy(ceiling_s=60.0))
    world.tritons["t0"].memory["m"] = 2
    async with world:
        for _ in range(4):
            await world.run(140.0)
            world.kill()
            await world.start()
    at = [when for when, action in world.applied if action.target.instances > 2]
    waits = [after - before for before, after in pairwise(at)]
    assert len(waits) == 3, waits
    for wait_s, believed_s in zip(waits, (60.0, 120.0, 240.0), strict=True):
        assert believed_s <= wait_s <= believed_s + 3 * DECIDE_S, waits


async def test_an_increase_that_lowers_throughput_is_undone() -> None:
    """Two instances thrash the device: each batch takes three times as long."""
    sim = SimModel("m", rates=((T0, 20.0), (T0 + 130, 100.0)), slowed_by=lambda n: 1.0 if n < 2 else 3.0, seed=1)
    async with one_model(sim) as world:
        world.answers_at_once = True
        await world.run(300.0)
        assert Verdict.HARMED in {e.verdict for e in world.effects}
        assert ReasonCode.UNDO in {d.binding for d in world.decisions}
    assert sim.count == 1
    assert len(world.steps(Step.SET_INSTANCES)) <= 4


def shared_device(*rates: tuple[tuple[float, float], ...]) -> tuple[World, SimModel, SimModel]:
    """Two models that hold one device for 0.6 of each execution, so that it saturates at 1.67 busy instances."""
    device = Device()
    first = SimModel("first", RESNET_SLOWED, rates=rates[0], seed=1, device=device, serial_share=0.6)
    second = SimModel("second", DEEPFM_SLOWED, rates=rates[1], seed=2, device=device, serial_share=0.6)
    for sim in (first, second):
        sim.up(1, T0)
    specs = [model_spec(sim, device="gpu0") for sim in (first, second)]
    return World([SimTriton("t0", [first, second], T0)], specs), first, second


async def test_on_a_saturated_device_the_count_stops_and_follows_the_load_again_afterwards() -> None:
    ramp = tuple((T0 + 130 + 5 * i, 40.0 + 5 * i) for i in range(38))
    world, first, second = shared_device(((T0, 40.0), *ramp, (T0 + 330, 20.0), (T0 + 900, 120.0)), ((T0, 15.0),))
    async with world:
        world.answers_at_once = True
        await world.run(330.0)
        peak = max(count for _, count in first.history)
        assert peak < 8
        assert any(d.binding is ReasonCode.SATURATED for d in world.decisions)
        assert Verdict.NO_GAIN in {e.verdict for e in world.effects}
        await world.run(560.0)
        assert (first.count, second.count) == (1, 1)
        await world.run(120.0)
    assert first.count >= 2


async def test_a_neighbour_that_comes_and_goes_leaves_no_needless_instances_behind() -> None:
    world, first, second = shared_device(((T0, 20.0), (T0 + 130, 200.0), (T0 + 250, 10.0)), ((T0, 20.0),))
    async with world:
        await world.run(1200.0)
    assert (first.count, second.count) == (1, 1)


async def test_two_gpus_change_by_two() -> None:
    sim = SimModel("m", SLOW, rates=((T0, 4.0), (T0 + 60, 22.0), (T0 + 300, 0.5)), gpus=2)
    async with one_model(sim, loaded=2, instances_max=7) as world:
        await world.run(700.0)
    assert {count for _, count in sim.history} <= {2, 4, 6}
    assert max(count for _, count in sim.history) >= 4
    assert sim.count == 2
