"""Loading and unloading over hours: idleness, wakes, restarts of servers, what a server refuses."""

from __future__ import annotations

import itertools

import pytest

from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode
from controlplane.domain.observation import ControlMode
from controlplane.domain.signal import Missing
from tests.world.batcher import SimModel
from tests.world.server import SimTriton
from tests.world.world import T0, World, model_spec, one_model

HALF_HOUR = 1800.0


async def test_an_idle_model_is_unloaded_after_its_time_and_stays_unloaded() -> None:
    sim = SimModel("m", rates=((T0, 5.0), (T0 + 300, 0.0)))
    async with one_model(sim, idle_unload_s=600.0) as world:
        await world.run(300 + 590)
        assert world.loaded("m")
        await world.run(60)
        assert not world.loaded("m")
        await world.run(HALF_HOUR)
    assert [a.step for a in world.steps()] == [Step.UNLOAD]
    assert world.last("m").step is Step.HOLD


async def test_a_want_wakes_an_unloaded_model_at_once_and_for_a_whole_idle_time() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0, idle_unload_s=600.0) as world:
        await world.run(HALF_HOUR)
        assert not sim.touched
        await world.want("m")
        world.nudge()
        await world.run(5.0)
        assert world.loaded("m")
        woken = next(d for d in world.decisions if d.step is Step.LOAD)
        assert woken.binding is ReasonCode.WANTED
        await world.run(590.0)
        assert world.loaded("m")
        await world.run(60.0)
        assert not world.loaded("m")
        await world.run(HALF_HOUR)
    assert [a.step for a in world.steps()] == [Step.LOAD, Step.UNLOAD]


async def test_traffic_after_a_wake_keeps_the_model_loaded() -> None:
    sim = SimModel("m", rates=((T0 + 100, 3.0),))
    async with one_model(sim, loaded=0, idle_unload_s=300.0) as world:
        await world.run(100.0)
        await world.want("m")
        await world.run(HALF_HOUR)
    assert world.loaded("m")
    assert [a.step for a in world.steps()] == [Step.LOAD]


async def test_probes_do_not_keep_an_idle_model_awake() -> None:
    sim = SimModel("m", rates=((T0, 5.0), (T0 + 100, 0.0)))
    async with one_model(sim, idle_unload_s=600.0) as world:

        async def probe() -> None:
            request = world.collector.servers["t0"].units["m"].own_requests.begin(world.now)
            if sim.loaded:
                sim.waiting.append(world.now)
            world.at(world.now + 0.05, lambda: own.end(request, world.now, counted=sim.loaded))

        own = world.collector.servers["t0"].units["m"].own_requests
        for i in range(100):
            world.at(T0 + 12.3 + 10 * i, probe)
        await world.run(680.0)
        assert world.loaded("m")
        assert sim.success > 60
        await world.run(60.0)
    assert not world.loaded("m")


async def test_a_model_is_not_idle_while_nobody_can_tell() -> None:
    sim = SimModel("m", rates=((T0 + 1000, 5.0), (T0 + 1060, 0.0)))
    async with one_model(sim, idle_unload_s=600.0) as world:
        await world.run(300.0)
        world.tritons["t0"].outages = {"port"}
        await world.run(1700.0)
        assert world.loaded("m")
        world.tritons["t0"].outages = set()
        await world.run(560.0)
        assert world.loaded("m")  # the counters moved in the dark, nobody knows when
        await world.run(100.0)
    assert not world.loaded("m")


async def test_counters_that_stood_still_over_an_outage_prove_idleness() -> None:
    sim = SimModel("m")
    async with one_model(sim, idle_unload_s=600.0) as world:
        await world.run(100.0)
        world.tritons["t0"].outages = {"port"}
        await world.run(700.0)
        assert world.loaded("m")
        world.tritons["t0"].outages = set()
        await world.run(30.0)
    assert not world.loaded("m")


async def test_what_somebody_else_loaded_stays_until_it_is_seen_to_be_idle() -> None:
    sim = SimModel("m", rates=((T0 + 900, 3.0), (T0 + 1000, 0.0)))
    async with one_model(sim, idle_unload_s=300.0) as world:
        await world.run(890.0)
        assert not world.loaded("m")
        sim.up(1, world.now)
        await world.run(400.0)
        assert world.loaded("m")
        await world.run(40.0)
        assert not world.loaded("m")
    assert [a.step for a in world.steps()] == [Step.UNLOAD, Step.UNLOAD]


async def test_a_server_restart_gets_its_models_and_counts_back() -> None:
    busy = SimModel("busy", rates=((T0, 107.0),))
    quiet, idle = SimModel("quiet"), SimModel("idle")
    triton = SimTriton("t0", [busy, quiet, idle], T0)
    for sim in (busy, quiet, idle):
        sim.up(1, T0)
    specs = [model_spec(busy), model_spec(quiet, instances_min=2), model_spec(idle, idle_unload_s=100.0)]
    async with World([triton], specs) as world:
        await world.run(600.0)
        before = (busy.count, quiet.count, idle.loaded)
        assert before == (2, 2, False)
        triton.outages = {"server"}
        triton.restart(world.now)
        await world.run(30.0)
        triton.outages = set()
        await world.run(45.0)
    assert (busy.count, quiet.count, idle.loaded) == before


async def test_a_restart_between_two_rounds_is_noticed_and_mended_too() -> None:
    sim = SimModel("m", rates=((T0, 30.0),))
    async with one_model(sim, instances_min=3) as world:
        await world.run(100.0)
        world.tritons["t0"].restart(world.now)
        await world.run(30.0)
    assert (sim.loaded, sim.count) == (True, 3)


async def test_a_dead_backend_is_reloaded_once_and_serves_again() -> None:
    sim = SimModel("m", rates=((T0, 20.0),))
    async with one_model(sim) as world:
        await world.run(100.0)
        sim.dead = 1
        await world.run(40.0)
        assert sim.dead == 0
        failed = sim.failures
        await world.run(HALF_HOUR)
    assert sim.failures == failed > 0
    assert [a.step for a in world.steps()] == [Step.RELOAD]


async def test_a_backend_that_dies_again_at_once_is_not_reloaded_in_a_loop() -> None:
    sim = SimModel("m", rates=((T0, 20.0),))
    async with one_model(sim) as world:
        for i in range(360):
            world.at(T0 + 100 + 5 * i, lambda: setattr(sim, "dead", 1))
        await world.run(HALF_HOUR)
    assert 2 <= len(world.steps(Step.RELOAD)) <= 5
    assert world.steps(Step.SET_INSTANCES) == []


async def test_a_load_that_fails_is_tried_again_ever_less_often() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0) as world:
        world.tritons["t0"].failing_loads["m"] = FailureClass.BACKEND
        await world.run(HALF_HOUR)
        tries = [at - T0 for at, _ in world.applied]
        assert 5 <= len(tries) <= 10
        gaps = [b - a for a, b in itertools.pairwise(tries)]
        assert gaps == sorted(gaps)
        world.tritons["t0"].failing_loads.clear()
        await world.run(700.0)
    assert world.loaded("m")


@pytest.mark.parametrize("mode", [Mode.RECOMMEND, Mode.ACT])
async def test_a_server_without_model_control_gives_one_clear_reason_and_no_step(mode: Mode) -> None:
    sim = SimModel("m", rates=((T0, 200.0),))
    async with one_model(sim, mode=mode) as world:
        world.tritons["t0"].control = ControlMode.NOT_ALLOWED
        world.collector.set_control("t0", Missing("not asked yet"))
        await world.run(600.0)
        records = await world.thread.call(lambda s: s.decisions("m"))
    assert world.applied == []
    assert {(d.step, d.binding) for d in world.decisions} == {(Step.HOLD, ReasonCode.CONTROL_NOT_ALLOWED)}
    assert len(records) == 1
    assert "explicit" in dict(records[0].decision.reasons[0].words)["remedy"]


async def test_observe_does_nothing_recommend_only_says_act_does() -> None:
    seen: dict[Mode, tuple[bool, set[Step]]] = {}
    for mode in Mode:
        sim = SimModel("m", rates=((T0, 200.0),))
        async with one_model(sim, mode=mode) as world:
            await world.run(120.0)
        seen[mode] = (len(world.applied) > 0, {d.step for d in world.decisions if d.step is not Step.HOLD})
    assert seen[Mode.OBSERVE] == (False, set())
    assert seen[Mode.RECOMMEND] == (False, {Step.SET_INSTANCES})
    assert seen[Mode.ACT] == (True, {Step.SET_INSTANCES})


async def test_a_recommended_model_is_still_woken_by_who_asks_for_it() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0, mode=Mode.RECOMMEND, idle_unload_s=600.0) as world:
        await world.run(60.0)
        await world.want("m")
        await world.run(30.0)
    assert world.loaded("m")
