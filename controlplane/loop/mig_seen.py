"""Which copies are on which slices, which GPUs may be cut, and how both are shown."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.config.mig.boards import boards
from controlplane.decide.mig.asked import Occupied, UnitName
from controlplane.decide.mig.boards import Slice
from controlplane.decide.mig.seen import SeenGpu, seen_gpu
from controlplane.decide.mig.settings import MigSettings
from controlplane.domain.fleet import Fleet
from controlplane.domain.gpu import GpuReading
from controlplane.domain.layouts import LaidGpu, LaidSlice, LayoutPlan
from controlplane.domain.observation import FleetReading
from controlplane.domain.processes import ProcessServers
from controlplane.domain.signal import known
from controlplane.loop.gpu_time import shares

UNNAMED = "`models` does not name it"


def occupied(fleet: Fleet, reading: FleetReading, settings: MigSettings | None) -> tuple[Occupied, ...]:
    """Every GPU that is known, sorted by node and UUID.

    One on which anything runs that `mig` does not name, or nobody knows what, is not to be cut.
    """
    gpus = known(reading.gpus)
    if not gpus:
        return ()
    servers = ProcessServers(fleet)
    units: dict[str, tuple[UnitName, ...]] = {s.place: s.units for s in shares(fleet, servers, reading)}
    places: dict[UnitName, int] = {}
    for unit in (unit for of_place in units.values() for unit in of_place):
        places[unit] = places.get(unit, 0) + 1
    table = tuple(boards().values())
    found = []
    for gpu in sorted(gpus, key=lambda gpu: (gpu.node, gpu.uuid)):
        seen = seen_gpu(gpu, table)
        here = {uuid: units[uuid] for uuid in seen.pieces if uuid in units}
        models = _models(seen, here)
        why = seen.why or _foreign(gpu, servers, settings) or _unnamed(here, places, settings)
        found.append(Occupied(seen, models, here, why))
    return tuple(found)


def laid(gpus: Sequence[Occupied], planned: LayoutPlan | None) -> tuple[LaidGpu, ...]:
    """As it is shown, with the plan where it has the GPU."""
    return tuple(
        LaidGpu(
            one.gpu.reading.uuid,
            one.gpu.reading.node,
            one.gpu.reading.name,
            "" if one.gpu.board is None else one.gpu.board.key,
            0 if one.gpu.board is None else one.gpu.board.units,
            _laid(one),
            None if planned is None else planned.layouts.get(one.gpu.reading.uuid),
            one.why,
        )
        for one in gpus
    )


def _laid(one: Occupied) -> tuple[LaidSlice, ...]:
    board = one.gpu.board
    if board is None:
        return ()
    pieces = sorted(set(one.gpu.pieces.values()), key=lambda piece: piece.start)
    return tuple(LaidSlice(p.profile, p.start, board.size(p), one.models.get(p, ())) for p in pieces)


def _models(seen: SeenGpu, units: dict[str, tuple[UnitName, ...]]) -> dict[Slice, tuple[str, ...]]:
    on: dict[Slice, set[str]] = {}
    for uuid, of_place in units.items():
        on.setdefault(seen.pieces[uuid], set()).update(model for model, _ in of_place)
    return {piece: tuple(sorted(names)) for piece, names in on.items()}


def _foreign(gpu: GpuReading, servers: ProcessServers, settings: MigSettings | None) -> str:
    """Why a GPU is not ours to cut, by its node and by who computes on it."""
    if settings is not None and settings.agents is not None and gpu.node not in settings.agents:
        return "its node is not among mig.agents"
    processes = known(gpu.processes)
    if processes is None:
        return "who computes on it is not known"
    strangers = [process.pid for process in processes if known(servers.server_of(process, gpu.node)) is None]
    return f"process {strangers[0]} computes on it, of which no server is known" if strangers else ""


def _unnamed(units: dict[str, tuple[UnitName, ...]], places: dict[UnitName, int], settings: MigSettings | None) -> str:
    """Why a GPU is not ours to cut, by the models on it."""
    wishes = {wish.name for wish in settings.models} if settings is not None else set()
    for model, server in sorted({unit for of_place in units.values() for unit in of_place}):
        if settings is not None and model not in wishes:
            return f"{model} is on it, which mig.models does not name"
        if places[model, server] > 1:
            return f"{model} on {server} has it together with others"
    return ""
