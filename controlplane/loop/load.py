"""Requests that the servers of a workload hold."""

from __future__ import annotations

from collections.abc import Mapping

from controlplane.domain.fleet import workload_of
from controlplane.domain.observation import FleetReading
from controlplane.domain.signal import known


def loads_of(reading: FleetReading, workload: str) -> Mapping[str, float]:
    """Requests that wait or run on each server, by its name within the workload; without those that do not tell."""
    loads: dict[str, float] = {}
    for name, server in reading.servers.items():
        if workload_of(name) != workload:
            continue
        models = [model for signal in server.models.values() if (model := known(signal)) is not None]
        waiting = [count for model in models if (count := known(model.pending)) is not None]
        running = [count for model in models if (count := known(model.running)) is not None]
        if models and len(waiting) == len(models):
            loads[name.partition("/")[2]] = float(sum(waiting) + sum(running))
    return loads
