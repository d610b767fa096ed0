"""What the metrics page counts, over a run with a restart: the store holds the same."""

from __future__ import annotations

from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from controlplane.domain.picture import Totals
from tests.world.batcher import SimModel
from tests.world.world import T0, one_model

UP = Objective(Indicator.AVAILABILITY, 0.99, 28 * 86400.0, IndicatorSource.SERVER)
KEY = ("m", UP.key)


async def test_the_counters_add_up_to_what_the_store_holds_over_a_restart() -> None:
    async with one_model(SimModel("m", rates=((T0, 20.0),)), objectives=(UP,)) as world:
        await world.run(200.0)
        before: Totals = world.tick.picture().totals
        world.kill()
        await world.start()
        begun = world.tick.picture().totals
        await world.run(200.0)
        after = world.tick.picture().totals
        kept = await world.thread.call(lambda s: s.counts("m", UP.key, T0 - 60, world.now))
    assert begun.objectives == {}
    assert before.objectives[KEY].events > 2000
    assert before.objectives[KEY] + after.objectives[KEY] == kept != Counts()
    assert sum(after.decisions.values()) >= 12
    assert after.reads["t0", False] == 0 < after.reads["t0", True]
