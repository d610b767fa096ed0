"""What servers tell of their models and of their machines, as samples."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain import names
from controlplane.domain.observation import HostReading, ModelReading, ModelState
from controlplane.domain.picture import Picture
from controlplane.domain.signal import Signal, known
from controlplane.publish.metrics.families import COUNTER_PARTS
from controlplane.publish.metrics.gpus import Sample


def model_samples(picture: Picture) -> Iterator[Sample]:
    """Of every model on every server, as far as it is known."""
    for model in picture.fleet.models:
        for server in model.runs_on:
            entry = picture.reading.servers.get(server)
            seen = known(entry.models[model.name]) if entry is not None and model.name in entry.models else None
            if seen is not None:
                unit = (model.name, server)
                yield names.MODEL_LOADED, unit, float(seen.state is ModelState.READY)
                yield names.MODEL_INSTANCES, unit, known(seen.instances)
                yield names.MODEL_PENDING, unit, known(seen.pending)
                yield from served_samples(*unit, seen)


def served_samples(model: str, server: str, reading: ModelReading) -> Iterator[Sample]:
    """Of MODEL_FAMILIES. Counters are the server's own: they fall where it begins anew."""
    unit = (model, server)
    yield names.MODEL_RUNNING, unit, known(reading.running)
    for reason, waiting in sorted((known(reading.pending_by_reason) or {}).items()):
        yield names.MODEL_PENDING_BY_REASON, (*unit, reason), waiting
    yield names.MODEL_KV_CACHE_USAGE, unit, known(reading.kv_cache_usage)
    yield names.MODEL_KV_CACHE_TOKENS, unit, known(reading.kv_cache_tokens)
    if sleep := known(reading.sleep):
        yield names.MODEL_SLEEP, (*unit, sleep.value), 1.0
    if adapters := known(reading.adapters):
        yield names.MODEL_ADAPTER_SLOTS, unit, adapters.slots
        yield names.MODEL_ADAPTERS, (*unit, "running"), len(adapters.running)
        yield names.MODEL_ADAPTERS, (*unit, "waiting"), len(adapters.waiting)
    yield names.MODEL_LOAD_S, unit, known(reading.load_s)
    for gpu in reading.gpu_uuids:
        yield names.MODEL_GPU_INFO, (*unit, gpu), 1.0
    for (counter, part), value in sorted((known(reading.counters) or {}).items()):
        yield names.MODEL_COUNTERS[counter], (*unit, part) if counter in COUNTER_PARTS else unit, value


def host_samples(server: str, host: Signal[HostReading]) -> Iterator[Sample]:
    """Of HOST_FAMILIES."""
    for (gauge, gpu), value in (known(host) or {}).items():
        yield names.SERVER_HOST[gauge], (server, gpu) if gpu else (server,), value
