"""GPU time and its price: how long each GPU was there, and for which models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import structlog

from controlplane.domain.fleet import Fleet, ServerKind
from controlplane.domain.gpu import GpuReading
from controlplane.domain.observation import FleetReading, ModelReading, ModelState
from controlplane.domain.processes import ProcessServers
from controlplane.domain.routing import Prices
from controlplane.domain.signal import known
from controlplane.publish.metrics.gpus import gpu_label
from controlplane.publish.metrics.spend import price_of

UnitName: TypeAlias = tuple[str, str]
"""Model and server."""
GpuName: TypeAlias = tuple[str, str]
"""Node and GPU."""

log = structlog.get_logger(__name__)

_SETTLED_S = 120.0
_LONGEST_S = 300.0
_EIGHTHS = 8
_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a GPU (1: all of it) and the units that have it together; `place` is the UUID of the GPU or slice."""

    gpu: GpuReading
    part: float
    units: tuple[UnitName, ...]
    place: str


class UnseenPrices:
    """Says once in the log which prices are of GPUs that nobody saw, after time for all nodes to have told theirs."""

    def __init__(self, prices: Prices) -> None:
        self._prices = prices
        self._names: set[str] = set()
        self._since: float | None = None
        self._told = not prices.by_name

    def look(self, gpus: Iterable[GpuReading], now: float) -> None:
        """Note the GPUs that are seen."""
        if self._told:
            return
        self._names.update(gpu.name for gpu in gpus)
        if not self._names:
            return
        self._since = now if self._since is None else self._since
        if now - self._since >= _SETTLED_S:
            self._told = True
            unseen = self._prices.unseen(self._names)
            if unseen:
                log.warning("cost.gpu_hours names GPUs that are not seen", unseen=unseen, seen=sorted(self._names))


class GpuTime:
    """Sums of GPU time since the start: `unit_s` and `cost` by unit, `gpu_s` and `busy_s` by GPU.

    Time counts for a GPU that is seen at both of two looks. It is divided equally among the models that are loaded on
    it at the second; that of a MIG slice, by its share of the GPU's memory, among those in the slice. What is loaded
    where is told by the counters of a model, or by the processes of its server; of a model of which neither tells it
    nothing is counted. Time in which no model is known to be there is nobody's. Looks are `every_s` seconds apart; what
    was loaded in a gap of more than two of them, and of some minutes, nobody knows, so that it counts for nothing.
    """

    def __init__(self, prices: Prices, every_s: float = 0.0) -> None:
        self._prices = prices
        self._longest_s = max(_LONGEST_S, 2 * every_s)
        self._fleet = Fleet((), ())
        self._servers = ProcessServers(self._fleet)
        self._unpriced = UnseenPrices(prices)
        self._at = 0.0
        self._seen: frozenset[GpuName] = frozenset()
        self.unit_s: dict[UnitName, float] = {}
        self.cost: dict[UnitName, float] = {}
        self.gpu_s: dict[GpuName, float] = {}
        self.busy_s: dict[GpuName, float] = {}

    def look(self, fleet: Fleet, reading: FleetReading, now: float) -> None:
        """Add the time since the last look."""
        if fleet is not self._fleet:
            self._fleet, self._servers = fleet, ProcessServers(fleet)
            here = {(model.name, server) for model in fleet.models for server in model.runs_on}
            for of_units in (self.unit_s, self.cost):
                for gone in of_units.keys() - here:
                    del of_units[gone]
        gpus = known(reading.gpus) or ()
        self._unpriced.look(gpus, now)
        past_s = now - self._at if 0.0 < now - self._at <= self._longest_s else 0.0
        for gpu in gpus:
            key = _name(gpu)
            self._add(self.gpu_s, key, past_s if key in self._seen else 0.0)
            if (busy := known(gpu.utilisation)) is not None:
                self._add(self.busy_s, key, busy * past_s if key in self._seen else 0.0)
        for share in shares(fleet, self._servers, reading):
            each_s = share.part * past_s / len(share.units) if _name(share.gpu) in self._seen else 0.0
            price = price_of(share.gpu, self._prices)
            for unit in share.units:
                self._add(self.unit_s, unit, each_s)
                if price is not None:
                    self._add(self.cost, unit, each_s / _HOUR_S * price)
        self._at, self._seen = now, frozenset(_name(gpu) for gpu in gpus)

    @staticmethod
    def _add(to: dict[tuple[str, str], float], key: tuple[str, str], value: float) -> None:
        to[key] = to.get(key, 0.0) + value


def shares(fleet: Fleet, servers: ProcessServers, reading: FleetReading) -> Iterator[Share]:
    """The parts of the GPUs on which models are known to be loaded; none of a slice whose memory is not known."""
    for gpu, units in users(fleet, servers, reading):
        parts = _parts(gpu)
        yield from (Share(gpu, parts[place], here, place) for place, here in units.items() if place in parts)


def users(
    fleet: Fleet, servers: ProcessServers, reading: FleetReading
) -> Iterator[tuple[GpuReading, Mapping[str, tuple[UnitName, ...]]]]:
    """The units on each GPU, by the UUID of the slice, or of a GPU that is not cut; places without any are left out."""
    gpus = known(reading.gpus)
    if not gpus:
        return
    kinds, loaded = {server.name: server.kind for server in fleet.servers}, _loaded(fleet, reading)
    named = _named(loaded)
    for gpu in gpus:
        here = {place: dict.fromkeys(named.get(place, ())) for place in _places(gpu)}
        for process in known(gpu.processes) or ():
            place, server = process.slice_uuid or gpu.uuid, known(servers.server_of(process, gpu.node)) or ""
            if place in here:
                there = (name for name, seen in loaded.get(server, ()) if _uses(seen, kinds[server], gpu.uuid, place))
                here[place].update(dict.fromkeys((name, server) for name in there))
        yield gpu, {place: tuple(units) for place, units in here.items() if units}


def _loaded(fleet: Fleet, reading: FleetReading) -> Mapping[str, list[tuple[str, ModelReading]]]:
    """The models that are ready on each server, with their readings; what adapters use is their base's."""
    loaded: dict[str, list[tuple[str, ModelReading]]] = {}
    for model in (model for model in fleet.models if model.lora is None):
        for server in model.runs_on:
            entry = reading.servers.get(server)
            seen = known(entry.models[model.name]) if entry is not None and model.name in entry.models else None
            if seen is not None and seen.state is ModelState.READY:
                loaded.setdefault(server, []).append((model.name, seen))
    return loaded


def _named(loaded: Mapping[str, list[tuple[str, ModelReading]]]) -> Mapping[str, list[UnitName]]:
    """By UUID the units whose counters name the GPU or slice."""
    named: dict[str, list[UnitName]] = {}
    for server, models in loaded.items():
        for name, seen in models:
            for uuid in seen.gpu_uuids:
                named.setdefault(uuid, []).append((name, server))
    return named


def _uses(seen: ModelReading, kind: ServerKind, gpu: str, place: str) -> bool:
    """Whether a model of a server that has a process there is there too."""
    if seen.gpu_uuids:
        return gpu in seen.gpu_uuids or place in seen.gpu_uuids
    # A Triton has models on CPUs beside; it tells on which GPUs' instance groups, by its own numbering.
    return bool(seen.gpus) if kind is ServerKind.TRITON else True


def _places(gpu: GpuReading) -> tuple[str, ...]:
    slices = known(gpu.slices)
    if slices:
        return tuple(piece.uuid for piece in slices)
    # of a cut GPU whose slices are not known nothing is told
    return () if known(gpu.mig_enabled) else (gpu.uuid,)


def _parts(gpu: GpuReading) -> Mapping[str, float]:
    """By UUID the whole GPU, or its slices by their share of memory, which is cut into eighths.

    Slices of one GPU instance have its memory together. Source: NVIDIA MIG user guide, supported profiles (an A30's
    quarters are two eighths each).
    """
    slices, total = known(gpu.slices), known(gpu.memory_total_bytes)
    if not slices:
        return {} if known(gpu.mig_enabled) else {gpu.uuid: 1.0}
    parts: dict[str, float] = {}
    for piece in slices:
        own = known(piece.memory_total_bytes)
        if own is not None and total:
            together = sum(other.gpu_instance == piece.gpu_instance for other in slices)
            parts[piece.uuid] = max(1, round(_EIGHTHS * own / total)) / _EIGHTHS / together
    return parts


def _name(gpu: GpuReading) -> GpuName:
    return gpu.node, gpu_label(gpu)
