"""Targets that misbehave in every way we could think of cost their own deadline and nobody else anything."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.collect.http import LIMIT_BYTES, REFUSED, Pages
from controlplane.domain.errors import MalformedPageError, NotFoundError, TargetUnreachableError
from controlplane.domain.fleet import Fleet, GatewaySpec, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.observation import ModelState
from controlplane.domain.signal import Known, Missing, Stale
from tests.unit.collect.pages import recorded

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PAGE = recorded("vllm-0.32.0-under-load.txt").encode()
TIMEOUT_S = 0.5
wall_clock = time.time  # noqa: TID251 - real sockets live in real time


def answer(body: bytes, status: str = "200 OK", length: int | None = None, headers: str = "") -> bytes:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}Connection: close\r\n\r\n".encode() + body


def says(data: bytes) -> Handler:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()

    return handle


async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"#")
        await writer.drain()
        await asyncio.sleep(0.02)


async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
    for _ in range(50):
        writer.write(b"a 1\n" * (2**20 // 4))
        await writer.drain()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


BAD: dict[str, tuple[Handler, str]] = {
    "hangs": (hang, "no answer within 0.5 s"),
    "drips": (drip, "no answer within 0.5 s"),
    "floods": (flood, "larger than 8 MiB"),
    "resets": (reset, "connection closed without an answer"),
    "loops": (says(answer(b"", "302 Found", headers="Location: /metrics\r\n")), "redirects are not followed"),
    "fails": (says(answer(b"no", "500 Internal Server Error")), "answered HTTP 500"),
    "is cut by length": (says(answer(PAGE[:5000], length=len(PAGE))), "ended before its end"),
    "is cut in a line": (says(answer(PAGE[:5000])), "cut short"),
    "is garbage": (says(answer(bytes(range(256)) * 9)), "not text in UTF-8"),
    "is html": (says(answer(b"<!DOCTYPE html>\n<p>Welcome</p>\n")), "not a metrics page"),
    "is not http": (says(b"SSH-2.0-OpenSSH_9.6\r\n"), "not HTTP"),
    "is compressed": (says(answer(b"\x1f\x8b\x08\x00\xff" * 9, headers="Content-Encoding: gzip\r\n")), "not text"),
    "is another exporter": (says(answer(b"# TYPE up gauge\nup 1\n")), "not a vLLM engine"),
    "is empty": (says(answer(b"")), "not a vLLM engine"),
    "closes": (says(b""), "connection closed without an answer"),
}


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def fleet(good: str, bad: str) -> Fleet:
    """The same misbehaving target as a vLLM, a Triton and a gateway, beside a vLLM that behaves."""
    return Fleet(
        servers=(
            ServerSpec("good", ServerKind.VLLM, good, f"{good}/metrics"),
            ServerSpec("bad-vllm", ServerKind.VLLM, bad, f"{bad}/metrics"),
            ServerSpec("bad-triton", ServerKind.TRITON, bad, f"{bad}/metrics"),
        ),
        models=(ModelSpec("llm", "tiny", ("good", "bad-vllm", "bad-triton"), Mode.ACT),),
        gateways=(GatewaySpec("bad-gateway", f"{bad}/metrics", "gateway_seconds", "model", "", ""),),
    )


def collector(of: Fleet) -> FleetCollector:
    return FleetCollector(of, timeout_s=TIMEOUT_S, max_age_s=15, clock=wall_clock, nvml=False)


@pytest.mark.parametrize("how", BAD)
async def test_a_target_that_misbehaves_costs_only_itself(how: str) -> None:
    handler, why = BAD[how]
    async with serving(says(answer(PAGE))) as good, serving(handler) as bad:
        collect = collector(fleet(good, bad))
        begun = time.monotonic()
        for _ in range(2):
            await collect.collect(0)
        took_s = time.monotonic() - begun
        reading = collect.reading(wall_clock())
        await collect.close()
    assert took_s < 2 * TIMEOUT_S + 0.6
    model = reading.servers["good"].models["llm"]
    assert isinstance(model, Known)
    assert model.value.running == Known(23, model.observed_at)
    assert len(model.value.intervals) == 1
    missing = reading.servers["bad-vllm"].models["llm"]
    assert isinstance(missing, Missing)
    assert why in missing.why
    assert isinstance(reading.servers["bad-triton"].models["llm"], Missing)
    gateway = reading.gateways["bad-gateway"]
    assert isinstance(gateway, Known)
    assert gateway.value is False


async def test_a_flood_is_cut_off_at_the_cap() -> None:
    sent = 0

    async def counted_flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 52428800\r\n\r\n")
        for _ in range(50):
            writer.write(b"x" * 2**20)
            await writer.drain()
            sent += 2**20

    pages = Pages()
    async with serving(counted_flood) as url:
        with pytest.raises(MalformedPageError, match="flood: larger than 8 MiB"):
            await pages.get("flood", url, 5)
        await pages.close()
    assert LIMIT_BYTES <= sent < 3 * LIMIT_BYTES


async def test_a_server_nobody_listens_for_is_told_from_one_that_does_not_answer() -> None:
    pages = Pages()
    with pytest.raises(TargetUnreachableError) as refused:
        await pages.get("t", f"http://127.0.0.1:{free_port()}/metrics", 1)
    async with serving(hang) as url:
        with pytest.raises(TargetUnreachableError) as hung:
            await pages.get("t", url, 0.1)
    await pages.close()
    assert (refused.value.why, hung.value.why) == (REFUSED, "no answer within 0.1 s")


async def test_a_password_in_a_url_is_in_no_message() -> None:
    pages = Pages()
    with pytest.raises(TargetUnreachableError) as error:
        await pages.get("t", f"http://someone:hunter2@127.0.0.1:{free_port()}/metrics", 1)
    await pages.close()
    assert "hunter2" not in str(error.value)


async def test_no_connection_is_kept_since_triton_would_not_stop_before_it_is_closed() -> None:
    ended: list[bytes] = []

    async def keeps(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await writer.drain()
        ended.append(await reader.read())

    pages = Pages()
    async with serving(keeps) as url, asyncio.timeout(5):
        for _ in range(3):
            assert await pages.get("t", url, 1) == b"ok"
        while len(ended) < 3:  # noqa: ASYNC110 - the server side sees the end of a connection a moment later
            await asyncio.sleep(0.01)
    await pages.close()


async def test_one_server_can_be_read_alone_and_unknown_ones_are_named() -> None:
    async with serving(says(answer(PAGE))) as good, serving(hang) as bad:
        collect = collector(fleet(good, bad))
        await collect.collect(0, servers=["good"])
        reading = collect.reading(wall_clock())
        with pytest.raises(NotFoundError, match="no server named 'else'"):
            await collect.collect(0, servers=["else"])
        await collect.close()
    assert isinstance(reading.servers["good"].models["llm"], Known)
    assert reading.servers["bad-vllm"].models["llm"] == Missing("never read")


async def test_hours_without_an_answer_never_turn_what_was_known_into_zero() -> None:
    now = 1000.0
    async with serving(says(answer(PAGE))) as good, serving(hang) as bad:
        collect = FleetCollector(fleet(good, bad), timeout_s=0.05, max_age_s=15, clock=lambda: now, nvml=False)
        await collect.collect(now)
    for hour in range(1, 5):
        now = 1000.0 + 3600 * hour
        await collect.collect(now)
        model = collect.reading(now).servers["good"].models["llm"]
        assert isinstance(model, Stale)
        assert (model.age_s, model.value.state) == (3600 * hour, ModelState.READY)
        assert isinstance(model.value.pending, Stale)
        assert isinstance(collect.reading(now).servers["bad-triton"].models["llm"], Missing)
    await collect.close()
