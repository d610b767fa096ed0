"""What the loop needs from the outside, as protocols. Adapters live in collect/, store/, act/."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol

from controlplane.domain.alerts import AlertStates
from controlplane.domain.decision import Action, Decision, DecisionRecord, Outcome
from controlplane.domain.events import Event, Position
from controlplane.domain.expected import Announced
from controlplane.domain.fleet import Fleet, Member
from controlplane.domain.history import Adjustment, Ahead, AlertEvent, BucketRow, ObjectiveVersion, SketchRow
from controlplane.domain.instructions import Freeze, Override, Want
from controlplane.domain.layouts import MigMemory
from controlplane.domain.objectives import Counts, Indicator
from controlplane.domain.observation import (
    ControlMode,
    FleetReading,
)
from controlplane.domain.received import ReceivedAlert
from controlplane.domain.records import AuditEntry, TickRecord, Unclosed
from controlplane.domain.scaling import ScaleStatus
from controlplane.domain.signal import Signal
from controlplane.domain.startups import Startup
from controlplane.domain.state import PolicyState


class Discovery(Protocol):
    """Finds the servers of the workloads it was given."""

    async def start(self, changed: Callable[[], None]) -> None:
        """Begin to look, and return once each workload was listed or could not be.

        `changed` is called on the event loop whenever a member came, went or changed its phase.
        """
        ...

    def members(self, now: float) -> Mapping[str, Signal[tuple[Member, ...]]]:
        """By workload: missing until it was first listed, stale (what was known last) while it cannot be asked."""
        ...

    def scaling(self) -> Mapping[str, ScaleStatus]:
        """What is known of the replicas of workloads, beside their members; nothing of those it cannot tell of."""
        ...

    async def close(self) -> None:
        """Stop looking, let go of connections and threads."""
        ...


class Collector(Protocol):
    """Reads every target of the fleet and remembers the recent past."""

    async def collect(self, now: float, servers: Collection[str] | None = None) -> None:
        """One round over all targets, or some servers only. A failing target costs its own timeout, nothing else.

        Servers that have left are passed over.
        """
        ...

    def reading(self, now: float) -> FleetReading:
        """All that is known at `now`, aged."""
        ...

    def set_control(self, server: str, mode: Signal[ControlMode]) -> None:
        """Keep what the actuator found out about a server's model control, until the server restarts.

        Nothing where the server has left.
        """
        ...

    def follow(self, fleet: Fleet, now: float) -> FleetReading:
        """Read this fleet from now on; gives all that is known of servers and probes that leave with that.

        What is known of those that stay is kept. A server stays where its spec, its pod and its models are the same;
        one that comes under the name of another that left begins anew.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and threads."""
        ...


class Actuator(Protocol):
    """Carries out steps on servers."""

    async def control_mode(self, server: str) -> ControlMode:
        """Whether the server lets its models be loaded and unloaded. Raises TargetUnreachableError, NotFoundError."""
        ...

    async def apply(self, action: Action) -> Outcome:
        """Carry out one step to its end. Never raises for a failing server: the outcome says what happened."""
        ...

    def follow(self, fleet: Fleet) -> None:
        """Act on this fleet's servers from now on; what is under way on others comes to its end."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


class Store(Protocol):
    """Keeps history. Every method blocks; the loop calls them on the store's own thread.

    Raises StoreBusyError (try again) or StoreError (will not mend by itself).
    """

    def write_tick(self, record: TickRecord) -> Mapping[str, str]:
        """Write one tick. Slices that are there already are left alone, so that writing again changes nothing.

        A decision that is not to be carried out (a HOLD, a recommendation) and is alike to the newest of its unit
        (same step, target, binding and reason codes) only moves that one's `last_at` and `repeats`: gives that one's id
        by the id of each such decision.
        """
        ...

    def load_state(self) -> PolicyState:
        """The state of the last tick written; empty at first."""
        ...

    def load_unclosed(self) -> Unclosed:
        """What the last tick written had read and not closed yet; empty at first."""
        ...

    def load_mig(self) -> MigMemory:
        """What was kept of changes of MIG layouts; empty at first."""
        ...

    def keep_mig(self, memory: MigMemory, entry: AuditEntry) -> None:
        """Keep it in place of what was kept before, and append to the audit log: both or neither."""
        ...

    def ahead(self, now: float) -> Ahead | None:
        """The slices that start more than a slice after `now`, by a clock that was set back since; None: none do."""
        ...

    def drop_ahead(self, now: float) -> None:
        """Delete them with their histograms: what is measured at those times is kept then, and all sums hold."""
        ...

    def keep_config(self, model: str, server: str, config: Mapping[str, Any]) -> None:
        """Keep a model's configuration on a server for as long as the state of ticks has a rollout there that holds."""
        ...

    def kept_config(self, model: str, server: str = "") -> dict[str, Any] | None:
        """The one kept, without a server that of the first; None: there is none."""
        ...

    def drop_config(self, model: str, server: str) -> None:
        """Forget it."""
        ...

    def start_action(self, action: Action) -> None:
        """Journal an action before it is carried out."""
        ...

    def finish_action(self, outcome: Outcome) -> None:
        """Journal what came of it; a start-up time is learned from a success (load, reload, set_instances)."""
        ...

    def interrupt_actions(self, now: float) -> tuple[Action, ...]:
        """Mark every action that was started and never finished as interrupted; gives them. Called at start."""
        ...

    def outcomes(self, since: float) -> Sequence[Outcome]:
        """What came of the actions that ended since, in the order in which it was journaled."""
        ...

    def counts(self, model: str, objective: str, since: float, until: float) -> Counts:
        """The sum of an objective's slices that start in [since, until)."""
        ...

    def slices(
        self, model: str, objective: str, since: float, until: float, step_s: float
    ) -> Sequence[tuple[float, Counts]]:
        """(start, sum) of the whole steps of `step_s` seconds that hold any of [since, until), oldest first.

        Steps start at multiples of `step_s`; empty ones are left out.
        """
        ...

    def all_counts(self, since: float, until: float) -> Mapping[tuple[str, str], Counts]:
        """The sums over [since, until) of everything that has any, by model and objective."""
        ...

    def histograms(
        self, model: str, indicator: Indicator, gateway: str, since: float, until: float, step_s: float
    ) -> Sequence[BucketRow | SketchRow]:
        """The sums of whole steps of `step_s` seconds that hold any of [since, until), one for each set of edges.

        Oldest first; empty steps are left out. Raises ValueError for steps that are not whole minutes.
        """
        ...

    def versions(self, model: str, objective: str) -> Sequence[ObjectiveVersion]:
        """What an objective was, oldest first."""
        ...

    def add_adjustment(self, adjustment: Adjustment) -> None:
        """Append a correction. Raises NotFoundError, ConflictError for a withdrawal of what is not there (any more)."""
        ...

    def adjustments(self) -> Sequence[Adjustment]:
        """Every correction that was ever made, oldest first."""
        ...

    def load_alerts(self) -> AlertStates:
        """How alerts stood at the last tick written; empty at first."""
        ...

    def alert_events(
        self, model: str = "", limit: int = 100, *, objective: str = "", since: float | None = None
    ) -> Sequence[AlertEvent]:
        """When alerts fired and ended, newest first; of one model or of all, of one objective or of every one.

        With `since`, the newest `limit` from then on, and, where that is all of them, the last of each alert before it:
        that one tells how the alert stood at `since`.
        """
        ...

    def decisions(self, model: str = "", limit: int = 50, *, changes_only: bool = False) -> Sequence[DecisionRecord]:
        """Newest first; of one model or of all. `changes_only` leaves out HOLD."""
        ...

    def decision(self, decision_id: str) -> DecisionRecord:
        """One, by its id or a unique prefix. Raises NotFoundError."""
        ...

    def decisions_after(self, decision: Decision, until: float) -> Sequence[DecisionRecord]:
        """Those of the same unit that followed one and were made by `until`, oldest first."""
        ...

    def add_override(self, override: Override) -> None:
        """Keep it. It replaces overrides in force of the same model (and server) that it contradicts."""
        ...

    def end_overrides(self, model: str, now: float) -> int:
        """End all in force of a model or workload; gives how many."""
        ...

    def end_override(self, override_id: str, now: float) -> Override:
        """End one. Raises NotFoundError."""
        ...

    def overrides(self, now: float) -> tuple[Override, ...]:
        """Those in force."""
        ...

    def override(self, override_id: str) -> Override:
        """One, in force or not. Raises NotFoundError."""
        ...

    def add_freeze(self, freeze: Freeze) -> None:
        """Keep it."""
        ...

    def put_freezes(self, freezes: Sequence[tuple[Freeze, AuditEntry | None]]) -> bool:
        """Keep each in place of the one of that id, but for one that somebody ended since `created_at`.

        What is kept or moved goes to the audit log as its entry says; gives whether any with an entry was. All in one
        transaction.
        """
        ...

    def end_freezes(self, model: str, now: float) -> int:
        """End those of one model or workload (empty: those that hold for all); gives how many."""
        ...

    def end_freeze(self, freeze_id: str, now: float) -> Freeze:
        """End one. Raises NotFoundError."""
        ...

    def freezes(self, now: float) -> tuple[Freeze, ...]:
        """Those in force."""
        ...

    def add_announced(self, announced: Announced) -> None:
        """Keep it."""
        ...

    def end_announced(self, announced_id: str, now: float) -> Announced:
        """End one. Raises NotFoundError."""
        ...

    def announced(self, now: float) -> tuple[Announced, ...]:
        """Those that are not over."""
        ...

    def add_received(self, alerts: Sequence[ReceivedAlert]) -> None:
        """Keep how each stands. Of one that is told again as it was only the time when it was heard of moves."""
        ...

    def received(self, model: str = "", limit: int = 50) -> Sequence[ReceivedAlert]:
        """Those that began or ended last come first; of one model or of all."""
        ...

    def received_firing(self, at: float, unheard_s: float, model: str = "") -> Sequence[ReceivedAlert]:
        """Those that fired at a moment as `ReceivedAlert.fired_at` has it, the longest firing first.

        Of one model and of none, or of all.
        """
        ...

    def add_want(self, want: Want) -> None:
        """Keep the newest want of its model."""
        ...

    def wants(self) -> tuple[Want, ...]:
        """The newest of each model."""
        ...

    def startups(self, model: str, knob: str = "", server: str = "") -> tuple[Startup, ...]:
        """The newest 50 of a model for each workload and knob, newest first; of one knob, on one server if given."""
        ...

    def audit(self, entry: AuditEntry) -> None:
        """Append to the audit log."""
        ...

    def audit_log(self, limit: int = 100) -> Sequence[AuditEntry]:
        """Newest first."""
        ...

    def newest_event(self) -> Position:
        """The position of who has seen everything that happened."""
        ...

    def events(self, position: Position, limit: int, now: float) -> Sequence[Event]:
        """What happened after a position, at most `limit`: decisions, outcomes, burn alerts and instructions.

        By time, and those of a kind in the order in which they were written. Whoever goes on from the position of the
        last one gets each once, also while others write. A position ahead of what there is counts as the newest.
        """
        ...

    def prunings(self, now: float) -> Iterator[int]:
        """Delete slices older than their level is kept, and decisions that changed nothing and are two weeks old.

        One short transaction for each item asked for, which says how many rows it deleted. Call it now and then.
        """
        ...

    def close(self) -> None:
        """Close the database."""
        ...
