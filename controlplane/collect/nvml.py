"""GPUs of this machine by NVML, through pynvml, on one worker thread of its own."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

import pynvml

from controlplane.collect.gpus import Gpus, aged_gpus, unread_gpu
from controlplane.collect.nvml_gpu import GpuReader, text, why
from controlplane.domain.observation import GpuReading
from controlplane.domain.signal import Known, Missing


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
        self._readers: dict[int, GpuReader] = {}
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
        return aged_gpus(self._gpus, now, self._max_age_s)

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
            return Missing(why(error))

    def _begin_anew(self) -> None:
        """Open a new session next time: after a driver reload the old one is good for nothing."""
        if self._started:
            with suppress(pynvml.NVMLError):
                pynvml.nvmlShutdown()
            self._started = False
        for reader in self._readers.values():
            reader.session_ended()

    def _gpu(self, index: int, at: float) -> GpuReading:
        reader = self._readers.get(index)
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            uuid, name = text(pynvml.nvmlDeviceGetUUID(handle)), text(pynvml.nvmlDeviceGetName(handle))
        except pynvml.NVMLError as error:
            uuid, name = (reader.uuid, reader.name) if reader else ("", "")
            return unread_gpu(uuid, index, name, Missing(why(error)))
        if reader is None or reader.uuid != uuid:
            reader = self._readers[index] = GpuReader(index, uuid, name)
        return reader.read(handle, at)


def _settle(answer: asyncio.Future[Gpus], gpus: Gpus) -> None:
    if not answer.done():
        answer.set_result(gpus)
