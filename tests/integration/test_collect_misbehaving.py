"""Targets that misbehave in every way we could think of cost their own deadline and nobody else anything."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from controlplane.collect.fleet import FleetCollector
from controlplane.collect.http import LIMIT_BYTES, REFUSED, Pages
from controlplane.config.mapping_file import shipped
from controlplane.domain.errors import MalformedPageError, TargetUnreachableError
from controlplane.domain.fleet import Fleet, Mode, ModelSpec, ServerKind, ServerSpec
from controlplane.domain.objectives import Indicator
from controlplane.domain.observation import ModelState
from controlplane.domain.signal import Known, Missing, Stale, known
from controlplane.domain.sources import AgentKind, AgentSpec, GatewaySpec
from tests.unit.collect.pages import histogram_page, recorded, triton_page

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PAGE = recorded("vllm-0.32.0-under-load.txt").encode()
GATEWAY = ("gateway_seconds", "model", "", "")
GOOD = (
    PAGE
    + (
        histogram_page("gateway_seconds", {"0.1": 5, "+Inf": 9}, model="llm")
        + 'controlplane_agent_nvml_up 1\ncontrolplane_gpu_info{gpu="G",index="0",name="X"} 1\n'
    ).encode()
)
"""A vLLM, a gateway and an agent on one page."""
TIMEOUT_S = 1.0
FLOOD_TIMEOUT_S = 20.0
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


async def drip_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.02)


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


async def flood_in_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(50):
        writer.write(b"100000\r\n" + b"a 1\n" * (2**20 // 4) + b"\r\n")
        await writer.drain()


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reset_now(reader, writer)


async def reset_half_way(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(answer(PAGE[:5000], length=len(PAGE)))
    await writer.drain()
    await asyncio.sleep(0.05)
    await reset_now(reader, writer)


async def reset_now(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    del reader
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


BAD: dict[str, tuple[Handler, str]] = {
    "hangs": (hang, "no answer within 1 s"),
    "drips": (drip, "no answer within 1 s"),
    "drips its head": (drip_head, "no answer within 1 s"),
    "floods": (flood, "larger than 8 MiB"),
    "floods in chunks": (flood_in_chunks, "larger than 8 MiB"),
    "resets": (reset, "connection closed without an answer"),
    "resets at once": (reset_now, "connection closed without an answer"),
    "resets half way": (reset_half_way, "ended before its end"),
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
OTHER_PAGES = ("is another exporter", "is empty")
"""Each reader says of them what it misses."""


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
    """The same misbehaving target as everything that can be asked, beside targets that behave."""
    kinds = (ServerKind.VLLM, ServerKind.TRITON, ServerKind.TGI, ServerKind.OLLAMA)
    servers = (
        ServerSpec("good", ServerKind.VLLM, good, f"{good}/metrics"),
        *(ServerSpec(f"bad-{kind}", kind, bad, f"{bad}/metrics", mapping=shipped(kind)) for kind in kinds),
    )
    return Fleet(
        servers=servers,
        models=(ModelSpec("llm", "tiny", tuple(server.name for server in servers), Mode.ACT),),
        gateways=tuple(GatewaySpec(name, f"{url}/metrics", *GATEWAY) for name, url in (("good", good), ("bad", bad))),
        agents=(
            AgentSpec("good", f"{good}/metrics"),
            AgentSpec("bad-agent", f"{bad}/metrics"),
            AgentSpec("bad-dcgm", f"{bad}/metrics", AgentKind.DCGM),
        ),
    )


def collector(of: Fleet, timeout_s: float = TIMEOUT_S) -> FleetCollector:
    return FleetCollector(of, timeout_s=timeout_s, max_age_s=15, clock=wall_clock, nvml=False)


def given_s(how: str) -> float:
    """Time for an answer: a flood is cut off by its size, however long a busy machine takes to send it."""
    return FLOOD_TIMEOUT_S if how.startswith("floods") else TIMEOUT_S


@pytest.mark.parametrize("how", BAD)
async def test_a_target_that_misbehaves_costs_only_itself(how: str) -> None:
    handler, why = BAD[how]
    timeout_s = given_s(how)
    async with serving(says(answer(GOOD))) as good, serving(handler) as bad:
        collect = collector(fleet(good, bad), timeout_s)
        begun = time.monotonic()
        for _ in range(2):
            await collect.collect(0)
        took_s = time.monotonic() - begun
        reading = collect.reading(wall_clock())
        await collect.close()
    assert took_s < 6 * timeout_s, "of seven that misbehave, none waits for another"
    model = reading.servers["good"].models["llm"]
    assert isinstance(model, Known)
    assert model.value.running == Known(23, model.observed_at)
    assert len(model.value.intervals) == 1
    counted = [interval.indicator for interval in reading.latencies["llm"]]
    assert counted.count(Indicator.LATENCY) == 1, "the good gateway's"
    assert isinstance(reading.gpus, Known)
    assert [gpu.node for gpu in reading.gpus.value] == ["good"]
    missing = reading.servers["bad-vllm"].models["llm"]
    assert isinstance(missing, Missing)
    assert why in missing.why
    assert all(isinstance(server.models["llm"], Missing) for name, server in reading.servers.items() if name != "good")
    assert known(reading.gateways["good"]) is True
    assert isinstance(gateway := reading.gateways["bad"], Missing)
    assert ("no histogram" if how in OTHER_PAGES else why) in gateway.why
    nodes = reading.gpu_nodes
    assert isinstance(nodes["good"], Known)
    assert not isinstance(nodes["bad-agent"], Known)
    assert not isinstance(nodes["bad-dcgm"], Known)


@pytest.mark.parametrize("how", ["hangs", "drips", "floods", "resets", "is garbage", "loops", "fails"])
@pytest.mark.parametrize("page", ["metrics", "v2/repository/index", "v2/models/stats", "v2/models/tiny/config"])
async def test_one_page_of_a_triton_that_misbehaves_costs_what_it_alone_tells(page: str, how: str) -> None:
    handler, _ = BAD[how]
    answers = {
        "metrics": triton_page("tiny", success=5),
        "v2/repository/index": json.dumps([{"name": "tiny", "version": "1", "state": "READY"}]),
        "v2/models/stats": json.dumps({"model_stats": [{"name": "tiny", "version": "1"}]}),
        "v2/models/tiny/config": json.dumps({"instance_group": [{"kind": "KIND_CPU", "count": 2}]}),
    }

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked = head.split(b" ", 2)[1].decode().lstrip("/")
        if asked != page:
            writer.write(answer(answers[asked].encode()))
            return
        again = asyncio.StreamReader()
        again.feed_data(head)

        async def to_its_end() -> None:
            again.feed_data(await reader.read())
            again.feed_eof()

        reading_on = asyncio.create_task(to_its_end())
        try:
            await handler(again, writer)
        finally:
            reading_on.cancel()

    async with serving(handle) as url:
        spec = ServerSpec("t", ServerKind.TRITON, url, f"{url}/metrics")
        collect = collector(Fleet((spec,), (ModelSpec("llm", "tiny", ("t",), Mode.ACT),)), given_s(how))
        begun = time.monotonic()
        await collect.collect(0)
        took_s = time.monotonic() - begun
        await collect.collect(0)
        reading = collect.reading(wall_clock()).servers["t"]
        await collect.close()
    assert took_s < 6 * given_s(how), "it is not asked again and again"
    assert known(reading.live) is True
    model = reading.models["llm"]
    if page == "v2/repository/index":
        assert isinstance(model, Missing), "whether it is there, only the index says"
        return
    assert isinstance(model, Known)
    assert model.value.state is ModelState.READY
    assert known(model.value.instances) == (None if page.endswith("config") else 2)
    assert len(model.value.intervals) == (1 if page.endswith("stats") else 0)


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
    async with serving(keeps) as url, asyncio.timeout(30):
        for _ in range(3):
            assert await pages.get("t", url, 1) == b"ok"
        while len(ended) < 3:  # noqa: ASYNC110 - the server side sees the end of a connection a moment later
            await asyncio.sleep(0.01)
    await pages.close()


async def test_one_server_can_be_read_alone_and_ones_that_have_left_are_passed_over() -> None:
    async with serving(says(answer(PAGE))) as good, serving(hang) as bad:
        collect = collector(fleet(good, bad))
        await collect.collect(0, servers=["good", "left"])
        reading = collect.reading(wall_clock())
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
