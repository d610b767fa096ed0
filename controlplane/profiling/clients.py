"""A closed loop: so many clients that each send the next request when the last was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, Self, TypeVar

T = TypeVar("T")
_LOOK_EVERY_S = 0.02


class Clients(Generic[T]):
    """Clients at work while the context lasts; at its end each gets its last answer."""

    def __init__(self, send: Callable[[], Awaitable[T]], concurrency: int) -> None:
        self._send = send
        self._concurrency = concurrency
        self._answers: list[T] = []
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._client()) for _ in range(self._concurrency)]
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._stopping = True
        if kind is not None:
            for task in self._tasks:
                task.cancel()
        failed = await asyncio.gather(*self._tasks, return_exceptions=True)
        if kind is None:
            for error in failed:
                if isinstance(error, BaseException):
                    raise error

    async def answered(self, seconds: float) -> list[T]:
        """What is answered from now on for `seconds`, and until there are as many answers as clients.

        Raises what a client raised.
        """
        loop, before = asyncio.get_running_loop(), len(self._answers)
        until = loop.time() + seconds
        while loop.time() < until or len(self._answers) - before < self._concurrency:
            for task in self._tasks:
                if task.done():
                    task.result()
            await asyncio.sleep(min(_LOOK_EVERY_S, max(0.0, until - loop.time())) or _LOOK_EVERY_S)
        return self._answers[before:]

    async def _client(self) -> None:
        while not self._stopping:
            self._answers.append(await self._send())
