"""One GPU through pynvml: every figure on its own, so that what one call refuses is missing alone.

What NVML tells under MIG: nvml.h, and NVIDIA's MIG user guide. Utilisation is refused there, but by GPM; power, clocks,
temperature and errors are those of the whole GPU; memory and processes are told by slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TypeVar

import pynvml

from controlplane.collect.gpu.gpm import Gpm
from controlplane.collect.gpu.nvml_errors import NOT_SUPPORTED, why
from controlplane.domain.gpu import THROTTLE_REASONS, GpuProcess, GpuReading, Placement, SliceReading
from controlplane.domain.signal import Known, Missing, Signal, known

T = TypeVar("T")

UNDER_MIG = "not told while MIG is on"
NO_PROCESS_MEMORY = "the driver does not tell it"
_THROTTLE = (
    pynvml.nvmlClocksThrottleReasonApplicationsClocksSetting,
    pynvml.nvmlClocksThrottleReasonSwPowerCap,
    pynvml.nvmlClocksThrottleReasonHwSlowdown,
    pynvml.nvmlClocksThrottleReasonSyncBoost,
    pynvml.nvmlClocksThrottleReasonSwThermalSlowdown,
    pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
    pynvml.nvmlClocksThrottleReasonDisplayClockSetting,
)
"""NVML's bits in the order of our names; an idle GPU's low clock is none of them."""
_EVENTS_AT_ONCE = 64


class GpuReader:
    """One GPU. Keeps its GPM samples, the event set that tells of XID errors, and the last of them; calls block."""

    def __init__(self, index: int, uuid: str, name: str) -> None:
        self.uuid = uuid
        self.name = name
        self._index = index
        self._last_xid = 0
        self._events: Any = None
        self._gpm = Gpm()

    def read(self, handle: Any, at: float) -> GpuReading:
        """All there is behind `handle`, dated `at`; never raises for what NVML refuses."""
        modes = _field(at, lambda: _mig(handle))
        mig: Signal[bool] = modes if isinstance(modes, Missing) else Known(modes.value[0], at)
        pending: Signal[bool] = modes if isinstance(modes, Missing) else Known(modes.value[1], at)
        cut = isinstance(mig, Known) and mig.value
        slices: Signal[tuple[SliceReading, ...]] = mig if isinstance(mig, Missing) else Known((), at)
        if cut:
            slices = _field(at, lambda: tuple(self._slice(handle, mig, at) for mig in _mig_handles(handle)))
        activity = self._gpm.gpu(self.uuid, handle, at)
        self._gpm.keep({self.uuid, *(piece.uuid for piece in known(slices) or ())})
        utilisation = _field(at, lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100)
        return GpuReading(
            uuid=self.uuid,
            index=self._index,
            name=self.name,
            utilisation=_of_whole(utilisation, cut=cut),
            sm_utilisation=_of_whole(activity.sm_utilisation, cut=cut),
            tensor_utilisation=_of_whole(activity.tensor_utilisation, cut=cut),
            bandwidth_utilisation=_of_whole(activity.bandwidth_utilisation, cut=cut),
            memory_used_bytes=_field(at, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
            memory_total_bytes=_field(at, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)),
            power_w=_field(at, lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            mig_enabled=mig,
            mig_pending=pending,
            temperature_c=_field(at, lambda: int(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))),
            sm_clock_mhz=_field(at, lambda: int(pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM))),
            throttle_reasons=_field(at, lambda: _throttle_reasons(handle)),
            ecc_uncorrected=_field(at, lambda: _ecc_uncorrected(handle)),
            last_xid=_field(at, lambda: self._xid(handle)),
            processes=_field(at, lambda: tuple(_processes(handle, at, cut=cut))),
            slices=slices,
        )

    def end_session(self) -> None:
        """Let go of what belongs to the session; the next reading begins a new one."""
        self._gpm.keep(())
        self._events = None

    def _slice(self, handle: Any, mig: Any, at: float) -> SliceReading:
        uuid, instance = text(pynvml.nvmlDeviceGetUUID(mig)), int(pynvml.nvmlDeviceGetGpuInstanceId(mig))
        activity = self._gpm.slice(uuid, handle, instance, at)
        return SliceReading(
            uuid=uuid,
            gpu_instance=instance,
            compute_instance=int(pynvml.nvmlDeviceGetComputeInstanceId(mig)),
            profile=_profile(mig, at),
            memory_used_bytes=_field(at, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(mig).used)),
            memory_total_bytes=_field(at, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(mig).total)),
            placement=_field(at, lambda: _placement(handle, instance)),
            utilisation=activity.utilisation,
            sm_utilisation=activity.sm_utilisation,
            tensor_utilisation=activity.tensor_utilisation,
            bandwidth_utilisation=activity.bandwidth_utilisation,
        )

    def _xid(self, handle: Any) -> int:
        if self._events is None:
            events = pynvml.nvmlEventSetCreate()
            try:
                pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, events)
            except pynvml.NVMLError:
                pynvml.nvmlEventSetFree(events)
                raise
            self._events = events
        with suppress(pynvml.NVMLError_Timeout):  # nothing more has happened
            for _ in range(_EVENTS_AT_ONCE):
                self._last_xid = int(pynvml.nvmlEventSetWait_v2(self._events, 0).eventData)
        return self._last_xid


def _field(at: float, read: Callable[[], T]) -> Signal[T]:
    try:
        return Known(read(), at)
    except pynvml.NVMLError as error:
        return Missing(why(error))


def _mig(handle: Any) -> tuple[bool, bool]:
    """Whether MIG is on now, and after the next reset."""
    try:
        now, pending = pynvml.nvmlDeviceGetMigMode(handle)
    except pynvml.NVMLError_NotSupported:
        return False, False  # a GPU that cannot be cut is not cut
    return now == pynvml.NVML_DEVICE_MIG_ENABLE, pending == pynvml.NVML_DEVICE_MIG_ENABLE


def _of_whole(signal: Signal[float], *, cut: bool) -> Signal[float]:
    return Missing(UNDER_MIG) if cut and signal == Missing(NOT_SUPPORTED) else signal


def _throttle_reasons(handle: Any) -> tuple[str, ...]:
    # the old name of the call: every driver has it, the new one only those since 2023
    return throttle_reasons_of(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


def throttle_reasons_of(bits: int) -> tuple[str, ...]:
    """The names of NVML's bits."""
    return tuple(name for name, bit in zip(THROTTLE_REASONS, _THROTTLE, strict=True) if bits & bit)


def _ecc_uncorrected(handle: Any) -> int:
    kind, since = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    return int(pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, since))


def _mig_handles(handle: Any) -> Iterator[Any]:
    for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        # the numbers of slices have holes; one that is taken away meanwhile is a hole too
        with suppress(pynvml.NVMLError_NotFound):
            yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)


def _profile(mig: Any, at: float) -> Signal[str]:
    name = _field(at, lambda: text(pynvml.nvmlDeviceGetName(mig)))
    if isinstance(name, Known):
        _, marker, profile = name.value.rpartition(" MIG ")
        return Known(profile, at) if marker else Missing(f"its name {name.value!r} tells no profile")
    return name


def _placement(handle: Any, instance: int) -> Placement:
    placed = pynvml.nvmlGpuInstanceGetInfo(pynvml.nvmlDeviceGetGpuInstanceById(handle, instance)).placement
    return Placement(int(placed.start), int(placed.size))


def _processes(handle: Any, at: float, *, cut: bool) -> Iterator[GpuProcess]:
    """Of a cut GPU by slice: for the whole of it NVML tells them to the privileged only."""
    for device in _mig_handles(handle) if cut else (handle,):
        piece = text(pynvml.nvmlDeviceGetUUID(device)) if cut else ""
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(device):
            used = process.usedGpuMemory
            memory = Missing(NO_PROCESS_MEMORY) if used is None else Known(int(used), at)
            yield GpuProcess(int(process.pid), memory, piece)


def text(value: str | bytes) -> str:
    """What NVML gives as text; its older bindings give bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
