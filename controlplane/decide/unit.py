"""A unit: one model on one server, with everything a decision about it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.decide.forecast import Event, State
from controlplane.decide.placing.turn import Placed
from controlplane.domain.decision import Action, Freeze, Outcome, Override, Reason, ReasonCode, Target, Want
from controlplane.domain.expected import Floor
from controlplane.domain.fleet import ModelSpec, Phase, ServerSpec
from controlplane.domain.objectives import Indicator, Judgement
from controlplane.domain.observation import ModelReading, ModelState, ProbeResult, ServerReading
from controlplane.domain.signal import known
from controlplane.domain.startups import StartupTimes


@dataclass(frozen=True, slots=True)
class Turn:
    """What a rollout leaves to one server: whether it may begin, and why it failed on another, empty: it has not."""

    told: Override
    may_begin: bool
    failed: str = ""


@dataclass(frozen=True, slots=True)
class Unit:
    """`reading` is None unless it is known now; `present` is what is loaded, None while that is not known or changing.

    `saturated_by` names the model that shows the shared device to be saturated, `raising_beside` another there whose
    raise is young and not judged yet; "" if there is none. `phase` is None for servers that are not discovered.
    `scaled`: the replicas of its workload are decided. `floors` of its schedules and `events` tell what is to come,
    `forecast` what its arrivals taught; `startups` are its server's, by knob.
    `placed` is None where all servers of the model hold it. `free_bytes` are left on the server, `copy_bytes` the model
    takes; None: not known.
    `turn`: where it stands in a rollout of the model that is in force; `probes` of it, oldest first.
    """

    spec: ModelSpec
    server: ServerSpec
    seen: ServerReading | None
    reading: ModelReading | None
    judgements: tuple[Judgement, ...] = ()
    override: Override | None = None
    freezes: tuple[Freeze, ...] = ()
    want: Want | None = None
    in_flight: Action | None = None
    results: tuple[Outcome, ...] = ()
    saturated_by: str = ""
    raising_beside: str = ""
    phase: Phase | None = None
    scaled: bool = False
    floors: tuple[Floor, ...] = ()
    events: tuple[Event, ...] = ()
    forecast: State | None = None
    startups: Mapping[str, StartupTimes] = field(default_factory=dict)
    placed: Placed | None = None
    free_bytes: int | None = None
    copy_bytes: int | None = None
    turn: Turn | None = None
    probes: tuple[ProbeResult, ...] = ()

    @property
    def present(self) -> Target | None:
        """What is loaded now. A model being unloaded is not: it takes no requests, and may be loaded at once."""
        if self.reading is None:
            return None
        if self.reading.state in (ModelState.UNLOADED, ModelState.UNAVAILABLE, ModelState.UNLOADING):
            return Target(loaded=False, instances=0)
        instances = known(self.reading.instances)
        if self.reading.state is ModelState.READY and instances is not None:
            return Target(loaded=True, instances=instances)
        return None

    @property
    def max_batch(self) -> int:
        """Largest batch one instance takes."""
        if self.reading is None or not self.reading.dynamic_batching:
            return 1
        return max(1, self.reading.max_batch_size)

    @property
    def latency_objective(self) -> tuple[float | None, float]:
        """(seconds, share of requests) of the tightest latency objective; (None, 0.0) without one."""
        goals = [
            (o.threshold_s, o.target)
            for o in self.spec.objectives
            if o.indicator is Indicator.LATENCY and o.threshold_s is not None
        ]
        return min(goals) if goals else (None, 0.0)

    @property
    def latency_goal(self) -> tuple[float | None, float]:
        """The same with what the deliberate delay of the dynamic batcher, which is no congestion, leaves of it."""
        threshold_s, share = self.latency_objective
        delay_s = self.reading.max_queue_delay_s if self.reading is not None else 0.0
        return None if threshold_s is None else max(0.0, threshold_s - delay_s), share


@dataclass(frozen=True, slots=True)
class Draft:
    """What should be, as far as it has been decided, with the chain of reasons and the one that binds."""

    target: Target
    reasons: tuple[Reason, ...]
    binding: ReasonCode
    by_person: bool = False

    def because(self, reason: Reason, target: Target | None = None, *, by_person: bool = False) -> Draft:
        """The same with one more reason, which binds and may change the target."""
        return Draft(
            target or self.target,
            (*self.reasons, reason),
            reason.code,
            self.by_person or by_person,
        )

    def noting(self, reason: Reason) -> Draft:
        """The same with one more reason that changes nothing."""
        return Draft(self.target, (*self.reasons, reason), self.binding, self.by_person)
