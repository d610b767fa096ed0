"""What was seen: readings, and what happened between two readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from controlplane.domain.objectives import Indicator
from controlplane.domain.signal import Missing, Signal


class ModelState(StrEnum):
    """State of a model on a server, by the repository index; UNLOADED: known to the repository, not loaded."""

    READY = "ready"
    LOADING = "loading"
    UNLOADING = "unloading"
    UNAVAILABLE = "unavailable"
    UNLOADED = "unloaded"
    ABSENT = "absent"
    """Not in the server's model repository at all."""


class ControlMode(StrEnum):
    """Triton's model-control mode as far as it can be found out; POLL and NONE answer alike."""

    EXPLICIT = "explicit"
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class BatchCount:
    """Executions of one batch size and the compute seconds they took together (input + infer + output)."""

    size: int
    executions: int
    compute_s: float


@dataclass(frozen=True, slots=True)
class Interval:
    """What one server did for one model in (start, end], as differences of its counters.

    Only intervals whose both ends were read exist: time without one is uncovered, not zero.
    `completed` counts requests that got an answer of any kind and were counted by the server; `failed` those of them
    the server counts as failed by itself or its backend (`failed_backend`: by the backend), `rejected` those it turned
    away after queueing, `canceled` those the client gave up.
    `pending_*` are requests waiting (not executing). `running_max`: at most so many could be executing at one moment.
    `failure_s`: seconds that a failed request took on average from arrival to answer, None where that was not read.
    `batches` is empty when the statistics were not read. `probes` of the completed were our own.
    """

    start: float
    end: float
    completed: int
    failed: int
    failed_backend: int
    rejected: int
    canceled: int
    request_s: float
    queue_s: float
    pending_start: int
    pending_end: int
    running_max: int
    instances: int
    batches: tuple[BatchCount, ...] = ()
    probes: int = 0
    failure_s: float | None = None

    @property
    def length_s(self) -> float:
        """Seconds covered."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class LatencyInterval:
    """What a histogram counted for one model in (start, end].

    `edges` are the finite upper bounds in seconds, ascending; `counts` has one entry more (the last: above all edges)
    and is not cumulative. `errors` of all events were errors, whatever their latency; they are not in `counts`.
    """

    indicator: Indicator
    start: float
    end: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    errors: int = 0


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One inference of our own: latency in seconds, `error` empty when it was answered properly."""

    at: float
    server: str
    latency_s: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class ModelReading:
    """One model on one server now, with its recent past (oldest first).

    `instances` is the total over its instance groups; `instances_per_step` the smallest change of the total that the
    groups allow (number of GPUs listed). `max_queue_delay_s` is deliberate batching delay, not congestion.
    `gpus` are the GPUs of its instance groups as "server/index", empty for CPU.
    """

    state: ModelState
    reason: str = ""
    instances: Signal[int] = field(default_factory=lambda: Missing("never read"))
    instances_per_step: int = 1
    max_batch_size: int = 0
    dynamic_batching: bool = False
    max_queue_delay_s: float = 0.0
    gpus: tuple[str, ...] = ()
    pending: Signal[int] = field(default_factory=lambda: Missing("never read"))
    running: Signal[int] = field(default_factory=lambda: Missing("not exported"))
    kv_cache_usage: Signal[float] = field(default_factory=lambda: Missing("not exported"))
    intervals: tuple[Interval, ...] = ()
    recent_failures: tuple[str, ...] = ()
    """Messages of failed inferences seen by our own probes, newest last."""


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One server now. `live` says whether it answered; `models` maps a model's name to its reading.

    `incarnation` grows by one at each restart that was noticed.
    """

    name: str
    live: Signal[bool]
    control: Signal[ControlMode]
    incarnation: int
    models: Mapping[str, Signal[ModelReading]]


def _never() -> Missing:
    return Missing("never read")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a MIG slice lies on its GPU: first memory unit and number of units."""

    start: int
    size: int


@dataclass(frozen=True, slots=True)
class SliceReading:
    """One MIG slice. `profile` is its name as NVML gives it (1g.18gb)."""

    uuid: str
    gpu_instance: int
    compute_instance: int
    profile: Signal[str]
    memory_used_bytes: Signal[int]
    memory_total_bytes: Signal[int]
    placement: Signal[Placement]


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that computes on a GPU; `slice_uuid` names the MIG slice it runs in, empty: the whole GPU.

    `pid` is that of its own machine as the NVML there sees it.
    """

    pid: int
    memory_used_bytes: Signal[int]
    slice_uuid: str = ""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """One GPU by NVML. Utilisation as a fraction 0 to 1, memory in bytes, power in watts, temperature in Celsius.

    `node`: name of the agent that told it; empty: this machine. `throttle_reasons`: what holds the clocks down.
    `ecc_uncorrected` counts since the driver was loaded. `last_xid` is the number of the last XID error since NVML was
    first asked, 0: none. `slices` is empty where MIG is off.
    """

    uuid: str
    index: int
    name: str
    utilisation: Signal[float]
    memory_used_bytes: Signal[int]
    memory_total_bytes: Signal[int]
    power_w: Signal[float]
    mig_enabled: Signal[bool]
    temperature_c: Signal[int] = field(default_factory=_never)
    sm_clock_mhz: Signal[int] = field(default_factory=_never)
    throttle_reasons: Signal[tuple[str, ...]] = field(default_factory=_never)
    ecc_uncorrected: Signal[int] = field(default_factory=_never)
    last_xid: Signal[int] = field(default_factory=_never)
    processes: Signal[tuple[GpuProcess, ...]] = field(default_factory=_never)
    slices: Signal[tuple[SliceReading, ...]] = field(default_factory=_never)
    node: str = ""


GPU_SIGNALS = tuple(f.name for f in fields(GpuReading) if f.name not in {"uuid", "index", "name", "node"})
SLICE_SIGNALS = tuple(f.name for f in fields(SliceReading) if not f.name.endswith(("uuid", "instance")))
"""The fields that are signals."""
THROTTLE_REASONS = (
    "clocks_setting",
    "sw_power_cap",
    "hw_slowdown",
    "sync_boost",
    "sw_thermal",
    "hw_thermal",
    "hw_power_brake",
    "display_clock",
)
"""Our names of what holds a GPU's clocks down."""


@dataclass(frozen=True, slots=True)
class FleetReading:
    """Everything that collecting knows at `at`. No GPU is Known(()), no driver is Missing.

    `gpus` are those of this machine and of all agents; `gpu_nodes` says which agents' NVML answers, and why not.
    """

    at: float
    servers: Mapping[str, ServerReading]
    latencies: Mapping[str, tuple[LatencyInterval, ...]]
    probes: Mapping[str, tuple[ProbeResult, ...]]
    gpus: Signal[tuple[GpuReading, ...]]
    gateways: Mapping[str, Signal[bool]] = field(default_factory=dict)
    gpu_nodes: Mapping[str, Signal[bool]] = field(default_factory=dict)
