"""Reads the whole fleet: every server, gateway and GPU, each on its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, TypeAlias, TypeVar

import structlog

from controlplane.collect.gateway import Gateway, GatewaySource, OnePage
from controlplane.collect.gateway_series import GatewaySeries
from controlplane.collect.gpu.agent import AgentTarget
from controlplane.collect.gpu.gpus import Gpus, answers, merged
from controlplane.collect.gpu.nvml import Nvml
from controlplane.collect.http import Pages
from controlplane.collect.metrics_source import MetricsSource, ScrapedPage
from controlplane.collect.page_server import PageServer
from controlplane.collect.probes.probing import Probing
from controlplane.collect.prometheus.answer import Wanted
from controlplane.collect.prometheus.api import Prometheus
from controlplane.collect.prometheus.ratios import Ratios, by_prometheus
from controlplane.collect.prometheus.source import PrometheusSource
from controlplane.collect.routes import RoutesTarget
from controlplane.collect.servers import only_page, scraped, server_reader, through_prometheus
from controlplane.collect.triton.server import TritonServer
from controlplane.collect.turn import Turn
from controlplane.collect.unhurried import Job, Unhurried
from controlplane.domain.errors import ControlPlaneError
from controlplane.domain.fleet import Fleet, ModelSpec, ServerSpec
from controlplane.domain.objectives import Objective
from controlplane.domain.observation import ControlMode, FleetReading, LatencyInterval, RatioReading, ServerReading
from controlplane.domain.signal import Missing, Signal
from controlplane.domain.sources import GatewaySpec

R = TypeVar("R", bound="_Target")
_AT_ONCE = 64
_SLOW = 4
"""Who takes longer than this part of the timeout holds no place of those that are well."""
_LAST_WORDS_S = 0.2
"""Who runs into its own timeout has this long to tell what it got all the same."""
_log = structlog.get_logger(__name__)


class _Target(Protocol):
    async def read(self, pages: Pages, timeout_s: float, clock: Callable[[], float]) -> ControlPlaneError | None: ...


@dataclass(slots=True)
class _Entry(Generic[R]):
    """What reads one target, by one round at a time. `why`: what went wrong in the newest one, empty: nothing.

    It is kept while `made_from` stays the same.
    """

    name: str
    made_from: object
    reader: R
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    why: str = ""


_AnyEntry: TypeAlias = (
    _Entry[TritonServer | PageServer] | _Entry[Gateway] | _Entry[AgentTarget] | _Entry[Ratios] | _Entry[RoutesTarget]
)
_Named: TypeAlias = tuple[_AnyEntry, str]
"""What reads a target, and its kind for people."""


class FleetCollector:
    """Implements the port `Collector` by asking every target directly, or the Prometheus that scrapes it.

    `timeout_s` is each target's deadline per round; readings older than `max_age_s` are stale; intervals, latencies and
    probe results are kept for `keep_s` seconds. `clock` gives unix seconds. `nvml`: read the GPUs of this machine.
    `source` gives where a server's metrics come from when it is asked itself. `prometheus` are those of the fleet that
    somebody else asks too.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        timeout_s: float,
        max_age_s: float,
        clock: Callable[[], float],
        keep_s: float = 300.0,
        nvml: bool = True,
        source: Callable[[ServerSpec, Sequence[ModelSpec]], MetricsSource] = scraped,
        prometheus: Mapping[str, Prometheus] | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._max_age_s = max_age_s
        self._clock = clock
        self._keep_s = keep_s
        self._source = source
        # three of its scrapes, where it is a Prometheus that scrapes
        self._max_ages_s = {spec.name: max(max_age_s, 3 * spec.interval_s) for spec in fleet.prometheus}
        self._asked = {spec.name: (prometheus or {}).get(spec.name) or Prometheus(spec) for spec in fleet.prometheus}
        self._prometheus = {
            name: PrometheusSource(asked, max_age_s=self._max_ages_s[name]) for name, asked in self._asked.items()
        }
        self._ratios: dict[str, _Entry[Ratios]] = {}
        self._servers: dict[str, _Entry[TritonServer | PageServer]] = {}
        self._gateways: dict[str, _Entry[Gateway]] = {}
        self._agents: dict[str, _Entry[AgentTarget]] = {}
        self._routes: dict[str, _Entry[RoutesTarget]] = {}
        self._nvml = Nvml(timeout_s, max_age_s=max_age_s) if nvml else None
        self._pages = Pages()
        self._probing = Probing(self._pages, clock, keep_s)
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._gate_of_failing = asyncio.Semaphore(_AT_ONCE)
        self._unhurried = Unhurried()
        self.follow(fleet, clock())

    def follow(self, fleet: Fleet, now: float) -> FleetReading:
        """Read this fleet from now on; gives all that is known of servers and probes that leave with that.

        What is under way on them comes to its end and counts nothing any more.
        """
        before = self._servers
        models: dict[str, list[ModelSpec]] = {}
        for model in fleet.models:
            for name in model.runs_on:
                models.setdefault(name, []).append(model)
        names = [(model.name, model.served_name) for model in fleet.models]
        self._servers = {}
        for spec in fleet.servers:
            own, member = models.get(spec.name, []), fleet.members.get(spec.name)
            served = [(model.name, model.served_name, model.lora) for model in own]
            made_from = (spec, member.pod_uid if member else "", served, only_page(spec, own))
            self._servers[spec.name] = _kept(before, spec.name, made_from, partial(self._reader, spec, own))
        self._gateways = {
            gateway.name: _kept(self._gateways, gateway.name, (gateway, names), partial(self._gateway, gateway, fleet))
            for gateway in fleet.gateways
        }
        self._agents = {
            agent.name: _kept(self._agents, agent.name, agent, partial(AgentTarget, agent, max_age_s=self._max_age_s))
            for agent in fleet.agents
        }
        for routes in fleet.routes:
            behind = [server for server in fleet.servers if routes.has(server.name)]
            make = partial(RoutesTarget, routes, behind, max_age_s=self._max_age_s)
            self._routes[routes.gateway] = _kept(self._routes, routes.gateway, (routes, behind), make)
        for name, asked in by_prometheus(fleet.models).items():
            self._ratios[name] = _kept(self._ratios, name, asked, partial(self._ratio, name, asked))
        for name, source in self._prometheus.items():
            wanted = [through_prometheus(spec) for spec in fleet.servers if _through(spec) == name]
            wanted += [gateway_wanted(spec, fleet.models) for spec in fleet.gateways if _through(spec) == name]
            source.follow(wanted)
        left = [entry.reader for name, entry in before.items() if self._servers.get(name) is not entry]
        probes = self._probing.follow(fleet, {name: entry.reader for name, entry in self._servers.items()}, now)
        return FleetReading(now, _readings(left, now), _latencies(left), probes, Missing("not asked"))

    def _reader(self, spec: ServerSpec, models: Sequence[ModelSpec]) -> TritonServer | PageServer:
        if spec.through is None:
            return server_reader(
                spec, models, self._source(spec, models), max_age_s=self._max_age_s, keep_s=self._keep_s
            )
        prometheus = spec.through.prometheus
        source, max_age_s = self._prometheus[prometheus].one(spec.name), self._max_ages_s[prometheus]
        return server_reader(spec, models, source, max_age_s=max_age_s, keep_s=self._keep_s)

    def _gateway(self, spec: GatewaySpec, fleet: Fleet) -> Gateway:
        wanted, max_age_s = gateway_wanted(spec, fleet.models), self._max_age_s
        source: GatewaySource = OnePage(ScrapedPage(wanted.name, spec.page, wanted.series))
        if spec.through is not None:
            source = self._prometheus[spec.through.prometheus].every(wanted.name)
            max_age_s = self._max_ages_s[spec.through.prometheus]
        return Gateway(spec, fleet.models, source, max_age_s=max_age_s, keep_s=self._keep_s)

    def _ratio(self, name: str, wanted: Sequence[tuple[str, Objective]]) -> Ratios:
        return Ratios(self._asked[name], wanted, max_age_s=self._max_ages_s[name], keep_s=self._keep_s)

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:
        """One round over all targets, or some servers only. A failing target costs its own timeout, nothing else.

        Servers that have left are passed over. A round over all starts the probes of those that came.
        """
        del now  # each answer is dated when it comes
        if servers is not None:
            wanted = [self._servers[name] for name in servers if name in self._servers]
            # what a Prometheus tells comes with its next round
            asked = [e for e in wanted if not (_through(e.reader.spec) and isinstance(e.reader, PageServer))]
            await _all(self._read(entry, anew=True) for entry in asked)
            return
        direct: list[_Named] = [(entry, "agent ") for entry in self._agents.values()]
        direct += [(entry, "routes of gateway ") for entry in self._routes.values()]
        through: dict[str, list[_Named]] = {"": direct} | {name: [] for name in self._prometheus}
        for entry in self._servers.values():
            through[_through(entry.reader.spec)].append((entry, ""))
        for gateway in self._gateways.values():
            through[_through(gateway.reader.spec)].append((gateway, "gateway "))
        for name, ratios in self._ratios.items():
            through[name].append((ratios, "objectives of "))
        del through[""]
        told = {f"Prometheus {name}": partial(self._read_through, name, own) for name, own in through.items() if own}
        rounds = [self._read_all(direct), self._unhurried.run(told, self._timeout_s)]
        if self._nvml is not None:
            rounds.append(self._nvml.read(self._clock))
        await _all(rounds)
        self._probing.start()

    def reading(self, now: float) -> FleetReading:
        """All that is known at `now`, aged."""
        servers = [entry.reader for entry in self._servers.values()]
        gateways = {name: entry.reader for name, entry in self._gateways.items()}
        gpus, nodes = self._gpus(now)
        read = _readings(servers, now)
        gates = {name: gateway.reading(now) for name, gateway in gateways.items()}
        return FleetReading(
            at=now,
            servers=read,
            latencies=_latencies((*servers, *gateways.values())),
            probes=self._probing.results(now),
            gpus=gpus,
            gateways=gates,
            gpu_nodes=nodes,
            ratios=_merged(entry.reader.readings(now) for entry in self._ratios.values()),
            routes={name: entry.reader.reading(now) for name, entry in self._routes.items()},
        )

    def _gpus(self, now: float) -> tuple[Gpus, dict[str, Signal[bool]]]:
        """All GPUs, and which agents' NVML answers."""
        own: Gpus = Missing("NVML is switched off") if self._nvml is None else self._nvml.reading(now)
        if not self._agents:
            return own, {}
        nodes = {name: entry.reader.reading(now) for name, entry in self._agents.items()}
        # agents first: a GPU of this machine that has an agent too goes by the agent's name
        return merged({**nodes, "this machine": own}), {name: answers(gpus) for name, gpus in nodes.items()}

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        """Keep what the actuator found out about a server's model control, until the server restarts or goes down."""
        if server in self._servers:
            self._servers[server].reader.set_control(mode)

    async def ask_version(self, server: str, model: str, version: str) -> str:
        """Probe one version of a model now: what is wrong with its answer; empty: nothing, or it is not probed."""
        return await self._probing.ask(server, model, version)

    async def close(self) -> None:
        """Stop probing, let go of connections and threads."""
        await self._probing.close()
        await self._unhurried.close()
        await self._pages.close()
        for source in self._prometheus.values():
            source.close()
        if self._nvml is not None:
            self._nvml.close()

    async def _read_through(self, prometheus: str, named: Sequence[_Named]) -> None:
        await self._prometheus[prometheus].read(self._clock)
        await self._read_all(named)

    async def _read_all(self, named: Sequence[_Named]) -> None:
        """Those that failed the last time are waited for no longer than one's timeout, however many they are."""
        failing: dict[str, Job] = {
            f"{kind}{entry.name}": partial(self._read, entry, kind) for entry, kind in named if entry.why
        }
        well = [self._read(entry, kind) for entry, kind in named if not entry.why]
        await _all([*well, self._unhurried.run(failing, self._timeout_s + _LAST_WORDS_S)])

    async def _read(self, entry: _AnyEntry, kind: str = "", *, anew: bool = False) -> None:
        """One target, never twice at the same time; what went wrong is logged when it begins, changes and ends.

        `anew`: with all that is not read in every round.
        """
        # Those that may take all of their timeout again wait for each other only; who begins to hang leaves the others.
        turn = Turn(self._gate_of_failing, self._timeout_s) if entry.why else Turn(self._gate, self._timeout_s / _SLOW)
        async with entry.lock, turn:
            if anew and isinstance(entry.reader, TritonServer):
                entry.reader.doubt_configs()
            error = await entry.reader.read(self._pages, self._timeout_s, self._clock)
        why = str(error) if error else ""
        if why != entry.why:
            entry.why = why
            if why:
                _log.warning("target cannot be read", target=f"{kind}{entry.name}", why=why)
            else:
                _log.info("target can be read again", target=f"{kind}{entry.name}")


def _kept(before: Mapping[str, _Entry[R]], name: str, made_from: object, make: Callable[[], R]) -> _Entry[R]:
    """The entry of before where it is made from the same, else a new one."""
    here = before.get(name)
    return here if here is not None and here.made_from == made_from else _Entry(name, made_from, make())


def _through(spec: ServerSpec | GatewaySpec) -> str:
    """The Prometheus that has the metrics; "" where the target itself is asked."""
    return spec.through.prometheus if spec.through else ""


def gateway_wanted(spec: GatewaySpec, models: Sequence[ModelSpec]) -> Wanted:
    """A gateway's series, on its page or as a Prometheus has them."""
    labels = spec.through.labels if spec.through else ()
    kept = frozenset({spec.model_label, spec.code_label, *(label for label, _ in spec.where)})
    return Wanted(f"gateway {spec.name}", labels, GatewaySeries(spec, models).wanted, spec.where, kept)


def _readings(servers: Iterable[TritonServer | PageServer], now: float) -> dict[str, ServerReading]:
    return {server.spec.name: server.reading(now) for server in servers}


def _merged(found: Iterable[Mapping[str, Mapping[str, RatioReading]]]) -> dict[str, dict[str, RatioReading]]:
    """By model, whichever Prometheus told it."""
    merged: dict[str, dict[str, RatioReading]] = {}
    for by_model in found:
        for model, ratios in by_model.items():
            merged.setdefault(model, {}).update(ratios)
    return merged


def _latencies(sources: Iterable[TritonServer | PageServer | Gateway]) -> dict[str, tuple[LatencyInterval, ...]]:
    found: dict[str, list[LatencyInterval]] = {}
    for source in sources:
        for model, latencies in source.latencies().items():
            found.setdefault(model, []).extend(latencies)
    return {model: tuple(sorted(latencies, key=lambda i: i.end)) for model, latencies in found.items()}


async def _all(rounds: Iterable[Awaitable[None]]) -> None:
    """Wait for all of them; one with a fault of ours is logged and costs the others nothing."""
    for outcome in await asyncio.gather(*rounds, return_exceptions=True):
        if isinstance(outcome, Exception):
            _log.error("collecting failed unexpectedly", exc_info=outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
