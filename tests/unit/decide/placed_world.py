"""Servers behind a gateway that routes by model, on which every step is done between two ticks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from controlplane.decide.placing import PlacementQuestion, place
from controlplane.decide.placing.question import question
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Action, ActionStatus, Decision, Outcome, Step, Target
from controlplane.domain.expected import Announced
from controlplane.domain.failures import FailureClass
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, RoutesSpec, ServerKind, ServerSpec
from controlplane.domain.instructions import Freeze, Override
from controlplane.domain.observation import (
    ControlMode,
    FleetReading,
    Interval,
    ModelReading,
    ModelState,
    Routes,
    ServerReading,
)
from controlplane.domain.placing import Placement
from controlplane.domain.signal import Known, Missing, Signal, known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState
from tests.unit.decide.values import an_interval, executed

NOW = 1_700_000_000.0
GIB = 2**30
EDGE = "edge"


def a_model(name: str, gib: int | None, servers: Iterable[str] = ("t0", "t1"), **more: object) -> ModelSpec:
    fields: dict[str, object] = {"mode": Mode.ACT, "memory_bytes": None if gib is None else gib * GIB}
    return ModelSpec(name, name, tuple(servers), **(fields | more))  # type: ignore[arg-type]


SERVICE_S = 0.01
"""Of every request of a model that has some."""
AGAIN_S = 600.0
"""What is done is looked at anew so often."""


class PlacedWorld:
    """The servers hold `held`. The gateway `answers`, and `obeys` at once: it drops what leaves.

    Of models in `per_s` so many requests come in a second, spread over the copies by `weights` of servers; who has more
    than its instances can do has a queue. `seen` False: their counters are not read. `counts` of instances, where it is
    not 1. A server in `dead` answers nobody, one in `unread` is not read. A request takes `service_s`; the instances of
    a server do no more than `most_per_s`. `obeyed` False: no instances come, whoever asks for them. `outdated`: what is
    loaded in place of what is configured. `failing`: by so many of a model's requests each failing one is.
    `timed` False: what executions take is not told. A server runs out of memory beyond `most_instances` of all models.
    """

    def __init__(self, rooms: Mapping[str, int | None], models: Iterable[ModelSpec], **held: Iterable[str]) -> None:
        servers = tuple(
            ServerSpec(
                name, ServerKind.TRITON, "http://x", "http://x", "x:1", memory_bytes=None if g is None else g * GIB
            )
            for name, g in rooms.items()
        )
        self.fleet = Fleet(servers, tuple(models), routes=(RoutesSpec(EDGE, "http://x", tuple(rooms)),))
        self.held = {name: set(held.get(name, ())) for name in rooms}
        self.state = PolicyState()
        self.now = NOW
        self.answers = True
        self.obeys = True
        self.overrides: tuple[Override, ...] = ()
        self.freezes: tuple[Freeze, ...] = ()
        self.decisions: tuple[Decision, ...] = ()
        self.per_s: dict[str, float] = {}
        self.weights: dict[str, float] = {}
        self.service_s: dict[str, float] = {}
        self.most_per_s = math.inf
        self.most_instances = math.inf
        self.seen = True
        self.obeyed = True
        self.dead: set[str] = set()
        self.unread: set[str] = set()
        self.announced: tuple[Announced, ...] = ()
        self.counts: dict[tuple[str, str], int] = {}
        self.loads = 0
        self.outdated = ""
        self.failing = 0
        self.timed = True
        self._loaded_at: dict[tuple[str, str], float] = {}
        self.plan: Signal[Placement] = Missing("not asked yet")
        self._asked: PlacementQuestion | None = None
        self._results: tuple[Outcome, ...] = ()

    def snapshot(self) -> Snapshot:
        """What is seen now."""
        servers = {name: self._server(name) for name in self.held}
        routes: Signal[Routes] = Known(self.routes(), self.now - 0.1) if self.answers else Missing("refused")
        reading = FleetReading(self.now, servers, {}, {}, Missing("no driver"), routes={EDGE: routes})
        return Snapshot(
            self.fleet,
            reading,
            overrides=self.overrides,
            freezes=self.freezes,
            placements={EDGE: self.plan},
            announced=self.announced,
            results=self._results,
        )

    def _server(self, name: str) -> ServerReading:
        if name in self.unread:
            models: dict[str, Signal[ModelReading]] = {m.name: Missing("not read") for m in self.fleet.models}
            return ServerReading(name, Missing("not read"), Missing("not read"), 0, models)
        if name in self.dead:
            return ServerReading(name, Known(value=False, observed_at=self.now), Missing("down"), 0, {})
        models = {m.name: self._reading(m.name, name) for m in self.fleet.models if name in m.runs_on}
        return ServerReading(
            name, Known(value=True, observed_at=self.now), Known(ControlMode.EXPLICIT, self.now), 0, models
        )

    def tick(self) -> tuple[Decision, ...]:
        """One tick: decided, asked anew, and done."""
        snapshot = self.snapshot()
        plan, self.state = decide(snapshot, self.state, Policy(), self.now)
        self.decisions = plan.decisions
        self._ask(snapshot)
        done = [self._done(decision) for decision in plan.decisions if decision.actionable]
        self._results = tuple(outcome for outcome in done if outcome is not None)
        self.now += 15.0
        return plan.decisions

    def _done(self, decision: Decision) -> Outcome | None:
        """Carry a step out, and what came of it; None: nothing did."""
        unit, target = (decision.model, decision.server), decision.target or Target(loaded=False, instances=0)
        action = Action(decision.id, *unit, decision.step, target, self.now, decision.current)
        others = sum(self.counts.get((name, unit[1]), 1) for name in self.held[unit[1]] - {unit[0]})
        if decision.step is not Step.UNLOAD and others + target.instances > self.most_instances:
            full = FailureClass.OUT_OF_MEMORY
            return Outcome(action, ActionStatus.FAILED, self.now + 1.0, "CUDA out of memory", failure=full)
        match decision.step:
            case Step.LOAD:
                self.held[decision.server].add(decision.model)
                self._loaded_at[unit] = self.now
                self.loads += 1
                if target.instances > 1 and self.obeyed:
                    self.counts[unit] = target.instances
            case Step.UNLOAD:
                self.held[decision.server].discard(decision.model)
                self.counts.pop(unit, None)
            case Step.SET_INSTANCES if self.obeyed:
                self.counts[unit] = target.instances
            case _:
                return None
        return Outcome(action, ActionStatus.SUCCEEDED, self.now + 1.0)

    def run(self, ticks: int = 20) -> None:
        """So many ticks."""
        for _ in range(ticks):
            self.tick()

    def of(self, model: str, server: str) -> Decision:
        """What was decided about a unit last."""
        return next(d for d in self.decisions if (d.model, d.server) == (model, server))

    def _ask(self, snapshot: Snapshot) -> None:
        """Place anew, as the loop does, when what is wanted has changed or what is there is not on the way."""
        asked = known(question(snapshot, self.state, self.fleet.routes[0])) if self.fleet.routes else None
        if asked is not None and (self._asked is None or self._is_new(asked, self._asked)):
            self.plan, self._asked = Known(place(asked), self.now), asked

    def _is_new(self, asked: PlacementQuestion, last: PlacementQuestion) -> bool:
        if not isinstance(self.plan, Known) or self.now - self.plan.observed_at > AGAIN_S:
            return True
        if _wishes(asked) != _wishes(last):
            return True
        plan = self.plan.value
        before = {room.name: set(room.present) for room in last.servers}
        here = {room.name: set(room.present) for room in asked.servers}
        target = {name: set(plan.target[name]) for name in here}
        if here == target != before:
            return True
        return any(not (before[n] & target[n] <= here[n] <= before[n] | target[n]) for n in here)

    def _reading(self, model: str, server: str) -> Signal[ModelReading]:
        if model not in self.held[server]:
            return Known(ModelReading(ModelState.UNLOADED, instances=Known(0, self.now)), self.now)
        count = self.counts.get((model, server), 1)
        intervals = self._intervals(model, server, count) if self.seen else ()
        reading = ModelReading(ModelState.READY, instances=Known(count, self.now), intervals=intervals)
        return Known(replace(reading, outdated=self.outdated), self.now)

    def _intervals(self, model: str, server: str, count: int) -> tuple[Interval, ...]:
        """The last minute, as if it had always been so, as far as it was loaded then."""
        routed = self.routes()[model]
        weights = {name: self.weights.get(name, 1.0) for name in routed}
        come = self.per_s.get(model, 0.0) * weights.get(server, 0.0) / (sum(weights.values()) or 1.0)
        service_s = self.service_s.get(server, SERVICE_S)
        most = min(count / service_s, self.most_per_s)
        done, waiting = (come, 0) if come <= most else (most, 20)
        failed = round(5 * done) // self.failing if self.failing else 0
        slowed_s = service_s if come < most else count / most
        since = self._loaded_at.get((model, server), 0.0)
        return tuple(
            an_interval(
                self.now - 5 * i,
                self.now - 5 * (i - 1),
                round(5 * done),
                running_max=0,
                failed=failed,
                failed_backend=failed,
                instances=count,
                pending_start=waiting,
                pending_end=waiting,
                batches=(executed(1, round(5 * done), slowed_s, 0.0),) if done and self.timed else (),
            )
            for i in range(12, 0, -1)
            if self.now - 5 * i > since
        )

    def routes(self) -> Routes:
        """Where the gateway sends the requests of each model."""
        leaving = {(d.model, d.server) for d in self.decisions if d.target is not None and not d.target.loaded}
        told = self.obeys
        return {
            m.name: frozenset(
                s for s, held in self.held.items() if m.name in held and not (told and (m.name, s) in leaving)
            )
            for m in self.fleet.models
        }


def _wishes(asked: PlacementQuestion) -> PlacementQuestion:
    """The question without what the moves themselves change."""
    return replace(
        asked,
        servers=tuple(replace(room, present={}, taken_bytes={}) for room in asked.servers),
        models=tuple(replace(model, busy_share=None, instances=1) for model in asked.models),
    )
