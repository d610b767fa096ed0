"""Start-ups are learned while the loop runs, kept, and known again after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from controlplane.decide.startups import LEARNED_AFTER
from controlplane.domain.decision import Step
from controlplane.domain.fleet import Mode, Phase
from controlplane.domain.startups import REPLICA, Startup
from tests.discovery_fake import member
from tests.world.batcher import SimModel
from tests.world.server import SimTriton
from tests.world.world import SCRAPE_S, T0, WORKLOAD, World, model_spec, one_model


async def kept(world: World) -> tuple[Startup, ...]:
    return await world.thread.call(lambda s: s.startups("m"))


async def test_instances_that_somebody_else_added_are_learned_from_and_known_after_a_kill(tmp_path: Path) -> None:
    sim = SimModel("m", rates=((T0, 5.0),))
    async with one_model(sim, mode=Mode.OBSERVE, store=tmp_path / "s.db") as world:
        await world.run(50.0)
        sim.set_count(3, world.now)
        await world.run(60.0)
        (startup,) = await kept(world)
        assert (startup.knob, startup.least_s) == (Step.SET_INSTANCES, 0.0)
        assert 0 < startup.seconds <= SCRAPE_S + 1
        learned = world.tick.picture().startups["m"]
        assert learned["", Step.SET_INSTANCES].seen == 1
        world.kill()
        await world.start()
        await world.run(30.0)
        assert world.tick.picture().startups["m"] == learned


async def test_an_action_of_ours_is_learned_from_once_with_the_time_it_took(tmp_path: Path) -> None:
    sim = SimModel("m", rates=((T0, 20.0), (T0 + 60, 107.0)))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        await world.run(150.0)
        raised = [a for _, a in world.applied if a.step is Step.SET_INSTANCES]
        startups = await kept(world)
        assert len(startups) == len(raised) > 0
        assert all(startup.least_s == startup.seconds for startup in startups)
        times = world.tick.picture().startups["m"]["", Step.SET_INSTANCES]
        assert (times.seen, times.assumed) == (len(raised), LEARNED_AFTER - len(raised))


async def test_a_discovered_server_is_learned_from_when_it_serves() -> None:
    sim = SimModel("m")
    sim.up(1, T0)
    spec = replace(model_spec(sim, workloads=(WORKLOAD.name,)), runs_on=())
    async with World([SimTriton("w/0", [sim], T0)], [spec]) as world:
        await world.run(30.0)
        starting = replace(member("0", Phase.STARTING, of=WORKLOAD), created_at=world.now)
        world.found(starting)
        await world.run(90.0)
        assert await kept(world) == ()
        world.found(replace(starting, phase=Phase.READY, ready_at=world.now))
        await world.run(40.0)
        (startup,) = (s for s in await kept(world) if s.knob == REPLICA)
        assert startup.workload == WORKLOAD.name
        assert startup.least_s <= 90.0 <= startup.seconds <= 90.0 + 2 * SCRAPE_S


async def test_a_start_up_seen_while_the_store_is_away_is_written_when_it_is_back(tmp_path: Path) -> None:
    sim = SimModel("m", rates=((T0, 5.0),))
    async with one_model(sim, mode=Mode.OBSERVE, store=tmp_path / "s.db") as world:
        await world.run(50.0)
        world.store.broken = True
        sim.set_count(3, world.now)
        await world.run(60.0)
        world.store.broken = False
        await world.run(40.0)
        assert len(await kept(world)) == 1
        assert world.tick.picture().startups["m"]["", Step.SET_INSTANCES].seen == 1
