"""The control plane on a simulated fleet: the product's Tick, decisions, objectives and store, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import numpy as np
import structlog
from numpy.typing import NDArray

from controlplane.decide.forecast import Reading, State
from controlplane.decide.policy import Policy as Boldness
from controlplane.decide.replicas.seasons import learned
from controlplane.domain.decision import Action, ActionStatus, Outcome, Plan
from controlplane.domain.fleet import (
    Fleet,
    KubernetesQuery,
    Member,
    Mode,
    ModelSpec,
    Phase,
    Ports,
    ReplicaBounds,
    ServerKind,
    WorkloadSpec,
)
from controlplane.domain.objectives import Indicator, IndicatorSource, Objective
from controlplane.domain.observation import NOT_EXPORTED, ControlMode, FleetReading, ServerReading
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.loop.executor import Executor
from controlplane.loop.roster import Roster
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.sim.ours.pages import BatchServer, Histograms, TokenReplica
from controlplane.sim.peers.perf_model import Slo
from controlplane.sim.peers.policy import History
from controlplane.sim.peers.setting import LlmSetting, Setting
from controlplane.sim.signals import Gateway, ReplicaSignals
from controlplane.sim.signals import Reading as Pages
from controlplane.slo.grace import Grace
from controlplane.store import open_store

# A whole minute, as forecasts step.
_T0 = 1_699_999_980.0
_DECIDE_S, _SCRAPE_S = 15.0, 5.0
_MODEL, _WORKLOAD = "model", "fleet"
_TARGET, _WINDOW_S = 0.99, 28 * 86400.0
_MOST = 100_000
_AS_IT_COMES = Boldness()
_PHASES = {"starting": Phase.STARTING, "ready": Phase.READY, "draining": Phase.TERMINATING}


class Ours:
    """As Policy. Knob: the burn rate that is planned for. It reads every page that the peers read, and none more.

    `boldness`: the rest of its policy. `target`: the share of requests that its objectives ask for.
    """

    interval_s = _DECIDE_S

    def __init__(
        self, planned_burn: float, setting: Setting, *, boldness: Boldness = _AS_IT_COMES, target: float = _TARGET
    ) -> None:
        self._setting = setting
        self._boldness = replace(boldness, planned_burn=planned_burn, horizon_s=_DECIDE_S + 1.0)
        self._fleet = _fleet(setting, target)
        self._runner = asyncio.Runner()
        self._thread = StoreThread(open_store("sqlite://"))
        self._forecast: State | None = None
        self.now = _T0
        self._begin()

    def _begin(self) -> None:
        """A control plane that comes up on what the store holds."""
        self._pages = _Pages(self._fleet, self._setting)
        self._roster = Roster(self._fleet, [self._pages])
        executor = Executor(_Nobody(), self._thread, lambda: self.now, refresh=_nothing_of, announce=_nothing)
        self._tick = Tick(
            self._roster,
            self._boldness,
            self._pages,
            self._thread,
            executor,
            lambda: self.now,
            grace=Grace(_SCRAPE_S, _SCRAPE_S),
            decide_s=_DECIDE_S,
        )
        self._resumed = False

    def restart(self) -> Ours:
        """Comes up again: what is in the store is known, what was in memory is not."""
        self._begin()
        return self

    def warm(self, before: NDArray[np.float64]) -> None:
        """Learn from the minutes before the load, rows of (end in seconds, requests per second), as from the store."""
        self._forecast = learned(Reading(_T0 + end_s, per_s, per_s) for end_s, per_s in before.tolist())

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        for reading in history.within(_DECIDE_S if self._resumed else history.now.at_s):
            self._pages.absorb(_T0 + reading.at_s, reading)
        self.now = _T0 + history.now.at_s
        self._roster.update(self.now)
        with structlog.testing.capture_logs():
            plan = self._runner.run(self._one())
        return next(d.target.instances for d in plan.decisions if d.server == _WORKLOAD and d.target is not None)

    async def _one(self) -> Plan:
        if not self._resumed:
            await self._tick.resume()
            if self._forecast is not None:
                self._tick.foresee({_WORKLOAD: self._forecast})
            self._resumed = True
        return await self._tick.run()

    def close(self) -> None:
        """Ends its thread and its event loop. One that has decided needs this: to be forgotten ends no event loop."""
        self._runner.close()
        self._thread.close()


def _fleet(setting: Setting, target: float) -> Fleet:
    if isinstance(setting, LlmSetting):
        objectives = _token_objectives(setting.slo, target)
        kind = ServerKind.VLLM
    else:
        goal = Objective(Indicator.LATENCY, target, _WINDOW_S, IndicatorSource.GATEWAY, setting.slo.latency_s)
        objectives, kind = (goal,), ServerKind.TRITON
    workload = WorkloadSpec(
        _WORKLOAD,
        kind,
        KubernetesQuery("sim", pods="app=sim"),
        Ports(8000, 8001, 8002),
        replicas=ReplicaBounds(1, _MOST),
    )
    model = ModelSpec(_MODEL, _MODEL, (), Mode.ACT, objectives, workloads=(_WORKLOAD,))
    return Fleet((), (model,), workloads=(workload,))


def _token_objectives(slo: Slo, target: float) -> tuple[Objective, ...]:
    server = IndicatorSource.SERVER
    return (
        Objective(Indicator.TTFT, target, _WINDOW_S, server, slo.ttft_s),
        Objective(Indicator.INTER_TOKEN_LATENCY, target, _WINDOW_S, server, slo.itl_s),
    )


class _Pages:
    """Discovery and Collector on simulated readings."""

    def __init__(self, fleet: Fleet, setting: Setting) -> None:
        self._model, self._workload = fleet.models[0], fleet.workloads[0]
        self._max_batch = 0 if isinstance(setting, LlmSetting) else setting.model.service.max_batch
        self._replicas: dict[str, TokenReplica | BatchServer] = {}
        self._members: dict[str, Member] = {}
        self._live: dict[str, Signal[bool]] = {}
        self._histograms = Histograms()
        self._until = 0.0

    def absorb(self, at: float, reading: Pages) -> None:
        """One moment's pages; a moment that was taken in already is passed over."""
        if at <= self._until:
            return
        self._members = {}
        for replica in reading.replicas:
            server = self._workload.server(
                str(replica.id), f"10.{replica.id >> 16}.{replica.id >> 8 & 255}.{replica.id & 255}"
            )
            ready_at = _T0 + replica.ready_s if replica.phase != "starting" else None
            self._members[server.name] = Member(
                server, _WORKLOAD, _PHASES[replica.phase], _T0 + replica.started_s, ready_at, str(replica.id)
            )
            if replica.phase == "starting":
                continue
            reader = self._replicas.setdefault(server.name, self._reader())
            if not isinstance(replica, ReplicaSignals):
                reader.missed(at)
            else:
                self._live[server.name] = Known(value=True, observed_at=at)
                reader.absorb(at, replica)
        self._replicas = {name: r for name, r in self._replicas.items() if name in self._members}
        self._histograms.absorb(self._until or at, at, [r for r in reading.replicas if isinstance(r, ReplicaSignals)])
        if isinstance(reading.gateway, Gateway):
            self._histograms.absorb_gateway(at, reading.gateway)
        self._until = at

    def _reader(self) -> TokenReplica | BatchServer:
        return BatchServer(self._max_batch) if self._max_batch else TokenReplica(self._model)

    # as Discovery

    async def start(self, changed: Callable[[], None]) -> None:
        """It is told, and looks for nothing."""

    def members(self, now: float) -> Mapping[str, Signal[tuple[Member, ...]]]:
        """The replicas of the newest moment: the orchestrator is always asked."""
        return {_WORKLOAD: Known(tuple(self._members.values()), now)}

    def scaling(self) -> Mapping[str, ScaleStatus]:
        """It tells nothing of who sets replicas."""
        return {}

    # as Collector

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:
        """It is told, and asks nobody."""

    def reading(self, now: float) -> FleetReading:
        """All that is known."""
        servers = {
            name: ServerReading(
                name,
                self._live.get(name, Missing("never read")),
                Missing("observed only"),
                0,
                {_MODEL: reader.reading(now)},
            )
            for name, reader in self._replicas.items()
        }
        return FleetReading(now, servers, {_MODEL: tuple(self._histograms.intervals)}, {}, NOT_EXPORTED)

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        """Nothing here is controlled."""

    def follow(self, fleet: Fleet, now: float) -> FleetReading:
        """It follows by itself."""
        del fleet
        return FleetReading(now, {}, {}, {}, NOT_EXPORTED)

    async def close(self) -> None:
        """Nothing to let go of."""


class _Nobody:
    """An actuator that is never asked: replicas are told, not carried out."""

    async def control_mode(self, server: str) -> ControlMode:
        del server
        return ControlMode.NOT_ALLOWED

    async def apply(self, action: Action) -> Outcome:
        return Outcome(action, ActionStatus.DROPPED, action.issued_at)

    def follow(self, fleet: Fleet) -> None:
        del fleet

    async def close(self) -> None: ...


async def _nothing() -> None: ...


async def _nothing_of(server: str) -> None:
    del server
