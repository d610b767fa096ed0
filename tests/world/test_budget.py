"""Which bad events buy capacity: those that it explains, and no others."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from controlplane.domain.alerts import Severity
from controlplane.domain.decision import ReasonCode, Step
from controlplane.domain.objectives import Counts, Indicator, IndicatorSource, Objective
from tests.world.batcher import Batch, SimModel, full_batch_s
from tests.world.world import T0, World, model_spec, one_model

SLOW = (0.2, 0.1)
UP = Objective(Indicator.AVAILABILITY, 0.99, 28 * 86400.0, IndicatorSource.SERVER)


async def counted(world: World, objective: int = 0) -> Counts:
    key = world.fleet.models[0].objectives[objective].key
    return await world.thread.call(lambda s: s.counts("m", key, T0, world.now))


def quantiles(world: World, since: float) -> set[float]:
    """The quantiles of demand that decisions served since then."""
    return {
        round(reason.numbers["quantile"], 3)
        for decision in world.decisions
        for reason in decision.reasons
        if decision.at >= since and reason.code is ReasonCode.DEMAND and "quantile" in reason.numbers
    }


@dataclass
class Released(SimModel):
    """From `released_at` on a step after the model makes every answer a second late."""

    released_at: float = T0

    def finish(self, batch: Batch, at: float) -> None:
        before = len(self.latencies)
        super().finish(batch, at)
        if at >= self.released_at:
            self.latencies[before:] = [latency + 1.0 for latency in self.latencies[before:]]


@pytest.mark.parametrize("rate_per_s", [0.5, 20.0])
async def test_a_bad_release_at_low_load_buys_no_instance(rate_per_s: float) -> None:
    sim = Released("m", rates=((T0, rate_per_s),), seed=3, released_at=T0 + 300)
    async with one_model(sim) as world:
        await world.run(1500.0)
        counts = await counted(world)
        assert counts.bad > 0.7 * counts.events
        assert counts.bad_capacity == 0
        burning = world.runner.picture().judgements["m"][0].burn_1h
        assert burning is not None
        assert burning > 50.0
        assert quantiles(world, T0) == {0.9}
        (page,) = [a for a in world.runner.picture().alerts["m"] if a.severity is Severity.PAGE]
        assert (page.firing, page.capacity_share) == (True, 0.0)
    assert world.steps(Step.SET_INSTANCES) == []


async def test_a_dead_stub_buys_no_instance() -> None:
    sim = SimModel("m", rates=((T0, 10.0),), seed=4)
    async with one_model(sim, objectives=(*model_spec(sim).objectives, UP)) as world:
        await world.run(300.0)
        sim.dead = 1
        await world.run(325.0)
        failed = await counted(world, 1)
        assert failed.bad > 50
        assert failed.bad_capacity == 0
        assert quantiles(world, T0 + 300.0) == {0.9}
    assert world.steps(Step.SET_INSTANCES) == []
    assert [a.step for a in world.steps()] == [Step.RELOAD]


async def test_what_a_backlog_makes_late_is_explained_and_widens_the_headroom() -> None:
    full_per_s = 8 / full_batch_s(SLOW)
    sim = SimModel("m", SLOW, rates=((T0, 0.5 * full_per_s), (T0 + 300, 3.0 * full_per_s)), seed=5)
    async with one_model(sim) as world:
        await world.run(600.0)
        counts = await counted(world)
        assert counts.bad > 20
        assert counts.bad_capacity >= 0.9 * counts.bad
        assert max(quantiles(world, T0 + 300.0)) > 0.95
    assert sim.count >= 3


async def test_the_beginning_of_an_alert_is_kept_once_though_the_tick_that_saw_it_failed(tmp_path: Path) -> None:
    sim = Released("m", rates=((T0, 20.0),), seed=3, released_at=T0 + 300)
    async with one_model(sim, store=tmp_path / "s.db") as world:
        await world.run(300.0)
        startups, world.tick._startups.written = world.tick._startups.written, _fails  # type: ignore[method-assign]
        for _ in range(10):
            with contextlib.suppress(ArithmeticError):
                await world.run(15.0)
        world.tick._startups.written = startups  # type: ignore[method-assign]
        await world.run(60.0)
        world.kill()
        await world.start()
        await world.run(60.0)
        events = await world.thread.call(lambda s: s.alert_events("m"))
        fires = {alert.severity for alert in world.runner.picture().alerts["m"] if alert.firing}
    assert fires == {Severity.PAGE, Severity.TICKET}
    assert sorted((event.severity, event.firing) for event in events) == [
        (Severity.PAGE, True),
        (Severity.TICKET, True),
    ]


async def test_slices_that_a_failing_tick_had_closed_are_closed_by_the_next() -> None:
    sim = Released("m", rates=((T0, 20.0),), seed=3, released_at=T0 + 3600)
    async with one_model(sim) as world:
        await world.run(300.0)
        startups, world.tick._startups.written = world.tick._startups.written, _fails  # type: ignore[method-assign]
        for _ in range(10):
            with contextlib.suppress(ArithmeticError):
                await world.run(15.0)
        world.tick._startups.written = startups  # type: ignore[method-assign]
        await world.run(60.0)
        (objective,) = world.runner.picture().fleet.models[0].objectives
        counts = await world.thread.call(lambda s: s.counts("m", objective.key, T0 + 200, T0 + 450))
    assert (counts.measured_s, counts.expected_s) == (250.0, 250.0)


def _fails(models: object) -> None:
    raise ArithmeticError
