"""GPU time and its price as samples."""

from __future__ import annotations

from collections.abc import Iterator

from controlplane.domain import names
from controlplane.domain.gpu import GpuReading
from controlplane.domain.picture import Picture
from controlplane.domain.routing import Prices
from controlplane.domain.signal import known
from controlplane.publish.metrics.gpus import Sample, gpu_label


def price_of(gpu: GpuReading, prices: Prices) -> float | None:
    """What an hour of the GPU costs, None where that is not configured."""
    return prices.of(gpu.name)


def spend_samples(picture: Picture, prices: Prices) -> Iterator[Sample]:
    """Of GPUs, and of units whose GPUs are known."""
    totals = picture.totals
    for gpu in known(picture.reading.gpus) or ():
        yield names.GPU_PRICE, (gpu.node, gpu_label(gpu), prices.currency), price_of(gpu, prices)
    for key, seconds in totals.gpu_s.items():
        yield names.GPU_S, key, seconds
    for key, seconds in totals.gpu_busy_s.items():
        yield names.GPU_BUSY_S, key, seconds
    for unit, seconds in totals.model_gpu_s.items():
        yield names.MODEL_GPU_S, unit, seconds
    for unit, cost in totals.model_cost.items():
        yield names.MODEL_COST, (*unit, prices.currency), cost
