"""The cadence: one tick at a time, overruns counted, nudges heeded, a quick end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta, tzinfo

import pytest
from structlog.testing import capture_logs

from controlplane.decide.policy import Policy
from controlplane.domain.decision import Plan
from controlplane.domain.instructions import Freeze, FreezeDirection
from controlplane.domain.objectives import Counts, Slice
from controlplane.domain.observation import ControlMode
from controlplane.domain.records import TickRecord
from controlplane.domain.signal import Known
from controlplane.domain.state import PolicyState, UnitState
from controlplane.loop.clock import wall_clock
from controlplane.loop.executor import Executor
from controlplane.loop.roster import Roster
from controlplane.loop.runner import Runner
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.slo.grace import Grace
from controlplane.store import open_store
from tests.unit.loop.worlds import FLEET, FixedCollector, GatedActuator, a_reading


class SlowTick(Tick):
    """The real tick, which can be held up or made to fail."""

    hold_s = 0.0
    running = most_running = 0
    error: Exception | None = None

    async def run(self) -> Plan:
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            await asyncio.sleep(self.hold_s)
            if self.error is not None:
                raise self.error
            return await super().run()
        finally:
            self.running -= 1


class Bench:
    """A runner with its surroundings, at a quick pace."""

    def __init__(self, scrape_s: float = 0.05, decide_s: float = 0.1, roster: Roster | None = None) -> None:
        self.thread = StoreThread(open_store("sqlite://"))
        self.actuator, self.collector = GatedActuator(), FixedCollector(a_reading())

        async def refresh(server: str) -> None:
            await self.runner.collect((server,))

        async def announce() -> None:
            await self.runner.announce()

        executor = Executor(self.actuator, self.thread, wall_clock, refresh=refresh, announce=announce)
        roster = roster or Roster(FLEET)
        self.tick = SlowTick(
            roster,
            Policy(),
            self.collector,
            self.thread,
            executor,
            wall_clock,
            grace=Grace(5.0, 5.0),
            decide_s=decide_s,
        )
        self.runner = Runner(
            roster,
            self.collector,
            self.actuator,
            executor,
            self.tick,
            self.thread,
            wall_clock,
            scrape_s=scrape_s,
            decide_s=decide_s,
        )

    async def start(self) -> None:
        """Lead, and run."""
        await self.runner.lead()
        await self.runner.start()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30.0):
            while not true():  # noqa: ASYNC110 - a real cadence, watched from outside
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.runner.stop(0.5)
    made.thread.close()


async def test_it_collects_and_ticks_by_itself_and_asks_for_the_control_mode(bench: Bench) -> None:
    await bench.start()
    await bench.until(lambda: bench.runner.picture().health.ticks >= 3)
    assert bench.collector.rounds >= 3
    assert isinstance(bench.collector.controls["t0"], Known)
    assert bench.collector.controls["t0"].value is ControlMode.EXPLICIT
    picture = bench.runner.picture()
    health = picture.health
    assert health.leading
    assert health.late_s is not None
    assert 0 <= health.late_s < 30
    assert (health.interval_s, health.store_failing) == (0.1, False)
    assert picture.at - 30 < health.started_at <= health.last_tick_at
    assert picture.totals.reads["t0", True] >= 3
    assert sum(picture.totals.decisions.values()) >= 6


async def test_the_first_ticks_do_not_wait_until_seasons_are_learned(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def recall() -> None:
        begun.set()
        await ended.wait()

    monkeypatch.setattr(bench.tick, "recall", recall)
    await bench.start()
    await bench.until(lambda: bench.runner.picture().health.ticks >= 2)
    assert begun.is_set()


async def test_before_it_has_resumed_it_does_not_lead(bench: Bench) -> None:
    health = bench.runner.picture().health
    assert not health.leading
    assert (health.late_s, health.store_failing) == (None, None)


async def test_a_server_that_never_says_whether_it_may_be_controlled_holds_up_no_later_round(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def hang(server: str) -> ControlMode:
        asked.append(server)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(bench.actuator, "control_mode", hang)
    monkeypatch.setattr("controlplane.loop.runner._CONTROL_S", 0.01)
    await bench.start()
    await bench.until(lambda: bench.collector.rounds >= 5)
    assert asked == ["t0"]
    assert bench.collector.controls == {}


async def test_a_tick_that_overruns_is_never_doubled_and_the_skipped_ones_are_counted(bench: Bench) -> None:
    bench.tick.hold_s = 0.35
    await bench.start()
    await bench.until(lambda: bench.runner.picture().health.ticks >= 2)
    await bench.until(lambda: bench.runner.picture().health.skipped >= 2)
    assert bench.tick.most_running == 1


async def test_a_tick_that_fails_does_not_end_the_loop(bench: Bench) -> None:
    bench.tick.error = RuntimeError("boom")
    await bench.start()
    await bench.until(lambda: bench.tick.most_running == 1)
    bench.tick.error = None
    await bench.until(lambda: bench.runner.picture().health.ticks >= 2)


async def test_a_nudge_ticks_at_once() -> None:
    bench = Bench(scrape_s=60.0, decide_s=600.0)
    await bench.start()
    before = bench.runner.picture().health.ticks
    bench.runner.nudge()
    await bench.until(lambda: bench.runner.picture().health.ticks == before + 1)
    await bench.runner.stop(0.5)
    bench.thread.close()


async def test_a_system_clock_that_is_set_back_does_not_stop_the_loop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SetBack(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> SetBack:
            return cls.fromtimestamp(wall_clock() - 3600.0, tz)

    await bench.start()
    await bench.until(lambda: bench.runner.picture().health.ticks >= 1)
    for module in ("apscheduler.schedulers.base", "controlplane.loop.runner"):
        monkeypatch.setattr(f"{module}.datetime", SetBack)
    ticks, rounds = bench.runner.picture().health.ticks, bench.collector.rounds
    await bench.until(lambda: bench.runner.picture().health.ticks >= ticks + 3)
    assert bench.collector.rounds >= rounds + 3


async def test_what_a_clock_that_was_ahead_has_written_is_taken_up_as_of_now(bench: Bench) -> None:
    ahead = wall_clock() + 3600.0
    state = PolicyState({"a@t0": UnitState(wanted=True, instances=1, changed_at=ahead)})
    await bench.thread.call(lambda s: s.write_tick(TickRecord(ahead, (), (), (), state)))
    await bench.start()
    await bench.until(lambda: bench.runner.picture().health.ticks >= 1)
    kept = await bench.thread.call(lambda s: s.load_state())
    assert 0 < kept.units["a@t0"].changed_at <= wall_clock()


async def test_it_stops_within_its_time_while_a_tick_hangs(bench: Bench) -> None:
    bench.tick.hold_s = 60.0
    await bench.start()
    await bench.until(lambda: bench.tick.running == 1)
    async with asyncio.timeout(30.0):
        await bench.runner.stop(0.3)
    assert bench.collector.closed
    assert bench.actuator.closed
    bench.tick.hold_s = 0.0


async def test_a_round_that_is_cut_short_by_the_end_is_not_logged_as_a_failure(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bench.start()
    hanging, ended = asyncio.Event(), asyncio.Event()

    async def hang(now: float, servers: object = None) -> None:
        hanging.set()
        try:
            await asyncio.sleep(60.0)
        finally:
            ended.set()

    monkeypatch.setattr(bench.collector, "collect", hang)
    async with asyncio.timeout(30.0):
        await hanging.wait()
        await bench.runner.stop(0.3)
        await ended.wait()
    for _ in range(3):  # the scheduler looks at its jobs' ends in callbacks
        await asyncio.sleep(0)
    assert not [record for record in caplog.records if record.name.startswith("apscheduler")]


async def test_whoever_waits_for_a_change_is_woken_by_the_next_round(bench: Bench) -> None:
    waiting = asyncio.create_task(bench.runner.changed(600.0))
    await asyncio.sleep(0)
    await bench.runner.collect()
    async with asyncio.timeout(30.0):
        await waiting
    async with asyncio.timeout(30.0):
        await bench.runner.changed(0.01)


async def test_a_clock_that_was_set_back_is_told_of_once_and_keeps_nothing_waiting(bench: Bench) -> None:
    await bench.start()
    with capture_logs() as logs:
        for job in bench.runner._scheduler.get_jobs():
            job.modify(next_run_time=job.next_run_time + timedelta(hours=1))
        rounds = bench.collector.rounds
        await bench.until(lambda: bench.collector.rounds > rounds + 1)
    assert [log["event"].partition(";")[0] for log in logs if "clock" in log["event"]] == [
        "the system's clock was set back"
    ]


async def test_a_tick_need_not_wait_until_all_history_is_pruned() -> None:
    bench, now = Bench(), wall_clock()
    start = (now - 3 * 86400) // 10 * 10
    old = tuple(Slice(f"m{n}", "availability", start, 1, 0, 0, 10.0, 10.0, "v") for n in range(20))
    await bench.thread.call(lambda s: s.write_tick(TickRecord(start, old, (), (), PolicyState())))
    await bench.runner.lead()
    pruning = asyncio.create_task(bench.runner.prune())
    await asyncio.sleep(0)  # it has begun
    await bench.thread.call(lambda s: s.load_state())
    assert not pruning.done()
    await pruning
    assert await bench.thread.call(lambda s: sum(s.prunings(now))) == 0
    kept = await bench.thread.call(lambda s: s.counts("m0", "availability", start - 86400, now))
    assert kept == Counts(1, 0, 0, 10.0, 10.0, 0)
    bench.thread.close()


async def test_who_stands_by_reads_and_does_nothing_and_goes_on_from_the_store_once_it_leads(bench: Bench) -> None:
    await bench.runner.start()
    freeze = Freeze("fr", "", FreezeDirection.ALL, "ann", "incident", wall_clock(), wall_clock() + 600.0)
    await bench.thread.call(lambda s: s.add_freeze(freeze))
    await bench.until(lambda: bench.collector.rounds >= 3 and bool(bench.runner.picture().freezes))
    assert (bench.runner.picture().health.ticks, bench.tick.most_running) == (0, 0)
    assert not bench.runner.picture().health.leading
    assert bench.collector.controls == {}, "no server was sent an instruction"
    state = PolicyState({"a@t0": UnitState(wanted=True, instances=2)})
    await bench.thread.call(lambda s: s.write_tick(TickRecord(wall_clock(), (), (), (), state)))
    await bench.runner.lead()
    assert frozenset({"t0"}) in bench.collector.asked, "what another did to it is read before the first tick"
    assert isinstance(bench.collector.controls["t0"], Known)
    await bench.until(lambda: bench.runner.picture().health.ticks >= 1)
    assert bench.runner.picture().health.leading
    written = await bench.thread.call(lambda s: s.load_state())
    assert written.units["a@t0"].instances == 2


async def test_who_no_longer_leads_ticks_no_more_and_shows_no_decisions_as_its_own(bench: Bench) -> None:
    await bench.start()
    await bench.until(lambda: bool(bench.runner.picture().decisions))
    await bench.runner.stand_by()
    ticks, rounds = bench.runner.picture().health.ticks, bench.collector.rounds
    await bench.until(lambda: bench.collector.rounds >= rounds + 4)
    picture = bench.runner.picture()
    assert (picture.health.ticks, picture.decisions, picture.health.leading) == (ticks, (), False)
    assert picture.health.last_tick_at == 0.0
