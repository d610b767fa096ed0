"""What placing is to be asked, from what is seen and what people said."""

from __future__ import annotations

from collections.abc import Iterable

from controlplane.decide import people
from controlplane.decide.copy_size import CopySize
from controlplane.decide.memory import GpuMemory, Sizes, added, copy_sizes, room_bytes
from controlplane.decide.placing.spread import wanted
from controlplane.decide.placing.values import ModelNeed, PlacementQuestion, ServerRoom
from controlplane.domain.fleet import Mode, ModelSpec, Phase, RoutesSpec, ServerSpec
from controlplane.domain.instructions import Override, OverrideKind
from controlplane.domain.observation import ControlMode, ModelReading, ModelState, ServerReading
from controlplane.domain.signal import Known, Missing, Signal, known
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import PolicyState, UnitState, unit_key

# Bounds say how many there are where it is, and not where.
_STAYS = frozenset(OverrideKind) - {OverrideKind.BOUNDS}
_CHANGING = (ModelState.LOADING, ModelState.UNLOADING)


def question(snapshot: Snapshot, state: PolicyState, routes: RoutesSpec) -> Signal[PlacementQuestion]:
    """Of the servers behind one gateway; missing while something on them is not known or under way.

    A server that is known not to answer, starts or terminates has no part in it: what it held is wanted elsewhere.
    """
    fleet = snapshot.fleet
    models = [model for model in fleet.models if any(routes.has(server) for server in model.runs_on)]
    rooms: list[ServerRoom] = []
    absent: set[tuple[str, str]] = set()
    gpu, sizes = GpuMemory(fleet, snapshot.reading.gpus), copy_sizes(fleet, state.units)
    for server in (server for server in fleet.servers if routes.has(server.name)):
        seen = snapshot.reading.servers.get(server.name)
        member = fleet.members.get(server.name)
        live = None if seen is None else known(seen.live)
        if live is False or (member is not None and member.phase is not Phase.READY):
            continue
        if seen is None or live is None:
            return Missing(f"{server.name} was not read lately")
        here = _present(seen, models)
        if isinstance(here, Missing):
            return here
        absent |= {(name, server.name) for name, reading in here.items() if reading.state is ModelState.ABSENT}
        rooms.append(_room(server, seen, here, models, sizes, gpu))
    flying = next((a for a in snapshot.in_flight if routes.has(a.server)), None)
    if flying is not None:
        return Missing(f"a step for {flying.model} on {flying.server} is under way")
    needs = tuple(_need(model, sizes[model.name], rooms, absent, snapshot, state) for model in _whole(models))
    return Known(PlacementQuestion(tuple(rooms), needs), snapshot.reading.at)


def _whole(models: list[ModelSpec]) -> list[ModelSpec]:
    """The models that are placed: components come and go with their ensembles."""
    inside = {name for model in models for name in model.components}
    return [model for model in models if model.name not in inside]


def _present(seen: ServerReading, models: list[ModelSpec]) -> dict[str, ModelReading] | Missing:
    """The reading of each model on a server, as long as all are known and none is on its way."""
    here: dict[str, ModelReading] = {}
    for model in models:
        signal = seen.models.get(model.name)
        if signal is None:
            continue  # it does not run there
        if not isinstance(signal, Known):
            return Missing(f"{model.name} on {seen.name} was not read lately")
        if signal.value.state in _CHANGING:
            return Missing(f"{model.name} on {seen.name} is {signal.value.state.value}")
        here[model.name] = signal.value
    return here


def _room(
    server: ServerSpec,
    seen: ServerReading,
    here: dict[str, ModelReading],
    models: list[ModelSpec],
    sizes: Sizes,
    gpu: GpuMemory,
) -> ServerRoom:
    """Its room for models that are placed: what components without an ensemble have is not theirs."""
    ready = {name: known(r.instances) or 1 for name, r in here.items() if r.state is ModelState.READY}
    specs = {model.name: model for model in models if model.name in here}
    placed = {model.name for model in _whole(list(specs.values()))}
    with_ensembles = {name for holder in ready for name in specs[holder].components}
    taken = {name: sizes[name].of(instances) for name, instances in ready.items()}
    alone = [name for name in ready if name not in placed and name not in with_ensembles]
    room, theirs = room_bytes(server, seen, gpu, models, sizes), added([taken[name] for name in alone])
    room = None if room is None or theirs is None else max(0, room - theirs)
    present = {name: instances for name, instances in ready.items() if name in placed}
    sized = {name: size for name in present if (size := taken[name]) is not None}
    pinned = known(seen.control) is ControlMode.NOT_ALLOWED
    return ServerRoom(server.name, room, present, pinned=pinned, taken_bytes=sized)


def _need(
    model: ModelSpec,
    size: CopySize,
    rooms: list[ServerRoom],
    absent: set[tuple[str, str]],
    snapshot: Snapshot,
    state: PolicyState,
) -> ModelNeed:
    """What is wanted of a model. One that may not be moved is wanted where it is, and was before a server restarted."""
    told = snapshot.overrides
    here = tuple(room.name for room in rooms if model.name in room.present)
    there = [room.name for room in rooms if room.name in model.runs_on and (model.name, room.name) not in absent]
    if stays(model, snapshot):
        kept = [s for s in there if _state(state, model, s).wanted]
        servers = pins = tuple(dict.fromkeys((*here, *kept)))
        copies, extra = len(pins), 0
    else:
        out = {s for s in there if _said(told, model.name, s, OverrideKind.UNLOADED)}
        pins = tuple(s for s in there if s not in out and _said(told, model.name, s, *_STAYS))
        servers = tuple(s for s in there if s not in out)
        copies = wanted(model, state, len(here))
        copies = min(copies, len(servers)) if out else copies
        extra = max(0, copies - model.copies_min)
    instances = _instances(model, rooms, state)
    return ModelNeed(
        model.name,
        size.of(instances),
        copies,
        servers,
        model.priority,
        pins,
        extra=extra,
        instances=instances,
    )


def _instances(model: ModelSpec, rooms: list[ServerRoom], state: PolicyState) -> int:
    """Of a copy that is loaded: as many as the one with the most has, else as it had where it was."""
    there = [room.present[model.name] for room in rooms if model.name in room.present]
    before = [_state(state, model, server).instances or 1 for server in model.runs_on]
    return max([1, model.instances_min, *(there or before)])


def _state(state: PolicyState, model: ModelSpec, server: str) -> UnitState:
    return state.units.get(unit_key(model.name, server), UnitState())


def _said(told: Iterable[Override], model: str, server: str, *kinds: OverrideKind) -> bool:
    """Whether the newest instruction for the model there is one of these."""
    newest = people.newest(people.about(told, model, server))
    return newest is not None and newest.kind in kinds


def stays(model: ModelSpec, snapshot: Snapshot) -> bool:
    """Whether the model is not to be moved: it is observed or frozen, or others act and it only recommends."""
    frozen = any(freeze.holds(model.name) for freeze in snapshot.freezes)
    others_act = any(
        other.mode is Mode.ACT for other in snapshot.fleet.models if set(other.runs_on) & set(model.runs_on)
    )
    return frozen or model.mode is Mode.OBSERVE or (model.mode is Mode.RECOMMEND and others_act)
