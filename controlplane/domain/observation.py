"""What was seen: readings, and what happened between two readings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from controlplane.domain.batching import BatchingKnobs
from controlplane.domain.gpu import GpuReading
from controlplane.domain.objectives import Indicator
from controlplane.domain.signal import Missing, Signal

NOT_EXPORTED = Missing("not exported")


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
    """What a server lets be done with its models, as far as it can be found out. Triton's POLL and NONE are alike."""

    EXPLICIT = "explicit"
    SLEEP_ONLY = "sleep_only"
    """A vLLM that sleeps and wakes, and whose LoRA adapters are not to be loaded, or not asked for."""
    ADAPTERS_ONLY = "adapters_only"
    """A vLLM that loads LoRA adapters, and does not sleep."""
    NOT_ALLOWED = "not_allowed"


@dataclass(frozen=True, slots=True)
class BatchCount:
    """Executions of one batch size and the compute seconds they took together (input + infer + output)."""

    size: int
    executions: int
    compute_s: float


class SleepState(StrEnum):
    """Whether an engine that can sleep does; all but AWAKE answer no request."""

    AWAKE = "awake"
    WEIGHTS_OFFLOADED = "weights_offloaded"
    """Weights wait in the machine's memory."""
    DISCARDED = "discarded"
    """Weights are gone."""


class Counter(StrEnum):
    """What a server counted since it, or the model on it, began. Seconds and tokens are sums over requests."""

    REQUESTS = "requests"
    """By how they ended."""
    REQUEST_S = "request_seconds"
    QUEUE_S = "queue_seconds"
    COMPUTE_S = "compute_seconds"
    """By phase (input, infer, output). Every request is charged the whole time of its batch."""
    INFERENCES = "inferences"
    EXECUTIONS = "executions"
    RESPONSE_CACHE = "response_cache_lookups"
    """By result (hit, miss)."""
    PROMPT_TOKENS = "prompt_tokens"
    GENERATION_TOKENS = "generation_tokens"
    PREEMPTIONS = "preemptions"
    PREFIX_QUERIES = "prefix_cache_queried_tokens"
    PREFIX_HITS = "prefix_cache_hit_tokens"
    ENDED = "ended_requests"
    ENDED_PROMPT = "ended_prompt_tokens"
    ENDED_GENERATION = "ended_generation_tokens"
    ITL_COUNT = "inter_token_intervals"
    ITL_S = "inter_token_seconds"


Counters: TypeAlias = Mapping[tuple[Counter, str], float]
"""By counter and, where it has parts, by part (an outcome, a phase, a result), else the empty text."""


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens of an interval on a server that generates text. None: not exported, or began to be in the interval.

    `prompt` and `generation` as they are computed, those of the prompt with the ones found in the prefix cache.
    `prefix_queries`, `prefix_hits`: prompt tokens looked up there, and found. `preemptions`: requests thrown out of a
    full KV cache. `ended` requests, with `ended_prompt` and `ended_generation` tokens: the lengths of whole requests.
    `itl_count` times between tokens were seen, which took `itl_s` seconds together.
    """

    prompt: int | None
    generation: int | None
    preemptions: int | None
    prefix_queries: int | None
    prefix_hits: int | None
    ended: int | None
    ended_prompt: int | None
    ended_generation: int | None
    itl_count: int | None = None
    itl_s: float | None = None


@dataclass(frozen=True, slots=True)
class Adapters:
    """LoRA adapters: how many fit a batch, those that run, those whose requests wait; by the server's own account."""

    slots: int
    running: tuple[str, ...]
    waiting: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VersionCount:
    """The requests of one version of a model; fields as in Interval."""

    version: str
    completed: int
    failed: int
    rejected: int
    canceled: int
    request_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Interval:
    """What one server did for one model in (start, end], as differences of its counters.

    Only intervals whose both ends were read exist: time without one is uncovered, not zero.
    `completed` counts requests that got an answer of any kind and were counted by the server; `failed` those of them
    the server counts as failed by itself or its backend (`failed_backend`: by the backend), `rejected` those it turned
    away after queueing, `canceled` those the client gave up.
    `pending_*` are requests waiting and `running_*` requests executing at its ends, own ones among them; None: not
    observed. `running_max`: at most so many could be executing at either end; None: nothing bounds them.
    `running_seen_max`: the same while no batch is larger than any seen so far, None: batches are not read.
    `began_anew`: counters may have begun anew inside it, so that some of its requests may be counted nowhere.
    `failure_s`: seconds that a failed request took on average from arrival to answer, None where that was not read.
    `batches` is empty when the statistics were not read. `probes` of the completed were our own, and `probes_*` of our
    own were under way at its ends. `turned_away`: the queue was full for one of them, and so for others too, uncounted.
    `tokens`: None for servers that count none. `versions`: the same requests by the model's version, those that are
    loaded at the end; empty where nobody asks for it and there is one only.
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
    pending_start: int | None
    pending_end: int | None
    running_max: int | None
    instances: int
    batches: tuple[BatchCount, ...] = ()
    probes: int = 0
    failure_s: float | None = None
    tokens: TokenCounts | None = None
    running_start: int | None = None
    running_end: int | None = None
    running_seen_max: int | None = None
    began_anew: bool = False
    probes_start: int = 0
    probes_end: int = 0
    turned_away: bool = False
    versions: tuple[VersionCount, ...] = ()

    @property
    def length_s(self) -> float:
        """Seconds covered."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class LatencyInterval:
    """What a histogram counted for one model in (start, end].

    `edges` are the finite upper bounds in seconds, ascending; `counts` has one entry more (the last: above all edges)
    and is not cumulative. `errors` of all events were errors, whatever their latency; they are not in `counts`.
    `gateway` names where it was counted, empty: on a server.
    """

    indicator: Indicator
    start: float
    end: float
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    errors: int = 0
    gateway: str = ""


@dataclass(frozen=True, slots=True)
class RatioInterval:
    """What a Prometheus told in (start, end] for the objective called `objective`.

    Events of two counters; of a share one event for each time it was told.
    """

    objective: str
    start: float
    end: float
    good: int
    bad: int


@dataclass(frozen=True, slots=True)
class RatioReading:
    """What is known of an objective of which a Prometheus tells; `live`: whether it does. Intervals oldest first.

    `warning`: what is odd about it though it is told; empty: nothing.
    """

    live: Signal[bool]
    intervals: tuple[RatioInterval, ...] = ()
    warning: str = ""


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One inference of our own: seconds to the whole answer, `error` empty when it was answered properly.

    `ttft_s`: seconds to the first token, None where the answer was not streamed or had none. `version` of the model
    that was asked, empty: whichever the server takes, since it has one only.
    """

    at: float
    server: str
    latency_s: float
    error: str = ""
    ttft_s: float | None = None
    version: str = ""


@dataclass(frozen=True, slots=True)
class ModelReading:
    """One model on one server now, with its recent past (oldest first).

    `instances` is the total over its instance groups; `instances_per_step` the smallest change of the total that the
    groups allow (number of GPUs listed). `max_queue_delay_s` is deliberate batching delay, not congestion.
    `preferred_batch_sizes` as Triton shows them: where none are configured, the largest batch.
    `other_scheduler`: requests come in sequences or go through an ensemble, which rules dynamic batching out.
    `gpus` are the GPUs of its instance groups as "server/index", empty for CPU; `gpu_uuids` those its counters name.
    `kv_cache_usage` is a fraction, of several engines that of the fullest; `kv_cache_tokens` fit all engines together.
    `refused`: requests turned away before they were queued, since the server began. `load_s`: what the newest load took
    by the server's own account. `counters` are the server's own, each since its last reset. `outdated`: what is loaded
    where the configuration names something else; empty: nothing else. `versions` are ready;
    `components` are the models that it calls, as an ensemble, by their served names.
    """

    state: ModelState
    reason: str = ""
    instances: Signal[int] = field(default_factory=lambda: Missing("never read"))
    instances_per_step: int = 1
    max_batch_size: int = 0
    dynamic_batching: bool = False
    max_queue_delay_s: float = 0.0
    preferred_batch_sizes: tuple[int, ...] = ()
    other_scheduler: bool = False
    versions: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    gpus: tuple[str, ...] = ()
    pending: Signal[int] = field(default_factory=lambda: Missing("never read"))
    running: Signal[int] = NOT_EXPORTED
    kv_cache_usage: Signal[float] = NOT_EXPORTED
    kv_cache_tokens: Signal[int] = NOT_EXPORTED
    pending_by_reason: Signal[Mapping[str, int]] = NOT_EXPORTED
    refused: Signal[int] = NOT_EXPORTED
    sleep: Signal[SleepState] = NOT_EXPORTED
    adapters: Signal[Adapters] = NOT_EXPORTED
    load_s: Signal[float] = NOT_EXPORTED
    gpu_uuids: tuple[str, ...] = ()
    counters: Signal[Counters] = NOT_EXPORTED
    intervals: tuple[Interval, ...] = ()
    outdated: str = ""
    recent_failures: tuple[str, ...] = ()
    """Messages of failed inferences seen by our own probes, newest last."""

    @property
    def max_batch(self) -> int:
        """Largest batch one instance takes."""
        return max(1, self.max_batch_size) if self.dynamic_batching else 1

    @property
    def batching(self) -> BatchingKnobs:
        """How its requests are batched. The largest batch alone as preferred is what Triton shows where none is."""
        preferred = tuple(size for size in self.preferred_batch_sizes if self.dynamic_batching)
        return BatchingKnobs(
            self.max_batch_size,
            self.dynamic_batching,
            self.max_queue_delay_s if self.dynamic_batching else 0.0,
            () if preferred == (self.max_batch_size,) else preferred,
        )


class HostGauge(StrEnum):
    """What a server tells of its machine; GPU_* of one GPU. Bytes, and shares of 1."""

    PINNED_MEMORY_USED = "pinned_memory_used_bytes"
    PINNED_MEMORY_TOTAL = "pinned_memory_total_bytes"
    CPU_UTILISATION = "cpu_utilisation_ratio"
    CPU_MEMORY_USED = "cpu_memory_used_bytes"
    CPU_MEMORY_TOTAL = "cpu_memory_total_bytes"
    GPU_UTILISATION = "gpu_utilisation_ratio"
    GPU_MEMORY_USED = "gpu_memory_used_bytes"
    GPU_MEMORY_TOTAL = "gpu_memory_total_bytes"


HostReading: TypeAlias = Mapping[tuple[HostGauge, str], float]
"""By gauge and the UUID of the GPU, empty where it is about none. What is not exported is not in it."""


@dataclass(frozen=True, slots=True)
class ServerReading:
    """One server now. `live` says whether it answered; `models` maps a model's name to its reading.

    `incarnation` grows by one at each restart that was noticed. `host`: its machine, as its own page tells it.
    `problem`: what went wrong when it was read last, empty: nothing.
    """

    name: str
    live: Signal[bool]
    control: Signal[ControlMode]
    incarnation: int
    models: Mapping[str, Signal[ModelReading]]
    host: Signal[HostReading] = NOT_EXPORTED
    problem: str = ""

    @property
    def read_at(self) -> float | None:
        """When anything of it was read last; None: never. That it did not answer is no reading."""
        seen = [signal.observed_at for signal in self.models.values() if not isinstance(signal, Missing)]
        if not isinstance(self.live, Missing) and self.live.value:
            seen.append(self.live.observed_at)
        return max(seen, default=None)


Routes: TypeAlias = Mapping[str, frozenset[str]]
"""Servers to which a gateway routes, by model; one that it does not name it routes nowhere."""


@dataclass(frozen=True, slots=True)
class FleetReading:
    """Everything that collecting knows at `at`. No GPU is Known(()), no driver is Missing.

    `gpus` are those of this machine and of all agents; `gpu_nodes` says which agents' NVML answers, and why not.
    `ratios` are by model and the key of the objective. `routes`: what each gateway that routes by model says.
    """

    at: float
    servers: Mapping[str, ServerReading]
    latencies: Mapping[str, tuple[LatencyInterval, ...]]
    probes: Mapping[str, tuple[ProbeResult, ...]]
    gpus: Signal[tuple[GpuReading, ...]]
    gateways: Mapping[str, Signal[bool]] = field(default_factory=dict)
    gpu_nodes: Mapping[str, Signal[bool]] = field(default_factory=dict)
    ratios: Mapping[str, Mapping[str, RatioReading]] = field(default_factory=dict)
    routes: Mapping[str, Signal[Routes]] = field(default_factory=dict)
