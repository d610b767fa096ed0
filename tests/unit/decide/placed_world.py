"""Servers behind a gateway that routes by model, on which every step is done between two ticks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from controlplane.decide.placing import PlacementQuestion, place
from controlplane.decide.placing.question import question
from controlplane.decide.plan import decide
from controlplane.decide.policy import Policy
from controlplane.domain.decision import Decision, Freeze, Override, Step
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, RoutesSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ControlMode, FleetReading, ModelReading, ModelState, Routes, ServerReading
from controlplane.domain.placing import Placement
from controlplane.domain.signal import Known, Missing, Signal, known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState

NOW = 1_700_000_000.0
GIB = 2**30
EDGE = "edge"


def a_model(name: str, gib: int | None, servers: Iterable[str] = ("t0", "t1"), **more: object) -> ModelSpec:
    fields: dict[str, object] = {"mode": Mode.ACT, "memory_bytes": None if gib is None else gib * GIB}
    return ModelSpec(name, name, tuple(servers), **(fields | more))  # type: ignore[arg-type]


class PlacedWorld:
    """The servers hold `held`. The gateway `answers`, and `obeys` at once: it drops what leaves."""

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
        self.plan: Signal[Placement] = Missing("not asked yet")
        self._wishes: PlacementQuestion | None = None

    def snapshot(self) -> Snapshot:
        """What is seen now."""
        servers = {
            name: ServerReading(
                name,
                Known(value=True, observed_at=self.now),
                Known(ControlMode.EXPLICIT, self.now),
                0,
                {m.name: self._reading(m.name, name) for m in self.fleet.models if name in m.runs_on},
            )
            for name in self.held
        }
        routes: Signal[Routes] = Known(self._routes(), self.now - 0.1) if self.answers else Missing("refused")
        reading = FleetReading(self.now, servers, {}, {}, Missing("no driver"), routes={EDGE: routes})
        return Snapshot(
            self.fleet, reading, overrides=self.overrides, freezes=self.freezes, placements={EDGE: self.plan}
        )

    def tick(self) -> tuple[Decision, ...]:
        """One tick: decided, asked anew, and done."""
        snapshot = self.snapshot()
        plan, self.state = decide(snapshot, self.state, Policy(), self.now)
        self.decisions = plan.decisions
        self._ask(snapshot)
        for decision in plan.decisions:
            if decision.actionable and decision.step is Step.LOAD:
                self.held[decision.server].add(decision.model)
            if decision.actionable and decision.step is Step.UNLOAD:
                self.held[decision.server].discard(decision.model)
        self.now += 15.0
        return plan.decisions

    def run(self, ticks: int = 20) -> None:
        """So many ticks."""
        for _ in range(ticks):
            self.tick()

    def of(self, model: str, server: str) -> Decision:
        """What was decided about a unit last."""
        return next(d for d in self.decisions if (d.model, d.server) == (model, server))

    def _ask(self, snapshot: Snapshot) -> None:
        """Place anew when what is wanted has changed."""
        asked = known(question(snapshot, self.state, self.fleet.routes[0])) if self.fleet.routes else None
        if asked is None:
            return
        wishes = replace(asked, servers=tuple(replace(room, present={}) for room in asked.servers))
        if wishes != self._wishes:
            self.plan, self._wishes = Known(place(asked), self.now), wishes

    def _reading(self, model: str, server: str) -> Signal[ModelReading]:
        there = model in self.held[server]
        state = ModelState.READY if there else ModelState.UNLOADED
        return Known(ModelReading(state, instances=Known(int(there), self.now)), self.now)

    def _routes(self) -> Routes:
        leaving = {(d.model, d.server) for d in self.decisions if d.target is not None and not d.target.loaded}
        told = self.obeys
        return {
            m.name: frozenset(
                s for s, held in self.held.items() if m.name in held and not (told and (m.name, s) in leaving)
            )
            for m in self.fleet.models
        }
