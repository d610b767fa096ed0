"""A store on a thread of its own, so that a slow disk stalls no scrape, and a long report no tick."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from typing import TypeVar

from controlplane.domain.errors import StoreBusyError
from controlplane.domain.ports import Store

T = TypeVar("T")


class StoreThread:
    """Runs store calls one after the other on one named thread, each with a deadline.

    Raises StoreBusyError when a call does not end within `timeout_s`; the call itself goes on, and later ones queue
    behind it (no second thread is started).
    """

    def __init__(self, store: Store, timeout_s: float = 30.0, *, name: str = "store") -> None:
        self._store = store
        self._timeout_s = timeout_s
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    def beside(self, store: Store) -> StoreThread:
        """Another store on the same thread: calls of both run one after the other. Closing either closes both."""
        other = copy(self)
        other._store = store  # noqa: SLF001 - its own
        return other

    async def call(self, work: Callable[[Store], T]) -> T:
        """What `work` gives when it is handed the store."""
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, self._store)
        try:
            # not wait_for: up to Python 3.11 it swallows a cancellation that comes just when the answer is there
            async with asyncio.timeout(self._timeout_s):
                return await future
        except TimeoutError:
            raise StoreBusyError(f"the store did not answer within {self._timeout_s:g} s") from None

    def close(self) -> None:
        """Close the store and end the thread, after the calls under way; one that hangs is waited for."""
        self._pool.submit(self._store.close)
        self._pool.shutdown(wait=True, cancel_futures=False)
