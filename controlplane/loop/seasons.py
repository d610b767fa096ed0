"""What the history of objectives teaches of the arrivals of workloads that are scaled."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from controlplane.decide.forecast import Reading, State
from controlplane.decide.replicas.seasons import STEP_S, learned
from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import Indicator, IndicatorSource
from controlplane.domain.ports import Store

# A day is found after two, and each further day of minutes takes half a second to learn.
BACK_S = 3 * 86_400.0
# A minute that was measured for less tells no rate.
_MEASURED_S = STEP_S / 2
# Objectives whose events are the requests: not probes, nor slices of time.
_REQUESTS = (Indicator.AVAILABILITY, Indicator.TTFT, Indicator.E2E, Indicator.LATENCY)
_COUNTED = (IndicatorSource.SERVER, IndicatorSource.GATEWAY)


def arrivals(fleet: Fleet) -> Mapping[str, Callable[..., State]]:
    """By workload that is scaled, what reads its requests by minute and learns from them. Takes seconds."""
    found: dict[str, Callable[..., State]] = {}
    for workload in fleet.workloads:
        if workload.replicas is not None and (objectives := counted(fleet, workload.name)):
            found[workload.name] = partial(_learn, objectives)
    return found


def counted(fleet: Fleet, workload: str) -> Mapping[str, str]:
    """By model of a workload, the key of the objective whose events are its requests; without one it is left out."""
    found = [
        (model.name, objective.key)
        for model in fleet.models
        if workload in model.workloads
        for objective in model.objectives
        if objective.indicator in _REQUESTS and objective.source in _COUNTED
    ]
    return dict(sorted(found, reverse=True))


def requests_per_s(objectives: Mapping[str, str], store: Store, since: float, until: float) -> dict[float, float]:
    """By start of a minute, requests per second of all models together; left out where not all were measured."""
    by_minute: dict[float, list[float]] = {}
    for model, key in objectives.items():
        for start, counts in store.slices(model, key, since, until, STEP_S):
            if counts.measured_s >= _MEASURED_S:
                by_minute.setdefault(start, []).append(counts.events / counts.measured_s)
    return {start: sum(rates) for start, rates in sorted(by_minute.items()) if len(rates) == len(objectives)}


def _learn(objectives: Mapping[str, str], store: Store, *, now: float) -> State:
    """From the requests of all models together."""
    rates = requests_per_s(objectives, store, now - BACK_S, now)
    return learned(Reading(start + STEP_S, per_s, per_s) for start, per_s in rates.items())
