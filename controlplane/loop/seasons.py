"""What the history of objectives teaches of the arrivals of workloads that are scaled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial

from controlplane.decide.forecast import Reading, State
from controlplane.decide.replicas.seasons import STEP_S, learned
from controlplane.domain.fleet import Fleet, is_member_name
from controlplane.domain.objectives import Indicator, IndicatorSource
from controlplane.domain.ports import Store
from controlplane.loop.store_thread import StoreThread

# A day is found after two, and each further day of minutes takes half a second to learn.
BACK_S = 3 * 86_400.0
# A minute that was measured for less tells no rate.
_MEASURED_S = STEP_S / 2
# Objectives whose events are the requests: not probes, nor slices of time.
_REQUESTS = (Indicator.AVAILABILITY, Indicator.TTFT, Indicator.E2E, Indicator.LATENCY)
_COUNTED = (IndicatorSource.SERVER, IndicatorSource.GATEWAY)


async def recalled(fleet: Fleet, store: StoreThread, now: float) -> AsyncIterator[tuple[str, State]]:
    """Workloads that are scaled, one after the other, with what the requests of all their models teach.

    Takes seconds for each, of which the store is held for a moment only. Raises StoreError.
    """
    for workload in fleet.workloads:
        if workload.replicas is not None and (objectives := counted(fleet, workload.name)):
            rates = await store.call(partial(requests_per_s, objectives, since=now - BACK_S, until=now))
            readings = (Reading(start + STEP_S, per_s, per_s) for start, per_s in rates.items())
            yield workload.name, await asyncio.to_thread(learned, readings)


def counted(fleet: Fleet, workload: str) -> Mapping[str, str]:
    """By model of a workload, the key of the objective whose events are its requests; without one it is left out.

    Empty where one of them is served elsewhere too: its history does not tell what was served where.
    """
    models = [model for model in fleet.models if workload in model.workloads and model.lora is None]
    if any(len(model.workloads) > 1 or not all(map(is_member_name, model.runs_on)) for model in models):
        return {}
    found = [
        (model.name, objective.key)
        for model in models
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
