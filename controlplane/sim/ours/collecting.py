"""Discovery and Collector on simulated readings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from controlplane.domain.fleet import Fleet, Member, ModelSpec, Phase, WorkloadSpec
from controlplane.domain.observation import NOT_EXPORTED, ControlMode, FleetReading, ServerReading
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Known, Missing, Signal
from controlplane.sim.ours.fleet import Served
from controlplane.sim.ours.pages import BatchServer, Histograms, TokenReplica
from controlplane.sim.signals import Gateway, ReplicaSignals
from controlplane.sim.signals import Reading as Pages

# A whole minute, as forecasts step.
T0 = 1_699_999_980.0
"""When a simulation begins."""
_PHASES = {"starting": Phase.STARTING, "ready": Phase.READY, "draining": Phase.TERMINATING}


class WorkloadPages:
    """The pages of one workload, of replicas that all serve one model."""

    def __init__(self, workload: WorkloadSpec, model: ModelSpec, max_batch: int) -> None:
        self._workload, self._model, self._max_batch = workload, model, max_batch
        self._replicas: dict[str, TokenReplica | BatchServer] = {}
        self._live: dict[str, Signal[bool]] = {}
        self._until = 0.0
        self.members: dict[str, Member] = {}
        self.histograms = Histograms()

    def absorb(self, at: float, reading: Pages) -> None:
        """One moment's pages; a moment that was taken in already is passed over."""
        if at <= self._until:
            return
        self.members = {}
        for replica in reading.replicas:
            server = self._workload.server(
                str(replica.id), f"10.{replica.id >> 16}.{replica.id >> 8 & 255}.{replica.id & 255}"
            )
            ready_at = T0 + replica.ready_s if replica.phase != "starting" else None
            self.members[server.name] = Member(
                server, self._workload.name, _PHASES[replica.phase], T0 + replica.started_s, ready_at, str(replica.id)
            )
            if replica.phase == "starting":
                continue
            reader = self._replicas.setdefault(server.name, self._reader())
            if not isinstance(replica, ReplicaSignals):
                reader.missed(at)
            else:
                self._live[server.name] = Known(value=True, observed_at=at)
                reader.absorb(at, replica)
        self._replicas = {name: r for name, r in self._replicas.items() if name in self.members}
        self.histograms.absorb(self._until or at, at, [r for r in reading.replicas if isinstance(r, ReplicaSignals)])
        if isinstance(reading.gateway, Gateway):
            self.histograms.absorb_gateway(at, reading.gateway)
        self._until = at

    def _reader(self) -> TokenReplica | BatchServer:
        return BatchServer(self._max_batch) if self._max_batch else TokenReplica(self._model)

    def servers(self, now: float) -> dict[str, ServerReading]:
        """All that is known of its servers."""
        return {
            name: ServerReading(
                name,
                self._live.get(name, Missing("never read")),
                Missing("observed only"),
                0,
                {self._model.name: reader.reading(now)},
            )
            for name, reader in self._replicas.items()
        }


class FleetPages:
    """Discovery and Collector on the pages of all workloads, which it is told and asks nobody for."""

    def __init__(self, fleet: Fleet, served: Mapping[str, Served]) -> None:
        self._models = {model.workloads[0]: model.name for model in fleet.models}
        self._pages = {
            workload.name: WorkloadPages(workload, model, served[workload.name].max_batch)
            for workload, model in zip(fleet.workloads, fleet.models, strict=True)
        }

    def absorb(self, workload: str, at: float, reading: Pages) -> None:
        """One moment's pages of a workload."""
        self._pages[workload].absorb(at, reading)

    # as Discovery

    async def start(self, changed: Callable[[], None]) -> None:
        """It is told, and looks for nothing."""

    def members(self, now: float) -> Mapping[str, Signal[tuple[Member, ...]]]:
        """The replicas of the newest moment: the orchestrator is always asked."""
        return {name: Known(tuple(pages.members.values()), now) for name, pages in self._pages.items()}

    def scaling(self) -> Mapping[str, ScaleStatus]:
        """It tells nothing of who sets replicas."""
        return {}

    # as Collector

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:
        """It is told, and asks nobody."""

    def reading(self, now: float) -> FleetReading:
        """All that is known."""
        servers = {server: seen for pages in self._pages.values() for server, seen in pages.servers(now).items()}
        counted = {self._models[name]: tuple(pages.histograms.intervals) for name, pages in self._pages.items()}
        return FleetReading(now, servers, counted, {}, NOT_EXPORTED)

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        """Nothing here is controlled."""

    def follow(self, fleet: Fleet, now: float) -> FleetReading:
        """It follows by itself."""
        del fleet
        return FleetReading(now, {}, {}, {}, NOT_EXPORTED)

    async def close(self) -> None:
        """Nothing to let go of."""
