"""The store's own thread, seen from the loop."""

from __future__ import annotations

import asyncio
import threading

import pytest

from controlplane.domain.errors import StoreBusyError
from controlplane.loop.store_thread import StoreThread
from controlplane.store import open_store


async def test_whoever_calls_the_store_again_and_again_can_be_cancelled_at_any_moment() -> None:
    thread = StoreThread(open_store("sqlite://"))

    async def without_end() -> None:
        while True:
            await thread.call(lambda _: None)

    for turns in range(300):
        task = asyncio.create_task(without_end())
        for _ in range(turns % 7 + 1):
            await asyncio.sleep(0)
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=2.0)
        assert done, "the cancellation was swallowed"
        assert task.cancelled()
    thread.close()


async def test_a_call_that_does_not_end_in_time_is_busy() -> None:
    thread, held = StoreThread(open_store("sqlite://"), timeout_s=0.05), threading.Event()
    with pytest.raises(StoreBusyError, match=r"within 0\.05 s"):
        await thread.call(lambda _: held.wait(5))
    held.set()
    thread.close()
