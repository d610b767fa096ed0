"""Those who follow what happens. The store is their queue, so that a slow one costs no memory here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress

import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Message, Send

from controlplane.domain.errors import StoreBusyError, StoreError
from controlplane.domain.events import Event, Position
from controlplane.loop.desk import Desk

log = structlog.get_logger(__name__)

MOST_READERS = 32
_AT_ONCE = 100
_PAUSE_S = 1.0
_BEAT_S = 15.0
_STALLED_S = 60.0


class EventStream(StreamingResponse):
    """Ends also where its reader takes nothing for a while, whose place is for another then."""

    media_type = "text/event-stream"

    async def stream_response(self, send: Send) -> None:  # noqa: D102 - Starlette's
        async def in_time(message: Message) -> None:
            async with asyncio.timeout(_STALLED_S):
                await send(message)
            await asyncio.sleep(0)  # others have their turn, and a reader that left is known to have

        with suppress(TimeoutError):
            await super().stream_response(in_time)


class Feed:
    """Lets in so many at a time, and ends all of them when the control plane stops."""

    def __init__(self) -> None:
        self._readers = 0
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Every reader ends as soon as it is through with what it has."""
        self._stopping.set()

    @contextmanager
    def place(self) -> Iterator[bool]:
        """Whether there was room for one more; taken until the end of the block."""
        room = self._readers < MOST_READERS
        self._readers += room
        try:
            yield room
        finally:
            self._readers -= room

    async def follow(
        self, desk: Desk, position: Position, allowed: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[Event | None]:
        """Everything after a position, each once, until it is stopped or no longer `allowed`; None now and then.

        While the store is busy nothing comes, and nothing is left out afterwards; it ends where the store cannot be
        read: a stream that shows that it lives would hide that.
        """
        clock = asyncio.get_running_loop().time
        beat_at = clock() + _BEAT_S
        while not self._stopping.is_set() and await allowed():
            found: list[Event] = []
            try:
                with suppress(StoreBusyError):
                    found = await desk.events(position, _AT_ONCE)
            except StoreError as error:
                log.warning("a stream of events ends", position=str(position), error=str(error))
                return
            for event in found:
                yield event
                position = event.position
            if found:
                beat_at = clock() + _BEAT_S
            elif clock() >= beat_at:
                yield None
                beat_at = clock() + _BEAT_S
            if len(found) < _AT_ONCE:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_PAUSE_S):
                        await self._stopping.wait()
