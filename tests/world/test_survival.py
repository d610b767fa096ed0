"""The control plane dies, its store goes away, servers go dark: it goes on where it was, and lowers nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from controlplane.domain.decision import ActionStatus, Step
from controlplane.domain.history import BucketRow
from controlplane.domain.objectives import Indicator
from tests.world.batcher import SimModel
from tests.world.server import OUTAGES
from tests.world.world import T0, World, one_model


@pytest.mark.parametrize("after_s", [0.1, 0.4, 5.0])
async def test_a_crash_during_an_action_is_journalled_and_never_blocks_later_raises(
    tmp_path: Path, after_s: float
) -> None:
    sim = SimModel("m", rates=((T0, 20.0), (T0 + 60, 107.0), (T0 + 300, 320.0)))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        while not world.applied:
            await world.run(0.1)
        await world.run(after_s)
        world.kill()
        await world.run(20.0)
        await world.start()
        _, action = world.applied[0]
        record = await world.thread.call(lambda s: s.decision(action.id))
        if sim.waiting or after_s < 1.0:
            assert [o.status for o in record.outcomes] in ([ActionStatus.INTERRUPTED], [ActionStatus.SUCCEEDED])
        await world.run(T0 + 290 - world.now)
        assert sim.count >= 2
        await world.run(100.0)
        assert sim.count >= 5


async def test_killed_at_any_moment_it_goes_on_with_what_it_had_learned(tmp_path: Path) -> None:
    sim = SimModel("m", rates=((T0, 20.0), (T0 + 200, 107.0)))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        for i in range(9):
            await world.run(23.0 + i)
            world.kill()
            await world.start()
        await world.run(60.0)
        repeated = [b for (_, a), (_, b) in itertools.pairwise(world.applied) if a.target == b.target]
    assert sim.count in (2, 3)
    assert repeated == []


@pytest.mark.parametrize("after_tick_s", [0.2, 7.0, 14.0])
async def test_a_kill_loses_no_history_but_what_was_read_since_the_last_tick(
    tmp_path: Path, after_tick_s: float
) -> None:
    sim = SimModel("m", rates=((T0, 50.0),))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        await world.run(100.0)
        ticks = world.runner.picture().health.ticks
        while world.runner.picture().health.ticks == ticks:
            await world.run(0.1)
        await world.run(after_tick_s)
        world.kill()
        await world.start()
        await world.run(100.0)
        key = world.fleet.models[0].objectives[0].key
        kept = await world.thread.call(lambda s: s.slices("m", key, T0, world.now, 10.0))
    assert [start for start, _ in kept] == [T0 + 10.0 * i for i in range(len(kept))]
    unmeasured_s = sum(10.0 - counts.measured_s for _, counts in kept[1:])
    # the last reading before a tick is at most a scrape interval old
    assert unmeasured_s <= after_tick_s + 5.5
    assert sum(counts.events for _, counts in kept[1:]) >= 0.9 * 50.0 * (10.0 * (len(kept) - 1) - unmeasured_s)


async def test_killed_at_any_moment_each_minute_of_histograms_is_kept_once_with_what_its_slices_count(
    tmp_path: Path,
) -> None:
    sim = SimModel("m", rates=((T0, 20.0),))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        for i in range(9):
            await world.run(37.0 + 3.7 * i)
            world.kill()
            await world.start()
        await world.run(100.0)
        key = world.fleet.models[0].objectives[0].key
        kept = await world.thread.call(lambda s: s.slices("m", key, T0, world.now, 60.0))
        minutes = await world.thread.call(
            lambda s: s.histograms("m", Indicator.LATENCY, "gateway", T0, world.now, 60.0)
        )
    events = {row.start: sum(row.counts) for row in minutes if isinstance(row, BucketRow)}
    assert len(events) == len(minutes) >= 7
    whole = {start: counts.events for start, counts in kept if start in events}
    assert events == whole


async def test_time_in_which_nothing_ran_is_kept_as_unmeasured(tmp_path: Path) -> None:
    sim = SimModel("m", rates=((T0, 50.0),))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        await world.run(100.0)
        world.kill()
        await world.run(300.0)
        await world.start()
        await world.run(100.0)
        key = world.fleet.models[0].objectives[0].key
        kept = await world.thread.call(lambda s: s.slices("m", key, T0, world.now, 10.0))
    assert [start for start, _ in kept] == [T0 + 10.0 * i for i in range(len(kept))]
    assert sum(10.0 - counts.measured_s for _, counts in kept[1:]) == pytest.approx(310.0, abs=11.0)


async def test_a_store_outage_of_minutes_stops_no_decision_and_loses_and_doubles_nothing(tmp_path: Path) -> None:
    sim = SimModel("m", rates=((T0, 20.0), (T0 + 400, 107.0)))
    async with one_model(sim, store=tmp_path / "s.db") as world:
        await world.run(100.0)
        world.store.broken = True
        await world.run(200.0)
        assert world.runner.picture().health.unwritten >= 13
        assert "away" in world.runner.picture().health.problem
        world.store.broken = False
        await world.run(300.0)
        assert world.runner.picture().health.unwritten == 0
        assert world.runner.picture().health.problem == ""
        records = await world.thread.call(lambda s: s.decisions("m", 1000))
        assert sum(1 + r.repeats for r in records) == len(world.decisions)
        key = world.fleet.models[0].objectives[0].key
        kept = await world.thread.call(lambda s: s.slices("m", key, T0, world.now, 10.0))
    assert sim.count in (2, 3)
    assert [start for start, _ in kept] == [T0 + 10.0 * i for i in range(len(kept))]
    assert len(kept) >= 58
    events = sum(counts.events for _, counts in kept)
    assert 0.9 * sim.arrived < events <= sim.arrived
    assert all(counts.measured_s == pytest.approx(10.0) for _, counts in kept[1:])


async def test_without_a_journal_nothing_is_done_and_it_is_done_once_it_is_back() -> None:
    sim = SimModel("m", rates=((T0, 107.0),))
    async with one_model(sim) as world:
        world.store.broken = True
        await world.run(120.0)
        assert world.applied == []
        assert {d.step for d in world.decisions} >= {Step.SET_INSTANCES}
        world.store.broken = False
        await world.run(60.0)
    assert sim.count >= 2


@pytest.mark.parametrize("outage", OUTAGES)
async def test_going_dark_for_twenty_minutes_lowers_and_unloads_nothing(outage: str) -> None:
    sim = SimModel("m", rates=((T0, 12.0), (T0 + 200, 0.5)), line=(0.2, 0.1))
    async with one_model(sim, idle_unload_s=120.0) as world:
        await world.run(205.0)
        before = sim.count
        assert before >= 2
        world.tritons["t0"].outages = {outage}
        await world.run(1200.0)
        if outage != "stats":  # demand needs no statistics: that outage hides service times only
            assert (sim.loaded, sim.count >= before) == (True, True)
            assert [a for at, a in world.applied if at > T0 + 215] == []


async def test_several_things_dark_by_turns_lower_nothing_either() -> None:
    sim = SimModel("m", rates=((T0, 12.0), (T0 + 200, 0.0)), line=(0.2, 0.1))
    async with one_model(sim, idle_unload_s=300.0) as world:
        await world.run(205.0)
        before = sim.count
        dark = ["server", "port", "nan", "truncated", "gone", "hang"]
        for i in range(120):
            world.at(T0 + 205 + 10 * i, lambda i=i: _darken(world, dark[i % len(dark)]))  # type: ignore[misc]
        await world.run(1200.0)
    assert (sim.loaded, sim.count) == (True, before)


def _darken(world: World, outage: str) -> None:
    world.tritons["t0"].outages = {outage}
