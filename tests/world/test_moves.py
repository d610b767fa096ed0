"""Servers that come and go under the loop, without a restart of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.fleet import Member, Phase
from controlplane.domain.objectives import Counts
from controlplane.domain.state import unit_key
from tests.discovery_fake import member
from tests.world.batcher import SimModel
from tests.world.server import SimTriton
from tests.world.world import DECIDE_S, T0, WORKLOAD, World, model_spec


def pod(instance: str, phase: Phase = Phase.READY, *, at: float = T0, uid: str = "") -> Member:
    return member(instance, phase, of=WORKLOAD, ready_at=at if phase is Phase.READY else None, uid=uid)


def pods(*instances: str, rate_per_s: float = 90.0) -> World:
    """A world of simulated pods under the same load, none of which is found yet."""
    sims = [SimModel("m", rates=((T0, rate_per_s),)) for _ in instances]
    for sim in sims:
        sim.up(1, T0)
    tritons = [SimTriton(f"w/{instance}", [sim], T0) for instance, sim in zip(instances, sims, strict=True)]
    return World(tritons, [replace(model_spec(sims[0], workloads=("w",)), runs_on=())])


async def counted(world: World) -> Counts:
    """All events of the model's objective so far."""
    objective = world.configured.models[0].objectives[0]
    return await world.thread.call(lambda s: s.counts("m", objective.key, 0.0, world.now + 1))


async def test_decisions_about_a_server_begin_within_two_ticks_after_it_came() -> None:
    async with pods("0") as world:
        await world.run(100)
        assert world.decisions == []
        world.found(pod("0"))
        await world.run(2 * DECIDE_S)
        assert world.last("m", "w/0").binding not in (ReasonCode.DATA_MISSING, ReasonCode.SERVER_DOWN)
        await world.run(120)
        assert world.steps(Step.SET_INSTANCES), "one instance is too few, as it is on any server"


async def test_nothing_is_done_on_a_server_that_starts_or_terminates() -> None:
    async with pods("0") as world:
        world.found(pod("0", Phase.STARTING))
        await world.run(120)
        assert {d.binding for d in world.decisions} == {ReasonCode.SERVER_PHASE}
        world.found(pod("0", Phase.TERMINATING))
        await world.run(120)
        assert not world.applied
        assert world.last("m", "w/0").binding is ReasonCode.SERVER_PHASE
        world.found(pod("0", at=world.now))
        await world.run(120)
        assert world.applied


async def test_one_that_left_is_read_and_decided_about_no_more_and_forgotten_after_an_hour() -> None:
    async with pods("0", "1", rate_per_s=1.0) as world:
        world.found(pod("0"), pod("1"))
        await world.run(300)
        world.found(pod("0"))
        await world.run(60)
        since = len(world.decisions)
        await world.run(120)
        assert {d.server for d in world.decisions[since:]} == {"w/0"}
        assert set(world.reading().servers) == {"w/0"}
        assert unit_key("m", "w/1") in world.tick._state.units
        await world.run(3700)
        assert set(world.tick._state.units) == {unit_key("m", "w/0")}


async def test_pods_that_churn_leave_nothing_behind() -> None:
    names = [str(i) for i in range(20)]
    async with pods(*names, rate_per_s=0.1) as world:
        for name, following in zip(names, [*names[1:], names[-1]], strict=True):
            world.found(pod(name, at=world.now), pod(following, Phase.STARTING))
            await world.run(400)
        assert len(world.tick._state.units) <= 2 + 3600 / 400 + 1
        assert len(world.executor._slots) <= 2
        assert len(world.executor._last) <= 2
        assert len(world.collector.servers) <= 2


async def test_an_action_under_way_on_a_server_that_leaves_comes_to_its_end() -> None:
    async with pods("0") as world:
        world.found(pod("0"))
        while not world.executor.in_flight:
            await world.run(1.0)
        world.found()
        await world.run(60)
        assert not world.executor.in_flight
        assert world.decisions[-1].server == "w/0"


async def test_one_that_comes_under_the_name_of_another_begins_anew() -> None:
    async with pods("0") as world:
        world.found(pod("0", uid="first"))
        await world.run(200)
        before = world.collector.servers["w/0"]
        world.tritons["w/0"].restart(world.now)
        world.found(pod("0", uid="second", at=world.now))
        await world.run(30)
        assert world.collector.servers["w/0"] is not before
        assert world.reading().servers["w/0"].incarnation == 0
        await world.run(200)
        assert world.loaded("m", "w/0"), "what the pod of before had is restored"


@pytest.mark.parametrize("age_s", [60.0, 1800.0])
async def test_servers_stay_while_the_discovery_cannot_be_asked(age_s: float) -> None:
    async with pods("0", rate_per_s=1.0) as world:
        world.found(pod("0"))
        await world.run(60)
        world.discovery.lose_sight("w", "connection refused", age_s)
        await world.runner.follow()
        await world.run(age_s)
        assert world.last("m", "w/0").at > world.now - 2 * DECIDE_S
        picture = world.runner.picture()
        assert picture.workloads["w"].why == "connection refused"  # type: ignore[union-attr]


async def test_history_goes_on_over_the_coming_and_going() -> None:
    async with pods("0", "1", "2") as world:
        world.found(pod("0"), pod("1"))
        await world.run(120)
        world.found(pod("1"), pod("2", at=world.now))
        await world.run(120)
        before = await counted(world)
        world.found(pod("2"))
        await world.run(120)
        after = await counted(world)
    assert after.expected_s - before.expected_s == pytest.approx(120, abs=10)
    assert after.measured_s - before.measured_s == pytest.approx(120, abs=10)
    assert after.good + after.bad > before.good + before.bad
