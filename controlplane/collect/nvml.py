"""GPUs of this machine by NVML, through pynvml, on one worker thread of its own."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

import pynvml

from controlplane.domain.observation import GpuReading
from controlplane.domain.signal import Known, Missing, Signal, aged

T = TypeVar("T")
Gpus: TypeAlias = Signal[tuple[GpuReading, ...]]

_WHY = {
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "no NVIDIA driver on this machine (libnvidia-ml.so.1 not found)",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "the NVIDIA driver is not loaded",
    pynvml.NVML_ERROR_NO_PERMISSION: "no permission to ask the NVIDIA driver",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "NVML and the NVIDIA kernel module are of different versions",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU is lost",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "not supported by this GPU",
}


class Nvml:
    """Reads every GPU. One thread for good: a call that hangs is left alone, and until it returns all is missing."""

    def __init__(self, timeout_s: float, *, max_age_s: float) -> None:
        self._timeout_s = timeout_s
        self._max_age_s = max_age_s
        self._asked: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Future[Gpus], float] | None] = (
            queue.SimpleQueue()
        )
        self._thread: threading.Thread | None = None
        self._busy = threading.Event()
        self._names: dict[int, tuple[str, str]] = {}
        self._started = False
        self._gpus: Gpus = Missing("never read")

    async def read(self, clock: Callable[[], float]) -> None:
        """One round."""
        if self._busy.is_set():
            self._gpus = Missing(f"NVML has not answered a call for more than {self._timeout_s:g} s")
            return
        if self._thread is None:
            # A daemon, since a thread that hangs in the driver must not keep the process from ending.
            self._thread = threading.Thread(target=self._work, name="controlplane-nvml", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Gpus] = loop.create_future()
        self._busy.set()
        self._asked.put((loop, answer, clock()))
        try:
            async with asyncio.timeout(self._timeout_s):
                self._gpus = await answer
        except TimeoutError:
            self._gpus = Missing(f"NVML did not answer within {self._timeout_s:g} s")

    def reading(self, now: float) -> Gpus:
        """The GPUs as of the newest round, aged."""
        gpus = self._gpus
        if isinstance(gpus, Known):
            gpus = Known(tuple(_aged(gpu, now, self._max_age_s) for gpu in gpus.value), gpus.observed_at)
        return aged(gpus, now, self._max_age_s)

    def close(self) -> None:
        """Let the thread end; one that hangs is left to the end of the process."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread = None

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            loop, answer, at = asked
            gpus = self._ask(at)
            self._busy.clear()
            with suppress(RuntimeError):  # the loop has been closed in the meantime
                loop.call_soon_threadsafe(_settle, answer, gpus)
        if self._started:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()

    def _ask(self, at: float) -> Gpus:
        try:
            if not self._started:
                pynvml.nvmlInit()
                self._started = True
            return Known(tuple(self._gpu(index, at) for index in range(pynvml.nvmlDeviceGetCount())), at)
        except pynvml.NVMLError as error:
            self._begin_anew()
            return Missing(_why(error))

    def _begin_anew(self) -> None:
        """Open a new session next time: after a driver reload the old one is good for nothing."""
        if self._started:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
            self._started = False

    def _gpu(self, index: int, at: float) -> GpuReading:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            self._names[index] = (_text(pynvml.nvmlDeviceGetUUID(handle)), _text(pynvml.nvmlDeviceGetName(handle)))
        except pynvml.NVMLError as error:
            missing = Missing(_why(error))
            uuid, name = self._names.get(index, ("", ""))
            return GpuReading(uuid, index, name, missing, missing, missing, missing, missing)
        uuid, name = self._names[index]
        return GpuReading(
            uuid=uuid,
            index=index,
            name=name,
            utilisation=_field(at, lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100),
            memory_used_bytes=_field(at, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)),
            memory_total_bytes=_field(at, lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)),
            power_w=_field(at, lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
            mig_enabled=_field(at, lambda: _mig(handle)),
        )


def _mig(handle: Any) -> bool:
    try:
        return bool(pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE)
    except pynvml.NVMLError_NotSupported:
        return False  # a GPU that cannot be cut is not cut


def _field(at: float, read: Callable[[], T]) -> Signal[T]:
    try:
        return Known(read(), at)
    except pynvml.NVMLError as error:
        return Missing(_why(error))


def _why(error: pynvml.NVMLError) -> str:
    return _WHY.get(error.value, f"NVML: {error}")


def _text(value: str | bytes) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _settle(answer: asyncio.Future[Gpus], gpus: Gpus) -> None:
    if not answer.done():
        answer.set_result(gpus)


def _aged(gpu: GpuReading, now: float, max_age_s: float) -> GpuReading:
    return replace(
        gpu,
        utilisation=aged(gpu.utilisation, now, max_age_s),
        memory_used_bytes=aged(gpu.memory_used_bytes, now, max_age_s),
        memory_total_bytes=aged(gpu.memory_total_bytes, now, max_age_s),
        power_w=aged(gpu.power_w, now, max_age_s),
        mig_enabled=aged(gpu.mig_enabled, now, max_age_s),
    )
