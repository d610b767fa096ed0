"""Memory of models and servers: declared, else as it was seen to change. Unknown is unknown, never zero."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from controlplane.domain.decision import Step
from controlplane.domain.fleet import Fleet, ModelSpec, ServerSpec
from controlplane.domain.gpu import GpuProcess, GpuReading, SliceReading
from controlplane.domain.observation import ModelReading, ModelState, ServerReading
from controlplane.domain.processes import ProcessServers
from controlplane.domain.signal import Known, Missing, Signal, known, last_value
from controlplane.domain.snapshot import Snapshot
from controlplane.domain.state import MemoryMark, PolicyState, UnitState, unit_key

_SAMPLES = 5
_NOT_SEEN: Missing = Missing("no process of it is seen on a GPU")
HELD = frozenset({ModelState.READY, ModelState.LOADING, ModelState.UNLOADING})
"""States in which a model has memory of its server."""


Sizes: TypeAlias = Mapping[str, int | None]
"""Bytes of a copy by model; None: not known."""


def copy_sizes(fleet: Fleet, units: Mapping[str, UnitState]) -> Sizes:
    """What a copy of each model takes on a server: declared, else the most that was seen of late.

    An ensemble has no memory of its own, but that of its components.
    """
    alone = {model.name: _alone(model, units) for model in fleet.models if not model.components}
    whole = {
        model.name: added([model.memory_bytes or 0, *(alone.get(name) for name in model.components)])
        for model in fleet.models
        if model.components
    }
    return {**alone, **whole}


def added(sizes: Sequence[int | None]) -> int | None:
    """All together; None where one is not known."""
    found = [size for size in sizes if size is not None]
    return sum(found) if len(found) == len(sizes) else None


def _alone(model: ModelSpec, units: Mapping[str, UnitState]) -> int | None:
    if model.memory_bytes is not None:
        return model.memory_bytes
    states = (units.get(unit_key(model.name, server)) for server in model.runs_on)
    return max((seen for state in states if state is not None for seen in state.memory_bytes), default=None)


class GpuMemory:
    """What servers have of the memory of GPUs, by NVML's list of processes. MIG slices count as GPUs."""

    def __init__(self, fleet: Fleet, gpus: Signal[tuple[GpuReading, ...]]) -> None:
        self._used: dict[str, list[Signal[int]]] = {}
        self._free: dict[str, list[Signal[int]]] = {}
        owner = ProcessServers(fleet)
        for gpu in known(gpus) or ():
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


def held(models: Iterable[ModelSpec], seen: ServerReading, sizes: Sizes, coming: Collection[str] = ()) -> int | None:
    """Bytes of the models that are on a server, those that come and go among them; None where one is not known.

    `models`: all ensembles are among them.
    """
    here = {*coming, *(name for name, signal in seen.models.items() if _is_held(last_value(signal)))}
    inside = {name for model in models if model.components and model.name in here for name in model.components}
    return added([sizes.get(name) for name in here - inside])


def _is_held(reading: ModelReading | None) -> bool:
    return reading is not None and reading.state in HELD


def room_bytes(
    server: ServerSpec, seen: ServerReading, gpu: GpuMemory, models: Iterable[ModelSpec], sizes: Sizes
) -> int | None:
    """What models may have together on a server: declared, else what they have with what is free on its GPUs."""
    if server.memory_bytes is not None:
        return server.memory_bytes
    free = known(gpu.free(server.name))
    there = None if free is None else held(models, seen, sizes)
    return None if free is None or there is None else free + there


def free_bytes(snapshot: Snapshot, sizes: Sizes) -> dict[str, int | None]:
    """What is left on each server beside the models on it and the loads under way; None: not known."""
    fleet, gpu = snapshot.fleet, GpuMemory(snapshot.fleet, snapshot.reading.gpus)
    coming: dict[str, set[str]] = {}
    for action in (action for action in snapshot.in_flight if action.step is Step.LOAD):
        coming.setdefault(action.server, set()).add(action.model)
    ensembles = [model for model in fleet.models if model.components]
    free: dict[str, int | None] = {}
    for server in fleet.servers:
        seen = snapshot.reading.servers.get(server.name)
        room = None if seen is None else room_bytes(server, seen, gpu, ensembles, sizes)
        there = None if seen is None or room is None else held(ensembles, seen, sizes, coming.get(server.name, ()))
        free[server.name] = None if room is None or there is None else room - there
    return free


def learn_memory(snapshot: Snapshot, state: PolicyState, now: float) -> PolicyState:
    """The state with what models were seen to take: the server's memory before and after one came or went.

    Only where nothing else changed on the server between two readings of its memory.
    """
    gpu = GpuMemory(snapshot.fleet, snapshot.reading.gpus)
    servers = {server.name for server in snapshot.fleet.servers}
    units, marks = dict(state.units), {name: mark for name, mark in state.marks.items() if name in servers}
    for name, seen in snapshot.reading.servers.items():
        if name not in servers or not isinstance(gpu.used(name), Known) or (here := _settled(seen)) is None:
            continue
        marks[name], sample = _compared(marks.get(name, ()), here, seen.incarnation, gpu.used(name), now)
        if sample is not None:
            key = unit_key(sample[0], name)
            unit = units.get(key, UnitState())
            units[key] = replace(unit, memory_bytes=(*unit.memory_bytes, sample[1])[-_SAMPLES:])
    return replace(state, units=units, marks=marks)


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
) -> tuple[tuple[MemoryMark, ...], tuple[str, int] | None]:
    """The marks with what is now, and the model that came or went since the mark before with its bytes."""
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


def _difference(before: MemoryMark, after: MemoryMark) -> tuple[str, int] | None:
    moved = before.models.items() ^ after.models.items()
    names = {name for name, _ in moved}
    if len(names) != 1 or len(moved) != 1 or before.used_bytes is None or after.used_bytes is None:
        return None
    (name,) = names
    size = after.used_bytes - before.used_bytes
    size = size if name in after.models else -size
    return (name, size) if size > 0 else None
