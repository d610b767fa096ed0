"""What the newest placement wants of each model on each server now: the next wave of its moves, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from controlplane.domain.decision import Reason, ReasonCode, Step
from controlplane.domain.fleet import ModelSpec, RoutesSpec
from controlplane.domain.observation import ModelState, Routes
from controlplane.domain.placing import Move, Placement
from controlplane.domain.signal import Known, Missing, Signal, known
from controlplane.domain.sizes import memory_text
from controlplane.domain.snapshot import Snapshot

_GONE = frozenset({ModelState.UNLOADED, ModelState.UNAVAILABLE, ModelState.ABSENT})


@dataclass(frozen=True, slots=True)
class Placed:
    """One model on one server behind a gateway that routes by model.

    `wanted`: whether it is to be there; None: that is not known yet. `due`: whether it is the turn of its move; what
    is neither due nor as wanted stays as it is. `routed`: servers to which the gateway routes it. `instances` of a
    copy that is loaded. `component`: of ensembles, which Triton loads it with. `stays`: in the end it is there, as a
    component with an ensemble; `goes`: it is its turn to leave, or that of its ensembles; `later`: it leaves once those
    moves are done of which it is the turn; `comes` with so many instances by a move that is not done, 0: by none.
    `short`: not all copies that are wanted have a place.
    """

    gateway: str
    wanted: bool | None
    due: bool
    why: Reason
    routed: Signal[frozenset[str]]
    instances: int = 1
    component: bool = False
    stays: bool = False
    goes: bool = False
    later: bool = False
    comes: int = 0
    short: bool = False


@dataclass(frozen=True, slots=True)
class Handover:
    """What the copies that stay are to be before one of a placed model goes: so many `instances` on each server.

    `per_s` arrivals per second are then the part of each. `why` they are not ready for it; empty: they are. `waits`:
    requests wait, and the gateway was not told yet. `needs` bytes by server do the instances take that are lacking,
    None: not known. `fitting`: for so many there is room now, where nothing else is in the way; empty: something is.
    `holders`: models that have the room for what is lacking, and wait for this one: it goes all the same.
    """

    instances: Mapping[str, int]
    per_s: float = 0.0
    why: str = ""
    waits: bool = False
    needs: Mapping[str, int | None] = field(default_factory=dict)
    fitting: Mapping[str, int] = field(default_factory=dict)
    holders: tuple[str, ...] = ()


class Turn:
    """The present wave of a placement behind one gateway."""

    def __init__(self, snapshot: Snapshot, routes: RoutesSpec) -> None:
        self._snapshot, self._routes = snapshot, routes
        plan = snapshot.placements.get(routes.gateway, Missing("not asked yet"))
        self._why = plan.why if isinstance(plan, Missing) else ""
        self._plan: Placement | None = known(plan)
        undone = [move for move in self._plan.moves if not self._is_done(move)] if self._plan else []
        wave = min((move.wave for move in undone), default=0)
        self._due = {(move.model, move.server): move for move in undone if move.wave == wave}
        self._waits = Counter((move.model, move.server) for move in undone if move.wave > wave)
        self._left = len(self._due)
        self._comes = {(move.model, move.server): move.instances for move in undone if move.step is Step.LOAD}
        self._later = {(move.model, move.server) for move in undone if move.wave > wave and move.step is Step.UNLOAD}
        self._ensembles: dict[str, list[ModelSpec]] = {}
        for model in snapshot.fleet.models:
            for name in model.components:
                self._ensembles.setdefault(name, []).append(model)

    def of(self, model: ModelSpec, server: str) -> Placed:
        """What is wanted of the model on the server."""
        routed = self._routed(model)
        ensembles = self._ensembles.get(model.name, [])
        if self._plan is None:
            reason = Reason(ReasonCode.PLACED, {}, {"unknown": self._why})
            return Placed(self._routes.gateway, None, due=False, why=reason, routed=routed)
        if ensembles:
            return self._component(ensembles, server, routed)
        wanted = self._wants(model.name, server)
        move = self._due.get((model.name, server))
        reason = self._reason(model.name, server, waits=(model.name, server) in self._waits)
        return Placed(
            self._routes.gateway,
            wanted,
            move is not None,
            reason,
            routed,
            move.instances if move else 1,
            stays=wanted is True,
            goes=move is not None and move.step is Step.UNLOAD,
            later=(model.name, server) in self._later,
            comes=self._comes.get((model.name, server), 0),
            short=any(entry.model == model.name for entry in self._plan.unplaced),
        )

    def _component(self, ensembles: list[ModelSpec], server: str, routed: Signal[frozenset[str]]) -> Placed:
        """Triton loads it with an ensemble; it goes when no ensemble is there or to come."""
        needing = [e.name for e in ensembles if self._wants(e.name, server) or not self._is_gone(e.name, server)]
        words = {"ensembles": ", ".join(e.name for e in ensembles)}
        reason = Reason(ReasonCode.PLACED, {}, words)
        stays = any(self._wants(e.name, server) for e in ensembles)
        due = [self._due.get((e.name, server)) for e in ensembles]
        leaves = any(move is not None and move.step is Step.UNLOAD for move in due)
        return Placed(
            self._routes.gateway,
            bool(needing),
            not needing,
            reason,
            routed,
            component=True,
            stays=stays,
            goes=not stays and (leaves or not needing),
            later=not stays and any((e.name, server) in self._later for e in ensembles),
            short=any(entry.model == e.name for e in ensembles for entry in self._plan.unplaced)
            if self._plan
            else False,
        )

    def _wants(self, model: str, server: str) -> bool | None:
        held = self._plan.target.get(server) if self._plan is not None else None
        return None if held is None else model in held

    def _routed(self, model: ModelSpec) -> Signal[frozenset[str]]:
        """Servers to which the gateway routes a model, under the name by which it is served or our own."""
        told: Signal[Routes] = self._snapshot.reading.routes.get(self._routes.gateway, Missing("not read yet"))
        if not isinstance(told, Known):
            return Missing(told.why or "not read lately")
        servers = told.value.get(model.served_name, frozenset()) | told.value.get(model.name, frozenset())
        return Known(servers, told.observed_at)

    def _reason(self, model: str, server: str, *, waits: bool) -> Reason:
        """Where it is to be, for what it makes room, why not on more servers, and how many moves are before its own."""
        plan = self._plan
        if plan is None:
            return Reason(ReasonCode.PLACED)
        words = {"servers": ", ".join(sorted(s for s, held in plan.target.items() if model in held)) or "no server"}
        numbers: dict[str, float] = {}
        coming = [m.model for m in plan.moves if m.step is Step.LOAD and m.server == server and m.model != model]
        if coming and any(m.model == model and m.server == server and m.step is Step.UNLOAD for m in plan.moves):
            words["room_for"] = ", ".join(sorted(coming))
        if waits:
            numbers["moves_before"] = float(self._left)
        short = next((u for u in plan.unplaced if u.model == model), None)
        if short is not None:
            numbers["copies_short"] = float(short.copies)
            words["short"] = short.why.value.replace("_", " ")
            if short.short_bytes is not None:
                words["short"] += f", {memory_text(short.short_bytes)} too few"
        return Reason(ReasonCode.PLACED, numbers, words)

    def _is_done(self, move: Move) -> bool:
        if move.step is Step.UNLOAD:
            return self._is_gone(move.model, move.server)
        return self._state(move.model, move.server) is ModelState.READY

    def _is_gone(self, model: str, server: str) -> bool:
        return self._state(model, server) in _GONE

    def _state(self, model: str, server: str) -> ModelState | None:
        seen = self._snapshot.reading.servers.get(server)
        reading = known(seen.models[model]) if seen is not None and model in seen.models else None
        return reading.state if reading is not None else None


def turns(snapshot: Snapshot) -> Mapping[str, Turn]:
    """The turn of each server that stands behind a gateway which routes by model."""
    return dict(_turns(snapshot))


def _turns(snapshot: Snapshot) -> Iterator[tuple[str, Turn]]:
    for routes in snapshot.fleet.routes:
        turn = Turn(snapshot, routes)
        yield from ((server.name, turn) for server in snapshot.fleet.servers if routes.has(server.name))
