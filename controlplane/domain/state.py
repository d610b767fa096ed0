"""What the decider remembers from tick to tick. Values only; kept in the store as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controlplane.domain.batching import BatchingCase, BatchingKnobs, BatchingMemory
from controlplane.domain.rollout import Rollout


@dataclass(frozen=True, slots=True)
class BatchSum:
    """Forgetting sums of executions and their compute seconds for one batch size at one instance count."""

    size: int
    instances: int
    executions: float
    compute_s: float


@dataclass(frozen=True, slots=True)
class Expectation:
    """An increase whose effect is still to be judged.

    `done_at` is 0 until it is carried out; the throughput is the one before it. `issued_at` is when it was decided.
    """

    decision_id: str
    from_instances: int
    to_instances: int
    done_at: float
    throughput_per_s: float
    issued_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Ceiling:
    """More instances than `instances` are of no use; believed until `until`, and remembered for longer.

    `times` a raise beyond it failed in a row.
    """

    instances: int
    until: float
    times: int = 1


@dataclass(frozen=True, slots=True)
class Tuning:
    """Batching that was set as advised: `wanted` is to be there, after a restart of the server too.

    `origin` is what the server has by itself, `before` what was there until `wanted` was. `trial`: its effect is still
    to be judged, against a mean of `latency_s` a request. `undone`: `before` did harm, `wanted` was there until then.
    """

    case: BatchingCase
    origin: BatchingKnobs
    before: BatchingKnobs
    wanted: BatchingKnobs
    trial: Expectation | None = None
    latency_s: float = 0.0
    undone: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Batching that was tried `times` times and taken back; not tried again before `until`."""

    case: BatchingCase
    times: int
    until: float


@dataclass(frozen=True, slots=True)
class MemorySample:
    """By so many bytes a server's memory differed with `after` instances of a model from that with `before`.

    0 instances: the model was not loaded.
    """

    before: int
    after: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class UnitState:
    """Memory of one model on one server (a unit).

    `wanted`: should be loaded. `used_at`: when it was last not provably idle. `recommended` holds (time, count) of the
    dwell window. `failures`/`retry_at`: back-off after failed actions. `learned_until`: end of the last interval used.
    `jump_seen_at`: end of the reading that first showed the present jump of demand, 0 when there is none.
    `changed_at`: end of the last successful action. `blind_since`: since when data are missing (None: they are there).
    `gone_since`: since when its discovered server has left (None: it is there).
    `batching`: since when its batching is configured as it is, and what is advised on it; None while it is not loaded.
    `memory` holds what it was seen to take on the server, the last few times; empty: that is not known. `full`: by that
    alone there is no room for more instances, none at all where it is 0; one more is tried once it is not believed.
    `leaving_since`: since when the gateway before it is told to drop it (None: it is not).
    `served`: the instances that a placed copy had while all copies of the model were to stay, 0 for one that has come
    since (None: not known).
    `tuning`: what of that was carried out; `refused`: what of it did not help.
    `rollout` to another version, while the instruction holds or until it is rolled back.
    """

    wanted: bool | None = None
    instances: int | None = None
    used_at: float | None = None
    recommended: tuple[tuple[float, int], ...] = ()
    batches: tuple[BatchSum, ...] = ()
    learned_until: float = 0.0
    expectation: Expectation | None = None
    ceiling: Ceiling | None = None
    failures: int = 0
    retry_at: float = 0.0
    blind_since: float | None = None
    undo_to: int | None = None
    changed_at: float = 0.0
    healed_at: float = 0.0
    jump_seen_at: float = 0.0
    gone_since: float | None = None
    batching: BatchingMemory | None = None
    memory: tuple[MemorySample, ...] = ()
    full: Ceiling | None = None
    leaving_since: float | None = None
    served: int | None = None
    tuning: Tuning | None = None
    refused: tuple[Refusal, ...] = ()
    rollout: Rollout | None = None


@dataclass(frozen=True, slots=True)
class TokenSums:
    """Fading sums of what busy readings of vLLM-like replicas state (see decide/replicas/tokens.py).

    `products` are those of its four numbers with each other, row by row, `totals` the numbers' own.
    """

    products: tuple[float, ...] = (0.0,) * 16
    totals: tuple[float, ...] = (0.0,) * 4
    readings: float = 0.0


@dataclass(frozen=True, slots=True)
class DemandPoint:
    """Demand in replicas at a moment: `level` by which it is foretold, `newest` by which that is judged later."""

    at: float
    level: float
    newest: float


@dataclass(frozen=True, slots=True)
class Service:
    """What was learned of how a replica serves one model, by tokens or by batches.

    `learned_until`: end of the last interval used, by server.
    """

    tokens: TokenSums = field(default_factory=TokenSums)
    batches: tuple[BatchSum, ...] = ()
    learned_until: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkloadState:
    """Memory of one workload that is scaled.

    `services` by model: two on the same servers take different times, and each is learned by itself. `startups`:
    seconds that its newest replicas took from being asked for to being ready, `ready` those already counted. `wanted`
    holds (time, replicas) of the dwell. `asked`: replicas that were decided on last. `used_at`: when it was last not
    provably idle. `refused`: rises that were not fulfilled, in a row; no further one before `retry_at`. `starting`:
    since when each replica was seen to start. `gone_since`: since when no configuration names the workload (None: one
    does). Of one that shares its model's demand by cost: `ahead` is the demand ahead, (time, arrivals per second), of
    the dwell, `capacity_per_s` what a replica last held. `failures`: steps that failed in a row, the last with
    `remedy`; no further one before `act_at`. `set_to`, `set_at`: the replicas that were set last, and when. `leaving`:
    since when each replica that would go first was seen out of traffic.
    """

    services: Mapping[str, Service] = field(default_factory=dict)
    history: tuple[DemandPoint, ...] = ()
    startups: tuple[float, ...] = ()
    ready: frozenset[str] = frozenset()
    wanted: tuple[tuple[float, int], ...] = ()
    asked: int | None = None
    used_at: float | None = None
    blind_since: float | None = None
    refused: int = 0
    retry_at: float = 0.0
    starting: Mapping[str, float] = field(default_factory=dict)
    gone_since: float | None = None
    ahead: tuple[tuple[float, float], ...] = ()
    capacity_per_s: float | None = None
    failures: int = 0
    remedy: str = ""
    act_at: float = 0.0
    set_to: int | None = None
    set_at: float = 0.0
    leaving: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Circuit:
    """Steps in a row that found nobody at a target. Where it is open, no step before `until`, and then one that tries.

    `opened`: how often in a row it was opened.
    """

    failures: int = 0
    opened: int = 0
    until: float = 0.0

    @property
    def is_open(self) -> bool:
        """Whether steps are held back, but for the one that tries."""
        return self.opened > 0


@dataclass(frozen=True, slots=True)
class Spread:
    """Memory of how many servers a model is wanted on, behind a gateway that routes by model.

    `copies` are wanted. `needed` holds (time, copies) of the dwell. `each_instances` of every copy are to be there
    before one goes, for `each_per_s` arrivals per second on each that is `staying`; 0: as many stay. It was decided by
    the demand, and by what one copy can take with all instances that it may have, in requests per second; None: not
    known. `why` none goes. `waits_since`: since when requests wait, 0: they do not. `left_at`: when one went of late,
    `returns`: so often in a row it had to come back, for which none goes before `held_until`.
    """

    copies: int
    needed: tuple[tuple[float, int], ...] = ()
    each_instances: int = 0
    each_per_s: float = 0.0
    staying: int = 0
    demand_per_s: float | None = None
    capacity_per_s: float | None = None
    why: str = ""
    waits_since: float = 0.0
    left_at: float = 0.0
    returns: int = 0
    held_until: float = 0.0


@dataclass(frozen=True, slots=True)
class MemoryMark:
    """What a server had of GPU memory while it held just these models since `since`; None: not read since then."""

    incarnation: int
    models: Mapping[str, int]
    since: float
    used_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyState:
    """Units by "model@server", and workloads that are scaled by name.

    `forecasts` by workload are the decider's own; they are learned again from history and not kept in the store.
    `circuits`: targets (servers, workloads) at which nobody was found of late. `changes`: when steps were decided on
    that count against the changes of a minute.
    `marks` by server, the newest last, are what its memory is compared with. `slice_capacity`: requests per second that
    a copy was seen to serve, by "MODEL BOARD PROFILE" of its MIG slice; the planner of layouts learns it, as it does
    `slice_demand`: times, and requests per second then, by model; and `slice_resets`: GPUs that wait for a reset, by
    UUID, each with its node and when that was read. `spreads` by model.
    """

    units: Mapping[str, UnitState] = field(default_factory=dict)
    workloads: Mapping[str, WorkloadState] = field(default_factory=dict)
    forecasts: Mapping[str, Any] = field(default_factory=dict)
    circuits: Mapping[str, Circuit] = field(default_factory=dict)
    changes: tuple[float, ...] = ()
    marks: Mapping[str, tuple[MemoryMark, ...]] = field(default_factory=dict)
    slice_capacity: Mapping[str, float] = field(default_factory=dict)
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    slice_demand: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=dict)
    slice_resets: Mapping[str, tuple[str, float]] = field(default_factory=dict)


def unit_key(model: str, server: str) -> str:
    """The name of a unit."""
    return f"{model}@{server}"


def server_of(key: str) -> str:
    """The server in the name of a unit."""
    return key.partition("@")[2]
