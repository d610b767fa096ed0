"""GPUs of this machine by NVML, through pynvml, on one worker thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pynvml

from controlplane.collect.gpu.gpus import Gpus, aged_gpus, unread_gpu
from controlplane.collect.gpu.nvml_errors import why
from controlplane.collect.gpu.nvml_gpu import GpuReader, text
from controlplane.collect.gpu.processes import Processes
from controlplane.collect.worker import Worker
from controlplane.domain.gpu import GpuReading
from controlplane.domain.signal import Known, Missing


class Nvml:
    """Reads every GPU. One thread for good: a call that hangs is left alone, and until it returns all is missing."""

    def __init__(self, timeout_s: float, *, max_age_s: float) -> None:
        self._timeout_s = timeout_s
        self._max_age_s = max_age_s
        self._worker = Worker("controlplane-nvml")
        self._processes = Processes()
        self._readers: dict[int, GpuReader] = {}
        self._started = False
        self._gpus: Gpus = Missing("never read")

    async def read(self, clock: Callable[[], float]) -> None:
        """One round, within `timeout_s` altogether; what NVML leaves of it is for looking at processes."""
        at, begun = clock(), time.monotonic()
        try:
            gpus = await self._worker.call(lambda: self._ask(at), self._timeout_s)
        except TimeoutError as error:
            gpus = Missing(f"NVML: {error}")
        self._gpus = await self._processes.described(gpus, begun + self._timeout_s - time.monotonic())

    def reading(self, now: float) -> Gpus:
        """The GPUs as of the newest round, aged."""
        return aged_gpus(self._gpus, now, self._max_age_s)

    def close(self) -> None:
        """Let the threads end; one that hangs is left to the end of the process."""
        self._worker.close()
        self._processes.close()

    def _ask(self, at: float) -> Gpus:
        try:
            if not self._started:
                pynvml.nvmlInit()
                self._started = True
            return Known(tuple(self._gpu(index, at) for index in range(pynvml.nvmlDeviceGetCount())), at)
        except pynvml.NVMLError as error:
            self._begin_anew()
            return Missing(why(error))

    def _begin_anew(self) -> None:
        """Open a new session next time: after a driver reload the old one is good for nothing."""
        for reader in self._readers.values():
            reader.end_session()
        if self._started:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
            self._started = False

    def _gpu(self, index: int, at: float) -> GpuReading:
        reader = self._readers.get(index)
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = text(pynvml.nvmlDeviceGetUUID(handle)), text(pynvml.nvmlDeviceGetName(handle))
        except pynvml.NVMLError as error:
            uuid, name = (reader.uuid, reader.name) if reader else ("", "")
            return unread_gpu(uuid, index, name, Missing(why(error)))
        if reader is None or reader.uuid != uuid:
            if reader is not None:
                reader.end_session()
            reader = self._readers[index] = GpuReader(index, uuid, name)
        return reader.read(handle, at)
