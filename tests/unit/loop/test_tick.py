"""Ticks one after another with a real store: what was measured is judged as soon as it can be known."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from controlplane.decide.mig.settings import MigSettings, MigWish
from controlplane.decide.policy import Policy
from controlplane.domain.alerts import BurnAlert, Severity
from controlplane.domain.decision import Action, ActionStatus, Outcome, ReasonCode, Step, Target
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode
from controlplane.domain.instructions import Freeze, FreezeDirection, Override, OverrideKind
from controlplane.domain.layouts import MigMemory
from controlplane.domain.objectives import CounterRatio, Indicator, IndicatorSource, Objective, Selector
from controlplane.domain.observation import ControlMode, FleetReading, RatioInterval, RatioReading
from controlplane.domain.picture import Picture
from controlplane.domain.records import AuditEntry
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.sources import PrometheusSpec
from controlplane.domain.state import PolicyState
from controlplane.loop.executor import Executor
from controlplane.loop.mig_planner import MigPlanner
from controlplane.loop.roster import Roster
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.slo.grace import Grace
from controlplane.store import open_store
from tests.unit.loop.worlds import FLEET, NOW, FixedCollector, GatedActuator, a_reading

ANY = Selector("a", "a")
ORDERS = Objective(
    Indicator.RATIO, 0.99, 3600.0, IndicatorSource.PROMETHEUS, ratio=CounterRatio("orders", "p", ANY, bad=ANY)
)
TICK_S = 15.0


class ToldLate(FixedCollector):
    """A Prometheus that tells every `every_s` seconds what failed since it told before; nothing after `until`."""

    def __init__(self, every_s: float, until: float) -> None:
        super().__init__(a_reading())
        self._every_s, self._until = every_s, until

    def reading(self, now: float) -> FleetReading:
        told = range(1, int((min(now, self._until) - NOW) // self._every_s) + 1)
        ends = [NOW + n * self._every_s for n in told]
        intervals = tuple(RatioInterval(ORDERS.key, end - self._every_s, end, 0, 500) for end in ends)
        ratio = RatioReading(Known(value=True, observed_at=now), intervals)
        return replace(self.fixed, ratios={"a": {ORDERS.key: ratio}})


class Ticks:
    """A control plane that ticks every 15 s of its own time."""

    def __init__(self, every_s: float, until: float) -> None:
        self.now = NOW
        prometheus = PrometheusSpec("p", "http://p", 2.0, interval_s=every_s)
        models = (replace(FLEET.models[0], objectives=(ORDERS,)),)
        self.fleet = Fleet(FLEET.servers, models, prometheus=(prometheus,))
        self.store = open_store("sqlite://")
        self.epoch = self.store.lease.take("this", 1e9).epoch
        self.thread = StoreThread(self.store.fenced(lambda: self.epoch))
        self.collector = ToldLate(every_s, until)
        self.restart()

    def restart(self) -> None:
        """Another control plane on the same store."""

        async def nothing(*_: str) -> None: ...

        executor = Executor(GatedActuator(), self.thread, lambda: self.now, refresh=nothing, announce=nothing)
        self.tick = Tick(
            Roster(self.fleet),
            Policy(),
            self.collector,
            self.thread,
            executor,
            lambda: self.now,
            grace=Grace(5.0, 2.0),
            decide_s=TICK_S,
        )

    async def page(self, seconds: float) -> BurnAlert:
        """Go on for so long; gives how the page stands then."""
        end = self.now + seconds
        while self.now < end:
            self.now += TICK_S
            await self.tick.run()
        return next(alert for alert in self.tick.picture().alerts["a"] if alert.severity is Severity.PAGE)


@pytest.mark.parametrize("every_s", [15.0, 60.0, 120.0, 300.0])
def test_a_page_of_a_short_window_fires_however_seldom_its_source_is_scraped(every_s: float) -> None:
    async def run() -> None:
        ticks = Ticks(every_s, until=NOW + 3600.0)
        try:
            await ticks.tick.resume()
            page = await ticks.page(2 * every_s + 300.0)
            assert (page.firing, page.frozen) == (True, "")
            ticks.now += 3600.0
            after_sleep = await ticks.page(TICK_S)
            assert (after_sleep.firing, bool(after_sleep.frozen)) == (True, True), "an hour that nobody saw"
        finally:
            ticks.thread.close()

    asyncio.run(run())


def test_a_page_freezes_once_its_source_is_silent() -> None:
    async def run() -> None:
        ticks = Ticks(120.0, until=NOW + 600.0)
        try:
            await ticks.tick.resume()
            assert not (await ticks.page(600.0)).frozen
            page = await ticks.page(600.0)
            assert page.firing
            assert page.frozen.startswith("only 0%")
        finally:
            ticks.thread.close()

    asyncio.run(run())


def test_a_load_that_failed_is_known_after_a_restart_until_one_succeeds_or_it_is_a_day_old() -> None:
    def outcome(id_: str, status: ActionStatus, at: float) -> Outcome:
        action = Action(id_, "a", "t0", Step.LOAD, Target(loaded=True, instances=1), at - 1)
        return Outcome(action, status, at, "no memory", FailureClass.OUT_OF_MEMORY)

    async def run() -> None:
        ticks = Ticks(15.0, until=NOW)
        failed, mended = outcome("d1", ActionStatus.FAILED, NOW - 5), outcome("d2", ActionStatus.SUCCEEDED, NOW + 2)

        async def after_restart() -> Picture:
            ticks.restart()
            await ticks.tick.resume()
            await ticks.tick.run()
            return ticks.tick.picture()

        try:
            await ticks.thread.call(lambda s: s.finish_action(failed))
            assert (await after_restart()).failed == (failed,)
            ticks.now = NOW + 86400.0
            assert (await after_restart()).failed == ()
            ticks.now = NOW + 15.0
            await ticks.thread.call(lambda s: s.finish_action(mended))
            assert (await after_restart()).failed == ()
        finally:
            ticks.thread.close()

    asyncio.run(run())


def test_ticks_that_the_store_did_not_take_before_the_end_are_told_as_lost() -> None:
    async def run() -> None:
        ticks = Ticks(15.0, until=NOW + 7200.0)
        try:
            await ticks.tick.resume()
            ticks.store.lease.take("another", 1e9, sole=True)
            for _ in range(2):
                ticks.now += TICK_S
                await ticks.tick.run()
            with capture_logs() as logs:
                ticks.tick.close()
            assert [log["lost"] for log in logs] == [2]
        finally:
            ticks.thread.close()

    asyncio.run(run())


def test_while_another_has_the_store_nothing_is_written_or_done_and_it_does_not_lead() -> None:
    async def run() -> None:
        ticks = Ticks(15.0, until=NOW + 7200.0)

        async def ticked() -> tuple[bool, bool | None, int, bool]:
            ticks.now += TICK_S
            plan = await ticks.tick.run()
            picture = ticks.tick.picture()
            assert any(decision.actionable for decision in plan.decisions)
            health, waits = picture.health, [d.binding is ReasonCode.STORE_AWAY for d in picture.decisions]
            return health.leading, health.store_failing, health.unwritten, any(waits)

        try:
            server = replace(a_reading().servers["t0"], control=Known(ControlMode.EXPLICIT, NOW))
            ticks.collector.fixed = replace(a_reading(), servers={"t0": server})
            two = Override("o", "a", OverrideKind.INSTANCES, "ann", "more", NOW, NOW + 3600.0, 2)
            await ticks.thread.call(lambda s: s.add_override(two))
            await ticks.tick.resume()
            ticks.store.lease.take("another", 1e9, sole=True)
            assert await ticked() == (False, False, 1, True)
            assert await ticked() == (False, False, 2, True)
            assert not await ticks.thread.call(lambda s: s.decisions())
            ticks.epoch = ticks.store.lease.take("this", 1e9, sole=True).epoch
            await ticks.tick.resume()
            assert await ticked() == (True, False, 0, False)
            first = min(d.decision.at for d in await ticks.thread.call(lambda s: s.decisions()))
            assert first == ticks.now, "what was decided while another led is not written"
        finally:
            ticks.thread.close()

    asyncio.run(run())


def test_after_a_clock_was_set_forward_and_back_what_is_measured_counts_and_alerts_stand_since_now() -> None:
    async def run() -> None:
        ticks = Ticks(15.0, until=NOW + 7200.0)
        try:
            await ticks.tick.resume()
            await ticks.page(300.0)
            ticks.now += 3000.0
            page = await ticks.page(600.0)
            assert page.firing
            ticks.now = back = NOW + 600.0
            ticks.restart()
            with capture_logs() as logs:
                await ticks.tick.resume()
            assert [log["event"] for log in logs if log["log_level"] == "warning"] == [
                "slices dated ahead of now were dropped: the clock was set back"
            ]
            page = await ticks.page(3600.0)
            assert page.firing
            assert page.since is not None
            assert page.since <= ticks.now
            counts = await ticks.thread.call(lambda s: s.counts("a", ORDERS.key, back + 30.0, back + 3000.0))
            assert (counts.bad, counts.expected_s) == (2970 // 15 * 500, 2970.0)
        finally:
            ticks.thread.close()

    asyncio.run(run())


def test_who_takes_over_knows_what_people_said_and_what_was_kept_before_it_goes_on_with_changes_of_layouts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def run() -> None:
        ticks = Ticks(60.0, until=NOW)
        seen: list[Snapshot] = []
        taken: list[MigMemory] = []

        def resume(_: object, look: Callable[[], Snapshot], kept: MigMemory, __: float) -> None:
            seen.append(look())
            taken.append(kept)

        monkeypatch.setattr(ticks.tick._mig, "resume", resume)
        memory = MigMemory(failures=3)
        ticks.store.keep_mig(memory, AuditEntry(NOW, "control plane", "mig change ended", "*", "failed"))
        freeze = Freeze("f", "", FreezeDirection.ALL, "ann", "drill", NOW, NOW + 60)
        ticks.store.add_freeze(freeze)
        try:
            await ticks.tick.resume()
            assert [snapshot.freezes for snapshot in seen] == [(freeze,)]
            assert taken == [memory]
        finally:
            ticks.thread.close()

    asyncio.run(run())


def test_what_the_planner_of_layouts_learned_and_holds_and_which_gpus_wait_for_a_reset_outlive_the_process() -> None:
    held = {"a": ((NOW, 25.0), (NOW + 1, 2.0))}
    capacity = {"a h100-80gb 1g.10gb": 8.0}
    resets = {"GPU-c": ("node-a", NOW)}

    async def run() -> None:
        ticks = Ticks(60.0, until=NOW)
        settings = MigSettings(Mode.OBSERVE, 600.0, 3600.0, (MigWish("a", 6.0),))
        planners = [MigPlanner(settings, Prices(), max_age_s=60.0) for _ in range(2)]
        try:
            ticks.tick._mig = planners[0]
            await ticks.tick.resume()
            before = PolicyState(slice_capacity=capacity, slice_demand=held, slice_resets=resets)
            planners[0].resume(before, ticks.tick._look, MigMemory(), NOW + 1)
            ticks.now = NOW + TICK_S
            await ticks.tick.run()
            ticks.restart()
            ticks.tick._mig = planners[1]
            await ticks.tick.resume()
            assert planners[1].learned == capacity
            assert planners[1].demand == {"a": ((NOW + 1, 25.0),)}, "as fine as a minute of an hour"
            assert planners[1].resets == resets
        finally:
            for planner in planners:
                planner.close()
            ticks.thread.close()

    asyncio.run(run())
