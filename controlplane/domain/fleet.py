"""What the configuration says exists: servers, models, gateways, and what is allowed with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.mapping import PageMapping
from controlplane.domain.objectives import Objective


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

    `mapping` says how its metrics page is read, None for kinds with a reader of their own.
    """

    name: str
    kind: ServerKind
    http: str
    metrics: str
    grpc: str = ""
    mapping: PageMapping | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """What tells that a model which is not loaded is wanted. Servers count nothing for it."""

    ensure: bool = False
    """Clients or gateways call POST /api/v1/models/{m}/ensure."""


@dataclass(frozen=True, slots=True)
class ProbeSpec:
    """A real inference of our own every `every_s` seconds, given up after `timeout_s`.

    `body` is a v2 inference request as JSON text; empty: made from the model's metadata, with zeros.
    """

    every_s: float
    timeout_s: float
    body: str = ""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model, where it runs and what may be done with it.

    Instance bounds are totals per server. `idle_unload_s` None: never unloaded for idleness.
    `device` names what its instances share with other models where Triton cannot tell (a CPU backend, MPS).
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


@dataclass(frozen=True, slots=True)
class GatewaySpec:
    """A page with a request-duration histogram of what stands before the servers.

    `histogram` is the family name without `_bucket`; `model_label` holds the model; `code_label` (may be "")
    the response code, and codes matching the regular expression `error_codes` as a whole are bad events.
    """

    name: str
    page: str
    histogram: str
    model_label: str
    code_label: str
    error_codes: str


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """The agent on a GPU node; `url` is that of its page. The name names the node."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything the configuration names."""

    servers: tuple[ServerSpec, ...]
    models: tuple[ModelSpec, ...]
    gateways: tuple[GatewaySpec, ...] = ()
    agents: tuple[AgentSpec, ...] = ()

    def model(self, name: str) -> ModelSpec | None:
        """The model of that name, or None."""
        return next((m for m in self.models if m.name == name), None)

    def server(self, name: str) -> ServerSpec | None:
        """The server of that name, or None."""
        return next((s for s in self.servers if s.name == name), None)
