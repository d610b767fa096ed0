"""What holds for GPU readings wherever they come from: their figures, aging, and one list out of several sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from controlplane.domain.gpu import GPU_SIGNALS, GpuReading
from controlplane.domain.signal import Known, Missing, Signal, Stale, aged

Gpus: TypeAlias = Signal[tuple[GpuReading, ...]]


def unread_gpu(uuid: str, index: int, name: str, missing: Missing) -> GpuReading:
    """A GPU of which nothing is known, for one reason."""
    signals: dict[str, Any] = dict.fromkeys(GPU_SIGNALS, missing)
    return GpuReading(uuid=uuid, index=index, name=name, **signals)


def aged_gpus(gpus: Gpus, now: float, max_age_s: float, why: str = "") -> Gpus:
    """The same at `now`: what is older than `max_age_s` seconds is stale, because of `why`."""
    if isinstance(gpus, Known):
        value = tuple(_aged(gpu, now, max_age_s, why) for gpu in gpus.value)
        return aged(Known(value, gpus.observed_at), now, max_age_s, why)
    return gpus


def merged(sources: Mapping[str, Gpus]) -> Gpus:
    """The GPUs of all sources, by name, as one list; a GPU that two sources tell is taken from the first.

    Known where one source is known, else stale where one is; missing, with every source's reason, where all are.
    """
    found: dict[str, GpuReading] = {}
    for gpus in sources.values():
        if not isinstance(gpus, Missing):
            for gpu in gpus.value:
                found.setdefault(gpu.uuid or f"{gpu.node}/{gpu.index}", gpu)
    value = tuple(found.values())
    known = [gpus.observed_at for gpus in sources.values() if isinstance(gpus, Known)]
    if known:
        return Known(value, max(known))
    stale = [gpus for gpus in sources.values() if isinstance(gpus, Stale)]
    if stale:
        newest = min(stale, key=lambda gpus: gpus.age_s)
        return Stale(value, newest.observed_at, newest.age_s, newest.why)
    whys = (f"{name}: {gpus.why}" for name, gpus in sources.items() if isinstance(gpus, Missing))
    return Missing("; ".join(whys))


def answers(gpus: Gpus) -> Signal[bool]:
    """Whether there is an NVML that answers, and why not."""
    match gpus:
        case Known():
            return Known(value=True, observed_at=gpus.observed_at)
        case Stale():
            return Stale(value=True, observed_at=gpus.observed_at, age_s=gpus.age_s, why=gpus.why)
        case Missing():
            return gpus


def _aged(gpu: GpuReading, now: float, max_age_s: float, why: str) -> GpuReading:
    signals: dict[str, Any] = {name: aged(getattr(gpu, name), now, max_age_s, why) for name in GPU_SIGNALS}
    return replace(gpu, **signals)
