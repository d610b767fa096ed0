"""Memory of models and servers: declared, else as it was seen to change. Unknown is unknown, never zero."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from controlplane.decide.copy_size import UNKNOWN, CopySize, measured
from controlplane.domain.decision import Step
from controlplane.domain.fleet import Fleet, ModelSpec, ServerSpec
from controlplane.domain.gpu import GpuProcess, GpuReading, SliceReading
from controlplane.domain.observation import ModelReading, ModelState, ServerReading
from controlplane.domain.processes import ProcessServers
from controlplane.domain.signal import Known, Missing, Signal, known, last_value
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import MemoryMark, MemorySample, PolicyState, UnitState, unit_key

_SAMPLES = 5
_NOT_SEEN: Missing = Missing("no process of it is seen on a GPU")
HELD = frozenset({ModelState.READY, ModelState.LOADING, ModelState.UNLOADING})
"""States in which a model has memory of its server."""
AGAIN = frozenset({Step.RELOAD, Step.CONFIGURE, Step.SET_VERSIONS})
"""Steps for which Triton makes the new before it drops the old."""


Sizes: TypeAlias = Mapping[str, CopySize]
"""What a copy takes, by model."""


def copy_sizes(fleet: Fleet, units: Mapping[str, UnitState]) -> Sizes:
    """What a copy of each model takes on a server: declared, else as it was seen of late.

    An ensemble has no memory of its own, but that of its components with the most instances that they have anywhere.
    """
    alone = {model.name: _alone(model, units) for model in fleet.models if not model.components}
    counts = {model.name: _instances(model, units) for model in fleet.models}
    whole = {
        model.name: CopySize(
            added(
                [
                    model.memory_bytes or 0,
                    *(alone.get(name, UNKNOWN).of(counts.get(name, 1)) for name in model.components),
                ]
            )
        )
        for model in fleet.models
        if model.components
    }
    return {**alone, **whole}


def added(sizes: Sequence[int | None]) -> int | None:
    """All together; None where one is not known."""
    found = [size for size in sizes if size is not None]
    return sum(found) if len(found) == len(sizes) else None


def _alone(model: ModelSpec, units: Mapping[str, UnitState]) -> CopySize:
    if model.memory_bytes is not None:
        return CopySize(model.memory_bytes)
    return measured(sample for state in _states(model, units) for sample in state.memory)


def _instances(model: ModelSpec, units: Mapping[str, UnitState]) -> int:
    """The most instances that a copy is to have anywhere."""
    wanted = (state.instances or 1 for state in _states(model, units) if state.wanted)
    return max([max(1, model.instances_min), *wanted])


def _states(model: ModelSpec, units: Mapping[str, UnitState]) -> Iterator[UnitState]:
    states = (units.get(unit_key(model.name, server)) for server in model.runs_on)
    return (state for state in states if state is not None)


class GpuMemory:
    """What servers have of the memory of GPUs, by NVML's list of processes. MIG slices count as GPUs."""

    def __init__(self, fleet: Fleet, gpus: Signal[tuple[GpuReading, ...]]) -> None:
        self._used: dict[str, list[Signal[int]]] = {}
        self._free: dict[str, list[Signal[int]]] = {}
        found = known(gpus)
        if not found:
            return
        owner = ProcessServers(fleet)
        for gpu in found:
            slices = {piece.uuid: piece for piece in known(gpu.slices) or ()}
            seen: set[tuple[str, str]] = set()
            for process in known(gpu.processes) or ():
                server = known(owner.server_of(process, gpu.node))
                if server is not None:
                    self._note(server, process, slices.get(process.slice_uuid, gpu), seen)

    def _note(
        self, server: str, process: GpuProcess, on: GpuReading | SliceReading, seen: set[tuple[str, str]]
    ) -> None:
        self._used.setdefault(server, []).append(process.memory_used_bytes)
        if (server, on.uuid) not in seen:
            seen.add((server, on.uuid))
            total, used = on.memory_total_bytes, on.memory_used_bytes
            free: Signal[int] = Missing("not told")
            if isinstance(total, Known) and isinstance(used, Known):
                free = Known(max(0, total.value - used.value), used.observed_at)
            self._free.setdefault(server, []).append(free)

    def used(self, server: str) -> Signal[int]:
        """Bytes that the server's processes have."""
        return _sum(self._used.get(server, []))

    def free(self, server: str) -> Signal[int]:
        """Bytes that nobody has on the GPUs on which the server has processes."""
        return _sum(self._free.get(server, []))


def _sum(parts: list[Signal[int]]) -> Signal[int]:
    found = [part for part in parts if isinstance(part, Known)]
    if not parts or len(found) < len(parts):
        return next((part for part in parts if not isinstance(part, Known)), _NOT_SEEN)
    return Known(sum(part.value for part in found), min(part.observed_at for part in found))


def held(models: Iterable[ModelSpec], seen: ServerReading, sizes: Sizes, coming: Mapping[str, int]) -> int | None:
    """Bytes of the models that are on a server, those that come and go among them; None where one is not known.

    `models`: all ensembles are among them. `coming`: instances that models are to have there by steps under way.
    """
    here = dict(coming)
    for name, signal in seen.models.items():
        reading = last_value(signal)
        if reading is not None and reading.state in HELD:
            here[name] = max(here.get(name, 1), last_value(reading.instances) or 1)
    inside = {name for model in models if model.components and model.name in here for name in model.components}
    return added([sizes.get(name, UNKNOWN).of(count) for name, count in here.items() if name not in inside])


def _settled_only(seen: ServerReading) -> ServerReading:
    """The server without what is being loaded: of that it is not known how much it has already."""
    coming = {name for name, signal in seen.models.items() if _is_coming(last_value(signal))}
    return replace(seen, models={name: signal for name, signal in seen.models.items() if name not in coming})


def _is_coming(reading: ModelReading | None) -> bool:
    return reading is not None and reading.state is ModelState.LOADING


def room_bytes(
    server: ServerSpec, seen: ServerReading, gpu: GpuMemory, models: Iterable[ModelSpec], sizes: Sizes
) -> int | None:
    """What models may have together on a server: declared, else what they have with what is free on its GPUs."""
    if server.memory_bytes is not None:
        return server.memory_bytes
    free = known(gpu.free(server.name))
    there = None if free is None else held(models, _settled_only(seen), sizes, {})
    return None if free is None or there is None else free + there


def free_bytes(snapshot: Snapshot, gpu: GpuMemory, sizes: Sizes) -> dict[str, int | None]:
    """What is left on each server beside the models on it and the loads under way; None: not known."""
    fleet = snapshot.fleet
    coming: dict[str, dict[str, int]] = {}
    twice: dict[str, list[int | None]] = {}
    for action in snapshot.in_flight:
        if action.step in (Step.LOAD, Step.SET_INSTANCES):
            coming.setdefault(action.server, {})[action.model] = action.target.instances
        elif action.step in AGAIN:
            again = sizes.get(action.model, UNKNOWN).of(action.target.instances)
            twice.setdefault(action.server, []).append(again)
    ensembles = [model for model in fleet.models if model.components]
    free: dict[str, int | None] = {}
    for server in fleet.servers:
        seen = snapshot.reading.servers.get(server.name)
        room = None if seen is None else room_bytes(server, seen, gpu, ensembles, sizes)
        there = None if seen is None or room is None else held(ensembles, seen, sizes, coming.get(server.name, {}))
        taken = added([there, *twice.get(server.name, [])])
        free[server.name] = None if room is None or taken is None else room - taken
    return free


def learn_memory(snapshot: Snapshot, gpu: GpuMemory, state: PolicyState, now: float) -> PolicyState:
    """The state with what models were seen to take: the server's memory before and after one came, went, or had others.

    Only where nothing else changed on the server between two readings of its memory; of instances that are on their way
    their server does not tell, so nothing is learned while a step is.
    """
    servers = {server.name for server in snapshot.fleet.servers}
    busy = {action.server for action in snapshot.in_flight}
    units, marks = dict(state.units), {name: mark for name, mark in state.marks.items() if name in servers}
    for name, seen in snapshot.reading.servers.items():
        if name not in servers or name in busy or not isinstance(gpu.used(name), Known):
            continue
        if (here := _settled(seen)) is None:
            continue
        marks[name], sample = _compared(marks.get(name, ()), here, seen.incarnation, gpu.used(name), now)
        if sample is not None:
            key = unit_key(sample[0], name)
            unit = units.get(key, UnitState())
            units[key] = replace(unit, memory=_with(unit.memory, sample[1]))
    return replace(state, units=units, marks=marks)


def _with(samples: tuple[MemorySample, ...], newest: MemorySample) -> tuple[MemorySample, ...]:
    """The newest few that tell of a whole copy, and of a part of one each."""
    of_whole = [0 in (one.before, one.after) for one in (*samples, newest)]
    alike = [i for i, whole in enumerate(of_whole) if whole == of_whole[-1]]
    dropped = alike[:-_SAMPLES]
    return tuple(one for i, one in enumerate((*samples, newest)) if i not in dropped)


def _settled(seen: ServerReading) -> dict[str, int] | None:
    """The models on a server with their instances, None while some come, go or are not known."""
    here: dict[str, int] = {}
    for name, signal in seen.models.items():
        reading = known(signal)
        if reading is None or reading.state in (ModelState.LOADING, ModelState.UNLOADING):
            return None
        if reading.state is ModelState.READY:
            instances = known(reading.instances)
            if instances is None:
                return None
            here[name] = instances
    return here


def _compared(
    marks: tuple[MemoryMark, ...], here: dict[str, int], incarnation: int, used: Signal[int], now: float
) -> tuple[tuple[MemoryMark, ...], tuple[str, MemorySample] | None]:
    """The marks with what is now, and the model that came, went or has other instances since the mark before."""
    if not marks or marks[-1].incarnation != incarnation:
        return (MemoryMark(incarnation, here, now),), None
    last = marks[-1]
    if last.models != here:
        before = (last,) if last.used_bytes is not None else marks[:-1]
        return (*before, MemoryMark(incarnation, here, now)), None
    if not isinstance(used, Known) or used.observed_at <= last.since:
        return marks, None
    read = replace(last, used_bytes=used.value)
    if len(marks) == 1:
        return (read,), None
    return (read,), _difference(marks[0], read)


def _difference(before: MemoryMark, after: MemoryMark) -> tuple[str, MemorySample] | None:
    names = {name for name, _ in before.models.items() ^ after.models.items()}
    if len(names) != 1 or before.used_bytes is None or after.used_bytes is None:
        return None
    (name,) = names
    counts = before.models.get(name, 0), after.models.get(name, 0)
    size = after.used_bytes - before.used_bytes
    size = size if counts[1] > counts[0] else -size
    return (name, MemorySample(*counts, size)) if size > 0 and counts[0] != counts[1] else None
