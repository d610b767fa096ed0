"""Every model on every server it runs on: what is known of it now, and what is decided about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from controlplane.decide import expected, people, rollout
from controlplane.decide.forecast import Event
from controlplane.decide.memory import GpuMemory
from controlplane.decide.one import decide_unit
from controlplane.decide.placing.leaving import handovers
from controlplane.decide.placing.served import noted
from controlplane.decide.placing.spread import follows, spread
from controlplane.decide.policy import Policy
from controlplane.decide.room import Room
from controlplane.decide.unit import Unit
from controlplane.domain.control import replicas_decided
from controlplane.domain.decision import Decision, Effect
from controlplane.domain.fleet import ModelSpec, ServerSpec
from controlplane.domain.instructions import Want
from controlplane.domain.observation import ModelReading, ModelState
from controlplane.domain.signal import Signal, known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.startups import StartupTimes
from controlplane.domain.state import PolicyState, Spread, UnitState, unit_key


@dataclass(frozen=True, slots=True)
class Decided:
    """What was decided on units, their memory, effects that were judged, and on how many servers models are wanted."""

    spreads: dict[str, Spread] = field(default_factory=dict)
    decisions: list[Decision] = field(default_factory=list)
    units: dict[str, UnitState] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)


def decide_units(
    snapshot: Snapshot, gpu: GpuMemory, state: PolicyState, forecasts: dict[str, Any], policy: Policy, now: float
) -> Decided:
    """Every model on every server it runs on. Forecasts of units are put among `forecasts`."""
    found, made = Decided(), _Units(snapshot, Room(snapshot, gpu, state), state, forecasts, policy, now)
    for model in snapshot.fleet.models:
        spreading: list[tuple[Unit, UnitState]] = []
        by_model = made.by_model(model)
        for unit, before in made.of_model(model):
            key = unit_key(model.name, unit.server.name)
            if unit.forecast is not None:
                forecasts[key] = unit.forecast
            decision, found.units[key], effect = decide_unit(unit, before, policy, now)
            made.room.taken(unit, decision)
            found.decisions.append(decision)
            if effect is not None:
                found.effects.append(effect)
            spreading.append((unit, found.units[key]))
        if spreading and by_model and follows(model):
            wanted = spread(model, spreading, state.spreads.get(model.name), policy, now)
            if wanted is not None:
                found.spreads[model.name] = wanted
    return found


class _Units:
    """The units of a tick: what is the same for many is looked up once.

    What is decided on one takes from the `room` of the next.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        room: Room,
        state: PolicyState,
        forecasts: Mapping[str, Any],
        policy: Policy,
        now: float,
    ) -> None:
        self._snapshot, self._state, self._forecasts = snapshot, state, forecasts
        self._policy, self._now = policy, now
        self._servers = {server.name: server for server in snapshot.fleet.servers}
        self._models = {model.name: model for model in snapshot.fleet.models}
        self._saturated = _devices_of(snapshot, state, lambda u: u.ceiling is not None and u.ceiling.until > now)
        self._raising = _devices_of(
            snapshot, state, lambda u: u.expectation is not None and now - u.expectation.issued_at < policy.settle_s
        )
        self._wants = _wants(snapshot)
        self.room = room
        self._placed = {
            model.name: noted(self._apart(model)) for model in snapshot.fleet.models if self.by_model(model)
        }
        self._handovers = handovers(self._placed, self._models, policy, now)

    def by_model(self, model: ModelSpec) -> bool:
        """Whether a gateway routes by model before one of its servers."""
        return any(routes.has(name) for routes in self._snapshot.fleet.routes for name in model.runs_on)

    def of_model(self, model: ModelSpec) -> list[tuple[Unit, UnitState]]:
        """The model on each of its servers, with the state of before. One of a model is on no server twice."""
        units = self._placed.get(model.name)
        if units is None:
            return self._apart(model)
        counts = {unit.server.name: unit.present.instances for unit, _ in units if unit.present is not None}
        return [
            (
                replace(
                    unit,
                    handover=self._handovers[model.name],
                    beside=max((count for name, count in counts.items() if name != unit.server.name), default=0),
                    free_bytes=self.room.free_bytes(unit.server.name),
                ),
                before,
            )
            for unit, before in units
        ]

    def _apart(self, model: ModelSpec) -> list[tuple[Unit, UnitState]]:
        """The units of a model, each by itself."""
        by_model = self.by_model(model)
        alike = _ready(self._snapshot, model) if by_model else len(model.runs_on)
        held = self._state.spreads.get(model.name) if by_model and follows(model) else None
        units: list[tuple[Unit, UnitState]] = []
        for server in (self._servers[name] for name in model.runs_on if name in self._servers):
            before = self._state.units.get(unit_key(model.name, server.name), UnitState())
            before = before if before.gone_since is None else replace(before, gone_since=None)
            units.append((self._of(model, server, alike, held), before))
        return units

    def _of(self, model: ModelSpec, server: ServerSpec, parts: int, held: Spread | None) -> Unit:
        """A model on a server, one of `parts` alike; `held`: on how many it was wanted, where that follows demand."""
        snapshot, state, name = self._snapshot, self._state, server.name
        key, reading = unit_key(model.name, name), _reading(snapshot, model.name, name)
        devices = _devices(model, name, reading)
        turn = rollout.turn_of(snapshot, state.units, model, name)
        told = people.newest(people.about(snapshot.overrides, model.name, name))
        if told is not None:
            least, most = people.bounds(told, model.instances_min, model.instances_max)
            model = replace(model, instances_min=least, instances_max=most)
        member = snapshot.fleet.members.get(name)
        workload = member.workload if member is not None else ""
        placed = self.room.placed(model, name)
        return Unit(
            spec=model,
            server=server,
            seen=snapshot.reading.servers.get(name),
            reading=reading,
            judgements=snapshot.judgements.get(model.name, ()),
            override=told,
            freezes=tuple(f for f in snapshot.freezes if f.holds(model.name)),
            want=self._wants.get(model.name) if placed is None else None,  # one that is placed has its copies already
            in_flight=next((a for a in snapshot.in_flight if a.knob == key), None),
            results=tuple(o for o in snapshot.results if o.action.knob == key),
            saturated_by=_another(devices, self._saturated, model.name),
            raising_beside=_another(devices, self._raising, model.name),
            phase=member.phase if member is not None else None,
            scaled=replicas_decided(snapshot.fleet, name),
            floors=snapshot.floors.get(model.name, ()),
            events=_events(snapshot, model, workload, parts),
            forecast=expected.foreseen(model, reading, self._forecasts.get(key), self._policy, self._now),
            startups=_startups(snapshot, model.name, workload),
            placed=placed,
            spread=held,
            free_bytes=self.room.free_bytes(name),
            unsettled=self.room.unsettled(name),
            size=self.room.size(model.name),
            turn=turn,
            probes=tuple(p for p in snapshot.reading.probes.get(model.name, ()) if p.server == name),
        )


def _reading(snapshot: Snapshot, model: str, server: str) -> ModelReading | None:
    """What is known now of a model on a server."""
    seen = snapshot.reading.servers.get(server)
    signal: Signal[ModelReading] | None = seen.models.get(model) if seen is not None else None
    return known(signal) if signal is not None else None


def _startups(snapshot: Snapshot, model: str, workload: str) -> dict[str, StartupTimes]:
    """What is learned of a model's start-ups in a workload, by knob."""
    times = snapshot.startups.get(model, {})
    return {knob: found for (where, knob), found in times.items() if where == workload}


def _ready(snapshot: Snapshot, model: ModelSpec) -> int:
    """On how many servers it serves, at least one: so many share what comes."""
    readings = (_reading(snapshot, model.name, name) for name in model.runs_on)
    return max(1, sum(reading is not None and reading.state is ModelState.READY for reading in readings))


def _wants(snapshot: Snapshot) -> dict[str, Want]:
    """The newest want of each model; whoever wants an adapter wants the model that it is of too."""
    bases = {model.name: model.lora.base for model in snapshot.fleet.models if model.lora is not None}
    newest: dict[str, Want] = {}
    for want in sorted(snapshot.wants, key=lambda want: want.at):
        for name in (want.model, bases.get(want.model)):
            if name is not None:
                newest[name] = want
    return newest


def _another(devices: tuple[str, ...], marked: Mapping[str, str], model: str) -> str:
    """The first other model that marks one of the devices, "" if none does."""
    return next((marked[device] for device in devices if marked.get(device, model) != model), "")


def _devices(model: ModelSpec, server: str, reading: ModelReading | None) -> tuple[str, ...]:
    """Names of what the unit's instances share: the configured device, else the GPUs that Triton lists."""
    if model.device:
        return (f"{server}/{model.device}",)
    return tuple(f"{server}/{gpu}" for gpu in reading.gpus) if reading is not None else ()


def _devices_of(snapshot: Snapshot, state: PolicyState, marked: Callable[[UnitState], bool]) -> dict[str, str]:
    """Device -> the first model on it whose unit is `marked`."""
    found: dict[str, str] = {}
    for model in snapshot.fleet.models:
        for server in model.runs_on:
            unit = state.units.get(unit_key(model.name, server))
            if unit is None or not marked(unit):
                continue
            for device in _devices(model, server, _reading(snapshot, model.name, server)):
                found.setdefault(device, model.name)
    return found


def _events(snapshot: Snapshot, model: ModelSpec, workload: str, parts: int) -> tuple[Event, ...]:
    """What was announced of a model, its share of a level on each server; of its workload only how it multiplies."""
    own = [expected.as_event(said, parts) for said in snapshot.announced if said.subject == model.name]
    shared = (replace(said, per_s=0.0) for said in snapshot.announced if workload and said.subject == workload)
    return (*own, *(expected.as_event(said, 1) for said in shared))
