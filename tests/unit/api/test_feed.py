from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import Message

from controlplane.api.feed import EventStream


async def test_a_reader_that_catches_up_leaves_others_their_turn_between_two_events() -> None:
    told: list[str] = []

    async def many() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"event"

    async def send(message: Message) -> None:
        told.append(message["type"].rpartition(".")[2])

    async def other() -> None:
        told.append("other")

    await asyncio.gather(EventStream(many()).stream_response(send), other())
    assert told.count("body") >= 3
    assert told.index("other") < 3
