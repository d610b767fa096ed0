"""How busy a GPU or a MIG slice was between two samples of NVML's GPM (Hopper and later).

Figures are averages from the sample before to this one: https://docs.nvidia.com/deploy/nvml-api/group__nvmlGpmFunctions.html.
The sample of a slice is that of its GPU instance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Any

import pynvml

from controlplane.collect.gpu.nvml_errors import why
from controlplane.domain.signal import Known, Missing, Signal

BEFORE_HOPPER = "only Hopper and later GPUs tell it"
FIRST_SAMPLE = "told from the second reading on"
_APART_S = 0.1
"""Samples closer to each other tell little: the figures of the ones before are given again."""
_OLD_S = 60.0
"""An average over more than this says little of now."""
_TOO_MUCH = 1.05


@dataclass(frozen=True, slots=True)
class Activity:
    """Fractions 0 to 1, as in GpuReading."""

    utilisation: Signal[float]
    sm_utilisation: Signal[float]
    tensor_utilisation: Signal[float]
    bandwidth_utilisation: Signal[float]


_METRICS = (
    pynvml.NVML_GPM_METRIC_GRAPHICS_UTIL,
    pynvml.NVML_GPM_METRIC_SM_UTIL,
    pynvml.NVML_GPM_METRIC_ANY_TENSOR_UTIL,
    pynvml.NVML_GPM_METRIC_DRAM_BW_UTIL,
)
"""GPM's percentages in the order of Activity's fields."""


@dataclass(frozen=True, slots=True)
class _Kept:
    sample: Any
    at: float
    activity: Activity


class Gpm:
    """The samples of one GPU and its slices, each kept by its UUID for the round after; calls block."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    def gpu(self, uuid: str, handle: Any, at: float) -> Activity:
        """The whole GPU at `at` (seconds); never raises for what NVML refuses."""
        return self._read(uuid, handle, at, lambda sample: pynvml.nvmlGpmSampleGet(handle, sample))

    def slice(self, uuid: str, handle: Any, gpu_instance: int, at: float) -> Activity:
        """One slice of the GPU behind `handle`."""
        return self._read(uuid, handle, at, lambda sample: pynvml.nvmlGpmMigSampleGet(handle, gpu_instance, sample))

    def keep(self, uuids: Collection[str]) -> None:
        """Free the samples of all others: slices that are gone."""
        for uuid in [uuid for uuid in self._kept if uuid not in uuids]:
            self._free(uuid)

    def _read(self, uuid: str, handle: Any, at: float, take: Callable[[Any], object]) -> Activity:
        before = self._kept.get(uuid)
        if before is not None and abs(at - before.at) < _APART_S:
            return before.activity
        try:
            if not pynvml.nvmlGpmQueryDeviceSupport(handle).isSupportedDevice:
                self._free(uuid)
                return nothing(Missing(BEFORE_HOPPER))
            sample = _sample(take)
        except pynvml.NVMLError as error:
            self._free(uuid)
            return nothing(Missing(why(error)))
        activity = nothing(Missing(FIRST_SAMPLE))
        if before is not None and 0 < at - before.at <= _OLD_S:
            activity = _between(before.sample, sample, at)
        self._free(uuid)
        self._kept[uuid] = _Kept(sample, at, activity)
        return activity

    def _free(self, uuid: str) -> None:
        kept = self._kept.pop(uuid, None)
        if kept is not None:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlGpmSampleFree(kept.sample)


def nothing(missing: Missing) -> Activity:
    """Nothing of it, for one reason."""
    return Activity(*(missing for _ in fields(Activity)))


def fraction(value: float, at: float) -> Signal[float]:
    """A share as a signal; a little more than the whole is rounding, more is missing and not cut off."""
    if math.isnan(value):
        return Missing("no number was given")
    if not 0 <= value <= _TOO_MUCH:
        return Missing(f"{value:.0%} cannot be")
    return Known(min(value, 1.0), at)


def _sample(take: Callable[[Any], object]) -> Any:
    sample = pynvml.nvmlGpmSampleAlloc()
    try:
        take(sample)
    except pynvml.NVMLError:
        pynvml.nvmlGpmSampleFree(sample)
        raise
    return sample


def _between(before: Any, after: Any, at: float) -> Activity:
    asked = pynvml.c_nvmlGpmMetricsGet_t()
    asked.version = pynvml.NVML_GPM_METRICS_GET_VERSION
    asked.sample1, asked.sample2 = before, after
    asked.numMetrics = len(_METRICS)
    for place, metric in enumerate(_METRICS):
        asked.metrics[place].metricId = metric
    try:
        pynvml.nvmlGpmMetricsGet(asked)
    except pynvml.NVMLError as error:
        return nothing(Missing(why(error)))
    return Activity(*(_told(asked.metrics[place], at) for place in range(len(_METRICS))))


def _told(metric: Any, at: float) -> Signal[float]:
    if metric.nvmlReturn != pynvml.NVML_SUCCESS:
        return Missing(why(pynvml.NVMLError(metric.nvmlReturn)))
    return fraction(metric.value / 100, at)
