"""History from a Prometheus: the pages that it scraped, read as live ones are, and written hour by hour.

The readers, their ledgers and the closing of slices are those of live reading, so that an imported slice says what one
of our own would. No rate and no `increase` is asked for: those extrapolate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Protocol, TypeVar

from controlplane.collect.past.ratios import PastRatio, ratios_at
from controlplane.collect.past.readers import PastGateway, PastServer, gateways_at, member_of, server_at
from controlplane.collect.past.samples import past_targets
from controlplane.collect.prometheus.api import Prometheus
from controlplane.domain.fleet import Fleet, KubernetesQuery, ModelSpec, TargetsQuery
from controlplane.domain.history import BUCKETS_S, BucketRow, ObjectiveVersion, SketchRow
from controlplane.domain.objectives import Counts, IndicatorSource, Objective, Slice
from controlplane.domain.observation import Interval, LatencyInterval, RatioInterval
from controlplane.slo.indicators import close_slices, gateways_in
from controlplane.slo.minutes import close_minutes

CHUNK_S = 3600.0
LONGEST_S = 400 * 86400.0
"""For so long hours are kept; a day is not read and written at once."""
_LEAD_S = 300.0
"""Read before the first hour, so that its first moments have a reading to be compared with."""
_Measured = TypeVar("_Measured", Interval, LatencyInterval, RatioInterval)


class PastStore(Protocol):
    """Where history goes."""

    def write_past(
        self,
        past: Sequence[Slice],
        rows: Sequence[BucketRow | SketchRow],
        versions: Sequence[ObjectiveVersion],
    ) -> int:
        """Write whole hours, where their time is not there yet; gives how many slices were new."""
        ...


@dataclass(slots=True)
class Imported:
    """What was found of one objective: its slices from `since` on and their sum; `since` None: nothing."""

    model: str
    objective: Objective
    since: float | None = None
    slices: int = 0
    counts: Counts = field(default_factory=Counts)


@dataclass(slots=True)
class ImportResult:
    """What was found, how many slices were new, and why nothing was read of some servers, gateways and ratios, by name.

    `left_out`: why objectives and workloads cannot be imported at all, by name. `scrape_s` is the usual distance of two
    scrapes; None: there were none.
    """

    objectives: list[Imported]
    written: int = 0
    unread: Mapping[str, str] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    scrape_s: float | None = None


class PastImport:
    """One import. Slices that live reading would have closed before a late reading came are as unmeasured as there."""

    def __init__(self, fleet: Fleet, models: Sequence[str], prometheus: Prometheus, grace: float) -> None:
        self._prometheus = prometheus
        self._grace_s = grace
        asked = [model for model in fleet.models if not models or model.name in models]
        self._left_out = left_out(fleet, asked)
        self._models = [_importable(model) for model in asked]
        self._found = {
            (model.name, objective.key): Imported(model.name, objective)
            for model in self._models
            for objective in model.objectives
        }
        name = prometheus.spec.name
        servers = (server_at(spec, name, self._models) for spec in fleet.servers)
        self._servers = {server.name: server for server in servers if server is not None}
        self._gateways = tuple(gateways_at(fleet.gateways, name, self._models))
        self._counting: dict[str, dict[str, float]] = {}
        self._ratios = tuple(ratios_at(self._models, name, prometheus.spec.interval_s))
        run = {workload for model in self._models for workload in model.workloads}
        self._workloads = [
            (workload, workload.query.where)
            for workload in fleet.workloads
            if isinstance(workload.query, TargetsQuery) and workload.query.prometheus == name and workload.name in run
        ]

    async def run(
        self, store: PastStore | None, since: float, until: float, progress: Callable[[float], None]
    ) -> ImportResult:
        """Import [since, until), widened to a whole hour and cut to a whole minute; without a store only look.

        `progress` is told the share that is done. Raises what `collect.past.past_scrapes` does, and StoreError; what
        was written until then stays, and importing again goes on.
        """
        first, last = math.floor(since / CHUNK_S) * CHUNK_S, math.floor(until / BUCKETS_S) * BUCKETS_S
        result = ImportResult(list(self._found.values()), left_out=self._left_out)
        read_until, start = first - _LEAD_S, first
        while start < last:
            end = min(start + CHUNK_S, last)
            # a reading after the end may reach back into it
            await self._read(read_until, end + self._grace_s)
            read_until = end + self._grace_s
            slices, rows = self._close(start, end)
            if store is not None and slices:
                result.written += store.write_past(slices, rows, self._versions())
            start = end
            progress((start - first) / (last - first))
        result.unread = {source.name: source.why for source in self._sources if source.why}
        distances = [seconds for source in self._sources for seconds in source.distances]
        result.scrape_s = median(distances) if distances else None
        return result

    @property
    def _sources(self) -> list[PastServer | PastGateway | PastRatio]:
        return [*self._servers.values(), *self._gateways, *self._ratios]

    async def _read(self, since: float, until: float) -> None:
        for workload, where in self._workloads:
            for target in await past_targets(self._prometheus, where, since, until):
                name = f"{workload.name}/{'/'.join(target)}"
                if name not in self._servers:
                    self._servers[name] = member_of(workload, self._prometheus.spec.name, target, self._models)
        for source in self._sources:
            await source.read(self._prometheus, since, until)

    def _close(self, since: float, until: float) -> tuple[list[Slice], list[BucketRow | SketchRow]]:
        """The slices and the minutes of a chunk; those of before the first reading of an objective are left out."""
        slices: list[Slice] = []
        rows: list[BucketRow | SketchRow] = []
        for model in self._models:
            servers = [server for server in self._servers.values() if model.name in server.models]
            there = {server.name: span for server in servers if (span := server.there(until)) is not None}
            intervals = [(server.name, self._known(server.intervals(model.name))) for server in servers]
            sources: list[PastServer | PastGateway] = [*servers, *self._gateways]
            latencies = self._known(latency for source in sources for latency in source.latencies(model.name))
            ratios = self._known(i for r in self._ratios if r.model == model.name for i in r.intervals())
            counting = gateways_in(latencies) | self._counting.get(model.name, {})
            self._counting[model.name] = counting
            closed = close_slices(
                model,
                intervals,
                latencies,
                (),
                since=since,
                until=until,
                there=there,
                ratios=ratios,
                gateways=counting,
            )
            slices += [part for part in closed if self._begun(part)]
            rows += close_minutes(model.name, latencies, (), since=since, until=until)
        for source in self._sources:
            source.forget(until)
        return slices, rows

    def _known(self, intervals: Iterable[_Measured]) -> tuple[_Measured, ...]:
        """Intervals as far as they measure slices that were open when they became known."""
        return tuple(replace(i, start=max(i.start, i.end - self._grace_s)) for i in intervals)

    def _begun(self, part: Slice) -> bool:
        found = self._found[part.model, part.objective]
        if found.since is None and part.measured_s <= 0:
            return False
        found.since = part.start if found.since is None else found.since
        found.slices += 1
        found.counts += Counts(part.good, part.bad, part.unsure, part.measured_s, part.expected_s, part.bad_capacity)
        return True

    def _versions(self) -> list[ObjectiveVersion]:
        return [
            ObjectiveVersion(found.model, found.objective.version, found.objective, found.since)
            for found in self._found.values()
            if found.since is not None
        ]


_UNKNOWN: Mapping[IndicatorSource, str] = {
    IndicatorSource.PROBE: "our own probes are in no Prometheus",
    IndicatorSource.VALUE_SLICES: "a share is looked at as time passes, not afterwards",
}


def left_out(fleet: Fleet, models: Iterable[ModelSpec]) -> dict[str, str]:
    """Why objectives of these models and workloads that they run on cannot be imported, by name."""
    whys: dict[str, str] = {}
    run: set[str] = set()
    for model in models:
        run.update(model.workloads)
        whys |= {f"{model.name} {o.key}": _UNKNOWN[o.source] for o in model.objectives if o.source in _UNKNOWN}
    for workload in fleet.workloads:
        if workload.name in run and isinstance(workload.query, KubernetesQuery):
            whys[workload.name] = "Kubernetes does not tell which pods there were"
    return whys


def _importable(model: ModelSpec) -> ModelSpec:
    """A model as something that is but looked at."""
    return replace(model, objectives=tuple(o for o in model.objectives if o.source not in _UNKNOWN), probe=None)
