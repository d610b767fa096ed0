"""The control plane on a simulated fleet: the product's Tick, decisions, objectives and store, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import structlog
from numpy.typing import NDArray

from controlplane.decide.forecast import Reading, State
from controlplane.decide.policy import Policy as Boldness
from controlplane.decide.replicas.seasons import learned
from controlplane.domain.decision import Action, ActionStatus, Outcome, Plan
from controlplane.domain.fleet import Fleet, Quota
from controlplane.domain.observation import ControlMode
from controlplane.loop.executor import Executor
from controlplane.loop.roster import Roster
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.sim.ours.collecting import T0, FleetPages
from controlplane.sim.ours.fleet import Served, fleet_of
from controlplane.sim.peers.policy import History
from controlplane.sim.peers.setting import Setting
from controlplane.slo.grace import Grace
from controlplane.store import open_store

_DECIDE_S, _SCRAPE_S = 15.0, 5.0
_WORKLOAD = "fleet"
_TARGET = 0.99
_AS_IT_COMES = Boldness()


class Plane:
    """All workloads of a fleet, decided on together. It reads every page that the peers read, and none more.

    `planned_burn` is the burn rate that is planned for, `boldness` the rest of its policy. `target`: the share of
    requests that its objectives ask for. `quota`: GPUs that all may have.
    """

    interval_s = _DECIDE_S

    def __init__(
        self,
        served: Mapping[str, Served],
        planned_burn: float,
        *,
        boldness: Boldness = _AS_IT_COMES,
        target: float = _TARGET,
        quota: Quota | None = None,
    ) -> None:
        self._served = served
        self._boldness = replace(boldness, planned_burn=planned_burn, horizon_s=_DECIDE_S + 1.0)
        self._fleet = fleet_of(served, target, quota or Quota())
        self._runner = asyncio.Runner()
        self._thread = StoreThread(open_store("sqlite://"))
        self._forecasts: dict[str, State] = {}
        self.now = T0
        self.restart()

    def restart(self) -> None:
        """Comes up on what the store holds: that is known, what was in memory is not."""
        self._pages = FleetPages(self._fleet, self._served)
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

    def warm(self, workload: str, before: NDArray[np.float64]) -> None:
        """Learn from the minutes before the load, rows of (end in seconds, requests per second), as from the store."""
        self._forecasts[workload] = learned(Reading(T0 + end_s, per_s, per_s) for end_s, per_s in before.tolist())

    def decide(self, histories: Mapping[str, History]) -> dict[str, int]:
        """Replicas wanted now, by workload."""
        for name, history in histories.items():
            for reading in history.within(_DECIDE_S if self._resumed else history.now.at_s):
                self._pages.absorb(name, T0 + reading.at_s, reading)
            self.now = T0 + history.now.at_s
        self._roster.update(self.now)
        with structlog.testing.capture_logs():
            plan = self._runner.run(self._one())
        return {d.server: d.target.instances for d in plan.decisions if d.server in histories and d.target is not None}

    async def _one(self) -> Plan:
        if not self._resumed:
            await self._tick.resume()
            if self._forecasts:
                self._tick.foresee(self._forecasts)
            self._resumed = True
        return await self._tick.run()

    def close(self) -> None:
        """Ends its thread and its event loop. One that has decided needs this: to be forgotten ends no event loop."""
        self._runner.close()
        self._thread.close()


class Ours:
    """One workload by itself, as Policy. Knob: the burn rate that is planned for."""

    interval_s = _DECIDE_S

    def __init__(
        self, planned_burn: float, setting: Setting, *, boldness: Boldness = _AS_IT_COMES, target: float = _TARGET
    ) -> None:
        self.plane = Plane({_WORKLOAD: Served(setting)}, planned_burn, boldness=boldness, target=target)

    def restart(self) -> Ours:
        """Comes up again: what is in the store is known, what was in memory is not."""
        self.plane.restart()
        return self

    def warm(self, before: NDArray[np.float64]) -> None:
        """Learn from the minutes before the load, rows of (end in seconds, requests per second), as from the store."""
        self.plane.warm(_WORKLOAD, before)

    def decide(self, history: History) -> int:
        """Replicas wanted now."""
        return self.plane.decide({_WORKLOAD: history})[_WORKLOAD]

    def close(self) -> None:
        """Ends its thread and its event loop."""
        self.plane.close()


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
