"""The production tick on a fleet that lines tell: one decision a line, by the line's own time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from controlplane.config import Settings
from controlplane.domain.decision import Action, ActionStatus, Outcome
from controlplane.domain.errors import ConfigurationError, Fault, MalformedLineError
from controlplane.domain.fleet import Fleet, Member, Mode, ServerKind
from controlplane.domain.observation import ControlMode
from controlplane.domain.records import TickRecord
from controlplane.domain.state import PolicyState
from controlplane.loop.executor import Executor
from controlplane.loop.keep import keep_s
from controlplane.loop.roster import Roster
from controlplane.loop.store_thread import StoreThread
from controlplane.loop.tick import Tick
from controlplane.shadow.answer import answer_of, asked_of
from controlplane.shadow.collector import LineCollector
from controlplane.shadow.line import Line, read_line
from controlplane.shadow.members import Sight, Sights
from controlplane.slo.grace import Grace
from controlplane.store import open_store
from controlplane.store.codec import Codec

# Times of drivers that count from 0 are moved there, a midnight: 0 and less mean "never" to what is remembered.
_EPOCH_S = 86_400.0 * 11_574
_IDLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Kept:
    """What a session goes on from: what was learned, what was answered last, since when servers are ready."""

    policy: PolicyState = field(default_factory=PolicyState)
    answered: Mapping[str, int] = field(default_factory=dict)
    sights: Mapping[str, Sight] = field(default_factory=dict)


KEPT = Codec(Kept)


class _ToldRoster(Roster):
    """Who is there by the newest line."""

    def tell(self, configured: Fleet, members: Mapping[str, tuple[Member, ...]]) -> None:
        """The members of workloads that were told of; those of others stay."""
        self._configured = configured
        self._members |= members
        self.fleet = self._present()


class _TakenAsDone:
    """Implements the port `Actuator`: whoever tells the lines carries out what is decided."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def control_mode(self, server: str) -> ControlMode:
        """As Actuator."""
        del server
        return ControlMode.EXPLICIT

    async def apply(self, action: Action) -> Outcome:
        """As Actuator."""
        return Outcome(action, ActionStatus.SUCCEEDED, self._session.now)

    def follow(self, fleet: Fleet) -> None:
        """As Actuator."""

    async def close(self) -> None:
        """As Actuator."""


class Session:
    """Answers one line after the other. Times are those of the lines; nothing else is asked and nothing else is done.

    All models are in mode `act`. History of objectives is that in the database file `history`, else of this session.
    """

    def __init__(self, settings: Settings, kept: Kept = Kept(), *, history: Path | None = None) -> None:
        """Raises StoreError, and ConfigurationError where there is no workload, or one whose servers have no page."""
        self.now = -math.inf
        self._settings = settings
        self._fleet = _told_fleet(settings.fleet)
        if not self._fleet.workloads:
            fault = Fault("workloads", "nothing", "at least one workload: its servers are what lines tell")
            raise ConfigurationError("configuration", (fault,))
        if pageless := [spec.name for spec in self._fleet.workloads if spec.kind is ServerKind.OLLAMA]:
            fault = Fault(f"workload {pageless[0]}", "kind ollama", "kinds with a metrics page: it is what lines tell")
            raise ConfigurationError("configuration", (fault,))
        self._specs = {spec.name: spec for spec in self._fleet.workloads}
        self._kept = kept
        self._asked = dict(kept.answered)
        self._sights = Sights(kept.sights)
        self._later_s = 0.0
        grace = Grace(settings.scrape_interval_s, settings.scrape_timeout_s)
        grace_s = max(grace.of_models(self._fleet).values(), default=0.0)
        self._collector = LineCollector(
            max_age_s=max(3 * settings.scrape_interval_s, settings.scrape_interval_s + settings.scrape_timeout_s),
            keep_s=keep_s(settings.decide_interval_s, settings.policy, grace_s),
        )
        self._grace = grace
        self._roster = _ToldRoster(self._fleet)
        self._store = StoreThread(open_store(f"sqlite:///{history or ''}"))
        self._executor = Executor(
            _TakenAsDone(self), self._store, lambda: self.now, refresh=_nothing_of, announce=_nothing
        )
        self._tick: Tick | None = None

    async def answer(self, text: str) -> dict[str, Any]:
        """What the line is answered with. Raises MalformedLineError; then nothing has changed."""
        told = read_line(text, self._specs)
        first = self._tick is None
        later_s = (0.0 if told.now >= _EPOCH_S else _EPOCH_S) if first else self._later_s
        line = told.later(later_s)
        if line.now < self.now:
            raise MalformedLineError(f"now: {told.now:g} is before the line before ({self.now - later_s:g})")
        self.now, self._later_s = line.now, later_s
        tick = await self._started() if self._tick is None else self._tick
        self._take_in(line, tick, first=first)
        plan = await tick.run()
        await self._executor.idle(_IDLE_S)
        asked = asked_of(plan, self._roster.fleet, self._asked)
        self._asked |= asked
        return answer_of(_plain(told.now), plan, asked)

    async def _started(self) -> Tick:
        """The tick, gone on from what was kept."""
        record = TickRecord(self.now, (), (), (), self._kept.policy)
        await self._store.call(lambda s: s.write_tick(record))
        self._tick = Tick(
            self._roster,
            self._settings.policy,
            self._collector,
            self._store,
            self._executor,
            lambda: self.now,
            grace=self._grace,
            decide_s=self._settings.decide_interval_s,
        )
        await self._tick.resume()
        await self._tick.recall()
        return self._tick

    def _take_in(self, line: Line, tick: Tick, *, first: bool) -> None:
        followed = self._roster.fleet
        bounds = {name: told.bounds for name, told in line.workloads.items() if told.bounds is not None}
        workloads = tuple(replace(spec, replicas=bounds.get(spec.name, spec.replicas)) for spec in self._specs.values())
        members = self._sights.members(line, self._specs, first=first)
        self._roster.tell(replace(self._fleet, workloads=workloads), members)
        if self._roster.fleet != followed:
            tick.part(self._collector.follow(self._roster.fleet, line.now))
            self._executor.follow(self._roster.fleet)
        self._collector.absorb({f"{told.workload}/{told.name}": told for told in line.servers}, line.now)

    async def keep(self) -> Kept:
        """What another session can go on from."""
        if self._tick is None:
            return self._kept
        await self._store.call(lambda s: sum(s.prunings(self.now)))
        policy = await self._store.call(lambda s: s.load_state())
        return Kept(policy, dict(self._asked), dict(self._sights.known))

    def close(self) -> None:
        """Let go of the store."""
        self._store.close()


def _told_fleet(fleet: Fleet) -> Fleet:
    """The workloads of a configuration and what runs on them; lines tell of nothing else."""
    models = (replace(m, runs_on=(), mode=Mode.ACT, probe=None) for m in fleet.models if m.workloads)
    # whoever tells the lines finds the servers and sees to the replicas
    return Fleet((), tuple(models), workloads=tuple(replace(w, query=None) for w in fleet.workloads))


def _plain(seconds: float) -> float:
    """Whole seconds without a fraction."""
    return int(seconds) if seconds.is_integer() else seconds


async def _nothing() -> None:
    """Nobody waits for it."""


async def _nothing_of(server: str) -> None:
    """The next line tells it."""
    del server
