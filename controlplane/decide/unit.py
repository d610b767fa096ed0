"""A unit: one model on one server, with everything a decision about it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.decide.copy_size import UNKNOWN, CopySize
from controlplane.decide.forecast import Event, State
from controlplane.decide.placing.turn import Handover, Placed
from controlplane.domain.decision import Action, Outcome, Reason, ReasonCode, Target
from controlplane.domain.expected import Floor
from controlplane.domain.fleet import ModelSpec, Phase, ServerSpec
from controlplane.domain.instructions import Freeze, Override, OverrideKind, Want
from controlplane.domain.objectives import Indicator, Judgement
from controlplane.domain.observation import ModelReading, ModelState, ProbeResult, ServerReading
from controlplane.domain.signal import known
from controlplane.domain.startups import StartupTimes
from controlplane.domain.state import Spread

_FIXED = (OverrideKind.INSTANCES, OverrideKind.PIN)


@dataclass(frozen=True, slots=True)
class Turn:
    """What a rollout leaves to one server: whether it may begin, and why it failed on another, empty: it has not.

    `until`: the versions that those served that have begun; empty: none has. `proved`: all of them are done.
    """

    told: Override
    may_begin: bool
    failed: str = ""
    until: tuple[str, ...] = ()
    proved: bool = False


@dataclass(frozen=True, slots=True)
class Unit:
    """`reading` is None unless it is known now; `present` is what is loaded, None while that is not known or changing.

    `saturated_by` names the model that shows the shared device to be saturated, `raising_beside` another there whose
    raise is young and not judged yet; "" if there is none. `phase` is None for servers that are not discovered.
    `scaled`: the replicas of its workload are decided. `floors` of its schedules and `events` tell what is to come,
    `forecast` what its arrivals taught; `startups` are its server's, by knob.
    `placed` is None where all servers of the model hold it, `spread` where their number does not follow its demand,
    `handover` where it is no copy's turn to go. `beside`: the most instances that a copy has on another server.
    `free_bytes` are left on the server, None: not known; `size` is what the model takes. `unsettled`: a step is under
    way there, or what the last one took is not measured yet.
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
    spread: Spread | None = None
    handover: Handover | None = None
    beside: int = 0
    free_bytes: int | None = None
    size: CopySize = UNKNOWN
    unsettled: bool = False
    turn: Turn | None = None
    probes: tuple[ProbeResult, ...] = ()

    @property
    def instances_told(self) -> int | None:
        """The instances that a person set, at which it stays; None: nobody did."""
        told = self.override
        if told is None or told.kind not in _FIXED or told.instances is None:
            return None
        return max(1, told.instances)

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
    def step(self) -> int:
        """The smallest change of its total that its instance groups can express."""
        return 1 if self.reading is None else self.reading.instances_per_step

    def rounded_up(self, instances: int) -> int:
        """As many as its instance groups can express, no fewer than these."""
        return -(-instances // self.step) * self.step

    @property
    def max_batch(self) -> int:
        """Largest batch one instance takes."""
        return 1 if self.reading is None else self.reading.max_batch

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
