"""Throughput floors over quiet, busy and overloaded time, by the loop that runs in production."""

from __future__ import annotations

from controlplane.domain.fleet import Mode
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from tests.world.batcher import SimModel
from tests.world.world import T0, World, one_model

SLOW = (0.2, 0.1)
"""A batch of 8 takes a second: one instance answers at most 8 a second."""


def floor(per_s: float) -> Objective:
    return Objective(Indicator.THROUGHPUT, 0.99, 86400.0, IndicatorSource.RATE_SLICES, floor_per_s=per_s)


async def counted(world: World, since: float, until: float) -> list[Counts]:
    keys = [objective.key for objective in world.fleet.models[0].objectives]
    return await world.thread.call(lambda s: [s.counts("m", key, since, until) for key in keys])


async def test_a_quiet_night_is_no_event_and_an_overload_keeps_a_floor_that_is_within_capacity_only() -> None:
    sim = SimModel("m", SLOW, rates=((T0, 1.0), (T0 + 600, 14.0), (T0 + 900, 1.0)), seed=4)
    async with one_model(sim, mode=Mode.OBSERVE, objectives=(floor(5.0), floor(10.0))) as world:
        await world.run(960.0)
        for quiet in await counted(world, T0, T0 + 590):
            assert quiet.events == 0
            assert quiet.coverage > 0.95
        within, beyond = await counted(world, T0 + 620, T0 + 890)
    assert (within.good, within.bad, within.unsure) == (27, 0, 0)
    assert (beyond.good, beyond.bad, beyond.unsure) == (0, 27, 0)
    assert beyond.bad_capacity == 27
