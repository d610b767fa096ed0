"""Reads the whole fleet: every server, gateway and GPU, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog

from controlplane.collect.agent import AgentTarget
from controlplane.collect.gateway import Gateway
from controlplane.collect.gpus import Gpus, answers, merged
from controlplane.collect.http import Pages
from controlplane.collect.nvml import Nvml
from controlplane.collect.page_server import PageServer
from controlplane.collect.probes import Prober
from controlplane.collect.servers import scraped, server_reader
from controlplane.collect.triton import TritonServer
from controlplane.domain.errors import ControlPlaneError, NotFoundError
from controlplane.domain.fleet import Fleet
from controlplane.domain.observation import ControlMode, FleetReading, LatencyInterval, ProbeResult
from controlplane.domain.signal import Missing, Signal

V = TypeVar("V")
_AT_ONCE = 64
_log = structlog.get_logger(__name__)


class _Target(Protocol):
    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None: ...


class FleetCollector:
    """Implements the port `Collector` by asking every target directly.

    `timeout_s` is each target's deadline per round; readings older than `max_age_s` are stale; intervals, latencies and
    probe results are kept for `keep_s` seconds. `clock` gives unix seconds. `nvml`: read the GPUs of this machine.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        timeout_s: float,
        max_age_s: float,
        clock: Callable[[], float],
        keep_s: float = 900.0,
        nvml: bool = True,
    ) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._servers: dict[str, TritonServer | PageServer] = {}
        for spec in fleet.servers:
            models = [model for model in fleet.models if spec.name in model.runs_on]
            self._servers[spec.name] = server_reader(spec, models, scraped(spec), max_age_s=max_age_s, keep_s=keep_s)
        self._gateways = {
            spec.name: Gateway(spec, fleet.models, max_age_s=max_age_s, keep_s=keep_s) for spec in fleet.gateways
        }
        self._agents = {spec.name: AgentTarget(spec, max_age_s=max_age_s) for spec in fleet.agents}
        self._nvml = Nvml(timeout_s, max_age_s=max_age_s) if nvml else None
        self._pages = Pages()
        self._probers = [
            Prober(server, model, model.probe, pages=self._pages, clock=clock, keep_s=keep_s)
            for model in fleet.models
            for server in self._servers.values()
            if model.probe and server.spec.name in model.runs_on and isinstance(server, TritonServer)
        ]
        self._probing: list[asyncio.Task[None]] = []
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._gate_of_failing = asyncio.Semaphore(_AT_ONCE)
        self._locks: dict[str, asyncio.Lock] = {}
        self._failing: dict[str, str] = {}

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:
        """One round over all targets, or some servers only. A failing target costs its own timeout, nothing else.

        The first round starts the probes.
        """
        del now  # each answer is dated when it comes
        if servers is not None:
            await _all(self._read(name, self._server(name)) for name in servers)
            return
        targets: dict[str, _Target] = {**self._servers}
        targets |= {f"gateway {name}": gateway for name, gateway in self._gateways.items()}
        targets |= {f"agent {name}": agent for name, agent in self._agents.items()}
        rounds: list[Awaitable[None]] = [self._read(name, target) for name, target in targets.items()]
        if self._nvml is not None:
            rounds.append(self._nvml.read(self._clock))
        await _all(rounds)
        if not self._probing:
            self._probing = [
                asyncio.create_task(prober.run(), name=f"probe {prober.model}") for prober in self._probers
            ]
            for task in self._probing:
                task.add_done_callback(_log_end)

    def reading(self, now: float) -> FleetReading:
        """All that is known at `now`, aged."""
        servers = {name: server.reading(now) for name, server in self._servers.items()}
        gateways = {name: gateway.reading(now) for name, gateway in self._gateways.items()}
        latencies: dict[str, list[LatencyInterval]] = {}
        for source in (*self._servers.values(), *self._gateways.values()):
            if not isinstance(source, TritonServer):
                _merge(latencies, source.latencies())
        gpus, nodes = self._gpus(now)
        probes: dict[str, list[ProbeResult]] = {}
        for prober in self._probers:
            _merge(probes, {prober.model: prober.results(now)})
        return FleetReading(
            at=now,
            servers=servers,
            latencies={model: tuple(sorted(found, key=lambda i: i.end)) for model, found in latencies.items()},
            probes={model: tuple(sorted(found, key=lambda result: result.at)) for model, found in probes.items()},
            gpus=gpus,
            gateways=gateways,
            gpu_nodes=nodes,
        )

    def _gpus(self, now: float) -> tuple[Gpus, dict[str, Signal[bool]]]:
        """All GPUs, and which agents' NVML answers."""
        own: Gpus = Missing("NVML is switched off") if self._nvml is None else self._nvml.reading(now)
        if not self._agents:
            return own, {}
        nodes = {name: agent.reading(now) for name, agent in self._agents.items()}
        # agents first: a GPU of this machine that has an agent too goes by the agent's name
        return merged({**nodes, "this machine": own}), {name: answers(gpus) for name, gpus in nodes.items()}

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        """Keep what the actuator found out about a server's model control, until the server restarts or goes down."""
        self._server(server).set_control(mode)

    async def close(self) -> None:
        """Stop probing, let go of connections and of the NVML thread."""
        for task in self._probing:
            task.cancel()
        await asyncio.gather(*self._probing, return_exceptions=True)
        self._probing = []
        await self._pages.close()
        if self._nvml is not None:
            self._nvml.close()

    def _server(self, name: str) -> TritonServer | PageServer:
        if name not in self._servers:
            raise NotFoundError("server", name, tuple(self._servers))
        return self._servers[name]

    async def _read(self, name: str, target: _Target) -> None:
        """One target, never twice at the same time; what went wrong is logged when it begins, changes and ends."""
        # Those that may take all of their timeout again wait for each other only.
        gate = self._gate_of_failing if self._failing.get(name) else self._gate
        async with self._locks.setdefault(name, asyncio.Lock()), gate:
            error = await target.read(self._pages, self._timeout_s, self._clock)
        why = str(error) if error else ""
        if why != self._failing.get(name, ""):
            self._failing[name] = why
            if why:
                _log.warning("target cannot be read", target=name, why=why)
            else:
                _log.info("target can be read again", target=name)


async def _all(rounds: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them; one with a fault of ours is logged and costs the others nothing."""
    for outcome in await asyncio.gather(*rounds, return_exceptions=True):
        if isinstance(outcome, Exception):
            _log.error("collecting failed unexpectedly", exc_info=outcome)
        elif isinstance(outcome, BaseException):
            raise outcome


def _log_end(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (fault := task.exception()):
        _log.error("probing ended unexpectedly", task=task.get_name(), exc_info=fault)


def _merge(into: dict[str, list[V]], more: Mapping[str, Sequence[V]]) -> None:
    for name, values in more.items():
        into.setdefault(name, []).extend(values)
