"""What counts as an answer of an Alertmanager."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from controlplane.domain.errors import TargetUnreachableError
from controlplane.publish.alerting.alertmanager import Alertmanager

CHUNKED = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HTML = "<html>\nsign in</html>"


async def post_to(answer: str, *, ends: bool = True, timeout_s: float = 30.0) -> None:
    """Post to what answers so, and then goes on without end or not."""

    over = asyncio.Event()

    async def answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer.encode())
        await writer.drain()
        if not ends:
            with contextlib.suppress(ConnectionError):
                await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        over.set()

    async with await asyncio.start_server(answered, "127.0.0.1", 0) as server:
        client = Alertmanager(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout_s=timeout_s)
        try:
            await client.post([])
        finally:
            await client.close()
            await over.wait()


@pytest.mark.parametrize("answer", ["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", f"{CHUNKED}0\r\n\r\n"])
async def test_an_empty_200_is_taken(answer: str) -> None:
    await post_to(answer)


@pytest.mark.parametrize(("length", "ends"), [(len(HTML), True), (10**9, False)])
async def test_a_200_with_a_page_in_it_is_no_alertmanagers_however_long_it_is(length: int, ends: bool) -> None:
    answer = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{HTML}"
    with pytest.raises(
        TargetUnreachableError,
        match="answered HTTP 200, which is no answer of an Alertmanager's: <html> sign in</html>",
    ):
        await post_to(answer, ends=ends)


async def test_a_200_that_never_ends_is_no_answer() -> None:
    with pytest.raises(TargetUnreachableError, match=r"no answer within 0\.3 s"):
        await post_to(CHUNKED, ends=False, timeout_s=0.3)
