"""How long after its end a slice is closed: until every source that its model's objectives go by has told of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controlplane.domain.fleet import Fleet, TargetsQuery
from controlplane.domain.objectives import SLICE_S, IndicatorSource, Objective
from controlplane.domain.sources import GatewaySpec, PrometheusSpec


@dataclass(frozen=True, slots=True)
class Grace:
    """Gives the grace of models, in seconds, where servers are read every `scrape_s` and given up after `timeout_s`."""

    scrape_s: float
    timeout_s: float

    @property
    def least_s(self) -> float:
        """Of a model of which no Prometheus is asked: a scrape and its timeout."""
        return max(SLICE_S, self.scrape_s + self.timeout_s)

    def asked_s(self, spec: PrometheusSpec) -> float:
        """Of what is asked of a Prometheus: one of its scrapes, and until we ask it and it answers."""
        return max(SLICE_S, spec.interval_s + self.scrape_s + spec.timeout_s)

    def of_models(self, fleet: Fleet) -> dict[str, float]:
        """By model: that of the slowest source its objectives go by. Other models do not wait for it.

        Those are its servers, whatever the objectives are (they tell whether it was short of capacity), the gateways
        that its objectives count on, and what they ask of a Prometheus.
        """
        asked_s = {spec.name: self.asked_s(spec) for spec in fleet.prometheus}
        through = {server.name: server.through.prometheus for server in fleet.servers if server.through is not None}
        through |= {
            workload.name: workload.query.prometheus
            for workload in fleet.workloads
            if isinstance(workload.query, TargetsQuery) and workload.query.through
        }
        found = {}
        for model in fleet.models:
            names = {through[name] for name in (*model.runs_on, *model.workloads) if name in through}
            names |= {name for objective in model.objectives for name in _asked_for(objective, fleet.gateways)}
            found[model.name] = max([self.least_s, *(asked_s[name] for name in names & asked_s.keys())])
        return found


def _asked_for(objective: Objective, gateways: Iterable[GatewaySpec]) -> Iterator[str]:
    """Every Prometheus that an objective goes by, but for its servers."""
    if objective.ratio is not None:
        yield objective.ratio.prometheus
    if objective.source is IndicatorSource.GATEWAY:
        named = (gateway for gateway in gateways if objective.gateway in {"", gateway.name})
        yield from (gateway.through.prometheus for gateway in named if gateway.through is not None)
