"""What the configuration says exists: servers, models, gateways, and what is allowed with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from controlplane.domain.batching import BatchingUse
from controlplane.domain.expected import Announced, Schedule
from controlplane.domain.lora import Lora
from controlplane.domain.mapping import PageMapping
from controlplane.domain.objectives import Objective
from controlplane.domain.profiles import Profile
from controlplane.domain.scaling import Drain, ScaleStatus
from controlplane.domain.sources import AgentSpec, GatewaySpec, PrometheusSpec, Through


class ServerKind(StrEnum):
    """Which serving software a server runs."""

    TRITON = "triton"
    VLLM = "vllm"
    TGI = "tgi"
    TORCHSERVE = "torchserve"
    TFSERVING = "tfserving"
    SGLANG = "sglang"
    NIM = "nim"
    OLLAMA = "ollama"
    MAPPED = "mapped"
    """Any other, read as a mapping of the user's says."""


CONTROLLED = frozenset({ServerKind.TRITON, ServerKind.OLLAMA, ServerKind.VLLM})
"""Kinds of servers that load and unload a model when they are told to; all others are observed. vLLM's own model sleeps
and wakes, its LoRA adapters are loaded and unloaded."""


SCALED = frozenset({ServerKind.TRITON, ServerKind.VLLM})
"""Kinds of servers that tell what a replica can do: batches and their times, or tokens and the time between them."""


COMPLETIONS = frozenset(
    {ServerKind.VLLM, ServerKind.TGI, ServerKind.SGLANG, ServerKind.NIM, ServerKind.OLLAMA, ServerKind.MAPPED}
)
"""Kinds of servers with completions as in OpenAI's API; those read by a user's mapping are taken to have them."""

MOST_REPLICAS = 10_000
"""No bound of replicas or instances is higher: more is a slip of the finger."""


class Mode(StrEnum):
    """How far the control plane may go with a model."""

    OBSERVE = "observe"
    """Collect and judge; decide nothing; refuse manual actions too."""
    RECOMMEND = "recommend"
    """Decide and explain, carry out only what a person asked for."""
    ACT = "act"
    """Carry out decisions."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """One serving process. URLs without trailing slash; `grpc` is host:port, Triton only.

    `mapping` says how its metrics page is read, None for kinds with a reader of their own. `through` None: the page is
    scraped from `metrics`. `memory_bytes`: what models may have on it as it was declared, None: it was not.
    """

    name: str
    kind: ServerKind
    http: str
    metrics: str
    grpc: str = ""
    mapping: PageMapping | None = None
    through: Through | None = None
    memory_bytes: int | None = None


class Phase(StrEnum):
    """Where a discovered server is in its life, by what discovered it."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    """It was taken out of traffic to end what it has; it may take requests again."""
    TERMINATING = "terminating"


@dataclass(frozen=True, slots=True)
class KubernetesQuery:
    """Pods of a namespace by label selector, or the endpoints of the services that a selector finds; one is empty.

    Both are where an object of `kind` with `name`, such as a Deployment, says which pods are its own; `api_version`
    empty: that in which the API server has the kind.
    `kubeconfig` and `context` empty: the pod's own service account, else the user's usual configuration.
    `drain` None: its pods are not drained by us.
    """

    namespace: str
    pods: str = ""
    services: str = ""
    kubeconfig: str = ""
    context: str = ""
    kind: str = ""
    name: str = ""
    api_version: str = ""
    drain: Drain | None = None


@dataclass(frozen=True, slots=True)
class TargetsQuery:
    """Active targets of a Prometheus whose labels match, each regular expression as a whole.

    `through`: their metrics are asked of that Prometheus too.
    """

    prometheus: str
    where: tuple[tuple[str, str], ...]
    through: bool = True


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a discovered server listens; 0: it has no such port. `page` is the path of its metrics page."""

    http: int
    grpc: int
    metrics: int
    page: str = "/metrics"


_OF = "/"


@dataclass(frozen=True, slots=True)
class ReplicaBounds:
    """Fewest and most replicas of a workload that is to be scaled."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Quota:
    """GPUs there are, of all types together and of some types by name; what is not named has no limit of its own."""

    total: int | None = None
    by_gpu: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkloadSpec:
    """A group of servers alike that is discovered. `replicas` None: how many there are is not decided here.

    `query` None: nothing finds its servers, whoever asks for a decision tells them. `publish_only`: how many replicas
    there should be is told, and somebody else sees to it. `gpu` is the type of its GPUs as the quota names it, empty:
    not told. `price_per_h` of a replica, None: its GPUs count. `memory_bytes`: of each server.
    """

    name: str
    kind: ServerKind
    query: KubernetesQuery | TargetsQuery | None
    ports: Ports
    mapping: PageMapping | None = None
    replicas: ReplicaBounds | None = None
    gpus_per_replica: int = 1
    publish_only: bool = False
    gpu: str = ""
    price_per_h: float | None = None
    schedules: tuple[Schedule, ...] = ()
    memory_bytes: int | None = None

    @property
    def told_only(self) -> bool:
        """Whether its replicas are not for us to set: somebody else sees to it, or no object is named that has them."""
        return self.publish_only or not self.names_object

    @property
    def names_object(self) -> bool:
        """Whether it is known which object has its replicas."""
        return isinstance(self.query, KubernetesQuery) and bool(self.query.name)

    @property
    def drain(self) -> Drain | None:
        """How its replicas leave traffic before they go; None: they are not drained by us."""
        return self.query.drain if isinstance(self.query, KubernetesQuery) else None

    def server(self, instance: str, address: str) -> ServerSpec:
        """Its server called `instance` at an address (IP or host). Names of the configuration hold no slash."""
        host, ports = f"[{address}]" if ":" in address else address, self.ports
        return ServerSpec(
            name=f"{self.name}{_OF}{instance}",
            kind=self.kind,
            http=f"http://{host}:{ports.http}" if ports.http else "",
            metrics=f"http://{host}:{ports.metrics}{ports.page}" if ports.metrics else "",
            grpc=f"{host}:{ports.grpc}" if ports.grpc else "",
            mapping=self.mapping,
            memory_bytes=self.memory_bytes,
        )


def is_member_name(server: str) -> bool:
    """Whether a server of that name is a discovered one."""
    return _OF in server


def workload_of(server: str) -> str:
    """The workload that a server of that name is a member of, "" where it was not discovered."""
    return server.partition(_OF)[0] if is_member_name(server) else ""


@dataclass(frozen=True, slots=True)
class Member:
    """One discovered server. `created_at`: when it was asked for; `ready_at`: when it was last seen to become ready.

    `pod_uid` is that of its pod, empty where it has none.
    """

    server: ServerSpec
    workload: str
    phase: Phase
    created_at: float | None = None
    ready_at: float | None = None
    pod_uid: str = ""


@dataclass(frozen=True, slots=True)
class Wake:
    """What tells that a model which is not loaded is wanted. Servers count nothing for it."""

    ensure: bool = False
    """Clients or gateways call POST /api/v1/models/{m}/ensure."""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A real inference of our own every `every_s` seconds, given up after `timeout_s`.

    `body` is the request as JSON text. On Triton a v2 inference request; empty: made from the model's metadata, with
    zeros. On servers with COMPLETIONS a completion or chat completion; empty: of one token, streamed. `token_file`
    holds a bearer token for those, empty: none.
    """

    every_s: float
    timeout_s: float
    body: str = ""
    token_file: str = ""


class Sharing(StrEnum):
    """What each of several workloads that serve one model is to hold of its demand."""

    AS_SERVED = "as_served"
    """What it is seen to serve."""
    BY_COST = "by_cost"
    """So that all together hold the demand at the least cost; for routing that follows capacity."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model, where it runs and what may be done with it.

    `runs_on` names servers, those of its `workloads` among them as far as they are discovered.
    Instance bounds are totals per server. `idle_unload_s` None: never unloaded for idleness.
    `device` names what its instances share with other models where Triton cannot tell (a CPU backend, MPS).
    `team` owns it and is told of its alerts; empty: nobody does. `profile` is what was measured of it beforehand.
    `variants`: what each of its workloads is to hold, where it has several. `batching`: what advice on it is for.
    `copies_min` and `copies_max`: on how many servers it is wanted, where a gateway routes by model; elsewhere it is
    on all it runs on.
    `memory_bytes`: what a copy takes as it was declared, None: it was not. `components`: models that it is an ensemble
    of, by their names in the configuration; Triton loads them with it. `lora`: it is an adapter of
    another model.
    """

    name: str
    served_name: str
    runs_on: tuple[str, ...]
    mode: Mode
    objectives: tuple[Objective, ...] = ()
    instances_min: int = 1
    instances_max: int = 1
    idle_unload_s: float | None = None
    wake: Wake = field(default_factory=Wake)
    priority: int = 0
    device: str = ""
    probe: ProbeSpec | None = None
    workloads: tuple[str, ...] = ()
    team: str = ""
    profile: Profile | None = None
    variants: Sharing = Sharing.AS_SERVED
    batching: BatchingUse = BatchingUse.ADVISE
    schedules: tuple[Schedule, ...] = ()
    copies_min: int = 1
    copies_max: int = 1
    memory_bytes: int | None = None
    components: tuple[str, ...] = ()
    lora: Lora | None = None

    @property
    def by_version(self) -> bool:
        """Whether an objective is about one version of it."""
        return any(objective.model_version for objective in self.objectives)


@dataclass(frozen=True, slots=True)
class RoutesSpec:
    """Servers before which a gateway routes by model, so that not all need to hold the same ones.

    `url` tells to which servers it routes each model now. `workloads`: all that are discovered of them are among the
    servers.
    """

    gateway: str
    url: str
    servers: tuple[str, ...]
    workloads: tuple[str, ...] = ()

    def has(self, server: str) -> bool:
        """Whether the server stands behind it."""
        return server in self.servers or workload_of(server) in self.workloads


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything the configuration names, and the discovered servers, which are also in `members` by name.

    `unlisted`: workloads of which it was not told so far who their members are. `scaling`: what clusters tell of the
    replicas of workloads. `quota`: GPUs that all workloads may have together. `routes`: gateways that route by
    model.
    """

    servers: tuple[ServerSpec, ...]
    models: tuple[ModelSpec, ...]
    gateways: tuple[GatewaySpec, ...] = ()
    agents: tuple[AgentSpec, ...] = ()
    prometheus: tuple[PrometheusSpec, ...] = ()
    workloads: tuple[WorkloadSpec, ...] = ()
    members: Mapping[str, Member] = field(default_factory=dict)
    unlisted: frozenset[str] = frozenset()
    scaling: Mapping[str, ScaleStatus] = field(default_factory=dict)
    quota: Quota = field(default_factory=Quota)
    announced: tuple[Announced, ...] = ()
    routes: tuple[RoutesSpec, ...] = ()

    def model(self, name: str) -> ModelSpec | None:
        """The model of that name, or None."""
        return next((m for m in self.models if m.name == name), None)

    def server(self, name: str) -> ServerSpec | None:
        """The server of that name, or None."""
        return next((s for s in self.servers if s.name == name), None)

    def workload(self, name: str) -> WorkloadSpec | None:
        """The workload of that name, or None."""
        return next((w for w in self.workloads if w.name == name), None)

    def with_members(
        self,
        members: Iterable[Member],
        unlisted: frozenset[str] = frozenset(),
        scaling: Mapping[str, ScaleStatus] | None = None,
    ) -> Fleet:
        """The same fleet with these discovered servers in place of those it has."""
        found = {member.server.name: member for member in members}
        by_workload: dict[str, list[str]] = {}
        for name, member in found.items():
            by_workload.setdefault(member.workload, []).append(name)

        def runs_on(model: ModelSpec) -> tuple[str, ...]:
            configured = (name for name in model.runs_on if name not in self.members)
            return (*configured, *(name for workload in model.workloads for name in by_workload.get(workload, ())))

        configured = (server for server in self.servers if server.name not in self.members)
        return replace(
            self,
            servers=(*configured, *(member.server for member in found.values())),
            models=tuple(replace(m, runs_on=runs_on(m)) if m.workloads else m for m in self.models),
            members=found,
            unlisted=unlisted,
            scaling=scaling or {},
        )
