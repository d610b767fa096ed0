"""Which copies are on which slices, which GPUs may be cut, and how both are shown."""

from __future__ import annotations

from collections.abc import Sequence

from controlplane.config.mig.boards import boards
from controlplane.decide.mig.asked import Occupied, UnitName
from controlplane.decide.mig.boards import Slice
from controlplane.decide.mig.seen import SeenGpu, seen_gpu
from controlplane.decide.mig.settings import MigSettings
from controlplane.domain.decision import Decision, ReasonCode
from controlplane.domain.fleet import Fleet
from controlplane.domain.gpu import GpuProcess, GpuReading
from controlplane.domain.layouts import LaidGpu, LaidSlice, LayoutPlan
from controlplane.domain.observation import FleetReading, ModelState
from controlplane.domain.processes import ProcessServers
from controlplane.domain.signal import Known, Missing, Signal, Stale, known
from controlplane.loop.gpu_time import users
from controlplane.loop.present import model_reading

UNNAMED = "`models` does not name it"


def occupied(fleet: Fleet, reading: FleetReading, settings: MigSettings | None) -> tuple[Occupied, ...]:
    """Every GPU that is known, sorted by node and UUID.

    One on which anything runs that `mig` does not name, or nobody knows what, is not to be cut.
    """
    gpus = known(reading.gpus)
    if not gpus:
        return ()
    servers = ProcessServers(fleet)
    units = {place: here for _, of_gpu in users(fleet, servers, reading) for place, here in of_gpu.items()}
    places: dict[UnitName, int] = {}
    for unit in (unit for of_place in units.values() for unit in of_place):
        places[unit] = places.get(unit, 0) + 1
    table = tuple(boards().values())
    found = []
    for gpu in sorted(gpus, key=lambda gpu: (gpu.node, gpu.uuid)):
        seen = seen_gpu(gpu, table)
        here = {uuid: units[uuid] for uuid in seen.pieces if uuid in units}
        models = _models(seen, here)
        unnamed = _unnamed(here, places, settings)
        why = seen.why or _foreign(gpu, known(gpu.processes), servers, settings) or unnamed
        found.append(Occupied(seen, models, here, why, _waits(seen, servers, settings, unnamed)))
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


def _waits(seen: SeenGpu, servers: ProcessServers, settings: MigSettings | None, unnamed: str) -> Signal[bool]:
    """Whether a GPU might be cut but for a reset that it waits for, by what was told last of its mode and processes.

    What anybody else has there needs none of our resets, and is not out of our service.
    """
    mode, pending, processes = seen.reading.mig_enabled, seen.reading.mig_pending, seen.reading.processes
    if isinstance(mode, Missing) or isinstance(pending, Missing) or isinstance(processes, Missing):
        return Missing("its mode, that after a reset, and who computes on it are not all told")
    waits = mode.value != pending.value and seen.board is not None and not unnamed
    waits = waits and not _foreign(seen.reading, processes.value, servers, settings)
    stale = next((told for told in (mode, pending, processes) if isinstance(told, Stale)), None)
    return Known(waits, mode.observed_at) if stale is None else Stale(waits, stale.observed_at, stale.age_s, stale.why)


def _foreign(
    gpu: GpuReading, processes: Sequence[GpuProcess] | None, servers: ProcessServers, settings: MigSettings | None
) -> str:
    """Why a GPU is not ours to cut, by its node and by who computes on it."""
    if settings is not None and settings.agents is not None and gpu.node not in settings.agents:
        return "its node is not among mig.agents"
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


def copy_serves(
    fleet: Fleet, reading: FleetReading, settings: MigSettings | None, model: str, gpu: str, piece: Slice
) -> bool:
    """Whether a copy of the model is seen on the slice, on a server that has it ready."""
    one = next((one for one in occupied(fleet, reading, settings) if one.gpu.reading.uuid == gpu), None)
    if one is None:
        return False
    units = (unit for uuid, of_place in one.units.items() if one.gpu.pieces.get(uuid) == piece for unit in of_place)
    seen = (model_reading(reading, model, server) for name, server in units if name == model)
    return any(found is not None and found.state is ModelState.READY for found in seen)


def capacity_told(decision: Decision) -> float | None:
    """What a copy serves: of a server all that is loaded, of a workload one replica."""
    told = {reason.code: reason.numbers for reason in decision.reasons}
    for code in (ReasonCode.CAPACITY, ReasonCode.REPLICA_DEMAND):
        if "capacity_per_s" in told.get(code, {}):
            return told[code]["capacity_per_s"]
    return None
