"""What people say wins over what the policy wants, in the order of DESIGN 8, and survives restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.domain.conditions import AlertName
from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.errors import ConflictError, NotFoundError, TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode, Wake
from controlplane.domain.instructions import FreezeDirection, OverrideKind
from controlplane.domain.observation import ControlMode
from controlplane.domain.signal import Known
from controlplane.loop.operations import OperationStatus
from tests.world.batcher import SimModel
from tests.world.server import SimTriton
from tests.world.world import T0, World, model_spec, one_model


async def say(
    world: World, kind: OverrideKind, instances: int | None = None, ttl_s: float = 7200.0, server: str = ""
) -> str:
    operation = await world.desk.put_override(
        "m", kind, actor="ann", reason="because", ttl_s=ttl_s, instances=instances, server=server
    )
    return operation.id


async def test_an_override_beats_the_policy_until_it_expires() -> None:
    sim = SimModel("m", rates=((T0, 10.0),))
    async with one_model(sim) as world:
        await world.run(30.0)
        await say(world, OverrideKind.INSTANCES, 5, ttl_s=600.0)
        await world.run(595.0)
        assert sim.count == 5
        assert world.last("m").binding is ReasonCode.OVERRIDE
        await world.run(250.0)
    assert sim.count == 1


async def test_an_override_beats_a_freeze_a_freeze_beats_bounds() -> None:
    sim = SimModel("m", rates=((T0, 10.0),))
    async with one_model(sim, instances_min=2) as world:
        await world.desk.freeze("m", FreezeDirection.ALL, actor="bob", reason="incident", ttl_s=3600.0)
        await world.run(60.0)
        assert sim.count == 1
        assert world.last("m").binding is ReasonCode.FROZEN
        await say(world, OverrideKind.INSTANCES, 3, ttl_s=300.0)
        await world.run(60.0)
        assert sim.count == 3
        await world.desk.end_overrides("m", actor="ann")
        await world.run(300.0)
        assert sim.count == 3  # what stands when the override ends is what the freeze keeps
        await world.desk.unfreeze("m", actor="bob")
        await world.run(300.0)
    assert sim.count == 2


async def test_bounds_beat_the_policy() -> None:
    sim = SimModel("m", rates=((T0, 400.0),))
    async with one_model(sim, instances_max=3) as world:
        await world.run(120.0)
        refused = [one.cause for one in world.tick.picture().conditions if one.alert is AlertName.CAPACITY_REFUSED]
    assert max(count for _, count in sim.history) == 3
    assert refused == ["bounds"]


async def test_bounds_of_a_person_hold_in_place_of_the_configured_ones_until_they_expire() -> None:
    sim = SimModel("m", rates=((T0, 100.0), (T0 + 100, 230.0), (T0 + 250, 5.0)))
    async with one_model(sim, loaded=2, instances_max=2) as world:
        await world.desk.put_override("m", OverrideKind.BOUNDS, actor="ann", reason="sale", ttl_s=700.0, bounds=(2, 4))
        await world.run(240.0)
        assert sim.count == 4
        await world.run(440.0)
        assert sim.count == 2, "the policy alone would leave one"
        assert world.last("m").binding is ReasonCode.OVERRIDE
        await world.run(300.0)
    assert sim.count == 1


@pytest.mark.parametrize(
    ("direction", "after_burst", "after_quiet"),
    [(FreezeDirection.ALL, 2, 2), (FreezeDirection.NO_UP, 2, 1), (FreezeDirection.NO_DOWN, 4, 4), (None, 4, 1)],
)
async def test_a_freeze_forbids_its_direction_only(
    direction: FreezeDirection | None, after_burst: int, after_quiet: int
) -> None:
    sim = SimModel("m", rates=((T0, 100.0), (T0 + 100, 230.0), (T0 + 250, 5.0)))
    async with one_model(sim, loaded=2) as world:
        await world.run(90.0)
        if direction is not None:
            await world.desk.freeze("", direction, actor="bob", reason="incident", ttl_s=3600.0)
        await world.run(155.0)
        assert sim.count == pytest.approx(after_burst, abs=0 if after_burst < 4 else 1)
        burst = sim.count
        await world.run(900.0)
    assert sim.count == (burst if after_quiet == after_burst else 1)


async def test_a_frozen_model_is_restored_after_a_server_restart() -> None:
    sim = SimModel("m")
    async with one_model(sim, instances_min=2) as world:
        await world.run(60.0)
        await world.desk.freeze("m", FreezeDirection.ALL, actor="bob", reason="incident", ttl_s=3600.0)
        world.tritons["t0"].restart(world.now)
        await world.run(60.0)
    assert (sim.loaded, sim.count) == (True, 2)


async def test_a_manual_unload_stands_against_traffic_and_ends_at_expiry() -> None:
    sim = SimModel("m", rates=((T0, 20.0),))
    async with one_model(sim) as world:
        await world.run(30.0)
        await say(world, OverrideKind.UNLOADED, ttl_s=600.0)
        await world.run(590.0)
        assert not world.loaded("m")
        with pytest.raises(ConflictError, match="unloaded by ann"):
            await world.desk.ensure("m", actor="gateway", timeout_s=5.0)
        await world.run(40.0)
    assert world.loaded("m")
    assert [a.step for a in world.steps()] == [Step.UNLOAD, Step.LOAD]


async def test_a_manual_load_keeps_an_idle_model_loaded() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0, idle_unload_s=300.0) as world:
        await say(world, OverrideKind.LOADED, ttl_s=1200.0)
        await world.run(1190.0)
        assert world.loaded("m")
        await world.run(330.0)
        assert not world.loaded("m")


async def test_a_pin_keeps_the_count_it_found() -> None:
    sim = SimModel("m", rates=((T0, 160.0), (T0 + 100, 1.0)))
    async with one_model(sim) as world:
        await world.run(95.0)
        pinned = sim.count
        assert pinned >= 3
        await say(world, OverrideKind.PIN)
        await world.run(900.0)
        assert sim.count == pinned
        assert await world.desk.end_overrides("m", actor="ann") == 1
        await world.run(200.0)
    assert sim.count == 1


async def test_an_override_survives_a_restart_of_the_control_plane_and_ends_at_expiry(tmp_path: Path) -> None:
    sim = SimModel("m", rates=((T0, 10.0),))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        await world.run(30.0)
        await say(world, OverrideKind.INSTANCES, 4, ttl_s=600.0)
        world.kill()
        await world.start()
        await world.run(300.0)
        assert sim.count == 4
        await world.run(700.0)
    assert sim.count == 1


async def test_recommend_carries_out_what_a_person_says_and_nothing_else() -> None:
    sim = SimModel("m", rates=((T0, 200.0),))
    async with one_model(sim, mode=Mode.RECOMMEND) as world:
        await world.run(60.0)
        await say(world, OverrideKind.INSTANCES, 2, ttl_s=60.0)
        await world.run(300.0)
    assert [a.target.instances for a in world.steps(Step.SET_INSTANCES)] == [2]


async def test_who_pinned_a_model_in_recommend_mode_did_not_ask_for_its_reload() -> None:
    sim = SimModel("m", rates=((T0, 20.0),))
    async with one_model(sim, mode=Mode.RECOMMEND) as world:
        await world.run(60.0)
        await say(world, OverrideKind.PIN, ttl_s=600.0)
        sim.dead = 1
        await world.run(120.0)
        seen = {d.step for d in world.decisions}
    assert Step.RELOAD in seen
    assert world.steps(Step.RELOAD) == []


async def test_an_operation_goes_from_pending_to_succeeded_to_ended() -> None:
    sim = SimModel("m")
    async with one_model(sim) as world:
        id_ = await say(world, OverrideKind.INSTANCES, 3, ttl_s=100.0)
        assert (await world.desk.operation(id_)).status is OperationStatus.PENDING
        waiting = asyncio.create_task(world.desk.wait(await world.desk.operation(id_), 50.0))
        await world.run(20.0)
        assert waiting.done()
        assert waiting.result().status is OperationStatus.SUCCEEDED
        await world.run(100.0)
        assert (await world.desk.operation(id_)).status is OperationStatus.ENDED


async def test_an_operation_that_fails_says_why_and_what_to_do() -> None:
    sim = SimModel("m")
    async with one_model(sim) as world:
        world.tritons["t0"].memory["m"] = 2
        id_ = await say(world, OverrideKind.INSTANCES, 3)
        await world.run(20.0)
        operation = await world.desk.operation(id_)
    assert operation.status is OperationStatus.FAILED
    assert operation.detail == "t0: failed to load m; the remedy"


async def test_two_who_ensure_at_once_share_one_load() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0, idle_unload_s=600.0) as world:
        await world.run(20.0)
        asked = [asyncio.create_task(world.desk.ensure("m", actor=f"g{i}", timeout_s=30.0)) for i in range(2)]
        await world.run(10.0)
        first, second = await asyncio.gather(*asked)
        assert first == second
        assert first.servers == ("t0",)
        assert 2.0 <= first.waited_s < 5.0
        again = await world.desk.ensure("m", actor="g3", timeout_s=30.0)
        assert again.waited_s == 0.0
    assert [a.step for a in world.steps()] == [Step.LOAD]


async def test_a_freeze_does_not_keep_a_model_from_being_woken() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0, idle_unload_s=600.0) as world:
        await world.run(20.0)
        await world.desk.freeze("", FreezeDirection.ALL, actor="bob", reason="incident", ttl_s=3600.0)
        asked = asyncio.create_task(world.desk.ensure("m", actor="g", timeout_s=30.0))
        await world.run(10.0)
        assert (await asked).servers == ("t0",)
        assert world.loaded("m")


async def test_ensure_is_refused_at_once_only_where_people_unloaded_the_model_everywhere() -> None:
    tritons = [SimTriton(name, [SimModel("m")], T0) for name in ("t0", "t1")]
    spec = model_spec(SimModel("m"), "t0", "t1", idle_unload_s=600.0)
    async with World(tritons, [spec]) as world:
        await say(world, OverrideKind.UNLOADED, server="t0")
        asked = asyncio.create_task(world.desk.ensure("m", actor="g", timeout_s=30.0))
        await world.run(10.0)
        assert (await asked).servers == ("t1",)
        await say(world, OverrideKind.UNLOADED)
        await world.run(20.0)
        with pytest.raises(ConflictError, match="m was unloaded by ann: because"):
            await world.desk.ensure("m", actor="g", timeout_s=30.0)
        await world.run(20.0)
        assert not world.loaded("m", "t0")
        assert not world.loaded("m", "t1")


async def test_ensure_tells_of_a_load_that_fails() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0, idle_unload_s=600.0) as world:
        world.tritons["t0"].failing_loads["m"] = FailureClass.INVALID_CONFIGURATION
        asked = asyncio.create_task(world.desk.ensure("m", actor="g", timeout_s=30.0))
        await world.run(10.0)
        with pytest.raises(ConflictError, match="failed to load m; the remedy"):
            await asked


async def test_ensure_gives_up_in_time_while_the_load_goes_on() -> None:
    sim = SimModel("m")
    async with one_model(sim, loaded=0, idle_unload_s=600.0) as world:
        with pytest.raises(TargetUnreachableError, match=r"not ready after 0\.01 s"):
            await world.desk.ensure("m", actor="g", timeout_s=0.01)
        await world.run(10.0)
        assert world.loaded("m")


async def test_what_is_not_allowed_is_refused_with_what_is() -> None:
    sim = SimModel("m")
    async with one_model(sim, mode=Mode.OBSERVE) as world:
        with pytest.raises(ConflictError, match="mode observe"):
            await say(world, OverrideKind.LOADED)
    async with one_model(SimModel("m"), wake=Wake(ensure=False)) as world:
        with pytest.raises(ConflictError, match="ensure: true"):
            await world.desk.ensure("m", actor="g", timeout_s=1.0)
        with pytest.raises(ConflictError, match="9 instances are not allowed; allowed are 1 to 8"):
            await say(world, OverrideKind.INSTANCES, 9)
        with pytest.raises(NotFoundError, match="known: m"):
            await world.desk.end_overrides("n", actor="ann")
        world.collector.set_control("t0", Known(ControlMode.NOT_ALLOWED, world.now))
        with pytest.raises(ConflictError, match="explicit"):
            await say(world, OverrideKind.LOADED)
    async with one_model(SimModel("m"), loaded=0) as world:
        with pytest.raises(ConflictError, match="nothing to pin"):
            await say(world, OverrideKind.PIN)
