"""What the history of objectives teaches of the arrivals of workloads that are scaled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from controlplane.decide.forecast import Reading, State
from controlplane.decide.replicas.seasons import STEP_S, learned
from controlplane.domain.fleet import Fleet
from controlplane.domain.objectives import Indicator
from controlplane.domain.ports import Store

# A day is found after two, and each further day of minutes takes half a second to learn.
_BACK_S = 3 * 86_400.0
# A minute that was measured for less tells no rate.
_MEASURED_S = STEP_S / 2
# Objectives whose events are the requests, and which is taken first.
_REQUESTS = (Indicator.AVAILABILITY, Indicator.TTFT, Indicator.E2E, Indicator.LATENCY)


def arrivals(fleet: Fleet) -> Mapping[str, Callable[..., State]]:
    """By workload that is scaled, what reads its requests by minute and learns from them. Takes seconds."""
    found: dict[str, Callable[..., State]] = {}
    for workload in fleet.workloads:
        if workload.replicas is None:
            continue
        counted = [
            (model.name, objective.key)
            for model in fleet.models
            if workload.name in model.workloads
            for objective in model.objectives
            if objective.indicator in _REQUESTS
        ]
        by_model = dict(sorted(counted, reverse=True))
        if by_model:
            found[workload.name] = partial(_learn, by_model)
    return found


def _learn(objectives: Mapping[str, str], store: Store, *, now: float) -> State:
    """From the requests of all models together, as far as all were measured in a minute."""
    by_minute: dict[float, list[float]] = {}
    for model, key in objectives.items():
        for start, counts in store.slices(model, key, now - _BACK_S, now, STEP_S):
            if counts.measured_s >= _MEASURED_S:
                by_minute.setdefault(start, []).append(counts.events / counts.measured_s)
    return learned(_readings(by_minute, len(objectives)))


def _readings(by_minute: Mapping[float, list[float]], models: int) -> Iterator[Reading]:
    for start, rates in sorted(by_minute.items()):
        if len(rates) == models:
            yield Reading(start + STEP_S, sum(rates), sum(rates))
