"""A fleet in virtual time under the product's own loop: hours pass in seconds, and every run is the same."""

from __future__ import annotations

import asyncio
import heapq
import inspect
import itertools
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, Decision, Effect, Outcome, Step
from controlplane.domain.errors import StoreBusyError
from controlplane.domain.fleet import Fleet, Member, Mode, ModelSpec, ServerKind, ServerSpec, Wake, is_member_name
from controlplane.domain.instructions import Want
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.observation import FleetReading
from controlplane.domain.ports import Store
from controlplane.domain.rollout import Rollout
from controlplane.loop.desk import Desk
from controlplane.loop.executor import Executor
from controlplane.loop.roster import Roster
from controlplane.loop.runner import Runner
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.slo.grace import Grace
from controlplane.store import open_store
from tests.discovery_fake import ToldDiscovery, workload
from tests.world.batcher import SimModel, full_batch_s
from tests.world.ports import GATEWAY, WorldActuator, WorldCollector
from tests.world.server import SimTriton

T = TypeVar("T")
WORKLOAD = workload("w")
"""Simulated Tritons called w/INSTANCE are its servers, once they are found."""
T0 = 1_700_000_000.0
SCRAPE_S, DECIDE_S = 5.0, 15.0
_QUIET_ROUNDS = 5
_BUSY_S = 0.1
"""Of real time: virtual time stands still while a lock is waited for."""


class BreakableStore:
    """A store that is away while `broken`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.broken = False
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(name)
            if self.broken and name != "close":
                raise StoreBusyError("the database is away")
            return found(*args, **kwargs)

        return call


class CountedThread(StoreThread):
    """The store's thread; tells how many calls are under way."""

    under_way = 0

    async def call(self, work: Callable[[Store], T]) -> T:
        self.under_way += 1
        try:
            return await super().call(work)
        finally:
            self.under_way -= 1


def model_spec(sim: SimModel, *servers: str, mode: Mode = Mode.ACT, instances_max: int = 8, **more: Any) -> ModelSpec:
    """The configuration of a simulated model: 99 % within three full batches."""
    goal = Objective(
        Indicator.LATENCY, 0.99, 28 * 86400.0, IndicatorSource.GATEWAY, 3 * full_batch_s(sim.line, sim.max_batch)
    )
    fields: dict[str, Any] = {"objectives": (goal,), "instances_max": instances_max, "wake": Wake(ensure=True)}
    return ModelSpec(sim.name, sim.name, servers or ("t0",), mode, **(fields | more))


class World:
    """Simulated Tritons, a clock, and the control plane on them. `async with` it; then `run` it."""

    def __init__(
        self,
        tritons: Sequence[SimTriton],
        models: Sequence[ModelSpec],
        *,
        store: Path | str | None = None,
        policy: Policy | None = None,
        phase_s: float = 0.0,
    ) -> None:
        self.now = T0
        self.tritons = {t.name: t for t in tritons}
        servers = tuple(
            ServerSpec(t.name, ServerKind.TRITON, "http://x", "http://x", "x:1")
            for t in tritons
            if not is_member_name(t.name)
        )
        self.discovery = ToldDiscovery(WORKLOAD)
        self.configured = Fleet(servers, tuple(models), (GATEWAY,), workloads=(WORKLOAD,))
        self.policy = policy or Policy()
        url = store if isinstance(store, str) else f"sqlite:///{store or ''}"
        self.real_store = open_store(url, busy_timeout_s=_BUSY_S)
        self.store = BreakableStore(self.real_store)
        self.thread = CountedThread(self.store)
        self.applied: list[tuple[float, Action]] = []
        self.decisions: list[Decision] = []
        self.effects: list[Effect] = []
        self.answers_at_once = False
        """An in-place update is answered when it is done; a real Triton answers once the model's queue was empty."""
        self._phase_s = phase_s
        self._agenda: list[tuple[float, int, Callable[[], Awaitable[None] | None]]] = []
        self._numbers = itertools.count()
        self._sleeping = 0
        self._plane = 0
        self._change = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()
        await asyncio.sleep(0)
        self.thread.close()

    # the control plane

    async def start(self) -> None:
        """A control plane on what the store holds."""
        self._plane += 1
        self.roster = Roster(self.configured, [self.discovery])
        self.roster.update(self.now)
        self.collector = WorldCollector(self)
        actuator = WorldActuator(self)
        self.executor = Executor(
            actuator, self.thread, lambda: self.now, refresh=self._refresh, announce=self._announce
        )
        self.tick = Tick(
            self.roster,
            self.policy,
            self.collector,
            self.thread,
            self.executor,
            lambda: self.now,
            grace=Grace(5.0, 5.0),
            decide_s=DECIDE_S,
        )
        self.runner = Runner(
            self.roster,
            self.collector,
            actuator,
            self.executor,
            self.tick,
            self.thread,
            lambda: self.now,
            scrape_s=SCRAPE_S,
            decide_s=DECIDE_S,
        )
        self.desk = Desk(self, self.thread, self.thread, lambda: self.now)
        await self.tick.resume()
        await self.runner.collect()
        self._every(self.now + SCRAPE_S * 0.8 + self._phase_s, SCRAPE_S, self.runner.collect)
        self._every(self.now + SCRAPE_S * 1.5 + self._phase_s, DECIDE_S, self._decide)

    @property
    def fleet(self) -> Fleet:
        """The servers and models there are now."""
        return self.roster.fleet

    def found(self, *members: Member) -> None:
        """These are the servers of the workload now, as its discovery tells."""
        self.discovery.find(WORKLOAD.name, members, self.now)
        self.at(self.now, self._on_this_plane(self._follow))

    async def _follow(self) -> None:
        if came := await self.runner.follow():
            await self.runner.collect(came)

    def kill(self) -> None:
        """The control plane dies at once; the servers go on, and finish what they began."""
        self._plane += 1
        for _, task in self.executor._flying.values():
            task.cancel()

    async def _decide(self) -> None:
        plan = await self.tick.run()
        self.decisions += plan.decisions
        self.effects += plan.effects
        if plan.look_again_s is not None:
            self.at(self.now + plan.look_again_s, self._on_this_plane(self._decide))

    async def _refresh(self, server: str) -> None:
        await self.runner.collect((server,))

    async def _announce(self) -> None:
        await self.runner.announce()
        async with self._change:
            self._change.notify_all()

    def _every(self, first: float, every_s: float, work: Callable[[], Awaitable[None]]) -> None:
        async def fire() -> None:
            self.at(self.now + every_s, again)
            await work()
            await self._announce()

        again = self._on_this_plane(fire)
        self.at(first, again)

    def _on_this_plane(self, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
        """The work, undone once this control plane was killed."""
        plane = self._plane

        async def fire() -> None:
            if self._plane == plane:
                await work()

        return fire

    # time

    def at(self, when: float, work: Callable[[], Awaitable[None] | None]) -> None:
        """Do something at a time."""
        heapq.heappush(self._agenda, (when, next(self._numbers), work))

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        woken = asyncio.get_running_loop().create_future()
        self._sleeping += 1

        def wake() -> None:
            self._sleeping -= 1
            if not woken.done():
                woken.set_result(None)

        self.at(self.now + seconds, wake)
        await woken

    async def run(self, seconds: float) -> None:
        """Let the world go on for so long."""
        end = self.now + seconds
        await self._quiet()
        while self._agenda and self._agenda[0][0] <= end:
            when, _, work = heapq.heappop(self._agenda)
            self._move(when)
            done = work()
            if inspect.isawaitable(done):
                await done
            await self._quiet()
        self._move(end)

    def _move(self, when: float) -> None:
        for triton in self.tritons.values():
            triton.machine.advance(when)
        self.now = max(self.now, when)

    async def _quiet(self) -> None:
        """Until everybody waits for virtual time."""
        rounds = 0
        while rounds < _QUIET_ROUNDS or self.thread.under_way or len(self.executor.in_flight) > self._sleeping:
            await asyncio.sleep(0)
            rounds = 0 if self.thread.under_way else rounds + 1

    # what the desk asks of a loop

    def nudge(self) -> None:
        """Tick as soon as possible."""
        self.at(self.now, self._on_this_plane(self._decide))

    def reading(self) -> FleetReading:
        """What is known now."""
        return self.runner.reading()

    async def refresh(self, servers: Collection[str]) -> None:
        """Read some servers again now."""
        for server in servers:
            await self._refresh(server)

    async def changed(self, timeout_s: float) -> None:  # noqa: ARG002 - the loop's own signature
        """The next change. Virtual time has no use for the timeout: rounds of collecting come anyway."""
        async with self._change:
            await self._change.wait()

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """Where rollouts stand, by unit."""
        return self.tick.rollouts

    def last_outcome(self, model: str, server: str) -> Outcome | None:
        """The newest outcome of a unit."""
        return self.executor.last_outcome(model, server)

    # what tests ask and do

    async def want(self, model: str) -> None:
        """A gateway asks for a model."""
        want = Want(model, self.now, "gateway")
        await self.thread.call(lambda s: s.add_want(want))

    def sim(self, model: str, server: str = "t0") -> SimModel:
        """The simulated model."""
        return self.tritons[server].model(model)

    def loaded(self, model: str, server: str = "t0") -> bool:
        """Whether the simulated server has it loaded."""
        return self.sim(model, server).loaded

    def steps(self, *kinds: Step, model: str = "") -> list[Action]:
        """What the servers were asked to do, of some kinds or of all."""
        return [a for _, a in self.applied if (not kinds or a.step in kinds) and model in ("", a.model)]

    def last(self, model: str, server: str = "t0") -> Decision:
        """The newest decision about a unit."""
        return next(d for d in reversed(self.decisions) if (d.model, d.server) == (model, server))


def one_model(
    sim: SimModel, *, loaded: int = 1, phase_s: float = 0.0, store: Path | str | None = None, **spec: Any
) -> World:
    """A world of one server and one model, loaded with so many instances (0: not loaded)."""
    triton = SimTriton("t0", [sim], T0)
    if loaded:
        sim.up(loaded, T0)
    return World([triton], [model_spec(sim, **spec)], store=store, phase_s=phase_s)
