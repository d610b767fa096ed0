"""When data are back, what was not seen is no time of low demand."""

from __future__ import annotations

import pytest

from controlplane.decide.policy import Policy
from tests.world.batcher import SimModel
from tests.world.world import T0, one_model


@pytest.mark.parametrize("outage", ["port", "server", "nan"])
async def test_the_dwell_begins_anew_after_the_dark(outage: str) -> None:
    sim = SimModel("m", rates=((T0, 12.0), (T0 + 200, 0.5)), line=(0.2, 0.1))
    async with one_model(sim) as world:
        await world.run(205.0)
        before = sim.count
        assert before >= 2
        world.tritons["t0"].outages = {outage}
        await world.run(600.0)
        world.tritons["t0"].outages = set()
        await world.run(Policy().scale_down_after_s - 20.0)
        assert sim.count == before
        await world.run(60.0)
    assert sim.count < before
