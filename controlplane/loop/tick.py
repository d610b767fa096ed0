"""One pass from what was seen to what is done: the only place where the stages meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

import structlog

from controlplane.decide.forecast import State
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.decide.resume import resumed
from controlplane.domain.alerts import AlertStates
from controlplane.domain.decision import Decision, Plan, Reason, ReasonCode
from controlplane.domain.errors import ControlPlaneError, NotLeadingError
from controlplane.domain.fleet import Fleet
from controlplane.domain.leader import ALONE, Leadership
from controlplane.domain.objectives import SLICE_S
from controlplane.domain.observation import FleetReading
from controlplane.domain.picture import LoopHealth, Picture
from controlplane.domain.placing import Placement
from controlplane.domain.ports import Collector, Store
from controlplane.domain.records import TickRecord
from controlplane.domain.rollout import Rollout
from controlplane.domain.routing import Prices
from controlplane.domain.signal import Signal
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from controlplane.loop.ahead import let_go_of_ahead, not_ahead
from controlplane.loop.backlog import Backlog
from controlplane.loop.clock import Clock
from controlplane.loop.endings import Endings
from controlplane.loop.executor import Executor
from controlplane.loop.findings import Findings
from controlplane.loop.history import SliceWriter
from controlplane.loop.judging import Judged, Windows, judge_fleet, versions_of
from controlplane.loop.mig_planner import MigPlanner
from controlplane.loop.placer import Placer
from controlplane.loop.roster import Roster
from controlplane.loop.schedules import Calendar
from controlplane.loop.seasons import recalled
from controlplane.loop.startups import StartupBook, learned
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.strain import Strain
from controlplane.loop.totals import Tally
from controlplane.slo.alerts import AlertPolicy
from controlplane.slo.grace import Grace

log = structlog.get_logger(__name__)

_LATE_S = 60.0
"""A tick is no later than that: a store that does not answer holds one up for a minute."""

_FAILED_S = 86_400.0
"""Failures of the last day stand after a restart; what is wanted still is tried anew within that time."""


class _Judge(Protocol):
    def __call__(self, fleet: Fleet, store: Store, *, now: float) -> Judged: ...


def _write_one(record: TickRecord, store: Store) -> Mapping[str, str]:
    return store.write_tick(record)


def _ask(store: Store, fleet: Fleet, reading: FleetReading, judge: _Judge, now: float) -> tuple[Snapshot, Judged]:
    judged = judge(fleet, store, now=now)
    overrides, freezes = store.overrides(now), store.freezes(now)
    told = Snapshot(fleet, reading, judged.judgements, overrides, freezes, store.wants())
    return replace(told, announced=store.announced(now)), judged


class Tick:
    """Reads, judges, decides, writes, acts. Not re-entrant: the runner calls it one at a time.

    A store that raises NotLeadingError has another leader now: nothing is written or done. `leadership` tells how this
    control plane stands, for those who look.
    """

    def __init__(
        self,
        roster: Roster,
        policy: Policy,
        collector: Collector,
        store: StoreThread,
        executor: Executor,
        clock: Clock,
        *,
        grace: Grace,
        decide_s: float,
        prices: Prices | None = None,
        leadership: Callable[[], Leadership] = lambda: ALONE,
        mig: MigPlanner | None = None,
    ) -> None:
        self._roster, self._leadership = roster, leadership
        self._policy = policy
        self._collector = collector
        self._store = store
        self._executor = executor
        self._clock, self._grace = clock, grace
        self._late_s = max(_LATE_S, 2 * decide_s) + SLICE_S
        self._tally = Tally(prices or Prices(), decide_s)
        self._mig = mig or MigPlanner(None, Prices(), max_age_s=policy.data_max_age_s)
        self._health = LoopHealth(interval_s=decide_s)
        self._placer = Placer()
        self.rest()

    def rest(self) -> None:
        """Forget what was decided and measured: another goes on, or `resume` does. Never while a tick runs."""
        self.resumed = False
        """Whether it ticks."""
        self._refused = False
        self._state = PolicyState()
        self._slices = SliceWriter(self._grace)
        self._written_until: Mapping[str, float] = {}
        self._strain = Strain()
        self._windows = Windows()
        self._judged = Judged()
        self._alerts: AlertStates = {}
        self._versions: set[tuple[str, str]] = set()
        self._backlog = Backlog()
        now = self._clock()
        self._told = Snapshot(self._roster.fleet, FleetReading(0.0, {}, {}, {}, self._collector.reading(now).gpus))
        self._decisions: tuple[Decision, ...] = ()
        self._startups = StartupBook(now)
        self._calendar = Calendar()
        self._endings = Endings()
        self._findings = Findings()
        self._placer.close()
        self._placer = Placer()
        self._placements: Mapping[str, Signal[Placement]] = {}
        self._mig.rest()
        health = self._health
        self._health = LoopHealth(health.ticks, health.skipped, interval_s=health.interval_s, late_s=health.late_s)

    async def watch(self) -> None:
        """In place of a tick, for one that stands by: what people said, for those who look."""
        now = self._clock()
        try:
            overrides, freezes = await self._store.call(lambda s: (s.overrides(now), s.freezes(now)))
        except ControlPlaneError as error:
            self._health = replace(self._health, problem=str(error), store_failing=True)
            return
        self._told = replace(self._told, fleet=self._roster.fleet, overrides=overrides, freezes=freezes)
        self._health = replace(self._health, problem="", store_failing=False)

    async def resume(self) -> None:
        """Continue from what the store holds, as the one that decides. Raises StoreError, StoreBusyError."""
        self.rest()
        now = self._clock()
        kept = await self._store.call(lambda s: s.load_state())
        self._state = resumed(kept, self._policy, now)
        overrides, freezes = await self._store.call(lambda s: (s.overrides(now), s.freezes(now)))
        self._told = replace(self._told, overrides=overrides, freezes=freezes)
        interrupted = await self._store.call(lambda s: s.interrupt_actions(now))
        for action in interrupted:
            log.warning("action was interrupted by a stop", id=action.id, model=action.model, step=action.step)
        self._findings.resume(await self._store.call(lambda s: s.outcomes(now - _FAILED_S)))
        await self._store.call(lambda s: let_go_of_ahead(s, now))
        self._slices.begin(now, await self._store.call(lambda s: s.load_unclosed()))
        self._alerts = not_ahead(await self._store.call(lambda s: s.load_alerts()), now)
        self._executor.take_results()
        self._mig.resume(kept, self._look, await self._store.call(lambda s: s.load_mig()), now)
        self.resumed = True
        self._health = replace(self._health, started_at=now)

    async def recall(self) -> None:
        """Learn from history what arrivals are usual. Takes seconds; ticks before it is done go by no season."""
        try:
            async for workload, forecast in recalled(self._roster.fleet, self._store, self._clock()):
                self.foresee({workload: forecast})
        except ControlPlaneError as error:
            log.warning("seasons are not known from history; they are learned anew", error=str(error))

    def foresee(self, forecasts: Mapping[str, State]) -> None:
        """Take in what history taught of the arrivals of workloads, by name."""
        self._state = replace(self._state, forecasts={**self._state.forecasts, **forecasts})

    def part(self, left: FleetReading) -> None:
        """What was read of servers that leave counts in the slices it was read in. Never while a tick runs."""
        self._slices.part(self._roster.fleet, left)

    def look(self, reading: FleetReading) -> None:
        """Look for start-ups in a new reading: those of a few seconds would be over between two ticks."""
        self._startups.look(self._roster.fleet, reading, self._executor.acted)
        self._findings.renew()

    def read(self, reading: FleetReading) -> None:
        """Count a round over all servers, which gave this reading."""
        self._tally.round(self._roster.fleet, reading)

    async def run(self) -> Plan:
        """One tick. Store faults are borne: decisions go on from memory and are written when the store is back.

        One that fails otherwise loses no slices: the next closes them anew, as far back as readings reach.
        """
        closed_until = self._slices.closed_until
        try:
            return await self._run()
        except BaseException:
            self._slices.closed_until = closed_until
            raise

    async def _run(self) -> Plan:
        now, fleet = self._clock(), self._roster.fleet
        reading = self._collector.reading(now)
        self.look(reading)
        closed = self._slices.close(fleet, reading, now, self._strain.spans)
        problem = await self._read_store(fleet, reading, now)
        snapshot = replace(
            self._told,
            fleet=fleet,
            reading=reading,
            overrides=tuple(o for o in self._told.overrides if o.expires_at > now),
            freezes=tuple(f for f in self._told.freezes if f.expires_at > now),
            announced=tuple(a for a in (*fleet.announced, *self._told.announced) if a.end_s > now),
            floors=self._calendar.floors(fleet, now),
            startups=self._startups.times,
            in_flight=self._executor.in_flight,
            results=self._executor.take_results(),
            placements=self._placer.newest(now),
        )
        self._startups.written(outcome.action.model for outcome in snapshot.results)
        self._findings.note(fleet, snapshot.results)
        plan, self._state = decide(snapshot, self._state, self._policy, now)
        learned, demand, resets = self._mig.learned, self._mig.demand, self._mig.resets
        self._state = replace(self._state, slice_capacity=learned, slice_demand=demand, slice_resets=resets)
        self._placer.ask(snapshot, self._state, now)
        self._placements = snapshot.placements
        self._strain.note(plan.decisions, now)
        versions = versions_of(fleet, self._versions, now)
        self._versions = {(model.name, objective.version) for model in fleet.models for objective in model.objectives}
        record = TickRecord(
            now,
            closed.slices,
            plan.decisions,
            plan.effects,
            self._state,
            self._slices.unclosed(fleet, reading),
            closed.histograms,
            versions,
            self._judged.states,
            self._judged.events,
            self._startups.take(),
        )
        self._alerts = record.alerts
        unwritten, kept_as = await self._write(record)
        problem = unwritten or problem
        if unwritten:
            # Without the journal a crash could not be told from a step never taken, so nothing is done.
            self._decisions = tuple(_waiting(decision, unwritten) for decision in plan.decisions)
        else:
            # Shown under the ids under which they can be asked for.
            self._decisions = tuple(replace(d, id=kept_as.get(d.id, d.id)) for d in plan.decisions)
            self._executor.start(plan.decisions, self._look)
        self._health = replace(
            self._health,
            ticks=self._health.ticks + 1,
            last_tick_at=now,
            last_tick_s=self._clock() - now,
            problem=problem,
            store_failing=problem != "" and not self._refused,
            unwritten=len(self._backlog),
            unwritten_since=self._backlog.since,
            unwritten_most_s=self._backlog.most_s,
            lost=self._backlog.lost,
        )
        self._tally.tick(fleet, reading, closed.slices, plan)
        self._mig.tick(fleet, reading, plan.decisions, now, self._look)
        self._findings.renew()
        return plan

    def _look(self) -> Snapshot:
        """What is known now: the newest reading, and what people had said by the last tick."""
        return replace(self._told, fleet=self._roster.fleet, reading=self._collector.reading(self._clock()))

    async def _read_store(self, fleet: Fleet, reading: FleetReading, now: float) -> str:
        """Ask it what was judged, what people said and what was learned. Gives the problem, "" when all was read."""
        judge = partial(
            judge_fleet,
            windows=self._windows,
            states=self._alerts,
            policy=AlertPolicy(),
            known_until=self._known_until(fleet, now),
            grace_s=self._slices.grace_s(fleet),
        )
        unread = self._startups.unread(fleet)
        try:
            self._told, self._judged = await self._store.call(lambda s: _ask(s, fleet, reading, judge, now))
            self._endings.note((*self._told.overrides, *self._told.freezes), now)
        except ControlPlaneError as error:
            self._judged = self._judged.unjudged(self._alerts, str(error), now)
            log.error("the store cannot be read", error=str(error))
            return str(error)
        try:
            if unread:
                self._startups.learn(await self._store.call(lambda s: learned(s, unread)))
        except ControlPlaneError as error:
            log.error("start-ups cannot be read", error=str(error))
            return str(error)
        return ""

    async def _write(self, record: TickRecord) -> tuple[str, Mapping[str, str]]:
        """Write this tick and those still waiting, oldest first.

        Gives the problem, "" when all is written, and the ids of kept decisions by those of repeats of them.
        """
        kept_as: Mapping[str, str] = {}
        lost = self._backlog.lost
        self._backlog.add(record)
        if self._backlog.lost > lost:
            log.error("too many ticks wait for the store; the oldest are lost", lost=self._backlog.lost)
        while self._backlog:
            try:
                kept_as = await self._store.call(partial(_write_one, self._backlog.oldest))
                self._refused = False
            except ControlPlaneError as error:
                self._refused = isinstance(error, NotLeadingError)
                log.error("tick not written; it waits in memory", waiting=len(self._backlog), error=str(error))
                return str(error), {}
            self._startups.written(startup.model for startup in self._backlog.take().startups)
        self._written_until = {name: trace.closed_until for name, trace in record.unclosed.traces.items()}
        return "", kept_as

    def _known_until(self, fleet: Fleet, now: float) -> Mapping[str, float]:
        """Up to when the store has slices, by model, where they are as new as they can be."""
        most_s = {name: s + self._late_s for name, s in self._slices.grace_s(fleet).items()}
        return {name: at for name, at in self._written_until.items() if now - at <= most_s.get(name, 0.0)}

    def close(self) -> None:
        """End what works for ticks beside them; what the store did not take until now is lost, and told."""
        self._placer.close()
        if self._backlog:
            log.error("stopped while the store is away; ticks that waited for it are lost", lost=len(self._backlog))

    def due(self, late_s: float) -> None:
        """Note how much later than due a tick begins."""
        self._health = replace(self._health, late_s=late_s)

    def failed(self, problem: str) -> None:
        """Note that a tick ended before its end."""
        self._health = replace(self._health, problem=problem)

    def skipped(self) -> None:
        """Count a tick that was left out because the one before still ran."""
        self._health = replace(self._health, skipped=self._health.skipped + 1)

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """Where rollouts stand, by unit."""
        return {key: unit.rollout for key, unit in self._state.units.items() if unit.rollout is not None}

    def picture(self) -> Picture:
        """What is known now and was decided last."""
        now = self._clock()
        snapshot, stands = self._told, self._leadership()
        health = replace(
            self._health,
            leading=self.resumed and stands.leads and not self._refused,
            leader=stands.leader,
            epoch=stands.epoch,
            takeovers=stands.takeovers,
        )
        fleet, reading = self._roster.fleet, self._collector.reading(now)
        picture = Picture(
            now,
            fleet,
            reading,
            snapshot.judgements,
            self._decisions,
            self._executor.in_flight,
            tuple(o for o in snapshot.overrides if o.expires_at > now),
            tuple(f for f in snapshot.freezes if f.expires_at > now),
            health,
            self._roster.workloads(now),
            self._startups.times,
            self._judged.alerts,
            self._tally.totals,
            circuits=self._state.circuits,
            placements=self._placements,
            rollouts=self.rollouts,
            mig=self._mig.picture(fleet, reading, now),
        )
        return self._findings.complete(picture)


def _waiting(decision: Decision, why: str) -> Decision:
    """The decision as it is shown while it cannot be carried out."""
    if not decision.actionable:
        return decision
    reason = Reason(ReasonCode.STORE_AWAY, {}, {"why": why})
    return replace(decision, reasons=(*decision.reasons, reason), binding=reason.code)
