"""Cadence: fires collecting and ticks, never two ticks at a time, and stops cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from apscheduler.events import EVENT_JOB_MAX_INSTANCES, EVENT_JOB_SUBMITTED, JobEvent, JobSubmissionEvent
from apscheduler.schedulers.asyncio import AsyncIOScheduler

from controlplane.collect.unhurried import Job, Unhurried
from controlplane.domain.control import lacking, replicas_decided
from controlplane.domain.decision import Outcome
from controlplane.domain.errors import ControlPlaneError, NotFoundError, TargetUnreachableError
from controlplane.domain.fleet import CONTROLLED, Fleet, Mode, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, FleetReading
from controlplane.domain.picture import Picture
from controlplane.domain.ports import Actuator, Collector
from controlplane.domain.rollout import Rollout
from controlplane.domain.signal import Known, Missing, known
from controlplane.loop.clock import Clock
from controlplane.loop.executor import Executor
from controlplane.loop.roster import Roster
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick

log = structlog.get_logger(__name__)

_PRUNE_S = 600.0
_CONTROL_S = 1.0
"""A round waits no longer for what servers say of model control; the answer counts whenever it comes."""


class Runner:
    """Runs the loop: a round of collecting every `scrape_s` seconds, a tick every `decide_s`.

    A tick that is due while one runs is skipped and counted. `nudge` asks for one as soon as possible, `ticked` is
    called after each. Until it leads, what people said is looked at in place of each.
    """

    def __init__(
        self,
        roster: Roster,
        collector: Collector,
        actuator: Actuator,
        executor: Executor,
        tick: Tick,
        store: StoreThread,
        clock: Clock,
        *,
        scrape_s: float,
        decide_s: float,
        ticked: Callable[[], None] = lambda: None,
    ) -> None:
        self._roster = roster
        self._followed = roster.fleet
        self._collector = collector
        self._actuator = actuator
        self._executor = executor
        self._tick = tick
        self._store = store
        self._clock = clock
        self._scrape_s = scrape_s
        self._decide_s = decide_s
        self._ticked = ticked
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._ticking = asyncio.Lock()
        self._nudged = asyncio.Event()
        self._moved = asyncio.Event()
        self._change = asyncio.Condition()
        self._asking = Unhurried()
        self._helpers: tuple[asyncio.Task[None], ...] = ()
        self._recalling: asyncio.Task[None] | None = None

    @property
    def fleet(self) -> Fleet:
        """The servers and models there are now."""
        return self._roster.fleet

    async def lead(self, enter: Callable[[], None] = lambda: None) -> None:
        """Decide and act from now on, going on from what the store holds. Raises StoreError, StoreBusyError.

        `enter` is called when no tick of before runs any more. One that stood by has read the fleet all the time, but
        not what is read anew only by who has done something to a server: another has.
        """
        async with self._ticking:
            enter()
            if self._scheduler.running:
                await self.collect(tuple(server.name for server in self.fleet.servers))
            await self._tick.resume()
            self._recalling = asyncio.create_task(self._tick.recall(), name="seasons")
        if self._scheduler.running:
            await self._ask_control(self.reading())
            self.nudge()

    async def stand_by(self) -> None:
        """Decide and do nothing from now on; reading goes on."""
        await self._executor.let_go()
        async with self._ticking:
            self._forget_seasons()
            self._tick.rest()
        await self.announce()

    def _forget_seasons(self) -> None:
        if self._recalling is not None:
            self._recalling.cancel()

    async def start(self) -> None:
        """Find and read the fleet once, then run: tick if it leads, else look on."""
        await self._roster.start(self._moved.set)
        await self.follow()
        await self.collect()
        now = datetime.fromtimestamp(self._clock(), UTC)
        every = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        self._scheduler.add_job(
            _ending_quietly(self.collect),
            "interval",
            id="collect",
            seconds=self._scrape_s,
            next_run_time=now + timedelta(seconds=self._scrape_s * random.uniform(0.5, 1.0)),  # noqa: S311 - jitter
            **every,
        )
        # The first tick waits for a second reading: differences need two.
        self._scheduler.add_job(
            _ending_quietly(self.tick),
            "interval",
            id="tick",
            seconds=self._decide_s,
            next_run_time=now + timedelta(seconds=min(self._decide_s, 1.5 * self._scrape_s)),
            **every,
        )
        self._scheduler.add_job(_ending_quietly(self.prune), "interval", id="prune", seconds=_PRUNE_S, **every)
        self._scheduler.add_listener(self._overran, EVENT_JOB_MAX_INSTANCES)
        self._scheduler.add_listener(self._submitted, EVENT_JOB_SUBMITTED)
        self._scheduler.start()
        self._helpers = (
            asyncio.create_task(self._serve_nudges(), name="nudges"),
            asyncio.create_task(self._serve_moves(), name="moves"),
            asyncio.create_task(self._keep_pace(), name="pace"),
        )

    async def stop(self, timeout_s: float = 3.0) -> None:
        """End the cadence, give what is in flight `timeout_s` seconds, and let go of all connections."""
        self._forget_seasons()
        for task in self._helpers:
            task.cancel()
        await asyncio.gather(*self._helpers, return_exceptions=True)
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._ticking.acquire()
        await self._asking.close()
        self._tick.close()
        await self._executor.close(timeout_s=timeout_s / 2)
        await self._roster.close()
        await self._collector.close()

    async def collect(self, servers: Collection[str] | None = None) -> None:
        """One round over all targets, or over some servers."""
        await self._collector.collect(self._clock(), servers)
        reading = self.reading()
        self._tick.look(reading)
        if servers is None:
            self._tick.read(reading)
        await self._ask_control(reading)
        await self.announce()

    async def refresh(self, servers: Collection[str]) -> None:
        """Read some servers again now."""
        await self.collect(servers)

    async def _ask_control(self, reading: FleetReading) -> None:
        """Find out once per server and start whether its models may be loaded and unloaded."""
        if not self._tick.resumed:
            return  # a server is asked by an instruction that changes nothing
        fleet = self.fleet
        controlled = {name for model in fleet.models if model.mode is not Mode.OBSERVE for name in model.runs_on}
        asked: dict[str, Job] = {}
        for spec in fleet.servers:
            entry = reading.servers.get(spec.name)
            if spec.kind not in CONTROLLED or spec.name not in controlled or entry is None:
                continue
            if known(entry.live) is not True or not isinstance(entry.control, Missing):
                continue
            asked[spec.name] = partial(self._ask_one, spec.name)
        await self._asking.run(asked, _CONTROL_S)

    async def _ask_one(self, server: str) -> None:
        try:
            mode = await self._actuator.control_mode(server)
        except NotFoundError:
            return  # it has left
        except TargetUnreachableError as error:
            self._collector.set_control(server, Missing(error.why))
            return
        self._collector.set_control(server, Known(mode, self._clock()))
        for remedy in sorted(self._lacking(server, mode)):
            log.error("model control is not allowed; the server is observed only", server=server, remedy=remedy)

    def _lacking(self, server: str, mode: ControlMode) -> set[str]:
        """What the server would have to be started with for what the configuration wants of its models."""
        spec = self.fleet.server(server)
        if spec is None:
            return set()
        models = [model for model in self.fleet.models if server in model.runs_on]
        if spec.kind is ServerKind.VLLM:  # its own model sleeps where that is configured, or when people ask
            sleeps = not replicas_decided(self.fleet, server)
            models = [m for m in models if m.lora is not None or (sleeps and m.idle_unload_s is not None)]
        return {lacking(spec.kind, mode, adapter=model.lora is not None) for model in models} - {""}

    async def follow(self) -> frozenset[str]:
        """Take in which servers there are now, between two ticks; gives the names of those that came."""
        async with self._ticking:
            now = self._clock()
            self._roster.update(now)
            before, here = _processes(self._followed), _processes(self.fleet)
            if self.fleet == self._followed:
                return frozenset()
            self._tick.part(self._collector.follow(self.fleet, now))
            self._executor.follow(self.fleet)
            self._followed = self.fleet
        came = frozenset(name for name, process in here.items() if before.get(name) != process)
        left = frozenset(name for name, process in before.items() if here.get(name) != process)
        if came or left:
            log.info("servers came or left", came=sorted(came), left=sorted(left))
        await self.announce()
        return came

    async def _serve_moves(self) -> None:
        """Follow the discoveries, many moves at once as one, and read at once what came."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            try:
                if came := await self.follow():
                    await self.collect(came)
            except Exception:
                log.exception("servers that came or left were not taken in; the next move does it")

    async def prune(self) -> None:
        """Let go of history that is past its retention, a little at a time, so that no tick waits for all of it."""
        gone = 0
        if not self._tick.resumed:
            return
        try:
            some = await self._store.call(lambda s: s.prunings(self._clock()))
            while (more := await self._store.call(lambda _: next(some, None))) is not None:
                gone += more
        except ControlPlaneError as error:
            log.error("history not pruned; tried again later", error=str(error))
        else:
            log.debug("history pruned", rows=gone)

    async def tick(self) -> None:
        """One tick, unless one is running already."""
        if self._ticking.locked():
            self._tick.skipped()
            return
        async with self._ticking:
            await self._tick_now()

    async def _tick_now(self) -> None:
        if not self._tick.resumed:
            await self._tick.watch()
            await self.announce()
            return
        try:
            plan = await self._tick.run()
            if plan.look_again_s is not None and plan.look_again_s < self._decide_s:
                asyncio.get_running_loop().call_later(plan.look_again_s, self.nudge)
        except Exception as error:
            log.exception("the tick failed; the next one starts afresh")
            self._tick.failed(f"the last tick failed: {type(error).__name__}")
        self._ticked()
        await self.announce()

    def _overran(self, event: JobEvent) -> None:
        if event.job_id == "tick":
            self._tick.skipped()

    def _submitted(self, event: JobSubmissionEvent) -> None:
        if event.job_id == "tick":
            now = datetime.now(UTC)  # noqa: TID251 - the scheduler's clock, not ours
            self._tick.due(max(0.0, (now - event.scheduled_run_times[-1]).total_seconds()))

    def nudge(self) -> None:
        """Tick as soon as possible."""
        self._nudged.set()

    async def _serve_nudges(self) -> None:
        while True:
            await self._nudged.wait()
            self._nudged.clear()
            async with self._ticking:
                await self._tick_now()

    async def _keep_pace(self) -> None:
        """Fire at once what a system clock that was set back would keep waiting: the scheduler goes by it."""
        while True:
            await asyncio.sleep(self._scrape_s)
            now = datetime.now(UTC)  # noqa: TID251 - the scheduler's clock, not ours
            kept = [job for job in self._scheduler.get_jobs() if job.next_run_time - now > job.trigger.interval]
            if kept:
                log.warning("the system's clock was set back; times run ahead until it has caught up, or a restart")
            for job in kept:
                job.modify(next_run_time=now)

    async def announce(self) -> None:
        """Wake everybody who waits for a change."""
        async with self._change:
            self._change.notify_all()

    async def changed(self, timeout_s: float) -> None:
        """Return when an action ended or a round of collecting is done, at the latest after `timeout_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._change:
                await self._change.wait()

    def reading(self) -> FleetReading:
        """What is known now."""
        return self._collector.reading(self._clock())

    def last_outcome(self, model: str, server: str) -> Outcome | None:
        """The newest outcome of a unit since this process started."""
        return self._executor.last_outcome(model, server)

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """Where rollouts stand, by unit."""
        return self._tick.rollouts

    def picture(self) -> Picture:
        """What is known now and was decided last."""
        return self._tick.picture()


def _processes(fleet: Fleet) -> dict[str, tuple[ServerSpec, str]]:
    """What tells one process from another of the same name: its addresses and its pod."""
    pods = {name: member.pod_uid for name, member in fleet.members.items()}
    return {server.name: (server, pods.get(server.name, "")) for server in fleet.servers}


def _ending_quietly(job: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    """The same job for the scheduler, whose end cancels what runs and would log that as a failure."""

    async def run() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await job()

    return run
