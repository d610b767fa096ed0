"""The store on a SQL database: SQLite in a file (the default) or in memory, or PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine

from controlplane.domain.alerts import AlertStates
from controlplane.domain.decision import Action, Decision, DecisionRecord, Outcome
from controlplane.domain.events import Event, Position
from controlplane.domain.expected import Announced
from controlplane.domain.history import BUCKETS_S, Adjustment, Ahead, AlertEvent, BucketRow, ObjectiveVersion, SketchRow
from controlplane.domain.instructions import Freeze, Override, Want
from controlplane.domain.layouts import MigMemory
from controlplane.domain.objectives import Counts, Indicator, Slice
from controlplane.domain.received import ReceivedAlert
from controlplane.domain.records import AuditEntry, TickRecord, Unclosed
from controlplane.domain.startups import Startup
from controlplane.domain.state import PolicyState
from controlplane.store import ahead, configs, events, histograms, journal, judging, people, received, slices, startups
from controlplane.store.engine import reading, writing
from controlplane.store.lease import LeaseRow, fence
from controlplane.store.levels import FINEST_S
from controlplane.store.pruning import prunings


class SqlStore:
    """The port `Store` on a database with a current schema; `open_store` makes one. Safe for use by many threads."""

    def __init__(self, engine: Engine, epoch: Callable[[], int] | None = None) -> None:
        self._engine = engine
        self._epoch = epoch

    def fenced(self, epoch: Callable[[], int]) -> SqlStore:
        """The same database for who leads it: each write is made only while nobody took the lease of that epoch.

        What is written by it raises NotLeadingError otherwise; reading is free. What people say is written to the other
        one: it holds whoever leads.
        """
        return SqlStore(self._engine, epoch)

    @property
    def lease(self) -> LeaseRow:
        """Which control plane leads."""
        return LeaseRow(self._engine)

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with writing(self._engine) as connection:
            if self._epoch is not None:
                fence(connection, self._epoch())
            yield connection

    def write_tick(self, record: TickRecord) -> Mapping[str, str]:
        """Write one tick, all of it or nothing. Writing it again changes nothing."""
        with self._writing() as connection:
            slices.add_slices(connection, record.slices)
            kept_as = journal.add_decisions(connection, record.decisions)
            journal.add_effects(connection, record.effects)
            journal.put_state(connection, record)
            configs.drop_unheld(connection, record.state)
            histograms.add_histograms(connection, record.histograms)
            judging.add_versions(connection, record.versions)
            judging.add_alert_events(connection, record.alert_events)
            startups.add_startups(connection, record.startups)
        return kept_as

    def write_past(
        self,
        past: Sequence[Slice],
        rows: Sequence[BucketRow | SketchRow],
        versions: Sequence[ObjectiveVersion],
    ) -> int:
        """Write history of whole hours, where its time is not there yet; gives how many slices were new.

        All of it or nothing; writing it again changes nothing. Call `prune` before the first, so that older times go in
        at the levels that are kept for them.
        """
        with self._writing() as connection:
            new = slices.add_past_slices(connection, past)
            histograms.add_past_histograms(connection, rows)
            judging.add_past_versions(connection, versions)
        return new

    def load_state(self) -> PolicyState:
        """The state of the last tick written; empty at first."""
        with reading(self._engine) as connection:
            return journal.get_state(connection)

    def load_unclosed(self) -> Unclosed:
        """What the last tick written had read and not closed yet; empty at first."""
        with reading(self._engine) as connection:
            return journal.get_unclosed(connection)

    def load_mig(self) -> MigMemory:
        """What was kept of changes of MIG layouts; empty at first."""
        with reading(self._engine) as connection:
            return journal.get_mig(connection)

    def keep_mig(self, memory: MigMemory, entry: AuditEntry) -> None:
        """Keep it in place of what was kept before, and append to the audit log: both or neither."""
        with self._writing() as connection:
            journal.put_mig(connection, memory)
            people.add_audit(connection, entry)

    def ahead(self, now: float) -> Ahead | None:
        """The slices that start more than a slice after `now`, by a clock that was set back since; None: none do."""
        with reading(self._engine) as connection:
            return ahead.history_ahead(connection, now)

    def drop_ahead(self, now: float) -> None:
        """Delete them with their histograms: what is measured at those times is kept then, and all sums hold."""
        with self._writing() as connection:
            ahead.drop_ahead(connection, now)

    def keep_config(self, model: str, server: str, config: Mapping[str, Any]) -> None:
        """Keep a model's configuration on a server for as long as the state of ticks has a rollout there that holds."""
        with self._writing() as connection:
            configs.keep_config(connection, model, server, config)

    def kept_config(self, model: str, server: str = "") -> dict[str, Any] | None:
        """The one kept, without a server that of the first; None: there is none."""
        with reading(self._engine) as connection:
            return configs.kept_config(connection, model, server)

    def drop_config(self, model: str, server: str) -> None:
        """Forget it."""
        with self._writing() as connection:
            configs.drop_config(connection, model, server)

    def start_action(self, action: Action) -> None:
        """Journal an action before it is carried out."""
        with self._writing() as connection:
            journal.start_action(connection, action, 0 if self._epoch is None else self._epoch())

    def finish_action(self, outcome: Outcome) -> None:
        """Journal what came of it, and learn the start-up time of a success that brought instances up."""
        with self._writing() as connection:
            journal.finish_action(connection, outcome)

    def interrupt_actions(self, now: float) -> tuple[Action, ...]:
        """Mark every action that was started and never finished as interrupted; gives them."""
        with self._writing() as connection:
            return journal.interrupt_actions(connection, now)

    def outcomes(self, since: float) -> Sequence[Outcome]:
        """What came of the actions that ended since, in the order in which it was journaled."""
        with reading(self._engine) as connection:
            return journal.outcomes_since(connection, since)

    def counts(self, model: str, objective: str, since: float, until: float) -> Counts:
        """The sum of an objective's slices that start in [since, until).

        Further back than the finest level is kept, an edge is as exact as the finest level that is.
        """
        with reading(self._engine) as connection:
            return slices.sum_counts(connection, model, objective, since, until)

    def slices(
        self, model: str, objective: str, since: float, until: float, step_s: float
    ) -> Sequence[tuple[float, Counts]]:
        """(start, sum) of the whole steps of `step_s` seconds that hold any of [since, until), oldest first.

        Steps start at multiples of `step_s`; empty ones are left out. Raises ValueError for steps shorter than a slice.
        """
        if step_s < FINEST_S:
            raise ValueError(f"step_s is {step_s:g}; at least {FINEST_S} is allowed")
        with reading(self._engine) as connection:
            return slices.sum_steps(connection, model, objective, since, until, step_s=int(step_s))

    def all_counts(self, since: float, until: float) -> Mapping[tuple[str, str], Counts]:
        """The sums over [since, until) of everything that has any, by model and objective; edges as in `counts`."""
        with reading(self._engine) as connection:
            return slices.sum_all_counts(connection, since, until)

    def histograms(
        self, model: str, indicator: Indicator, gateway: str, since: float, until: float, step_s: float
    ) -> Sequence[BucketRow | SketchRow]:
        """The sums of whole steps of `step_s` seconds that hold any of [since, until), one for each set of edges.

        Oldest first; empty steps are left out. Raises ValueError for steps that are not whole minutes.
        """
        if step_s < BUCKETS_S or step_s % BUCKETS_S:
            raise ValueError(f"step_s is {step_s:g}; multiples of {BUCKETS_S:g} are allowed")
        with reading(self._engine) as connection:
            return histograms.read_histograms(connection, model, indicator, gateway, since, until, step_s=int(step_s))

    def versions(self, model: str, objective: str) -> Sequence[ObjectiveVersion]:
        """What an objective was, oldest first."""
        with reading(self._engine) as connection:
            return judging.versions_of(connection, model, objective)

    def add_adjustment(self, adjustment: Adjustment) -> None:
        """Append a correction. Raises NotFoundError, ConflictError for a withdrawal of what is not there (any more)."""
        with self._writing() as connection:
            judging.add_adjustment(connection, adjustment)

    def adjustments(self) -> Sequence[Adjustment]:
        """Every correction that was ever made, oldest first."""
        with reading(self._engine) as connection:
            return judging.all_adjustments(connection)

    def load_alerts(self) -> AlertStates:
        """How alerts stood at the last tick written; empty at first."""
        with reading(self._engine) as connection:
            return journal.get_alerts(connection)

    def alert_events(
        self, model: str = "", limit: int = 100, *, objective: str = "", since: float | None = None
    ) -> Sequence[AlertEvent]:
        """When alerts fired and ended, newest first; of one model or of all, of one objective or of every one.

        With `since`, the newest `limit` from then on, and, where that is all of them, the last of each alert before it:
        that one tells how the alert stood at `since`.
        """
        with reading(self._engine) as connection:
            return judging.newest_alert_events(connection, model, limit, objective, since)

    def decisions(self, model: str = "", limit: int = 50, *, changes_only: bool = False) -> Sequence[DecisionRecord]:
        """Newest first; of one model or of all. `changes_only` leaves out HOLD."""
        with reading(self._engine) as connection:
            return journal.records(connection, model, limit, changes_only=changes_only)

    def decision(self, decision_id: str) -> DecisionRecord:
        """One, by its id or a unique prefix. Raises NotFoundError; for several, it lists some."""
        with reading(self._engine) as connection:
            return journal.record(connection, decision_id)

    def decisions_after(self, decision: Decision, until: float) -> Sequence[DecisionRecord]:
        """Those of the same unit that followed one and were made by `until`, oldest first."""
        with reading(self._engine) as connection:
            return journal.records_after(connection, decision, until)

    def add_override(self, override: Override) -> None:
        """Keep it, in place of those in force for the same model on the same server (or on all)."""
        with self._writing() as connection:
            people.add_override(connection, override)

    def end_overrides(self, model: str, now: float) -> int:
        """End all in force of a model; gives how many."""
        with self._writing() as connection:
            return people.end_overrides(connection, model, now)

    def end_override(self, override_id: str, now: float) -> Override:
        """End one. Raises NotFoundError."""
        with self._writing() as connection:
            return people.end_override(connection, override_id, now)

    def overrides(self, now: float) -> tuple[Override, ...]:
        """Those in force, oldest first."""
        with reading(self._engine) as connection:
            return people.overrides_at(connection, now)

    def override(self, override_id: str) -> Override:
        """One, in force or not. Raises NotFoundError."""
        with reading(self._engine) as connection:
            return people.override_by_id(connection, override_id)

    def add_freeze(self, freeze: Freeze) -> None:
        """Keep it."""
        with self._writing() as connection:
            people.add_freeze(connection, freeze)

    def put_freezes(self, freezes: Sequence[tuple[Freeze, AuditEntry | None]]) -> bool:
        """Keep each in place of the one of that id, but for one that somebody ended since `created_at`; all or nothing.

        What is kept or moved goes to the audit log as its entry says; gives whether any with an entry was.
        """
        changed = False
        with self._writing() as connection:
            for freeze, entry in freezes:
                if people.put_freeze(connection, freeze) and entry is not None:
                    people.add_audit(connection, entry)
                    changed = True
        return changed

    def end_freezes(self, model: str, now: float) -> int:
        """End those of one model (empty: those that hold for all); gives how many."""
        with self._writing() as connection:
            return people.end_freezes(connection, model, now)

    def end_freeze(self, freeze_id: str, now: float) -> Freeze:
        """End one. Raises NotFoundError."""
        with self._writing() as connection:
            return people.end_freeze(connection, freeze_id, now)

    def freezes(self, now: float) -> tuple[Freeze, ...]:
        """Those in force, oldest first."""
        with reading(self._engine) as connection:
            return people.freezes_at(connection, now)

    def add_announced(self, announced: Announced) -> None:
        """Keep it."""
        with self._writing() as connection:
            people.add_announced(connection, announced)

    def end_announced(self, announced_id: str, now: float) -> Announced:
        """End one. Raises NotFoundError."""
        with self._writing() as connection:
            return people.end_announced(connection, announced_id, now)

    def announced(self, now: float) -> tuple[Announced, ...]:
        """Those that are not over, oldest first."""
        with reading(self._engine) as connection:
            return people.announced_at(connection, now)

    def add_received(self, alerts: Sequence[ReceivedAlert]) -> None:
        """Keep how each stands. Of one that is told again as it was only the time when it was heard of moves."""
        with self._writing() as connection:
            received.add_received(connection, alerts)

    def received(self, model: str = "", limit: int = 50) -> Sequence[ReceivedAlert]:
        """Those that began or ended last come first; of one model or of all."""
        with reading(self._engine) as connection:
            return received.newest_received(connection, model, limit)

    def received_firing(self, at: float, unheard_s: float, model: str = "") -> Sequence[ReceivedAlert]:
        """Those that fired at a moment, the longest firing first; of one model and of none, or of all."""
        with reading(self._engine) as connection:
            return received.received_firing(connection, at, unheard_s, model)

    def add_want(self, want: Want) -> None:
        """Keep the newest want of its model."""
        with self._writing() as connection:
            people.add_want(connection, want)

    def wants(self) -> tuple[Want, ...]:
        """The newest of each model."""
        with reading(self._engine) as connection:
            return people.all_wants(connection)

    def startups(self, model: str, knob: str = "", server: str = "") -> tuple[Startup, ...]:
        """The newest 50 of a model for each knob, newest first; of one knob, on one server, where they are given."""
        with reading(self._engine) as connection:
            return startups.newest_startups(connection, model, knob, server)

    def audit(self, entry: AuditEntry) -> None:
        """Append to the audit log."""
        with self._writing() as connection:
            people.add_audit(connection, entry)

    def audit_log(self, limit: int = 100) -> Sequence[AuditEntry]:
        """Newest first."""
        with reading(self._engine) as connection:
            return people.audit_entries(connection, limit)

    def newest_event(self) -> Position:
        """The position of who has seen everything that happened."""
        with reading(self._engine) as connection:
            return events.newest(connection)

    def events(self, position: Position, limit: int, now: float) -> Sequence[Event]:
        """What happened after a position, at most `limit`, each kind in the order in which it was written."""
        with reading(self._engine) as connection:
            return events.after(connection, position, limit, now)

    def prunings(self, now: float) -> Iterator[int]:
        """Delete what is past its time, one short transaction for each item asked for; gives how many rows it deleted.

        Cheap when there is little to do. What was not asked for is not read any more and goes with the next call.
        """
        return prunings(self._writing, now)

    def prune(self, now: float) -> int:
        """Delete all that is past its time; gives how many rows."""
        return sum(self.prunings(now))

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()
