"""A workload that is scaled, with everything a decision about its replicas rests on, and what is learned of it."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter

from controlplane.decide import expected, learning
from controlplane.decide.capacity import Capacity
from controlplane.decide.forecast import Event
from controlplane.decide.policy import Policy
from controlplane.decide.replicas import tokens
from controlplane.decide.replicas.flow import recent, telling
from controlplane.decide.replicas.tokens import TokenGoal
from controlplane.decide.replicas.work import Work, batch_work, together, token_work
from controlplane.decide.startups import ASSUMED_S
from controlplane.domain.decision import Action, Outcome
from controlplane.domain.expected import Floor
from controlplane.domain.fleet import Member, Mode, ModelSpec, Phase, ReplicaBounds, ServerKind, WorkloadSpec
from controlplane.domain.instructions import Freeze, Override, Want
from controlplane.domain.objectives import Indicator, Judgement
from controlplane.domain.observation import Interval, ModelReading, ModelState
from controlplane.domain.profiles import BatchProfile, TokenProfile
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import known
from controlplane.domain.startups import REPLICA
from controlplane.domain.state import Service, WorkloadState

# Caches and graphs of a replica are cold in its first minute.
_WARM_S = 60.0
_STARTUPS = 20


@dataclass(frozen=True, slots=True)
class Pool:
    """`readings` of its models by model and server, those known now. `judgements` are of all its models.

    `in_flight` is its own step under way, `results` what came of its last ones.
    `bounds` are those in force: a person's, where the `override` sets some.
    `floors` of its schedules and `events` tell what is to come.
    """

    spec: WorkloadSpec
    bounds: ReplicaBounds
    models: tuple[ModelSpec, ...]
    members: tuple[Member, ...]
    readings: Mapping[str, Mapping[str, ModelReading]]
    judgements: tuple[Judgement, ...] = ()
    override: Override | None = None
    freezes: tuple[Freeze, ...] = ()
    wants: tuple[Want, ...] = ()
    in_flight: Action | None = None
    results: tuple[Outcome, ...] = ()
    scaling: ScaleStatus = field(default_factory=ScaleStatus)
    floors: tuple[Floor, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def mode(self) -> Mode:
        """That of its most cautious model."""
        return min((model.mode for model in self.models), key=list(Mode).index)

    @property
    def serving(self) -> tuple[Member, ...]:
        """Replicas that take traffic."""
        return tuple(m for m in self.members if m.phase is Phase.READY)

    @property
    def starting(self) -> tuple[Member, ...]:
        """Replicas that are paid for and take no traffic yet."""
        return tuple(m for m in self.members if m.phase is Phase.STARTING)

    @property
    def draining(self) -> tuple[Member, ...]:
        """Replicas that were taken out of traffic and have not been told to go."""
        return tuple(m for m in self.members if m.phase is Phase.DRAINING)

    @property
    def present(self) -> int:
        """Replicas that were asked for and are not going away."""
        return len(self.serving) + len(self.starting) + len(self.draining)

    def told(self, now: float, max_age_s: float) -> frozenset[str]:
        """Servers that take traffic of which each model told something of late, or that it is not loaded."""
        names = frozenset(member.server.name for member in self.serving)
        for by_server in self.readings.values():
            told = self.recent(by_server, now, max_age_s)
            names &= {*told, *(n for n, reading in by_server.items() if reading.state is not ModelState.READY)}
        return names

    def recent(
        self, by_server: Mapping[str, ModelReading], now: float, max_age_s: float
    ) -> dict[str, tuple[Interval, ...]]:
        """What one of its models told of late, by server. Demand on a vLLM is in tokens: uncounted ones are no zero."""
        intervals = {name: reading.intervals for name, reading in by_server.items()}
        return recent(intervals, now, max_age_s, by_tokens=self.spec.kind is ServerKind.VLLM)

    def read_since(self, at: float) -> bool:
        """Whether some server has told what it did from then on."""
        readings = (r for by_server in self.readings.values() for r in by_server.values())
        return any(r.intervals and r.intervals[0].start <= at for r in readings)


def identity(member: Member) -> str:
    """Tells a replica from a later one of the same name."""
    return f"{member.server.name} {member.pod_uid}"


def lead_s(startups: Sequence[float]) -> float:
    """Seconds in which the next replica is ready, not exceeded with a probability of nine tenths, by those seen.

    The k-th smallest of n as in decide/startups.py, from ten on; of fewer the longest, and more the fewer they are.
    """
    if not startups:
        return ASSUMED_S[REPLICA]
    rank = math.ceil(0.9 * (len(startups) + 1))
    if rank <= len(startups):
        return sorted(startups)[rank - 1]
    return max(startups) * (1 + 1 / len(startups))


def due(pool: Pool, startups: Sequence[float], policy: Policy, now: float) -> Floor | None:
    """The floor of its schedules, from as early on as replicas take to start, and no higher than its bounds allow."""
    floor = expected.due(pool.floors, now, lead_s(startups) + policy.horizon_s)
    return floor and replace(floor, least=min(floor.least, pool.bounds.most))


def remember(pool: Pool, state: WorkloadState) -> WorkloadState:
    """The state with the newest start-ups and readings learned from."""
    # one that was ready and is not now does not start up again
    startups, ready = state.startups, state.ready & {identity(member) for member in pool.members}
    # nor does one that takes requests again
    ready |= {identity(member) for member in pool.draining if member.ready_at is not None}
    for member in pool.serving:
        name = identity(member)
        ready |= {name}
        created_at, ready_at = member.created_at, member.ready_at
        # those that are there when it begins to look were seen by nobody
        if name not in state.ready and state.asked is not None and created_at is not None and ready_at is not None:
            startups = (*startups, max(0.0, ready_at - created_at))[-_STARTUPS:]
    state = replace(state, startups=startups, ready=ready)
    names = {model.name for model in pool.models}
    services = {name: service for name, service in state.services.items() if name in names}
    for name, by_server in pool.readings.items():
        services[name] = _learned(pool, services.get(name, Service()), by_server)
    return replace(state, services=services)


def _learned(pool: Pool, service: Service, by_server: Mapping[str, ModelReading]) -> Service:
    """How a replica serves one model, with its newest readings learned from."""
    began = {m.server.name: m.ready_at + _WARM_S for m in pool.members if m.ready_at is not None}
    sums, batches = service.tokens, service.batches
    here = {member.server.name for member in pool.members}
    until = {name: at for name, at in service.learned_until.items() if name in here}
    for name, reading in by_server.items():
        told = telling(reading.intervals)
        known = bisect_right(told, service.learned_until.get(name, 0.0), key=attrgetter("end"))
        fresh = [i for i in told[known:] if i.start >= began.get(name, 0.0)]
        if pool.spec.kind is ServerKind.VLLM:
            whole = list(tokens.stretches(fresh))
            sums = tokens.learn(sums, whole)
            newest = whole[-1][-1].end if whole else 0.0
        else:
            batches = learning.learn(batches, fresh, 0.0)
            newest = fresh[-1].end if fresh else 0.0
        until[name] = max(until.get(name, 0.0), newest)
    return Service(sums, batches, until)


def work_of(pool: Pool, state: WorkloadState, now: float, max_age_s: float) -> Work | None:
    """Its demand in replicas, of what the servers told of late; None while too little is learned."""
    works = []
    for model in pool.models:
        by_server = pool.readings.get(model.name, {})
        told = pool.recent(by_server, now, max_age_s)
        if not told:
            continue
        found = _work(pool, model, state, told, [by_server[name] for name in told], now)
        if found is None:
            return None
        works.append(found)
    return together(works)


def _work(
    pool: Pool,
    model: ModelSpec,
    state: WorkloadState,
    told: Mapping[str, Sequence[Interval]],
    readings: Sequence[ModelReading],
    now: float,
) -> Work | None:
    memory = state.services.get(model.name, Service())
    if pool.spec.kind is ServerKind.VLLM:
        service = tokens.service(memory.tokens, model.profile if isinstance(model.profile, TokenProfile) else None)
        if service is None:
            return None
        usages = [usage for reading in readings if (usage := known(reading.kv_cache_usage)) is not None]
        return token_work(told, usages, service, goal(model), now)
    largest = max((r.max_batch_size if r.dynamic_batching else 1 for r in readings), default=1)
    largest = max(largest, 1, *(size.size for size in memory.batches))
    curve = learning.curve(memory.batches, largest, model.profile if isinstance(model.profile, BatchProfile) else None)
    if curve is None:
        return None
    threshold_s, share = _latency(model, readings)
    newest = [interval for reading in readings for interval in reading.intervals[-12:]]
    capacity = Capacity(curve, threshold_s, share, learning.items_per_request(newest))
    instances = max(1, *(interval.instances for interval in newest)) if newest else 1
    return batch_work(told, capacity, instances, instances * largest, now)


def goal(model: ModelSpec) -> TokenGoal:
    """The tightest objectives on tokens of a model."""
    ttft = _tightest(model, Indicator.TTFT)
    itl = _tightest(model, Indicator.INTER_TOKEN_LATENCY)
    return TokenGoal(
        ttft[0] if ttft else None, itl[0] if itl else None, max(t[1] for t in (ttft, itl, (0.0, 0.9)) if t)
    )


def _tightest(model: ModelSpec, indicator: Indicator) -> tuple[float, float] | None:
    found = [(o.threshold_s, o.target) for o in model.objectives if o.indicator is indicator and o.threshold_s]
    return min(found, default=None)


def _latency(model: ModelSpec, readings: Iterable[ModelReading]) -> tuple[float | None, float]:
    """As Unit.latency_goal: without the deliberate delay of the batcher."""
    tightest = _tightest(model, Indicator.LATENCY)
    if tightest is None:
        return None, 0.0
    delay_s = max((reading.max_queue_delay_s for reading in readings), default=0.0)
    return max(0.0, tightest[0] - delay_s), tightest[1]
