"""A place among those that are read at the same time, left early by those that take long."""

from __future__ import annotations

import asyncio
from types import TracebackType


class Turn:
    """A place at a gate for `most_s` seconds at most: what takes longer goes on, and another one has the place.

    So those that hang hold up who waits at the gate for `most_s` each, not until their deadline.
    """

    def __init__(self, gate: asyncio.Semaphore, most_s: float) -> None:
        self._gate = gate
        self._most_s = most_s
        self._here = False

    async def __aenter__(self) -> None:
        await self._gate.acquire()
        self._here = True
        self._timer = asyncio.get_running_loop().call_later(self._most_s, self._leave)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._leave()

    def _leave(self) -> None:
        if self._here:
            self._here = False
            self._gate.release()
