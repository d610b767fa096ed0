"""Decisions, what people said, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controlplane.domain.batching import BatchingKnobs
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Mode


class Step(StrEnum):
    """What can be done to one model on one server. Each is declarative: issuing it again changes nothing."""

    HOLD = "hold"
    LOAD = "load"
    UNLOAD = "unload"
    SET_INSTANCES = "set_instances"
    RELOAD = "reload"
    """A full reload: heals a dead stub, which neither a plain load nor an in-place update does."""
    CONFIGURE = "configure"
    """Other batching, by a full reload in the background of what still serves."""
    SET_VERSIONS = "set_versions"
    """Other versions of the model beside or in place of those that serve, each with so many instances."""
    SCALE = "scale"
    """More or fewer replicas of a workload."""
    TRAFFIC = "traffic"
    """So many replicas of a workload stay in traffic; the others end what they have. Or they are put back into it."""


OF_REPLICAS = frozenset({Step.SCALE, Step.TRAFFIC})
"""Steps of a workload, all others are of a model on a server."""


class ReasonCode(StrEnum):
    """Why. The text of each stands in decide/explain.py."""

    DEMAND = "demand"
    CAPACITY = "capacity"
    BACKLOG = "backlog"
    LATENCY_OVER_OBJECTIVE = "latency_over_objective"
    CAPACITY_UNKNOWN = "capacity_unknown"
    SATURATED = "saturated"
    REPLICA_DEMAND = "replica_demand"
    DEMAND_AHEAD = "demand_ahead"
    SEASON = "season"
    """What is usual at this time of the day or week says how much is to come."""
    EVENT = "event"
    """Somebody said that more would come."""
    SCHEDULE = "schedule"
    """A schedule keeps so many there."""
    ONE_FEWER = "one_fewer"
    """What one replica fewer would have meant."""
    UNFULFILLED = "unfulfilled"
    """Replicas that were asked for do not come."""
    CONSOLIDATION = "consolidation"
    DWELL = "dwell"
    STEP_LIMIT = "step_limit"
    BOUNDS = "bounds"
    INSTANCE_STEP = "instance_step"
    OVERRIDE = "override"
    FROZEN = "frozen"
    MODE = "mode"
    IDLE = "idle"
    WANTED = "wanted"
    RECONCILE = "reconcile"
    DATA_MISSING = "data_missing"
    DATA_PARTIAL = "data_partial"
    SAFE_FLOOR = "safe_floor"
    IN_FLIGHT = "in_flight"
    BACK_OFF = "back_off"
    CIRCUIT_OPEN = "circuit_open"
    """Nobody could be reached there several times in a row: it is left alone for a while, then tried with one step."""
    CHANGE_RATE = "change_rate"
    """As much was changed within a minute as may be."""
    BLAST_RADIUS = "blast_radius"
    """Capacity is taken from as many servers at once as may be."""
    DEAD_BACKEND = "dead_backend"
    UNDO = "undo"
    CONTROL_NOT_ALLOWED = "control_not_allowed"
    NOT_CONTROLLABLE = "not_controllable"
    PUBLISH_ONLY = "publish_only"
    """Replicas are told, and something else sees to them."""
    OWNED = "owned"
    """Something else sets the replicas, against what the configuration says."""
    SERVER_DOWN = "server_down"
    STORE_AWAY = "store_away"
    """It cannot be written down, and nothing is done that is not."""
    QUOTA = "quota"
    """GPUs are scarce, and others come first."""
    BY_COST = "by_cost"
    """Several workloads serve the model, and this mix of them holds its demand at the least cost."""
    SERVER_PHASE = "server_phase"
    """It is starting or terminating, by what discovered it."""
    ROLLOUT = "rollout"
    """Where the rollout of another version of the model stands."""
    BATCHING = "batching"
    """Advice on the model's batching: it binds where it is carried out, and otherwise changes nothing."""
    BATCHING_WAITS = "batching_waits"
    """Why such advice is not carried out now, though that was asked for; it never binds."""
    PLACED = "placed"
    """Which servers hold the model, behind a gateway that routes by model."""
    SPREAD = "spread"
    """On how many servers the model is wanted there, by its demand."""
    HANDOVER = "handover"
    """What the copies that stay are to be before one goes, behind such a gateway."""
    ROUTED = "routed"
    """It is unloaded only once the gateway is seen not to route to it any more."""
    NO_ROOM = "no_room"
    """The server has less memory left than the model takes."""
    ROOM_DOUBTED = "room_doubted"
    """That rests on what was measured alone, and one step is tried in spite of it, now or after a while."""
    DRAINING = "draining"
    """Replicas that are to go take no new requests, and end what they have."""
    DRAINED = "drained"
    """They have, or their time for it is over."""
    PUT_BACK = "put_back"
    """They need not go any more, and take requests again."""
    IN_PLACE = "in_place"
    """Nothing to change: what is, is what should be."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One link of the chain that led to a decision: a code, its numbers (units in their names) and words."""

    code: ReasonCode
    numbers: Mapping[str, float] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """What should be for one model on one server. `instances` is the total on the server, 0 when not loaded.

    Of a workload, `instances` are its replicas. `batching` None: as it is. `versions` of the model, each with so many
    instances; empty: those that there are.
    """

    loaded: bool
    instances: int
    batching: BatchingKnobs | None = None
    versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What should be done with one model on one server, or with the replicas of a workload, and why.

    Of a workload `server` is its name, and `model` the first of its models.

    `current` is None when it cannot be known. `reasons` are in the order in which they applied; `binding` is the one
    that settled the outcome. `by_person`: an override asked for it, so it is carried out in `recommend` mode too.
    `told_only`: of a workload whose replicas are not for us to set.
    """

    id: str
    at: float
    model: str
    server: str
    mode: Mode
    step: Step
    current: Target | None
    target: Target | None
    reasons: tuple[Reason, ...]
    binding: ReasonCode
    by_person: bool = False
    told_only: bool = False

    @property
    def actionable(self) -> bool:
        """Whether it is to be carried out (not only shown)."""
        if self.step is Step.TRAFFIC and not self.lowers:
            return True  # it takes back what was begun, whatever has changed since
        may = self.mode is Mode.ACT or (self.by_person and self.mode is not Mode.OBSERVE)
        return may and self.step is not Step.HOLD and not self.told_only

    @property
    def lowers(self) -> bool:
        """Whether its step takes capacity away, if only for a while. Not known what is there: it is taken to do so."""
        return lowers(self.step, self.current, self.target)

    @property
    def knob(self) -> str:
        """What it turns; no two steps turn one knob at a time."""
        return knob(self.step, self.model, self.server)


class Verdict(StrEnum):
    """What an action turned out to do."""

    HELPED = "helped"
    NO_GAIN = "no_gain"
    """Throughput rose less than it should under backlog: the device is saturated."""
    HARMED = "harmed"
    """Throughput at equal demand fell: undone."""
    NOT_JUDGED = "not_judged"


@dataclass(frozen=True, slots=True)
class Effect:
    """The checked effect of a decision: throughput (per second) before and after its action."""

    decision_id: str
    verdict: Verdict
    at: float
    before_per_s: float
    after_per_s: float


class ActionStatus(StrEnum):
    """Where an action is."""

    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DROPPED = "dropped"
    """Not done: by the recheck before acting, the world had changed."""
    INTERRUPTED = "interrupted"
    """The control plane stopped before it knew the result; the next tick sees what is."""
    DRY_RUN = "dry_run"


TIMEOUT_S: Mapping[Step, float] = {
    Step.HOLD: 60.0,
    Step.LOAD: 900.0,
    Step.RELOAD: 900.0,
    Step.CONFIGURE: 900.0,
    Step.SET_INSTANCES: 900.0,
    Step.SET_VERSIONS: 900.0,
    Step.UNLOAD: 180.0,
    Step.SCALE: 300.0,
    Step.TRAFFIC: 120.0,
}
"""Seconds after which a step is given up, further tries included; above what one call to a server may take."""


@dataclass(frozen=True, slots=True)
class Action:
    """One step on its way to one server, or to one workload (`server` is its name). The id is the decision's.

    Its precondition is `before`, what was there when it was decided (None: not known): where that is so no longer it is
    dropped. Its effect is `target`, and a step towards `before` would undo it. What else is expected of an increase is
    an Expectation. `waits`: for its turn on a busy server; `issued_at` is when that came, until then when it was asked.
    """

    id: str
    model: str
    server: str
    step: Step
    target: Target
    issued_at: float
    before: Target | None = None
    waits: bool = False

    @property
    def knob(self) -> str:
        """What it turns; no two steps turn one knob at a time."""
        return knob(self.step, self.model, self.server)

    @property
    def timeout_s(self) -> float:
        """Seconds after which it is given up."""
        return TIMEOUT_S[self.step]

    @property
    def lowers(self) -> bool:
        """Whether it takes capacity away, if only for a while."""
        return lowers(self.step, self.before, self.target)


def knob(step: Step, model: str, server: str) -> str:
    """The one thing that a step turns: a model on a server, or the replicas of a workload whatever models it serves."""
    return server if step in OF_REPLICAS else f"{model}@{server}"


def lowers(step: Step, before: Target | None, target: Target | None) -> bool:
    """Whether a step takes capacity away, if only for a while; where it is not known what is there, it is taken to."""
    if step in (Step.UNLOAD, Step.RELOAD, Step.CONFIGURE, Step.SET_VERSIONS):
        return True
    if step is not Step.SET_INSTANCES and step not in OF_REPLICAS:
        return False
    return before is None or target is None or target.instances < before.instances


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action. `in_place` tells an in-place instance update from a full reload (None: neither).

    `waited_s` of its time passed between tries.
    """

    action: Action
    status: ActionStatus
    finished_at: float
    detail: str = ""
    failure: FailureClass | None = None
    remedy: str = ""
    in_place: bool | None = None
    waited_s: float = 0.0

    @property
    def took_s(self) -> float:
        """Seconds for which somebody worked on it."""
        return self.finished_at - self.action.issued_at - self.waited_s


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of one tick, and the effects judged in it.

    `look_again_s`: one more reading would settle something, so the next tick should come after so many seconds.
    """

    at: float
    decisions: tuple[Decision, ...]
    effects: tuple[Effect, ...] = ()
    look_again_s: float | None = None


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision as kept, with all that followed. `last_at`/`repeats`: it was decided alike again until then."""

    decision: Decision
    last_at: float
    repeats: int
    outcomes: tuple[Outcome, ...] = ()
    effect: Effect | None = None
