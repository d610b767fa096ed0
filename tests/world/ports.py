"""The loop's ports on a simulated fleet: the product's own reading of Triton's answers, and model control."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING

import numpy as np

from controlplane.collect.servers import scraped
from controlplane.collect.triton.server import TritonServer
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, ActionStatus, Outcome, Step
from controlplane.domain.errors import TargetUnreachableError
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import ControlMode, FleetReading, LatencyInterval
from controlplane.domain.signal import Missing, Signal
from controlplane.domain.sources import GatewaySpec
from controlplane.loop.keep import keep_s
from tests.world.batcher import SimModel

if TYPE_CHECKING:
    from tests.world.world import World

EDGES = tuple(round(0.005 * 1.35**i, 4) for i in range(24))
GATEWAY = GatewaySpec("gateway", "", "request_duration_seconds", "model", "", "5..")
_KEEP_S = keep_s(15.0, Policy())
_MAX_AGE_S = 15.0
LOAD_S, UPDATE_S, UNLOAD_S = 2.0, 0.4, 0.3
_POLL_S = 0.5
_GIVE_UP_S = 300.0


class WorldCollector:
    """Reads the simulated servers as the product reads real ones, and a gateway that sees every latency."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.servers: dict[str, TritonServer] = {}
        self._uids: dict[str, str] = {}
        self.follow(world.fleet, world.now)
        self._latencies: dict[str, deque[LatencyInterval]] = {m.name: deque() for m in world.fleet.models}
        self._read_at = world.now

    def follow(self, fleet: Fleet, now: float) -> FleetReading:
        uids = {spec.name: member.pod_uid if (member := fleet.members.get(spec.name)) else "" for spec in fleet.servers}
        left = {name: server for name, server in self.servers.items() if uids.get(name) != self._uids[name]}
        self._uids = uids
        self.servers = {name: server for name, server in self.servers.items() if name not in left}
        for spec in fleet.servers:
            if spec.name not in self.servers:
                models = [m for m in fleet.models if spec.name in m.runs_on]
                reader = TritonServer(spec, models, scraped(spec, models), max_age_s=_MAX_AGE_S, keep_s=_KEEP_S)
                self.servers[spec.name] = reader
        readings = {name: server.reading(now) for name, server in left.items()}
        return FleetReading(now, readings, {}, {}, Missing("not asked"))

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:
        for name, server in self.servers.items():
            if servers is None or name in servers:
                server.absorb(self._world.tritons[name].answer(now))
        if servers is None:
            self._gateway(now)

    def _gateway(self, now: float) -> None:
        since, self._read_at = self._read_at, now
        for name, kept in self._latencies.items():
            seen: list[float] = []
            for triton in self._world.tritons.values():
                for model in triton.models:
                    if model.name == name:
                        seen += model.latencies
                        model.latencies.clear()
            if since < now:
                counts = np.histogram(seen, bins=[0.0, *EDGES, np.inf])[0].tolist()
                kept.append(LatencyInterval(Indicator.LATENCY, since, now, EDGES, tuple(counts), gateway=GATEWAY.name))
            while kept and kept[0].end < now - _KEEP_S:
                kept.popleft()

    def reading(self, now: float) -> FleetReading:
        return FleetReading(
            now,
            {name: server.reading(now) for name, server in self.servers.items()},
            {name: tuple(kept) for name, kept in self._latencies.items()},
            {},
            Missing("no driver"),
        )

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        if server in self.servers:
            self.servers[server].set_control(mode)

    async def close(self) -> None:
        pass


class WorldActuator:
    """Model control of the simulated servers. A server finishes what it began, whoever still listens.

    As a real Triton does under load, it answers an in-place update only once the model's queue has been empty, though
    the instances work long before.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def control_mode(self, server: str) -> ControlMode:
        triton = self._world.tritons[server]
        if triton.outages & {"server", "hang"}:
            raise TargetUnreachableError(server, "connection refused")
        return triton.control

    async def apply(self, action: Action) -> Outcome:
        world, triton = self._world, self._world.tritons[action.server]
        world.applied.append((world.now, action))
        if triton.outages & {"server", "hang"}:
            return self._failed(action, "connection refused", FailureClass.UNREACHABLE)
        if triton.control is ControlMode.NOT_ALLOWED:
            return self._failed(action, "explicit model load / unload is not allowed", FailureClass.CONTROL_NOT_ALLOWED)
        failure = triton.failing_loads.get(action.model)
        if action.target.instances > triton.memory.get(action.model, 999):
            failure = FailureClass.OUT_OF_MEMORY
        if failure is not None and action.step is not Step.UNLOAD:
            await world.sleep(UPDATE_S)
            return self._failed(action, f"failed to load {action.model}", failure)
        model = triton.model(action.model)
        model.loading = action.step in (Step.LOAD, Step.RELOAD)
        takes_s = {Step.LOAD: LOAD_S, Step.RELOAD: LOAD_S, Step.UNLOAD: UNLOAD_S}.get(action.step, UPDATE_S)
        begun = triton.starts
        world.at(world.now + takes_s, lambda: _happen(model, action, world.now) if triton.starts == begun else None)
        await world.sleep(takes_s)
        return await self._answer(action, model)

    async def _answer(self, action: Action, model: SimModel) -> Outcome:
        asked_at = self._world.now
        while action.step is Step.SET_INSTANCES and model.waiting and not self._world.answers_at_once:
            await self._world.sleep(_POLL_S)
            if self._world.now - asked_at > _GIVE_UP_S:
                return self._failed(action, f"{action.model} is not loaded after 300 s", FailureClass.TIMEOUT)
        in_place = action.step is Step.SET_INSTANCES
        return Outcome(action, ActionStatus.SUCCEEDED, self._world.now, "done", in_place=in_place)

    def follow(self, fleet: Fleet) -> None:
        pass

    def _failed(self, action: Action, detail: str, failure: FailureClass) -> Outcome:
        return Outcome(action, ActionStatus.FAILED, self._world.now, detail, failure, "the remedy")

    async def close(self) -> None:
        pass


def _happen(model: SimModel, action: Action, now: float) -> None:
    """What the step does on the server; nothing where it is so already."""
    model.loading = False
    match action.step:
        case Step.LOAD if not model.loaded:
            model.up(action.target.instances, now)
        case Step.UNLOAD if model.loaded:
            model.down(now)
        case Step.RELOAD if model.loaded:
            model.renewed(now)
        case Step.SET_INSTANCES if model.loaded and model.count != action.target.instances:
            model.set_count(action.target.instances, now)
