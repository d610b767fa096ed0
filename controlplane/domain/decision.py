"""Decisions, what people said, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

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
    SCALE = "scale"
    """More or fewer replicas of a workload. Decided and told, not carried out by us."""


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
    SERVER_PHASE = "server_phase"
    """It is starting or terminating, by what discovered it."""
    BATCHING = "batching"
    """Advice on the model's batching: it never binds and changes no target."""
    PLACED = "placed"
    """Which servers hold the model, behind a gateway that routes by model."""
    ROUTED = "routed"
    """It is unloaded only once the gateway is seen not to route to it any more."""
    NO_ROOM = "no_room"
    """The server has less memory left than the model takes."""
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

    Of a workload, `instances` are its replicas.
    """

    loaded: bool
    instances: int


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
        may = self.mode is Mode.ACT or (self.by_person and self.mode is not Mode.OBSERVE)
        return may and self.step not in (Step.HOLD, Step.SCALE) and not self.told_only


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


@dataclass(frozen=True, slots=True)
class Action:
    """One step on its way to one server. The id is the decision's."""

    id: str
    model: str
    server: str
    step: Step
    target: Target
    issued_at: float


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action. `in_place` tells an in-place instance update from a full reload (None: neither)."""

    action: Action
    status: ActionStatus
    finished_at: float
    detail: str = ""
    failure: FailureClass | None = None
    remedy: str = ""
    in_place: bool | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All decisions of one tick, and the effects judged in it.

    `look_again_s`: one more reading would settle something, so the next tick should come after so many seconds.
    """

    at: float
    decisions: tuple[Decision, ...]
    effects: tuple[Effect, ...] = ()
    look_again_s: float | None = None


class OverrideKind(StrEnum):
    """What a person can fix about a model."""

    LOADED = "loaded"
    UNLOADED = "unloaded"
    INSTANCES = "instances"
    PIN = "pin"
    """Stay as it is: loaded, with the instances it had."""


@dataclass(frozen=True, slots=True)
class Override:
    """A person's instruction. `instances` for INSTANCES and PIN, a total per server; `server` empty: all it runs on."""

    id: str
    model: str
    kind: OverrideKind
    actor: str
    reason: str
    created_at: float
    expires_at: float
    instances: int | None = None
    server: str = ""


class FreezeDirection(StrEnum):
    """What a freeze forbids."""

    ALL = "all"
    NO_UP = "no_up"
    NO_DOWN = "no_down"


@dataclass(frozen=True, slots=True)
class Freeze:
    """No scaling until `expires_at`, for one model or (empty) for all; people's overrides still act."""

    id: str
    model: str
    direction: FreezeDirection
    actor: str
    reason: str
    created_at: float
    expires_at: float


@dataclass(frozen=True, slots=True)
class Want:
    """Somebody asked for a model through its wake source at `at`."""

    model: str
    at: float
    actor: str


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """A decision as kept, with all that followed. `last_at`/`repeats`: it was decided alike again until then."""

    decision: Decision
    last_at: float
    repeats: int
    outcomes: tuple[Outcome, ...] = ()
    effect: Effect | None = None
